"""Patients' IDs as keyed digests: HMAC-SHA-256 (RFC 2104), whose key is never shared with results.

Without the key nobody can test whether an ID is among the digests, as one could with a plain hash
of IDs that are few and have a pattern.
"""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from meddiff.core.errors import MeddiffError

VARIABLE = "MEDDIFF_PATIENT_KEY"
LEAST = 16
"""Characters of a key."""
LENGTH = 16
"""Hexadecimal digits of a digest: among a million patients two share one with odds of 1 to 4e7."""


def pseudonym(identity: str) -> str:
    """Return the digest of an ID, LENGTH hexadecimal digits; the same on this machine in all runs.

    The key is the variable VARIABLE, or else a file of this user, made at random at first need.

    Raises:
        MeddiffError: the key is too short, or its file cannot be read or written.
    """
    return hmac.new(_key(), identity.encode(), hashlib.sha256).hexdigest()[:LENGTH]


def _key() -> bytes:
    if text := os.environ.get(VARIABLE):
        if len(text) < LEAST:
            raise MeddiffError(f"{VARIABLE} has {len(text)} characters: set it to {LEAST} or more")
        return text.encode()
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    path = Path(base).expanduser() / "meddiff/patient.key"
    try:
        return _read(path) if path.exists() else _make(path)
    except OSError as error:
        raise MeddiffError(
            f"the key of patients' digests, {path}, cannot be read or written ({error.strerror}): "
            f"make its folder writable, or set {VARIABLE} to a secret of {LEAST} characters or more"
        ) from error


def _read(path: Path) -> bytes:
    key = path.read_bytes().strip()
    if len(key) < LEAST:
        raise MeddiffError(
            f"{path} has {len(key)} characters of {LEAST} or more: it is the key of patients' "
            "digests; move it away, and index again"
        )
    return key


def _make(path: Path) -> bytes:
    """Write a random key that this user alone may read; of several processes the first wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
    return _read(path)
