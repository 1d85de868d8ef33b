"""Read raw data in place from a folder, a zip, a tar or a compressed tar, by one interface.

Nothing is extracted, so a hostile member name has no path to escape to.
"""

import io
import logging
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from meddiff.core.errors import MeddiffError, first_names
from meddiff.core.file_errors import remedy
from meddiff.core.folders import is_hidden, list_files
from meddiff.data.readers.formats import READERS, reader_of
from meddiff.data.readers.streams import MAX_MEMBER_BYTES, MAX_RATIO, STREAMS, open_stream

log = logging.getLogger(__name__)

BOMB_BYTES = 32 * 2**20
"""Members up to this size may be compressed to any ratio, as an empty mask is."""
_DAMAGE = (
    OSError,
    EOFError,
    RuntimeError,  # zipfile: an encrypted member, or an unsupported method
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
)
KINDS = f"a folder, .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz, or one file of {', '.join(READERS)}"
"""What can be read; of archives the content decides, not the suffix."""


@dataclass(frozen=True)
class _Member:
    size: int
    packed: int
    open: Callable[[], Any]


class Archive:
    """Regular files below a folder or inside an archive, by POSIX name; a context manager.

    Excluded are hidden files, system folders, devices, links in an archive, and names that are
    absolute or contain `..`. Links in a folder are followed. Backslashes in names separate folders,
    as written by some programs on Windows.
    """

    def __init__(self, path: Path, handles: ExitStack) -> None:
        self.path = path
        self._handles = handles
        self._members, self._excluded = _list_members(path, handles)

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *failure: object) -> None:
        self._handles.close()

    def names(self) -> list[str]:
        """Return the names of all files, sorted; excluded ones are logged with the reason."""
        for reason, names in self._excluded.items():
            if names:
                shown = first_names(names)
                log.warning("%s: skipped %d %s: %s", self.path, len(names), reason, shown)
        return sorted(self._members)

    def read(self, name: str) -> bytes:
        """Return one file's bytes; many of a compressed tar are read fastest `in_order`.

        Raises:
            MeddiffError: no such file, a damaged or encrypted one, one larger than
                MAX_MEMBER_BYTES, or a compression bomb.
        """
        if (member := self._members.get(name)) is None:
            raise MeddiffError(f"{self.path} has no file {name}: check the name, or index again")
        _check_size(self.path, name, member)
        try:
            with member.open() as file:
                data = file.read(member.size + 1)
        except _DAMAGE as error:
            raise _damaged(self.path, f"{name}: {error}") from error
        if len(data) != member.size:
            raise _damaged(self.path, f"{name} has {len(data)} of {member.size} bytes")
        return data

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def in_order(self, names: Collection[str]) -> list[str]:
        """Return the named files in the archive's own order, in which they are read fastest."""
        wanted = set(names)
        for name in sorted(wanted - self._members.keys()):
            self.read(name)
        return [name for name in self._members if name in wanted]

    def open(self, name: str) -> BinaryIO:
        """Open one file to read parts of it: a folder's in place, whatever its size."""
        if self.path.is_dir() or is_one_file(self.path):
            return cast(BinaryIO, self._members[name].open())
        return io.BytesIO(self.read(name))

    def start(self, name: str, size: int) -> bytes:
        """Return the first bytes of a file."""
        try:
            with self._members[name].open() as file:
                return bytes(file.read(size))
        except _DAMAGE as error:
            raise _damaged(self.path, f"{name}: {error}") from error


def is_one_file(path: Path) -> bool:
    """Return whether a path is a file of images itself, by its name: an archive of that file."""
    return reader_of(path.name) is not None and path.is_file()


def open_archive(path: str | Path) -> Archive:
    """Open one of KINDS; of archives the content decides, not the suffix."""
    path = Path(path)
    handles = ExitStack()
    try:
        return Archive(path, handles)
    except _DAMAGE as error:
        handles.close()
        if not path.exists():
            raise MeddiffError(f"no such file or folder: {path}; check the path") from error
        raise _damaged(path, str(error)) from error
    except MeddiffError:
        handles.close()
        raise


