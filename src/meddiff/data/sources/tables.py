"""Tables of metadata as sources publish them, and the one table that readers make of them."""

import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from meddiff.core.errors import MeddiffError

log = logging.getLogger(__name__)

COLUMNS = ("id", "edition", "image", "archive", "member", "label", "diagnosis", "patient", "lesion")
SHOWN = 5


def read_strings(source: str | Path | io.BytesIO, name: str) -> pd.DataFrame:
    """Read a CSV as strings, empty fields as `<NA>`; the index holds line numbers of the file.

    Raises:
        MeddiffError: the file is missing, empty, not UTF-8 or not a table.
    """
    try:
        table = pd.read_csv(
            source,
            dtype="string",
            keep_default_na=False,
            na_values=[""],
            skip_blank_lines=False,
            encoding="utf-8-sig",
        )
        if not isinstance(table.index, pd.RangeIndex):
            raise ValueError("rows have more fields than the header")
        table.columns = table.columns.map(lambda name: name.replace("\ufeff", "").strip())
        if not table.columns.is_unique:
            twice = table.columns[table.columns.duplicated()][0]
            raise ValueError(f"column {twice!r} stands twice in the header")
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise MeddiffError(
            f"cannot read the table {name} ({reason}): it must be a CSV in UTF-8 with a header"
        ) from error
    table.index += 2
    table = table.apply(lambda column: column.str.strip().replace("", pd.NA))
    return table.dropna(how="all")


def several(problem: str, items: Sequence[str], remedy: str) -> MeddiffError:
    """Return the error for many faults of a kind: the first few by name, and how many there are."""
    shown = ", ".join(items[:SHOWN])
    total = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return MeddiffError(f"{problem}: {shown}{total}; {remedy}")


def check_metadata(metadata: pd.DataFrame, key: str, others: list[str], where: str) -> None:
    """Refuse a table without rows or columns, or whose key is missing or repeated."""
    require_columns(metadata, [key, *others], where)
    if metadata.empty:
        raise MeddiffError(f"{where} has a header but no rows: add one row an image")
    if (lacking := metadata[key].isna()).any():
        rows = [f"row {line}" for line in metadata.index[lacking]]
        raise several(f"{where} has {len(rows)} rows without {key}", rows, "fill in or remove them")
    refuse_repeated(metadata[key], where, "keep one row an image")


def require_columns(metadata: pd.DataFrame, columns: Iterable[str], where: str) -> None:
    """Refuse a table that lacks a column."""
    for column in columns:
        if column not in metadata:
            raise MeddiffError(
                f"{where} has no column {column!r}; its columns are {', '.join(metadata.columns)}: "
                "rename one, or name another in the configuration"
            )


def refuse_repeated(keys: pd.Series, where: str, remedy: str) -> None:
    """Refuse ids that stand in several rows."""
    again = keys[keys.duplicated(keep=False)]
    rows = [
        f"{key} (rows {', '.join(map(str, lines))})"
        for key, lines in again.groupby(again, sort=False).groups.items()
    ]
    if rows:
        raise several(f"{where} lists {len(rows)} ids more than once", rows, remedy)


def map_labels(
    metadata: pd.DataFrame, column: str, names: Mapping[str, str], keys: pd.Series, where: str
) -> pd.Series:
    """Translate a column; values without a name are refused, with their rows."""
    labels = metadata[column].map(dict(names)).astype("string")
    if (unknown := labels.isna()).any():
        rows = [
            f"{key} (row {line}: {'missing' if pd.isna(value) else value})"
            for line, key, value in zip(
                metadata.index[unknown], keys[unknown], metadata.loc[unknown, column], strict=True
            )
        ]
        raise several(
            f"{where} has {len(rows)} labels in column {column!r} that are missing or unknown",
            rows,
            f"allowed are {', '.join(names)}",
        )
    return labels


def record_table(**columns: object) -> pd.DataFrame:
    """Return a table with all of COLUMNS, as strings, numbered from 0."""
    plain = {
        name: list(values) if isinstance(values, pd.Series) else values
        for name, values in columns.items()
    }
    table = pd.DataFrame(dict.fromkeys(COLUMNS, pd.NA) | plain)
    return table.astype("string").reset_index(drop=True)


def join(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Put tables of several editions together."""
    table = pd.concat(list(tables), ignore_index=True)
    for edition, count in table["edition"].value_counts(sort=False).items():
        log.info("edition %s: %d images", edition, count)
    return table


def refuse_absent(records: pd.DataFrame, classes: Iterable[str]) -> None:
    """Refuse classes that no image is of."""
    if absent := [name for name in classes if not records["label"].eq(name).any()]:
        raise MeddiffError(
            f"data.classes names {', '.join(absent)}, of which there is no image: add images, take "
            "the name out, or (data.source: folder) say in data.folder.labels what the table calls "
            "it"
        )


def warn_of_strangers(records: pd.DataFrame) -> None:
    """Log how many images name neither a patient nor a lesion, as no split can keep them apart."""
    strangers = (records["patient"].isna() & records["lesion"].isna()).sum()
    if strangers:
        log.warning(
            "%d of %d images name neither a patient nor a lesion: only duplicates of them are kept "
            "in one split",
            strangers,
            len(records),
        )
