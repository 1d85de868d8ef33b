"""Read the project's own tables: what is text stays text, whatever it looks like.

A class may be called `0`, `1e3`, `True` or `NA`, and so may an id, a patient or a run. Tables that
users bring are read by `meddiff.data.sources.read_strings`, and the index of images, whose numbers
are few and fixed, by `meddiff.data.index.read_index`: adding a column of a result here reruns no
training.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from meddiff.core.errors import MeddiffError, one_line
from meddiff.core.file_errors import remedy
from meddiff.core.files import atomic_write, write_text

Stamp = Mapping[str, Any]
"""data, scale, protocol and seed of a run: the first columns of every table."""

OVER_CLASSES = "mean"
"""Stands for the class where a number is the mean over classes."""
FLOAT_FORMAT = "%.6g"
KEYS = (
    "generator",
    "extractor",
    "classifier",
    "arm",
    "fraction",
    "ratio",
    "class",
    "image_set",
    "metric",
    "subset",
)
"""Columns that identify a row."""
TEXT = frozenset(
    # The run, and what identifies a row.
    ["data", "scale", "protocol", "run", "table", "cell", "column", "generator", "extractor",
     "classifier", "arm", "class", "class_a", "class_b", "image_set", "image_set_a", "image_set_b",
     "metric", "subset",
     # Images and what belongs together.
     "id", "image", "archive", "member", "mask_archive", "mask_member", "edition", "other_edition",
     "split", "set", "label", "predicted", "diagnosis", "patient", "lesion", "group",
     "duplicate_of", "first", "second", "kind", "decoding", "encoding", "phash", "thumbnail",
     "bytes_sha256", "pixels_sha256", "mask_sha256", "source_sha256",
     # Remarks.
     "net", "unit", "labels", "treatment", "confusion", "reference", "source_file", "note",
     "verdict", "weights", "question", "baseline", "outcome", "by",
     # Families of models.
     "family", "sampler",
     # Reader studies.
     "study", "reader", "design", "trial"]
)  # fmt: skip
"""Columns of text."""


def read_csv(path: str | Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a CSV of the project, or some of its columns.

    Columns of TEXT are text, others what they look like. An empty cell is missing (NaN), and no
    other is: `NA` and `nan` are names.

    Raises:
        MeddiffError: it is damaged, or another table.
    """
    as_text = dict.fromkeys(TEXT, str)
    try:
        return pd.read_csv(
            path, usecols=columns, dtype=as_text, keep_default_na=False, na_values=[""]
        )
    except ValueError as error:  # of decoding and parsing, too
        reason, what_to_do = one_line(error), remedy(path, "name another")
        raise MeddiffError(f"{path} is no whole table ({reason}): {what_to_do}") from error


def write_table(table: pd.DataFrame, path: str | Path, stamp: Stamp) -> None:
    """Write a table as CSV, with the run's stamp in its first columns."""
    stamped = table.copy()
    for position, (column, value) in enumerate(stamp.items()):
        stamped.insert(position, column, value)
    with atomic_write(path) as temporary:
        stamped.to_csv(temporary, index=False, float_format=FLOAT_FORMAT)


def read_part(path: str | Path) -> pd.DataFrame:
    """Read a CSV that rows of a table come from, with its path as column `source_file`."""
    return read_csv(path).assign(source_file=str(path))


def write_metrics(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table's numbers as nested JSON, as `dvc metrics` compares them.

    Keys are the texts of a row in the order of the columns, e.g. class, image set, metric and
    extractor, then the name of the number; notes and empty cells are left out.
    """
    keys = [name for name in KEYS if name in table]
    values = [name for name in table.select_dtypes("number") if name not in keys]
    tree: dict[str, Any] = {}
    for row in table.to_dict("records"):
        branch = tree
        for key in keys:
            if pd.notna(row[key]) and row[key] != "":
                branch = branch.setdefault(str(row[key]), {})
        branch |= {str(name): row[name] for name in values if pd.notna(row[name])}
    write_text(json.dumps(tree, indent=1, default=float) + "\n", path)
