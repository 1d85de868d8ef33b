"""Bring a file from its source to its place: resumed after breaks, verified, then renamed."""

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
from meddiff.data.download.part import Part, Version, alone, amount
from meddiff.data.download.verify import Expected, verify

AFFECTS_RESULTS = False

log = logging.getLogger(__name__)

CHUNK_BYTES = 2**20
ATTEMPTS = 6
"""In a row that bring no new byte, before it is given up."""
BACKOFF_SECONDS = 2.0
"""Longest wait after a break; it doubles with each attempt in vain."""
BACKOFF_MAX_SECONDS = 60.0
PACKED = (".gz", ".tgz")
"""Servers call these gzip-encoded by mistake: the bytes that they send are the file."""


class Source(Protocol):
    """Where a file comes from."""

    @property
    def name(self) -> str:
        """Its address for people, without secrets."""

    def open(self, headers: Mapping[str, str]) -> requests.Response:
        """Ask for the file or the rest of it; the answer is 200, 206 or 416, its body unread.

        Raises:
            Interrupted: nothing came, but something may the next time.
            MeddiffError: nothing will come.
        """


class Interrupted(Exception):
    """A transfer broke off and may go on with the next attempt.

    Args:
        reason: why, without secrets.
        wait: seconds for which the source asks.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def receive(source: Source, path: Path, expected: Expected, attempts: int = ATTEMPTS) -> None:
    """Bring a file to its place, where it appears only if whole and verified.

    Args:
        source: where it comes from.
        path: where it goes.
        expected: what is known of it.
        attempts: in a row that bring no byte, before it is given up.

    Raises:
        MeddiffError: it cannot be had, is not what was expected, or finds no room; or another
            process is fetching it.
    """
    started = time.monotonic()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path):
            part = Part(path)
            _Transfer(source, part, expected, attempts).complete()
            size, sha256 = part.length, _verify(part, path, source, expected)
            part.move(path)
    except OSError as error:
        raise MeddiffError(
            f"cannot write {path} ({error.strerror or error}): make room on the disk or the folder "
            "writable, then run again (what has arrived is kept)"
        ) from error
    seconds = time.monotonic() - started
    log.info("downloaded %s (%s in %.1f s, sha256 %s)", path, amount(size), seconds, sha256)


def _verify(part: Part, path: Path, source: Source, expected: Expected) -> str:
    log.info("checking %s (%s)", path, amount(part.length))
    try:
        return verify(part.path, path, source.name, expected)
    except MeddiffError:
        part.discard()
        raise


class _Transfer:
    def __init__(self, source: Source, part: Part, expected: Expected, attempts: int) -> None:
        self._source, self._part, self._expected = source, part, expected
        self._attempts = attempts

    def complete(self) -> None:
        """Attempt until all bytes have arrived, or no new one has for too long."""
        furthest = vain = 0
        while True:
            try:
                return self._attempt()
            except Interrupted as error:
                vain = 0 if self._part.length > furthest else vain + 1
                furthest = max(furthest, self._part.length)
                if vain == self._attempts:
                    raise MeddiffError(
                        f"cannot download {self._source.name} ({error}, {vain} times in a row): "
                        f"check the address and the network, then run again (kept: {self._part})"
                    ) from None
                self._wait(error, vain)

    def _wait(self, error: Interrupted, vain: int) -> None:
        longest = min(BACKOFF_SECONDS * 2.0**vain, BACKOFF_MAX_SECONDS)
        seconds = random.uniform(longest / 2, longest) if error.wait is None else error.wait
        told = (self._source.name, error, amount(self._part.length), seconds)
        log.warning("%s: %s; %s are there, next attempt in %.0f s", *told)
        time.sleep(seconds)

    def _attempt(self) -> None:
        known = self._part.version(self._source.name)
        if known and self._part.length == known.size:
            return
        # Without a condition, the rest may be of another version, and only a checksum would tell.
        if known and not (known.condition or self._expected.exact):
            known = None
        with contextlib.closing(self._source.open(self._headers(known))) as response:
            if response.status_code == 200:
                self._copy(response, self._begin(response))
            elif not self._is_whole(response, known):
                self._copy(response, self._go_on(response, known))

    def _headers(self, known: Version | None) -> dict[str, str]:
        # An encoded file could not be resumed, and its length is another.
        headers = {"Accept-Encoding": "identity"}
        if known:
            headers["Range"] = f"bytes={self._part.length}-"
            if known.condition:
                headers["If-Range"] = known.condition
        return headers

    def _begin(self, response: requests.Response) -> int | None:
        """Make ready for the whole file; return its length in bytes."""
        version = Version.of(self._source.name, response)
        self._check_form(response, version)
        self._check_room(version.size)
        self._part.start(version)
        size = "of unknown size" if version.size is None else amount(version.size)
        log.info("downloading %s (%s)", self._source.name, size)
        return version.size

    def _check_form(self, response: requests.Response, version: Version) -> None:
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity" and not self._part.name.endswith(PACKED):
            raise MeddiffError(
                f"{self._source.name} comes encoded ({encoding}), though it was asked for as it "
                "is: use another address"
            )
        if version.size is None and not response.raw.chunked and not self._expected.exact:
            raise MeddiffError(
                f"{self._source.name} comes without its length, and no checksum is known: nothing "
                "would tell whether it is whole; use another address"
            )

    def _is_whole(self, response: requests.Response, known: Version | None) -> bool:
        """Tell whether there is no rest: so a file ends whose length the server told too late."""
        length = self._part.length
        ends = response.headers.get("Content-Range") == f"bytes */{length}"
        none_left = response.status_code == 416 and ends
        return none_left and known is not None and known.agrees(response, length)

    def _go_on(self, response: requests.Response, known: Version | None) -> int | None:
        """Make ready for the rest of the file; return the length of the whole in bytes."""
        span = re.match(r"bytes (\d+)-\d+/(\d+|\*)$", response.headers.get("Content-Range", ""))
        start = int(span[1]) if span else self._part.length + 1
        total = int(span[2]) if span and span[2] != "*" else None
        # It may start earlier than asked for: some servers send whole blocks.
        fits = response.status_code == 206 and start <= self._part.length
        if not (fits and known and known.agrees(response, total)):
            self._part.discard()
            raise Interrupted("the file changed at its source and starts anew")
        self._part.cut(start)
        self._check_room(known.size or total)
        log.info("going on with %s after %s", self._source.name, amount(start))
        return known.size or total

    def _check_room(self, total: int | None) -> None:
        # What is there counts in any case: it stays, or its room is used again.
        needed = (total or self._expected.size or 0) - self._part.length
        folder = self._part.path.parent
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise MeddiffError(
                f"no room for {self._source.name}: it needs {amount(needed)} in {folder}, which "
                f"has {amount(free)} free; free some, or run in another folder with --directory"
            )

    def _copy(self, response: requests.Response, total: int | None) -> None:
        """Append the body of an answer to what is there."""
        length = self._part.length
        left = max((total or self._expected.size or 0) - length, 0)
        shown = Progress(left // 10**6, f"download {self._part.name}", "megabyte")
        with self._part.append() as file, shown:
            while block := _read(response):
                file.write(block)
                file.flush()  # a killed process loses nothing
                shown.advance((length + len(block)) // 10**6 - length // 10**6)
                length += len(block)
        if total is not None and length != total:
            raise Interrupted("the connection broke off")


def _read(response: requests.Response) -> bytes:
    """Return what has come, at once: a full chunk would be lost if the connection broke in it."""
    try:
        return response.raw.read1(CHUNK_BYTES, decode_content=False) or b""
    except urllib3.exceptions.ReadTimeoutError:
        raise Interrupted("nothing more came in time") from None
    except urllib3.exceptions.HTTPError:
        raise Interrupted("the connection broke off") from None
