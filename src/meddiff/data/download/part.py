"""The partial file of a download, and the version of the remote file that it belongs to."""

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path

import requests
from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout
from pydantic import BaseModel, ConfigDict

from meddiff.core.errors import MeddiffError

AFFECTS_RESULTS = False

UNLOCKABLE = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}
"""Errors of file systems without locks, such as some network mounts."""


class Version(BaseModel):
    """Identifies a version of a remote file."""

    model_config = ConfigDict(frozen=True)

    source: str
    """Its address, without secrets."""
    etag: str | None
    modified: str | None
    """Time of the last change, as the server formats it."""
    size: int | None
    """Length in bytes, if the server states it."""

    @classmethod
    def of(cls, source: str, response: requests.Response) -> "Version":
        """Return the version by an unread response with the whole file."""
        return cls(
            source=source,
            etag=response.headers.get("ETag"),
            modified=response.headers.get("Last-Modified"),
            size=response.raw.length_remaining,
        )

    @property
    def condition(self) -> str | None:
        """Value for `If-Range`: not a weak ETag, which only promises a similar file."""
        strong = self.etag is not None and not self.etag.startswith("W/")
        return self.etag if strong else self.modified

    def agrees(self, response: requests.Response, total: int | None) -> bool:
        """Return whether partial content of a file of `total` bytes may be of this version."""
        headers = response.headers
        pairs: list[tuple[object, object]] = [
            (self.etag, headers.get("ETag")),
            (self.modified, headers.get("Last-Modified")),
            (self.size, total),
        ]
        return all(None in pair or pair[0] == pair[1] for pair in pairs)


class PartialFile:
    """A partial file, under a hidden name beside its target.

    Every process uses the same name and so resumes where the last one ended.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.path = path.with_name(f".{path.name}.part")
        self._note = path.with_name(f".{path.name}.part.json")

    def __str__(self) -> str:
        return f"{amount(self.length)} in {self.path}" if self.length else "nothing"

    @property
    def length(self) -> int:
        """Bytes downloaded so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self, source: str) -> Version | None:
        """Return the version of the bytes, if there are any and they come from `source`."""
        try:
            version = Version.model_validate_json(self._note.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return version if self.length and version.source == source else None

    def start(self, version: Version) -> None:
        """Discard the bytes and begin with another version."""
        # In this order, so that the version of the note is never newer than the bytes.
        self.path.write_bytes(b"")
        self._note.write_text(version.model_dump_json())

    def cut(self, length: int) -> None:
        """Keep the first `length` bytes."""
        os.truncate(self.path, length)

    def append(self) -> io.BufferedWriter:
        """Open it to append: buffered, since unbuffered writes may be incomplete."""
        return self.path.open("ab")

    def discard(self) -> None:
        """Remove it."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def move(self, path: Path) -> None:
        """Move the whole file to its target atomically."""
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())
        self.path.replace(path)
        self._note.unlink(missing_ok=True)


def amount(size: float) -> str:
    """Format a number of bytes, e.g. "23.2 GB"."""
    unit = "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.4g} {unit}"


@contextlib.contextmanager
def download_lock(path: Path) -> Iterator[None]:
    """Lock a file; a MeddiffError if another process is downloading it."""
    try:
        lock = _acquire(path)
    except Timeout:
        raise MeddiffError(
            f"another process is downloading {path}: wait until it has ended, then run again"
        ) from None
    try:
        yield
    finally:
        # Before the release: a waiting process sees that the file is gone, and starts over.
        with contextlib.suppress(OSError):
            Path(lock.lock_file).unlink()
        lock.release()


def _acquire(path: Path) -> BaseFileLock:
    lock: BaseFileLock = FileLock(path.with_name(f".{path.name}.lock"), blocking=False)
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in UNLOCKABLE:
            raise
        Path(lock.lock_file).unlink(missing_ok=True)
        lock = SoftFileLock(path.with_name(f".{path.name}.softlock"), blocking=False)
        lock.acquire()
    return lock
