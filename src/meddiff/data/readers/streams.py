"""Open a file that may be compressed as a stream, with a limit on what it decompresses to."""

import bz2
import gzip
import io
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

from meddiff.core.errors import MeddiffError

MAX_MEMBER_BYTES = 512 * 2**20
"""Largest member that is read, uncompressed."""
MAX_RATIO = 200
"""Largest compression of a member over BOMB_BYTES; photographs and tables stay below 50."""
MAX_STREAM_BYTES = 2**30
"""A compressed tar may decompress to this size or to MAX_RATIO times its own if larger."""
STREAMS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
"""Compressed streams by their first bytes."""
LONGEST_START = max(map(len, STREAMS))


def open_stream(path: Path) -> BinaryIO:
    """Open a file; a compressed one as what it decompresses to, by its first bytes."""
    with path.open("rb") as file:
        start = file.read(LONGEST_START)
    for begins, opened in STREAMS.items():
        if start.startswith(begins):
            return cast(BinaryIO, _Bounded(cast(BinaryIO, opened(path, "rb")), path))
    return path.open("rb")


class _Bounded(io.BufferedIOBase):
    """A compressed stream with a limit on its decompressed size."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream = stream
        self._path = path
        self._limit = max(MAX_STREAM_BYTES, MAX_RATIO * path.stat().st_size)

    def read(self, size: int | None = -1) -> bytes:
        self._check(self.tell(), size or 0)
        return self._stream.read(-1 if size is None else size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._check(offset, 0)
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._stream.close()
        super().close()

    def _check(self, offset: int, size: int) -> None:
        if size > MAX_MEMBER_BYTES or offset + size > self._limit:
            raise MeddiffError(
                f"{self._path} decompresses to more than {self._limit / 2**30:.0f} GiB: a "
                "compression bomb, not a data set; do not use it"
            )