def _list_members(
    path: Path, handles: ExitStack
) -> tuple[dict[str, _Member], dict[str, list[str]]]:
    """List an archive's members in the order of reading, and excluded names by reason."""
    broken: list[str] = []
    repeated: list[str] = []
    outside: list[str] = []
    entries: Iterable[tuple[str, _Member]]
    if is_one_file(path):
        entries = [(path.name, _file(path))]
    elif path.is_dir():
        files, broken, repeated = list_files(path)
        entries = ((name, _file(file)) for name, file in files.items())
    elif _begins_as_zip(path):
        entries = _list_zip(handles.enter_context(zipfile.ZipFile(path)))
    else:
        entries = _list_tar(handles.enter_context(open_stream(path)), handles)
    members: dict[str, _Member] = {}
    for name, member in entries:
        if (clean := _clean(name)) is None:
            outside.append(repr(name))
        elif clean and not is_hidden(clean):
            if clean in members:
                raise _damaged(path, f"{clean} is in it twice")
            members[clean] = member
    return members, {
        "broken or unreadable links": broken,
        "links to files and folders that are read already": repeated,
        "members with names outside the archive": outside,
    }


def _begins_as_zip(path: Path) -> bool:
    """Return whether a file starts as a zip: a directory at its end may be of a zip in a tar."""
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def _file(path: Path) -> _Member:
    size = path.stat().st_size
    return _Member(size, size, partial(path.open, "rb"))


def _list_zip(archive: zipfile.ZipFile) -> Iterator[tuple[str, _Member]]:
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        kind = stat.S_IFMT(info.external_attr >> 16)
        folder = info.filename.endswith(("/", "\\"))
        if not folder and kind in (0, stat.S_IFREG):
            reader = partial(archive.open, info)
            yield info.filename, _Member(info.file_size, info.compress_size, reader)


def _list_tar(stream: BinaryIO, handles: ExitStack) -> Iterator[tuple[str, _Member]]:
    archive = handles.enter_context(tarfile.TarFile(fileobj=stream))
    for info in archive:
        if info.isreg() and not info.issparse():
            reader = partial(archive.extractfile, info)
            yield info.name, _Member(info.size, info.size, reader)
    _check_tar_end(stream, archive.offset)


def _check_tar_end(stream: BinaryIO, end: int) -> None:
    """Raise if a tar lacks its closing block, which tarfile does not check.

    Reading to the end makes a compressed stream verify its checksum.
    """
    stream.seek(end)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it ends before its closing block")
    while stream.read(2**20):
        pass


def _check_size(path: Path, name: str, member: _Member) -> None:
    if member.size > MAX_MEMBER_BYTES:
        raise MeddiffError(
            f"{name} in {path} has {member.size / 2**20:.0f} MiB, more than the "
            f"limit of {MAX_MEMBER_BYTES // 2**20} MiB: remove it, it is not an image"
        )
    if member.size > BOMB_BYTES and member.size > MAX_RATIO * member.packed:
        raise MeddiffError(
            f"{name} in {path} is compressed more than {MAX_RATIO} times: a compression bomb, "
            "not an image; do not use it"
        )


def _damaged(path: Path, reason: str) -> MeddiffError:
    if "password" in reason:
        return MeddiffError(f"{path} is encrypted ({reason}): unpack it and use the folder")
    if path.is_dir() or not os.access(path, os.R_OK):
        return MeddiffError(f"cannot read {path} ({reason}): make it readable for you")
    if _begins_as_archive(path):
        otherwise = "copy it again, or unpack it elsewhere and name the folder"
        return MeddiffError(f"{path} is truncated or damaged ({reason}): {remedy(path, otherwise)}")
    otherwise = f"images are read from {KINDS}; name one of these"
    return MeddiffError(f"{path} is neither a folder nor an archive: {remedy(path, otherwise)}")


def _begins_as_archive(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(tarfile.BLOCKSIZE)
    tarred = start[257:262] == tarfile.POSIX_MAGIC[:5]
    return tarred or start.startswith((b"PK\x03\x04", b"PK\x05\x06", *STREAMS))


def _clean(name: str) -> str | None:
    """Return a member's plain relative name, or None if it is absolute or has `..`."""
    name = name.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or re.search(r"\0|^[A-Za-z]:", name):
        return None
    return "/".join(parts)
