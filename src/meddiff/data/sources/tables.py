"""Read tables of metadata as published, and build the one table that all readers return."""

import io
import logging
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from meddiff.core.errors import MeddiffError, listing_error, one_line
from meddiff.core.imports import needing

log = logging.getLogger(__name__)

MAX_XLSX_BYTES = 2**28
"""Largest spreadsheet, unpacked."""
COLUMNS = ("id", "edition", "image", "archive", "member", "label", "diagnosis", "patient", "lesion")


def read_strings(source: str | Path | io.BytesIO, name: str) -> pd.DataFrame:
    """Read a table as stripped strings, empty fields as `<NA>`; the index holds line numbers.

    A CSV in UTF-8, whose fields are parted by commas, semicolons or tabs, or the first sheet of an
    XLSX.
    """
    try:
        data = source.read() if isinstance(source, io.BytesIO) else Path(source).read_bytes()
        table = _read_xlsx(data, name) if data.startswith(b"PK\3\4") else _read_csv(data)
        if not isinstance(table.index, pd.RangeIndex):
            raise ValueError("rows have more fields than the header")
        table.columns = table.columns.map(lambda name: str(name).replace("\ufeff", "").strip())
        if not table.columns.is_unique:
            twice = table.columns[table.columns.duplicated()][0]
            raise ValueError(f"column {twice!r} stands twice in the header")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise MeddiffError(
            f"cannot read the table {name} ({one_line(error)}): it must be a CSV in UTF-8 or an "
            "XLSX, with a header"
        ) from error
    table.index += 2
    table = table.apply(lambda column: column.str.strip().replace("", pd.NA))
    return table.dropna(how="all")


def _read_csv(data: bytes) -> pd.DataFrame:
    header = data.split(b"\n", 1)[0]
    separators = {b",": ",", b"\t": "\t", b";": ";"}
    present = (text for mark, text in separators.items() if mark in header)
    return pd.read_csv(
        io.BytesIO(data),
        sep=next(present, ","),
        dtype="string",
        keep_default_na=False,
        na_values=[""],
        skip_blank_lines=False,
        encoding="utf-8-sig",
    )


def _read_xlsx(data: bytes, name: str) -> pd.DataFrame:
    with needing("xlsx", name):
        import openpyxl  # noqa: F401
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        size = sum(member.file_size for member in file.infolist())
    if size > MAX_XLSX_BYTES:
        raise ValueError(f"it unpacks to more than {MAX_XLSX_BYTES // 2**20} MiB")
    return pd.read_excel(
        io.BytesIO(data), dtype="string", keep_default_na=False, na_values=[""], engine="openpyxl"
    )


def check_metadata(metadata: pd.DataFrame, key: str, others: list[str], where: str) -> None:
    """Check that a table has rows and columns, and that its key is unique and never missing."""
    require_columns(metadata, [key, *others], where)
    if metadata.empty:
        raise MeddiffError(f"{where} has a header but no rows: add one row per image")
    if (lacking := metadata[key].isna()).any():
        rows = [f"row {line}" for line in metadata.index[lacking]]
        problem = f"{where} has {len(rows)} rows without {key}"
        raise listing_error(problem, rows, "fill in or remove them")
    repeated = metadata[key][metadata[key].duplicated(keep=False)]
    groups = repeated.groupby(repeated, sort=False).groups.items()
    if rows := [f"{name} (rows {', '.join(map(str, lines))})" for name, lines in groups]:
        problem = f"{where} lists {len(rows)} ids more than once"
        raise listing_error(problem, rows, "keep one row per image")


def require_columns(metadata: pd.DataFrame, columns: Iterable[str], where: str) -> None:
    """Raise a MeddiffError if a table lacks a column."""
    for column in columns:
        if column not in metadata:
            raise MeddiffError(
                f"{where} has no column {column!r}; its columns are {', '.join(metadata.columns)}: "
                "rename one, or name another in the configuration"
            )


def map_labels(
    metadata: pd.DataFrame, column: str, names: Mapping[str, str], keys: pd.Series, where: str
) -> pd.Series:
    """Translate the values of a column; raise if one is missing or has no translation."""
    labels = metadata[column].map(dict(names)).astype("string")
    if (unknown := labels.isna()).any():
        rows = [
            f"{key} (row {line}: {'missing' if pd.isna(value) else value})"
            for line, key, value in zip(
                metadata.index[unknown], keys[unknown], metadata.loc[unknown, column], strict=True
            )
        ]
        raise listing_error(
            f"{where} has {len(rows)} labels in column {column!r} that are missing or unknown",
            rows,
            f"allowed are {', '.join(names)}",
        )
    return labels


def record_table(**columns: object) -> pd.DataFrame:
    """Return a table of strings with all of COLUMNS; columns that are not passed are `<NA>`."""
    plain = {
        name: list(values) if isinstance(values, pd.Series) else values
        for name, values in columns.items()
    }
    table = pd.DataFrame(dict.fromkeys(COLUMNS, pd.NA) | plain)
    return table.astype("string").reset_index(drop=True)


def join(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate tables and log the images of each edition."""
    table = pd.concat(list(tables), ignore_index=True)
    images = table.loc[table["member"].notna(), "edition"]
    for edition, count in images.value_counts(sort=False).items():
        log.info("edition %s: %d images", edition, count)
    return table


def require_classes(records: pd.DataFrame, classes: Iterable[str]) -> None:
    """Raise a MeddiffError if a class has no image."""
    if absent := [name for name in classes if not records["label"].eq(name).any()]:
        raise MeddiffError(
            f"data.classes: no image of {', '.join(absent)}; add images, remove the class, or "
            "(data.source: folder) map the table's name of it to the class in data.folder.labels"
        )


def warn_ungrouped(records: pd.DataFrame) -> None:
    """Log how many images have neither a patient nor a lesion to group them by."""
    ungrouped = (records["patient"].isna() & records["lesion"].isna()).sum()
    if ungrouped:
        log.warning(
            "%d of %d images have neither a patient nor a lesion: only their duplicates are kept "
            "in one split",
            ungrouped,
            len(records),
        )
