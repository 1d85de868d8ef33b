"""Checks before any job of a run, so that a lack is told at once and not after hours."""

import os
from collections.abc import Collection
from pathlib import Path

from meddiff.errors import MeddiffError

FOLDERS = ("data", "models", "predictions", "features", "metrics", "cas", "results", "logs")


def check_run(rules: Collection[str]) -> None:
    """Stop a run that would fail late.

    Args:
        rules: names of the rules that are about to run.

    Raises:
        MeddiffError: a folder cannot be written, or Kaggle credentials are missing.
    """
    for name in FOLDERS:
        _check_writable(Path(name))
    if "download_kaggle" in rules:
        from meddiff.data.download import kaggle_credentials

        kaggle_credentials()


def _check_writable(folder: Path) -> None:
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not os.access(nearest, os.W_OK):
        raise MeddiffError(
            f"cannot write to {folder}/: the folder is read-only; make it writable, or run in "
            "another folder with --directory runs/<name>"
        )
