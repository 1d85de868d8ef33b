"""Verify a downloaded file against published and recorded digests."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from meddiff.core.errors import MeddiffError
from meddiff.core.files import file_digests

AFFECTS_RESULTS = False

RETRY = "the file is removed: rerun, and if that fails, check the"


class Recorded(NamedTuple):
    """SHA-256 (64 hexadecimal digits) of the first download of a file, and where it is recorded."""

    sha256: str
    where: str


@dataclass(frozen=True)
class Expected:
    """Digests (hexadecimal) and approximate bytes of a file, as published or recorded."""

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
        """Whether a digest detects any wrong byte."""
        return bool(self.published or self.recorded)


def verify(file: Path, path: Path, source: str, expected: Expected) -> str:
    """Verify a file before it is moved to `path`, and return its SHA-256; a .zip must be a zip."""
    digests = file_digests(file, {"sha256", *expected.published})
    for name, digest in expected.published.items():
        if not digests[name].startswith(digest):
            raise MeddiffError(
                f"{source} has {name} {digests[name]}, not the published {digest}: it changed or "
                f"was damaged in transfer; {RETRY} address and the checksum"
            )
    if path.suffix == ".zip" and not _is_whole_zip(file):
        raise MeddiffError(f"{source} sent no whole zip; {RETRY} address in a browser")
    if not expected.published and _is_page(file):
        raise MeddiffError(f"{source} sent a web page; {RETRY} address in a browser")
    if expected.recorded and digests["sha256"] != expected.recorded.sha256.lower():
        raise MeddiffError(_explain_change(source, digests["sha256"], expected.recorded))
    return digests["sha256"]


def _is_page(file: Path) -> bool:
    """Return whether a file is an HTML error or login page, which servers send with status 200."""
    with file.open("rb") as stream:
        start = stream.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype html", b"<html"))


def _is_whole_zip(file: Path) -> bool:
    """Return whether a file is a whole zip, with its directory at the end."""
    try:
        zipfile.ZipFile(file).close()
    except (zipfile.BadZipFile, ValueError):
        return False
    return True


def _explain_change(source: str, sha256: str, recorded: Recorded) -> str:
    return (
        f"{source} now serves other bytes (sha256 {sha256}) than those recorded in "
        f"{recorded.where} (sha256 {recorded.sha256}): the file is removed; to accept the new "
        "version, move that record away and rerun"
    )
