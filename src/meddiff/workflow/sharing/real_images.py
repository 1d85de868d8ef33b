"""Which files of a run show real images, or name them or whom they are of."""

import csv
from pathlib import Path, PurePosixPath

from meddiff.workflow.provenance.record import Records

RAW = "data/raw/"
ARRAYS = ("data/images/", "data/segmentation/", "features/")
"""Folders of images and their features, by image set."""
MADE = {"synthetic", "more", "shards", "families", "noise"}
"""Image sets of no real images; those of `guided-<weight>` are none, too."""
PICTURES = {".html", ".pdf", ".png", ".svg"}
NAMES = frozenset(
    ["id", "image", "member", "mask_member", "patient", "lesion", "group", "first", "second",
     "duplicate_of", "bytes_sha256", "pixels_sha256", "source_sha256"]
)  # fmt: skip
"""Columns of tables that name an image, whom it is of, or its bytes."""


def of_real_images(records: Records) -> set[str]:
    """Return the files that show real images or name them.

    Those are raw data; arrays of real images, their masks and features; pictures and pages of a job
    that read such a file; and tables with a column of `NAMES`.

    Args:
        records: of the files, each after those that it was made from.
    """
    shown: set[str] = set()
    for path, record in records.items():
        suffix = PurePosixPath(path).suffix
        copied = suffix in PICTURES and not shown.isdisjoint(record.inputs)
        if path.startswith(RAW) or (suffix == ".npy" and _is_real_array(path)) or copied:
            shown.add(path)
    return shown | {path for path in records if path.endswith(".csv") and _names_images(path)}


def _is_real_array(path: str) -> bool:
    folders = PurePosixPath(path).parts[:-1]
    made = any(name in MADE or name.startswith("guided-") for name in folders)
    return path.startswith(ARRAYS) and not made


def _names_images(path: str) -> bool:
    """Return whether a table that is here names single images."""
    if not Path(path).is_file():
        return False
    with Path(path).open(encoding="utf-8", errors="replace", newline="") as file:
        return not NAMES.isdisjoint(next(csv.reader(file), []))
