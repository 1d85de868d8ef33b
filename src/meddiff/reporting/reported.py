"""The study's printed numbers, and runs beside them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pydantic import TypeAdapter, ValidationError

from meddiff.core.errors import MeddiffError
from meddiff.core.settings import Section

RUN = ["run", "data", "protocol", "scale", "seed"]
MADE_OF = ["extractor", "dimension", "n_real", "n_synthetic", "n_test", "reference", "note"]
COLUMNS = ["table", "cell", "column", "published", *RUN, "value", "ci_low", "ci_high", *MADE_OF]
WHOLE = ["seed", "dimension", "n_real", "n_synthetic", "n_test"]


class Published(Section):
    """One row of a published table.

    Attributes are the table's name, what tells the row in ours, and its numbers by column.
    """

    table: str
    row: dict[str, str]
    values: dict[str, float | str]


def read_published(path: str | Path) -> list[Published]:
    """Return the rows of a YAML file such as `config/published.yaml`.

    Raises:
        MeddiffError: the file is missing or says something else.
    """
    try:
        told = yaml.safe_load(Path(path).read_text())
        return TypeAdapter(list[Published]).validate_python(told)
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise MeddiffError(f"{path}: {' '.join(str(error).split())}") from error


def comparison(
    published: Iterable[Published], tables: Sequence[tuple[str, str, pd.DataFrame]]
) -> pd.DataFrame:
    """Return one row a published number and run; a number that no run has stands alone.

    Args:
        published: rows of the study's tables.
        tables: name of a table, name of the run that made it, and the table.

    Returns:
        The cell, the published number, the run, its value with an interval, and what it is made of.
        Several rows of a run that fit, e.g. repetitions, are averaged, without an interval.
    """
    rows: list[dict[str, Any]] = []
    for known in published:
        found = [
            (run, table[_fits(table, known.row)])
            for name, run, table in tables
            if name == known.table
        ]
        for column, number in known.values.items():
            cell = {
                "table": known.table,
                "cell": ", ".join(filter(None, known.row.values())),
                "column": column,
                "published": number,
            }
            values = [cell | _value(run, fits, column) for run, fits in found if len(fits)]
            rows += values or [cell]
    return pd.DataFrame(rows).reindex(columns=COLUMNS).astype(dict.fromkeys(WHOLE, "Int64"))


def _fits(table: pd.DataFrame, row: Mapping[str, str]) -> pd.Series:
    fits = pd.Series(True, index=table.index)
    for column, wanted in row.items():
        fits &= table[column].fillna("").astype(str) == wanted if column in table else False
    return fits


def _value(run: str, fits: pd.DataFrame, column: str) -> dict[str, Any]:
    first = fits.iloc[0]
    told = {"run": run, **{name: first[name] for name in (*RUN, *MADE_OF) if name in first}}
    if column not in fits:
        return told
    if len(fits) > 1:
        return told | {"value": fits[column].mean()}
    ends = ("ci_low", "ci_high") if column == "value" else (f"{column}_ci_low", f"{column}_ci_high")
    found = {name: first[end] for name, end in zip(("ci_low", "ci_high"), ends, strict=True)
             if end in first}  # fmt: skip
    return told | {"value": first[column]} | found
