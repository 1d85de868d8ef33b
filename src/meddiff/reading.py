"""Read the project's own tables: what is text stays text, whatever it looks like.

A class may be called `0`, `1e3`, `True` or `NA`, and so may an id, a patient or a run. Tables that
users bring, and the index of images, are read by `meddiff.data.sources.read_strings` and
`meddiff.data.index.read_table` instead, to which everything is text.
"""

from pathlib import Path

import pandas as pd

TEXT = frozenset(
    # The run, and what a row speaks of.
    ["data", "scale", "protocol", "run", "table", "cell", "column", "extractor", "classifier",
     "training", "arm", "class", "class_a", "class_b", "images", "images_a", "images_b", "metric",
     # Images and what belongs together.
     "id", "image", "archive", "member", "mask_archive", "mask_member", "edition", "again_in",
     "split", "set", "label", "predicted", "diagnosis", "patient", "lesion", "group",
     "duplicate_of", "first", "second", "kind", "decoding", "encoding", "phash", "thumbnail",
     "bytes_sha256", "pixels_sha256", "mask_sha256", "source_sha256",
     # What is remarked.
     "net", "unit", "labels", "treatment", "confusion", "reference", "made_from", "note",
     "verdict"]
)  # fmt: skip
"""Columns that hold text; in the audit's tables `images` is a count, which no one reckons with."""


def read_csv(path: str | Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a CSV of the project, or some of its columns.

    Columns of TEXT hold text, others what they look like. An empty cell is missing (NaN), and no
    other is: `NA` and `nan` are names.
    """
    return pd.read_csv(
        path,
        usecols=columns,
        dtype=dict.fromkeys(TEXT, str),
        keep_default_na=False,
        na_values=[""],
    )
