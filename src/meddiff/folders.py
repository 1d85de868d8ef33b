"""The files below a folder, as whatever reads or digests it sees them."""

import os
from pathlib import Path
from typing import NamedTuple

from meddiff.errors import MeddiffError

SYSTEM = ("__MACOSX", "lost+found")
"""Folders that systems make; nobody keeps images there."""


class Listing(NamedTuple):
    """What is below a folder."""

    files: dict[str, Path]
    """Regular files by their POSIX name below the folder, sorted within each folder."""
    broken: list[str]
    """Names of links that lead nowhere, or where this user may not go."""


def list_files(folder: str | Path) -> Listing:
    """List the files below a folder, through links too, but for hidden ones and those of systems.

    A link to a folder that it lies in is not entered again.

    Raises:
        MeddiffError: a folder may not be read.
    """
    listing = Listing({}, [])
    _visit(Path(folder), "", frozenset(), listing)
    return listing


def is_hidden(name: str) -> bool:
    """Return whether a part of a POSIX name is hidden or a system's."""
    return any(part.startswith(".") or part in SYSTEM for part in name.split("/"))


def _visit(folder: Path, prefix: str, above: frozenset[tuple[int, int]], listing: Listing) -> None:
    try:
        status = folder.stat()
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(folder, error) from error
    if (here := (status.st_dev, status.st_ino)) in above:
        return
    for entry in entries:
        name = prefix + entry.name
        if is_hidden(entry.name):
            continue
        try:
            entry.stat()
        except OSError as error:
            if not entry.is_symlink():
                raise _unreadable(folder, error) from error
            listing.broken.append(name)
            continue
        if entry.is_dir():
            _visit(Path(entry), f"{name}/", above | {here}, listing)
        elif entry.is_file():
            listing.files[name] = Path(entry)


def _unreadable(folder: Path, error: OSError) -> MeddiffError:
    return MeddiffError(
        f"the folder {folder} cannot be read ({error.strerror}): make it readable for you, or name "
        "a folder without it"
    )
