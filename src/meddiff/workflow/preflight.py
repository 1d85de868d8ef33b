"""Checks before any job of a run, so that it fails at once and not after hours."""

import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from meddiff.core.errors import MeddiffError
from meddiff.data.registry import address_of, read_registry

OUTPUT_FOLDERS = ("data/images", "data/segmentation", "models", "predictions",
                  "features", "metrics", "cas", "results")  # fmt: skip
"""Folders of the run directory that only rules write to."""
FOLDERS = (*dict.fromkeys(path.split("/")[0] for path in OUTPUT_FOLDERS), "logs")
"""Folders of the run directory that a run writes to."""


def check_run(downloads: Collection[str], mirrors: Mapping[str, str]) -> None:
    """Stop a run that would fail late.

    Raises:
        MeddiffError: a folder cannot be written, Kaggle credentials are missing, or the disk has no
            room for the downloads.
    """
    for name in FOLDERS:
        _check_writable(Path(name))
    if any(address_of(file, mirrors).startswith("kaggle:") for file in downloads):
        from meddiff.data.download import check_kaggle_credentials

        check_kaggle_credentials()
    _check_space(downloads)


def _check_space(downloads: Collection[str]) -> None:
    """Compare the published sizes with the space that is free; unknown sizes count as none."""
    needed = sum(read_registry()[file].megabytes or 0 for file in downloads) / 1e3
    folder = _nearest(Path("data/raw"))
    free = shutil.disk_usage(folder).free / 1e9
    if needed > free:
        raise MeddiffError(
            f"the downloads take {needed:.1f} GB but {folder} has {free:.1f} GB free: make room, "
            "run on another disk with --directory, or leave an edition out of data.editions"
        )


def _check_writable(folder: Path) -> None:
    if not os.access(_nearest(folder), os.W_OK):
        raise MeddiffError(
            f"cannot write to {folder}/: the folder is read-only; make it writable, or run in "
            "another folder with --directory runs/<name>"
        )


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())
