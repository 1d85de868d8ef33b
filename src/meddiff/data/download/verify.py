"""What is known of a file before it arrives, and whether it is that file."""

import hashlib
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from meddiff.core.errors import MeddiffError

AFFECTS_RESULTS = False

BLOCK_BYTES = 2**20
AGAIN = "what arrived is removed: run again, and if it stays so, check the"


class Recorded(NamedTuple):
    """What a file was when it was first fetched.

    Args:
        sha256: SHA-256 of its bytes, 64 hexadecimal digits.
        where: name or path of the record that says so.
    """

    sha256: str
    where: str


@dataclass(frozen=True)
class Expected:
    """What is known of a file before it arrives.

    Args:
        md5: published MD5, 32 hexadecimal digits.
        sha256: published SHA-256, 64 hexadecimal digits.
        recorded: what it was when it was first fetched.
        size: bytes, about.
    """

    md5: str | None = None
    sha256: str | None = None
    recorded: Recorded | None = None
    size: int | None = None

    @property
    def published(self) -> dict[str, str]:
        """Published digests by algorithm."""
        digests = {"md5": self.md5, "sha256": self.sha256}
        return {name: digest.lower() for name, digest in digests.items() if digest}

    @property
    def exact(self) -> bool:
        """Whether any wrong byte would be found out."""
        return bool(self.published or self.recorded)


def verify(file: Path, path: Path, source: str, expected: Expected) -> str:
    """Check a file that has arrived whole, as far as anything is known of it.

    Args:
        file: where it is for now.
        path: where it goes; a zip by its suffix must be one.
        source: its address, for messages.
        expected: what is known of it.

    Returns:
        Its SHA-256, 64 hexadecimal digits.

    Raises:
        MeddiffError: it is another file, or a damaged one.
    """
    found = _digests(file, {"sha256", *expected.published})
    for name, digest in expected.published.items():
        if not found[name].startswith(digest):
            raise MeddiffError(
                f"{source} has {name} {found[name]}, not the published {digest}: it changed, or "
                f"was damaged on the way; {AGAIN} address and the checksum"
            )
    if path.suffix == ".zip" and not _is_whole_zip(file):
        raise MeddiffError(f"{source} sent no whole zip; {AGAIN} address in a browser")
    if not expected.published and _is_page(file):
        raise MeddiffError(f"{source} sent a web page; {AGAIN} address in a browser")
    if expected.recorded and found["sha256"] != expected.recorded.sha256.lower():
        raise MeddiffError(_explain_change(source, found["sha256"], expected.recorded))
    return found["sha256"]


def _digests(file: Path, names: Collection[str]) -> dict[str, str]:
    """Return several digests of a file that is read once."""
    digests = {name: hashlib.new(name, usedforsecurity=False) for name in names}
    with file.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            for digest in digests.values():
                digest.update(block)
    return {name: digest.hexdigest() for name, digest in digests.items()}


def _is_page(file: Path) -> bool:
    """Tell a page of apology or of a login, which servers send with status 200, from data."""
    with file.open("rb") as stream:
        start = stream.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype html", b"<html"))


def _is_whole_zip(file: Path) -> bool:
    """Tell a zip from a page or a cut file: its directory stands at the end."""
    try:
        zipfile.ZipFile(file).close()
    except (zipfile.BadZipFile, ValueError):
        return False
    return True


def _explain_change(source: str, found: str, recorded: Recorded) -> str:
    return (
        f"{source} now serves other bytes (sha256 {found}) than those recorded in "
        f"{recorded.where} (sha256 {recorded.sha256}): what arrived is removed; whoever wants the "
        "new version deletes that record and runs again"
    )
