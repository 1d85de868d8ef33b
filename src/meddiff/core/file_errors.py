"""Errors of the file system as one line with a remedy."""

import errno
import json
import os
import shutil
import stat
from pathlib import Path

from meddiff.core.errors import MeddiffError

AFFECTS_RESULTS = False

RECORDS = Path(".snakemake/meddiff/records")
"""Records of the run directory: which rule made each file, and from what."""
FULL_DISK_BYTES = 2**16
"""With less free space than this, an unexplained failure to write means a full disk."""


def explain_write_error(error: Exception, path: Path) -> None:
    """Raise an error with a remedy if the disk is full or `path` not writable, else return."""
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT) or _is_full_disk(error, path):
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


def permission_error(error: BaseException) -> MeddiffError | None:
    """Return an error for a file that this user may not read or write; None for other errors."""
    if not isinstance(error, PermissionError) or not isinstance(error.filename, str | bytes):
        return None
    path = Path(os.fsdecode(error.filename))
    return MeddiffError(
        f"permission denied: {path}{_owned_by(path)}: ask for it to be made readable (and writable "
        "where results are to be written) for you, or work in a copy of your own"
    )


def check_readable(path: str | Path) -> None:
    """Raise an error for a file without permission to read it, which libraries call damaged."""
    try:
        with Path(path).open("rb"):
            pass
    except PermissionError as error:
        raise permission_error(error) or error from None
    except OSError:
        pass


def remedy(path: str | Path, otherwise: str) -> str:
    """Return what to do about a damaged file: what a rule made can be made again."""
    try:
        record = json.loads((RECORDS / f"{path}.json").read_bytes())
        made_by_rule = bool(record["rule"])
    except (OSError, ValueError, TypeError, KeyError):
        made_by_rule = False
    return "move it away and rerun" if made_by_rule else otherwise


def _is_full_disk(error: Exception, path: Path) -> bool:
    """Detect a full disk also from errors of safetensors and NumPy, which have no errno."""
    if "No space left" in str(error):
        return True
    no_errno = isinstance(error, OSError) and error.errno is None
    return no_errno and shutil.disk_usage(path.parent).free < FULL_DISK_BYTES


def _is_about(error: Exception, path: Path) -> bool:
    """Return whether an error is about `path` or its folders, not a file that was being read."""
    name = getattr(error, "filename", None)
    if not isinstance(name, str):
        return True
    return Path(name).parent == path.parent or Path(name) in path.parents


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
