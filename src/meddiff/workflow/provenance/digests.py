"""Digests of files, remembered while a file's size, time and inode stay the same."""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

from meddiff.core.errors import MeddiffError
from meddiff.core.file_errors import permission_error
from meddiff.core.files import file_digests, write_text
from meddiff.core.folders import list_files

CACHE = Path(".snakemake/meddiff/digests")
FOLDERS = Path(".snakemake/meddiff/folders")


class Digest(NamedTuple):
    """What identifies a file's bytes: SHA-256 for records, MD5 for DVC, size in bytes."""

    sha256: str
    md5: str
    size: int


def digest(path: str | Path, *, full: bool = False) -> Digest:
    """Return the digests of a file, from the working directory's cache where they are in it.

    Args:
        path: the file; only files below the working directory are cached.
        full: read the bytes whatever the cache says. Only this sees bytes that changed while the
            file's size, modification time and inode stayed the same.
    """
    path = Path(path)
    entry, state = _entry(path), _state(path)
    if entry and not full:
        try:
            cached = json.loads(entry.read_text())
            if cached["state"] == state:
                return Digest(*cached["digest"])
        except (OSError, ValueError, TypeError, KeyError):
            pass
    computed = _read(path)
    if entry and _state(path) == state:
        remember(path, computed)
    return computed


def sha256_here(path: str | Path, *, full: bool = False) -> str | None:
    """Return the SHA-256 of a file, or of the names and bytes below a folder that stands for one.

    None where there is neither, e.g. since a job has just removed it.
    """
    try:
        if Path(path).is_dir():
            return folder_digest(path)
        return digest(path, full=full).sha256
    except PermissionError as error:
        raise permission_error(error) or error from None
    except OSError:
        return None


def remember(path: str | Path, digests: Digest) -> None:
    """Cache the digests of a file in its present state, e.g. after a change of its time."""
    entry = _entry(Path(path))
    if entry:
        _write_cache(entry, {"state": _state(Path(path)), "digest": digests})


def folder_digest(folder: str | Path) -> str | None:
    """Return a digest of the names and bytes below a folder, or of one file; None without it.

    The files are those that readers see. Bytes are read once and again when a file's size, time or
    inode changes.

    Raises:
        MeddiffError: a folder may not be read.
    """
    root = Path(folder)
    if not root.exists():
        return None
    cache = FOLDERS / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}.json"
    try:
        cached = dict(json.loads(cache.read_text()))
    except (OSError, ValueError, TypeError):
        cached = {}
    files = list_files(root).files if root.is_dir() else {".": root}
    entries = {}
    for name, file in files.items():
        state, old = _state(file), cached.get(name)
        entries[name] = old if old and old[0] == state else [state, _read(file).sha256]
    if entries != cached:
        _write_cache(cache, entries)
    contents = "".join(f"{name}\0{sha256}\n" for name, (_, sha256) in sorted(entries.items()))
    return hashlib.sha256(os.fsencode(contents)).hexdigest()


def _write_cache(file: Path, content: object) -> None:
    """Write a cache file, where that is possible: without it bytes are read again."""
    with contextlib.suppress(MeddiffError):
        write_text(json.dumps(content), file, quiet=True)


def _read(path: Path) -> Digest:
    digests = file_digests(path, ("sha256", "md5"))
    return Digest(**digests, size=path.stat().st_size)


def _state(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _entry(path: Path) -> Path | None:
    inside = not path.is_absolute() and ".." not in path.parts
    return CACHE / f"{path}.json" if inside else None
