"""Transfer a remote file: resumed after interruptions, verified, then renamed."""

import contextlib
import logging
import random
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import requests
import urllib3

from meddiff.core.errors import MeddiffError
from meddiff.core.progress import Progress
from meddiff.data.download.part import PartialFile, Version, amount, download_lock
from meddiff.data.download.verify import Expected, verify

AFFECTS_RESULTS = False

log = logging.getLogger(__name__)

CHUNK_BYTES = 2**20
ATTEMPTS = 6
"""Consecutive attempts without a new byte before giving up."""
BACKOFF_SECONDS = 2.0
"""Longest wait after an interruption; it doubles with each attempt without a new byte."""
BACKOFF_MAX_SECONDS = 60.0
PACKED = (".gz", ".tgz")
"""Some servers declare these gzip-encoded by mistake: the bytes sent are the file."""


class Remote(Protocol):
    """A remote file."""

    @property
    def name(self) -> str:
        """Its address without secrets."""

    def open(self, headers: Mapping[str, str]) -> requests.Response:
        """Request the file or the rest of it; return an unread response of status 200, 206 or 416.

        Raises:
            Interrupted: this attempt failed, but the next may succeed.
            MeddiffError: no attempt can succeed.
        """


class Interrupted(Exception):
    """A transfer was interrupted; the next attempt, after `wait` seconds if set, may resume it."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def receive(remote: Remote, path: Path, expected: Expected, attempts: int = ATTEMPTS) -> None:
    """Download a file, which appears at `path` only if whole and verified."""
    started = time.monotonic()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with download_lock(path):
            part = PartialFile(path)
            _Transfer(remote, part, expected, attempts).complete()
            size, sha256 = part.length, _verify(part, path, remote, expected)
            part.move(path)
    except OSError as error:
        raise MeddiffError(
            f"cannot write {path} ({error.strerror or error}): free disk space or make the folder "
            "writable, then rerun (downloaded bytes are kept)"
        ) from error
    seconds = time.monotonic() - started
    log.info("downloaded %s (%s in %.1f s, sha256 %s)", path, amount(size), seconds, sha256)


def _verify(part: PartialFile, path: Path, remote: Remote, expected: Expected) -> str:
    log.info("checking %s (%s)", path, amount(part.length))
    try:
        return verify(part.path, path, remote.name, expected)
    except MeddiffError:
        part.discard()
        raise


class _Transfer:
    def __init__(
        self, remote: Remote, part: PartialFile, expected: Expected, attempts: int
    ) -> None:
        self._remote, self._part, self._expected = remote, part, expected
        self._attempts = attempts

    def complete(self) -> None:
        """Attempt until the file is whole, or there is no progress for too long."""
        furthest = failures = 0
        while True:
            try:
                return self._attempt()
            except Interrupted as error:
                failures = 0 if self._part.length > furthest else failures + 1
                furthest = max(furthest, self._part.length)
                if failures == self._attempts:
                    raise MeddiffError(
                        f"cannot download {self._remote.name} ({error}, {failures} times in a row)"
                        f": check the address and the network, then rerun (kept: {self._part})"
                    ) from None
                self._wait(error, failures)

    def _wait(self, error: Interrupted, failures: int) -> None:
        longest = min(BACKOFF_SECONDS * 2.0**failures, BACKOFF_MAX_SECONDS)
        seconds = random.uniform(longest / 2, longest) if error.wait is None else error.wait
        size = amount(self._part.length)
        log.warning(
            "%s: %s; %s downloaded, next attempt in %.0f s", self._remote.name, error, size, seconds
        )
        time.sleep(seconds)

    def _attempt(self) -> None:
        version = self._part.version(self._remote.name)
        if version and self._part.length == version.size:
            return
        # Without a condition, the rest may be of another version, which only a checksum detects.
        if version and not (version.condition or self._expected.exact):
            version = None
        with contextlib.closing(self._remote.open(self._headers(version))) as response:
            if response.status_code == 200:
                self._copy(response, self._begin(response))
            elif not self._is_whole(response, version):
                self._copy(response, self._resume(response, version))

    def _headers(self, version: Version | None) -> dict[str, str]:
        # An encoded file could not be resumed, and has another length.
        headers = {"Accept-Encoding": "identity"}
        if version:
            headers["Range"] = f"bytes={self._part.length}-"
            if version.condition:
                headers["If-Range"] = version.condition
        return headers

    def _begin(self, response: requests.Response) -> int | None:
        """Prepare for the whole file; return its length in bytes."""
        version = Version.of(self._remote.name, response)
        self._check_form(response, version)
        self._check_space(version.size)
        self._part.start(version)
        size = "of unknown size" if version.size is None else amount(version.size)
        log.info("downloading %s (%s)", self._remote.name, size)
        return version.size

    def _check_form(self, response: requests.Response, version: Version) -> None:
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity" and not self._part.name.endswith(PACKED):
            raise MeddiffError(
                f"{self._remote.name} is sent with encoding {encoding}, against the request: "
                "use another address"
            )
        if version.size is None and not response.raw.chunked and not self._expected.exact:
            raise MeddiffError(
                f"{self._remote.name} is sent without its length and has no checksum, so that a "
                "truncated file cannot be detected: use another address"
            )

    def _is_whole(self, response: requests.Response, version: Version | None) -> bool:
        """Return whether a 416 response means that the file is already complete."""
        length = self._part.length
        ends = response.headers.get("Content-Range") == f"bytes */{length}"
        none_left = response.status_code == 416 and ends
        return none_left and version is not None and version.agrees(response, length)

    def _resume(self, response: requests.Response, version: Version | None) -> int | None:
        """Prepare for the rest of the file; return the length of the whole file in bytes."""
        span = re.match(r"bytes (\d+)-\d+/(\d+|\*)$", response.headers.get("Content-Range", ""))
        start = int(span[1]) if span else self._part.length + 1
        total = int(span[2]) if span and span[2] != "*" else None
        # It may start before the requested byte: some servers send whole blocks.
        fits = response.status_code == 206 and start <= self._part.length
        if not (fits and version and version.agrees(response, total)):
            self._part.discard()
            raise Interrupted("the remote file changed; starting over")
        self._part.cut(start)
        self._check_space(version.size or total)
        log.info("resuming %s after %s", self._remote.name, amount(start))
        return version.size or total

    def _check_space(self, total: int | None) -> None:
        # The partial file counts in any case: it stays, or its space is used again.
        needed = (total or self._expected.size or 0) - self._part.length
        folder = self._part.path.parent
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise MeddiffError(
                f"no space for {self._remote.name}: it needs {amount(needed)} in {folder}, which "
                f"has {amount(free)} free; free some, or run in another folder with --directory"
            )

    def _copy(self, response: requests.Response, total: int | None) -> None:
        """Append the body of a response to the partial file."""
        length = self._part.length
        rest = max((total or self._expected.size or 0) - length, 0)
        bar = Progress(rest // 10**6, f"download {self._part.name}", "megabyte")
        with self._part.append() as file, bar as progress:
            while block := _read(response):
                file.write(block)
                file.flush()  # a killed process loses nothing
                progress.advance((length + len(block)) // 10**6 - length // 10**6)
                length += len(block)
        if total is not None and length != total:
            raise Interrupted("the connection broke off")


def _read(response: requests.Response) -> bytes:
    """Return the bytes received so far; waiting for a full chunk could lose them."""
    try:
        return response.raw.read1(CHUNK_BYTES, decode_content=False) or b""
    except urllib3.exceptions.ReadTimeoutError:
        raise Interrupted("the connection timed out") from None
    except urllib3.exceptions.HTTPError:
        raise Interrupted("the connection broke off") from None
