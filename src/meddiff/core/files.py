"""Write files whole or not at all, and digest them."""

import glob
import hashlib
import logging
import os
import secrets
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from meddiff.core.file_errors import explain_write_error

AFFECTS_RESULTS = False

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

BLOCK_BYTES = 2**20


@contextmanager
def atomic_write(path: str | Path, *, quiet: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it into place only if the block succeeds.

    An existing file at `path` stays untouched when the block fails. The temporary name keeps the
    suffix, since some writers choose their format by it. Whatever the block does to the temporary
    file, its permissions are those of any new file here (umask). `quiet` leaves the file out of the
    log.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(0o666, exist_ok=False)
        mode = stat.S_IMODE(temporary.stat().st_mode)
    except OSError as error:
        explain_write_error(error, path)
        raise
    try:
        yield temporary
        # A writer may have put a file of its own there: safetensors' is for its owner alone.
        temporary.chmod(mode)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        if not quiet:
            log.info("wrote %s", path)
    except Exception as error:
        explain_write_error(error, path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(path: str | Path) -> None:
    """Delete what killed processes left of a file that they wrote by `atomic_write`."""
    path = Path(path)
    for each in path.parent.glob(f".{glob.escape(path.stem)}-{'[0-9a-f]' * 8}{path.suffix}"):
        each.unlink(missing_ok=True)


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_digests(path: str | Path, names: Collection[str]) -> dict[str, str]:
    """Return digests of a file by the names of their algorithms, reading it once."""
    digests = {name: hashlib.new(name, usedforsecurity=False) for name in names}
    with Path(path).open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            for digest in digests.values():
                digest.update(block)
    return {name: digest.hexdigest() for name, digest in digests.items()}


def write_csv(table: "pd.DataFrame", path: str | Path) -> None:
    """Write a table as CSV without its index, whole or not at all."""
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False)


def write_text(text: str, path: str | Path, *, quiet: bool = False) -> None:
    """Write text in UTF-8, whole or not at all; no log if `quiet`."""
    with atomic_write(path, quiet=quiet) as temporary:
        temporary.write_text(text, encoding="utf-8")
