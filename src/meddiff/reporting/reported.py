"""The study's printed numbers, and runs beside them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import yaml
from pydantic import TypeAdapter, ValidationError

from meddiff.core.errors import MeddiffError
from meddiff.core.settings import Settings

T = TypeVar("T")
RUN = ["run", "data", "protocol", "scale", "seed"]
ORIGIN = ["extractor", "dimension", "n_real", "n_synthetic", "n_test", "reference", "note"]
VALUE = ["value", "ci_low", "ci_high", "floor", "ceiling"]
COLUMNS = ["table", "cell", "column", "reported", *RUN, *VALUE, *ORIGIN]
WHOLE = ["seed", "dimension", "n_real", "n_synthetic", "n_test"]


class ReportedResult(Settings):
    """One row of a table that the study printed.

    Attributes are the table's name, the columns that identify the row in ours, and its numbers by
    column.
    """

    table: str
    row: dict[str, str]
    values: dict[str, float | str]


def read_reported(path: str | Path) -> list[ReportedResult]:
    """Return the rows of a YAML file such as `config/reported.yaml`."""
    return read_yaml(path, TypeAdapter(list[ReportedResult]))


def read_yaml(path: str | Path, kind: TypeAdapter[T]) -> T:
    """Return the content of a YAML file, checked; MeddiffError names what is wrong in it."""
    try:
        return kind.validate_python(yaml.safe_load(Path(path).read_text()))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise MeddiffError(f"{path}: {' '.join(str(error).split())}") from error


def comparison(
    reported: Iterable[ReportedResult], tables: Sequence[tuple[str, str, pd.DataFrame]]
) -> pd.DataFrame:
    """Return one row per reported number and run; a number that no run has stands alone.

    Args:
        tables: name of a table, name of the run that made it, and the table.

    Returns:
        The cell, the reported number, the run, its value with an interval, floor and ceiling of a
        distance (those of unseen real images and of noise), and what it is made of. Several rows of
        a run that match, e.g. repetitions, are averaged, without an interval. Floor and ceiling of
        a run without synthetic images stand without a value.
    """
    rows: list[dict[str, Any]] = []
    for result in reported:
        matches = [
            (
                {"run": run} | _stamp(table),
                table[matching(table, result.row)],
                distance_ends(table, result.row),
            )
            for name, run, table in tables
            if name == result.table
        ]
        for column, number in result.values.items():
            cell = {
                "table": result.table,
                "cell": ", ".join(filter(None, result.row.values())),
                "column": column,
                "reported": number,
            }
            values = [
                cell | run | _value(match, column) | (ends if column == "value" else {})
                for run, match, ends in matches
                if len(match) or (ends and column == "value")
            ]
            rows += values or [cell]
    return pd.DataFrame(rows).reindex(columns=COLUMNS).astype(dict.fromkeys(WHOLE, "Int64"))


def matching(table: pd.DataFrame, row: Mapping[str, str]) -> pd.Series:
    """Return which rows of a table are those of a printed number, by the columns that it names."""
    matches = pd.Series(True, index=table.index)
    # A row that names no subset is of all images.
    subset = {"subset": ""} if "subset" in table else {}
    for column, value in (subset | {**row}).items():
        matches &= table[column].fillna("").astype(str) == value if column in table else False
    return matches


def distance_ends(table: pd.DataFrame, row: Mapping[str, str]) -> dict[str, float]:
    """Return the same distance of unseen real images and of noise, where the table has them."""
    if row.get("image_set") != "synthetic" or "extractor" not in row:
        return {}
    sets = {"floor": "real", "ceiling": "noise"}
    ends = {
        end: table.loc[matching(table, {**row, "image_set": image_set}), "value"]
        for end, image_set in sets.items()
    }
    return {end: values.iloc[0] for end, values in ends.items() if len(values)}


def _stamp(table: pd.DataFrame) -> dict[str, Any]:
    return {name: table[name].iloc[0] for name in RUN if name in table and len(table)}


def _value(match: pd.DataFrame, column: str) -> dict[str, Any]:
    if match.empty:
        return {}
    first = match.iloc[0]
    origin = {name: first[name] for name in (*RUN, *ORIGIN) if name in first}
    if column not in match:
        return origin
    if len(match) > 1:
        return origin | {"value": match[column].mean()}
    start = "" if column == "value" else f"{column}_"
    ends = {end: first[start + end] for end in ("ci_low", "ci_high") if start + end in first}
    return origin | {"value": first[column]} | ends
