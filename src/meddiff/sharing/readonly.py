"""Plan a run that this user may only read: Snakemake takes notes even for a dry run."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from meddiff.errors import MeddiffError

NOTES = Path(".snakemake")
WRITTEN = ("auxiliary", "conda", "conda-archive", "incomplete", "iocache", "locks", "meddiff",
           "metadata", "shadow", "singularity")  # fmt: skip
"""Folders of `NOTES` that Snakemake or the records make for themselves or write to."""
READ = ("incomplete", "meddiff/records", "meddiff/digests", "meddiff/folders", "metadata")
"""Those that a plan depends on."""


def is_read_only(run: Path) -> bool:
    """Tell whether this user may read a run directory but take no notes in it."""
    notes = run / NOTES
    if not notes.is_dir():
        return not os.access(run, os.W_OK)
    places = [notes, *(notes / name for name in WRITTEN), notes / "iocache/latest.pkl"]
    return not all(os.access(place, os.W_OK) for place in places if place.exists())


def enter_stand_in(run: Path, *, planning: bool) -> None:
    """Enter a temporary folder that stands for a read-only run directory.

    It has links to all that is there and a copy of the notes, and is removed as the process ends.

    Args:
        run: the run directory.
        planning: whether nothing is to be run.

    Raises:
        MeddiffError: something is to be run, or the notes cannot be read.
    """
    if not planning:
        raise MeddiffError(
            f"cannot write to {run}, which you may only read: plan with `snakemake -n`, prove with "
            "`meddiff verify`, and run in a copy of your own (git clone, then meddiff restore)"
        )
    held = tempfile.TemporaryDirectory(prefix="meddiff-", ignore_cleanup_errors=True)
    atexit.register(held.cleanup)
    stand_in = Path(held.name)
    for entry in run.iterdir():
        if entry.name != NOTES.name:
            (stand_in / entry.name).symlink_to(entry)
    for name in READ:
        if (run / NOTES / name).is_dir():
            _copy(run / NOTES / name, stand_in / NOTES / name)
    os.chdir(stand_in)


def _copy(source: Path, target: Path) -> None:
    try:
        # New files are this user's own, whatever the modes of those that are read.
        shutil.copytree(source, target, copy_function=shutil.copyfile)
    except (shutil.Error, PermissionError):
        raise MeddiffError(
            f"{source} cannot be read: ask its owner to make it readable for you"
        ) from None
