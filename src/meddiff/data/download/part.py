"""The part of a file that has arrived, and what tells that the rest belongs to it."""

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
"""What file systems answer that know no locks, as some that are mounted over a network."""


class Version(BaseModel):
    """What tells one version of a remote file from another."""

    model_config = ConfigDict(frozen=True)

    source: str
    """Its address, without secrets."""
    etag: str | None
    modified: str | None
    """When it last changed, as the server writes it."""
    size: int | None
    """Length in bytes, if the server says it."""

    @classmethod
    def of(cls, source: str, response: requests.Response) -> "Version":
        """Read it from an answer that brings the whole file and is still unread."""
        return cls(
            source=source,
            etag=response.headers.get("ETag"),
            modified=response.headers.get("Last-Modified"),
            size=response.raw.length_remaining,
        )

    @property
    def condition(self) -> str | None:
        """What `If-Range` takes: no weak ETag, since that only promises a similar file."""
        strong = self.etag is not None and not self.etag.startswith("W/")
        return self.etag if strong else self.modified

    def agrees(self, response: requests.Response, total: int | None) -> bool:
        """Tell whether an answer with the rest is of this version, as far as it says so.

        Args:
            response: the answer.
            total: length of the whole file in bytes, by the answer.
        """
        said = response.headers
        pairs: list[tuple[object, object]] = [
            (self.etag, said.get("ETag")),
            (self.modified, said.get("Last-Modified")),
            (self.size, total),
        ]
        return all(None in pair or pair[0] == pair[1] for pair in pairs)


class Part:
    """What has arrived of a file, under a hidden name beside its place.

    Every process uses the same name, so that each goes on where the last one ended.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.path = path.with_name(f".{path.name}.part")
        self._note = path.with_name(f".{path.name}.part.json")

    def __str__(self) -> str:
        return f"{amount(self.length)} in {self.path}" if self.length else "nothing"

    @property
    def length(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self, source: str) -> Version | None:
        """Return what the bytes are of, if there are any and they come from `source`."""
        try:
            known = Version.model_validate_json(self._note.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return known if self.length and known.source == source else None

    def start(self, version: Version) -> None:
        """Forget what is there and begin with another version."""
        # In this order, so that the note of one version never stands beside the bytes of another.
        self.path.write_bytes(b"")
        self._note.write_text(version.model_dump_json())

    def cut(self, length: int) -> None:
        """Keep the first `length` bytes."""
        os.truncate(self.path, length)

    def append(self) -> io.BufferedWriter:
        """Open it for more: buffered, since unbuffered writes may leave some bytes out."""
        return self.path.open("ab")

    def discard(self) -> None:
        """Remove it."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def move(self, path: Path) -> None:
        """Put the whole file in its place, in one step."""
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())
        self.path.replace(path)
        self._note.unlink(missing_ok=True)


def amount(size: float) -> str:
    """Write a number of bytes for people, e.g. "23.2 GB"."""
    unit = "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.4g} {unit}"


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other processes from downloading the same file meanwhile.

    Raises:
        MeddiffError: one is at it.
    """
    try:
        lock = _acquire(path)
    except Timeout:
        raise MeddiffError(
            f"another process is downloading {path}: wait until it has ended, then run again"
        ) from None
    try:
        yield
    finally:
        # While it is still held: whoever waits for it sees that the file is gone, and starts over.
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
