"""The files below a folder, as whatever reads or digests it sees them."""

import os
from pathlib import Path
from typing import NamedTuple

from meddiff.core.errors import MeddiffError

SYSTEM = ("__MACOSX", "lost+found")
"""Folders that systems make; nobody keeps images there."""


Identity = tuple[int, int]
"""Device and inode."""


class Listing(NamedTuple):
    """What is below a folder."""

    files: dict[str, Path]
    """Regular files by their POSIX name below the folder, sorted within each folder."""
    broken: list[str]
    """Names of links that lead nowhere, or where this user may not go."""
    again: list[str]
    """Names of links to what is listed all the same, and of folders that a link led to before."""


def list_files(folder: str | Path) -> Listing:
    """List the files below a folder, through links too, but for hidden ones and those of systems.

    What a link leads to is left out where it is listed under its own name, and so is a folder that
    another link has led to. Links to one file elsewhere stay: a cache may hold equal files once.

    Raises:
        MeddiffError: a folder may not be read.
    """
    listing = Listing({}, [], [])
    seen: set[Identity] = set()
    links = _visit(Path(folder), "", seen, listing)
    while links:
        name, path = links.pop(0)
        if path.is_dir():
            links += _visit(path, f"{name}/", seen, listing)
        elif _identity(path.stat()) in seen:
            listing.again.append(name)
        elif path.is_file():
            listing.files[name] = path
    return listing._replace(files=dict(sorted(listing.files.items())))


def is_hidden(name: str) -> bool:
    """Return whether a part of a POSIX name is hidden or a system's."""
    return any(part.startswith(".") or part in SYSTEM for part in name.split("/"))


def _visit(
    folder: Path, prefix: str, seen: set[Identity], listing: Listing
) -> list[tuple[str, Path]]:
    """List what is below a folder but for links, which are returned."""
    try:
        identity = _identity(folder.stat())
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(folder, error) from error
    if identity in seen:
        listing.again.append(prefix.removesuffix("/"))
        return []
    seen.add(identity)
    links = []
    for entry in entries:
        name = prefix + entry.name
        if is_hidden(entry.name):
            continue
        try:
            status = entry.stat()
        except OSError as error:
            if not entry.is_symlink():
                raise _unreadable(folder, error) from error
            listing.broken.append(name)
            continue
        if entry.is_symlink():
            links.append((name, Path(entry)))
        elif entry.is_dir():
            links += _visit(Path(entry), f"{name}/", seen, listing)
        elif entry.is_file():
            seen.add(_identity(status))
            listing.files[name] = Path(entry)
    return links


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _unreadable(folder: Path, error: OSError) -> MeddiffError:
    return MeddiffError(
        f"the folder {folder} cannot be read ({error.strerror}): make it readable for you, or name "
        "a folder without it"
    )
