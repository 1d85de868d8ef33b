"""List the files below a folder, for reading and for digests alike."""

import os
from pathlib import Path
from typing import NamedTuple

from meddiff.core.errors import MeddiffError

SYSTEM = ("__MACOSX", "lost+found")
"""Folders that operating systems create."""


Identity = tuple[int, int]
"""Device and inode."""


class FolderFiles(NamedTuple):
    """The contents of a folder, at any depth."""

    files: dict[str, Path]
    """Regular files by their POSIX name below the folder, sorted within each folder."""
    broken: list[str]
    """Names of links that are broken, or that this user may not follow."""
    repeated: list[str]
    """Names of links to files or folders that are listed already."""


def list_files(folder: str | Path) -> FolderFiles:
    """List the files below a folder, following links, without hidden and system files.

    A link is left out if its target is listed under its own name, or is a folder that another link
    has led to. Several links to one file outside the folder stay, as in a content-addressed cache.
    """
    listing = FolderFiles({}, [], [])
    visited: set[Identity] = set()
    links = _visit(Path(folder), "", visited, listing)
    while links:
        name, path = links.pop(0)
        if path.is_dir():
            links += _visit(path, f"{name}/", visited, listing)
        elif _identity(path.stat()) in visited:
            listing.repeated.append(name)
        elif path.is_file():
            listing.files[name] = path
    return listing._replace(files=dict(sorted(listing.files.items())))


def is_hidden(name: str) -> bool:
    """Return whether a part of a POSIX name is hidden or a system folder."""
    return any(part.startswith(".") or part in SYSTEM for part in name.split("/"))


def _visit(
    folder: Path, prefix: str, visited: set[Identity], listing: FolderFiles
) -> list[tuple[str, Path]]:
    """Add the files below a folder to the listing; return its links, which are visited later."""
    try:
        identity = _identity(folder.stat())
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(folder, error) from error
    if identity in visited:
        listing.repeated.append(prefix.removesuffix("/"))
        return []
    visited.add(identity)
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
            links += _visit(Path(entry), f"{name}/", visited, listing)
        elif entry.is_file():
            visited.add(_identity(status))
            listing.files[name] = Path(entry)
    return links


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _unreadable(folder: Path, error: OSError) -> MeddiffError:
    return MeddiffError(
        f"the folder {folder} cannot be read ({error.strerror}): make it readable for you, or name "
        "a folder without it"
    )
