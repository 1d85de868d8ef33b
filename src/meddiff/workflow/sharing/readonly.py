"""Plan a run that this user may only read: Snakemake writes to .snakemake even in a dry run."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from meddiff.core.errors import MeddiffError
from meddiff.core.file_errors import RECORDS, permission_error
from meddiff.workflow.conventions import FOLDERS
from meddiff.workflow.sharing.metadata import NOTES

WRITTEN = ("auxiliary", "conda", "conda-archive", "incomplete", "iocache", "locks", "meddiff",
           "metadata", "shadow", "singularity")  # fmt: skip
"""Folders of `NOTES` that Snakemake or the records make for themselves or write to."""
READ = ("incomplete", "meddiff/records", "meddiff/digests", "meddiff/folders", "metadata")
"""Those that a plan depends on."""


def is_read_only(run: Path) -> bool:
    """Return whether this user may read a run directory but not write to its .snakemake."""
    notes = run / NOTES
    if not notes.is_dir():
        return not _may(run, os.W_OK)
    places = [notes, *(notes / name for name in WRITTEN), notes / "iocache/latest.pkl"]
    return not all(_may(place, os.W_OK) for place in places if place.exists())


def enter_stand_in(run: Path, *, planning: bool) -> None:
    """Enter a temporary folder that stands for a read-only run directory.

    It has links to all that is there and a copy of the notes, and is removed as the process ends.
    """
    if not planning:
        raise MeddiffError(
            f"cannot write to {run}, which you may only read: plan with `snakemake -n`, prove with "
            "`meddiff verify`, and run in a copy of your own (git clone, then meddiff restore)"
        )
    folder = tempfile.TemporaryDirectory(prefix="meddiff-", ignore_cleanup_errors=True)
    atexit.register(folder.cleanup)
    stand_in = Path(folder.name)
    for entry in run.iterdir():
        if entry.name in FOLDERS:
            _mirror(entry, stand_in / entry.name)
        elif entry.name != NOTES.name:
            (stand_in / entry.name).symlink_to(entry)
    for name in READ:
        if (run / NOTES / name).is_dir():
            _copy(run / NOTES / name, stand_in / NOTES / name)
    os.chdir(stand_in)


def _mirror(source: Path, target: Path) -> None:
    """Link every file, since Snakemake takes what cannot be written to for protected, but no link.

    Links get the times of their files: Snakemake looks at both.
    """
    if source.is_dir() and not source.is_symlink() and _may(source, os.R_OK | os.X_OK):
        target.mkdir()
        for entry in source.iterdir():
            _mirror(entry, target / entry.name)
        return
    target.symlink_to(source)
    status = source.lstat()
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _copy(source: Path, target: Path) -> None:
    """Copy notes; the records replace those of Snakemake that cannot be read."""
    target.mkdir(parents=True, exist_ok=True)
    try:
        for entry in source.iterdir():
            if entry.is_dir():
                _copy(entry, target / entry.name)
            elif _may(entry, os.R_OK) or RECORDS.name in entry.parts:
                shutil.copyfile(entry, target / entry.name)
            elif "incomplete" in entry.parts:
                (target / entry.name).write_text("{}")
    except PermissionError as error:
        raise permission_error(error) or error from None
