"""Files that are either whole or absent, and their digests."""

import errno
import hashlib
import json
import logging
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from meddiff.core.errors import MeddiffError

AFFECTS_RESULTS = False

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

RECORDS = Path(".snakemake/meddiff/records")
"""Records of the run directory: which files a rule made here, and from what."""
FULL_DISK_BYTES = 2**16
"""With less free than this, an unexplained failure to write means a full disk."""


@contextmanager
def atomic_write(path: str | Path, *, quiet: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it into place only if the block succeeds.

    An existing file at `path` stays untouched when the block fails. The temporary name keeps the
    suffix, since some writers choose their format by it. Whatever the block does to the temporary
    file, its permissions are those of any new file here (umask). `quiet` leaves the file out of the
    log.

    Raises:
        MeddiffError: the folder is read-only or cannot be made, or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(0o666, exist_ok=False)
        mode = stat.S_IMODE(temporary.stat().st_mode)
    except OSError as error:
        _explain(error, path)
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
        _explain(error, path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _explain(error: Exception, path: Path) -> None:
    """Raise what the user can do where the disk refused `path`; leave other errors alone."""
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT) or _hides_full_disk(error, path):
        raise MeddiffError(
            f"no space left on the disk while writing {path}: free some space and run the same "
            "command again (finished files are kept)"
        ) from error
    if not _is_about(error, path):
        return
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        raise MeddiffError(
            f"cannot write {path}: the folder is read-only; make it writable or run in another "
            "folder with --directory"
        ) from error
    if number in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        raise MeddiffError(
            f"cannot write {path}: a file or folder of that name is in the way; move it"
        ) from error


def _hides_full_disk(error: Exception, path: Path) -> bool:
    """Tell a full disk from the errors of safetensors and NumPy, which carry no number."""
    if "No space left" in str(error):
        return True
    unnumbered = isinstance(error, OSError) and error.errno is None
    return unnumbered and shutil.disk_usage(path.parent).free < FULL_DISK_BYTES


def _is_about(error: Exception, path: Path) -> bool:
    """Tell an error of `path` or its folders from one of a file that the block reads."""
    name = getattr(error, "filename", None)
    if not isinstance(name, str):
        return True
    return Path(name).parent == path.parent or Path(name) in path.parents


def refusal(error: BaseException) -> MeddiffError | None:
    """Return a line for a file that this user may not read or write; None for other errors."""
    if not isinstance(error, PermissionError) or not isinstance(error.filename, str | bytes):
        return None
    path = Path(os.fsdecode(error.filename))
    return MeddiffError(
        f"permission denied: {path}{_owned_by(path)}: ask for it to be made readable (and writable "
        "where results are to be written) for you, or work in a copy of your own"
    )


def check_readable(path: str | Path) -> None:
    """Raise a MeddiffError where a file is there but this user may not read it.

    Libraries that open files by themselves tell that as missing, or as damaged.
    """
    try:
        with Path(path).open("rb"):
            pass
    except PermissionError as error:
        raise refusal(error) or error from None
    except OSError:
        pass


def remedy(path: str | Path, otherwise: str) -> str:
    """Return what to do about a broken file: nobody deletes what the workflow cannot make again.

    Args:
        path: the file.
        otherwise: what to do unless a record says that a rule made it.
    """
    try:
        record = json.loads((RECORDS / f"{path}.json").read_bytes())
        made = bool(record["rule"])
    except (OSError, ValueError, TypeError, KeyError):
        made = False
    return "delete it and run again" if made else otherwise


def _owned_by(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return ""
    try:
        owner = path.owner()
    except (KeyError, RuntimeError):  # no such user, or a system without owners
        owner = f"user {status.st_uid}"
    return f" belongs to {owner}, mode {stat.S_IMODE(status.st_mode):o}"


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_csv(table: "pd.DataFrame", path: str | Path) -> None:
    """Write a table as CSV without its index, whole or not at all."""
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False)


def write_text(text: str, path: str | Path) -> None:
    """Write text in UTF-8, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
