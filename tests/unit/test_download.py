"""Downloads go on after breaks, and appear whole and verified or not at all."""

import contextlib
import datetime
import errno
import fcntl
import hashlib
import io
import ipaddress
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fault_server import (
    SIGNATURE,
    Blocks,
    Break,
    Content,
    Cut,
    Direct,
    Fault,
    FaultServer,
    Flip,
    Framing,
    Gzip,
    HangUp,
    NoConditions,
    NoRanges,
    Pieces,
    Redirect,
    Stall,
    Status,
    Validators,
)
from meddiff.core.errors import MeddiffError
from meddiff.data.download import http as over_http
from meddiff.data.download import kaggle as over_kaggle
from meddiff.data.download import transfer
from meddiff.data.download.http import download
from meddiff.data.download.kaggle import check_kaggle_credentials, download_kaggle
from meddiff.data.download.registered import download_registered
from meddiff.data.download.verify import Recorded

CONTENT = random.Random(1).randbytes(300_000)
OTHER = random.Random(2).randbytes(200_000)
FILE = "/2018/images.bin"
SECRET = "0123456789abcdef-secret"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


def make_zip(size: int = 100_000) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("train-metadata.csv", ",isic_id,patient_id,target\n")
        archive.writestr("images.bin", random.Random(3).randbytes(size))
    return file.getvalue()


ZIP = make_zip()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FaultServer]:
    put(tmp_path / "served", FILE, CONTENT)
    with FaultServer(tmp_path / "served") as running:
        yield running


def put(folder: Path, path: str, content: bytes) -> None:
    file = folder / path.removeprefix("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without credentials, and no proxy."""
    for name in os.environ:
        if name.startswith(("KAGGLE_", "XDG_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of milliseconds."""
    monkeypatch.setattr(transfer, "BACKOFF_SECONDS", 0.004)
    monkeypatch.setattr(over_http, "BACKOFF_SECONDS", 0.004)
    # Longer than any answer takes on a busy machine: only stalls wait for it.
    monkeypatch.setattr(over_http, "READ_SECONDS", 10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "images.bin"


def left(path: Path) -> set[str]:
    """Names beside a path."""
    return {file.name for file in path.parent.iterdir()}


def refused(call: Callable[[], None]) -> str:
    """Return the one line of a failure."""
    with pytest.raises(MeddiffError) as error:
        call()
    text = str(error.value)
    assert "\n" not in text
    return text


class TestArrival:
    def test_a_verified_file_arrives(
        self, server: FaultServer, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", "meddiff")
        recorded = Recorded(SHA256, "provenance/images.json")
        download(f"{server.url}{FILE}", path, md5=MD5, sha256=SHA256.upper(), recorded=recorded)
        assert path.read_bytes() == CONTENT
        assert left(path) == {"images.bin"}
        last = caplog.messages[-1]
        assert all(part in last for part in (str(path), "300 kB", f"sha256 {SHA256}"))

    def test_a_checksum_may_be_published_in_part(self, server: FaultServer, path: Path) -> None:
        """As torchvision does, in the names of its weights."""
        download(f"{server.url}{FILE}", path, sha256=SHA256[:8])
        path.unlink()
        wrong = ("0" if SHA256[0] != "0" else "1") + SHA256[1:8]
        with pytest.raises(MeddiffError, match=wrong):
            download(f"{server.url}{FILE}", path, sha256=wrong)

    def test_a_file_may_be_empty(self, server: FaultServer, path: Path) -> None:
        put(server.folder, "/empty", b"")
        download(f"{server.url}/empty", path)
        assert path.read_bytes() == b"" and left(path) == {"images.bin"}

    def test_it_may_come_in_chunks(self, server: FaultServer, path: Path) -> None:
        server.plan(FILE, Framing("chunked"))
        download(f"{server.url}{FILE}", path)
        assert path.read_bytes() == CONTENT

    def test_a_redirect_is_followed(self, server: FaultServer, path: Path) -> None:
        server.plan("/old", Redirect(FILE))
        server.plan(FILE, Break(100_000, times=1))
        download(f"{server.url}/old", path)
        assert path.read_bytes() == CONTENT
        assert server.ranges(FILE) == [None, "bytes=100000-"]

    def test_without_a_length_only_a_checksum_tells(self, server: FaultServer, path: Path) -> None:
        server.plan(FILE, Framing("none"))
        text = refused(lambda: download(f"{server.url}{FILE}", path))
        assert f"{server.url}{FILE} " in text and "length" in text
        download(f"{server.url}{FILE}", path, md5=MD5)
        assert path.read_bytes() == CONTENT
        server.plan(FILE, Framing("none"), Break(1000))
        assert MD5 in refused(lambda: download(f"{server.url}{FILE}", path, md5=MD5))

    def test_encoded_archives_stay_as_they_are(self, server: FaultServer, tmp_path: Path) -> None:
        """Some servers call a .tar.gz a gzip-encoded tar."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            archive.add(server.folder, "MedNIST")
        put(server.folder, "/MedNIST.tar.gz", packed.getvalue())
        server.plan("/MedNIST.tar.gz", Gzip(compress=False), Break(1000, times=1))
        download(f"{server.url}/MedNIST.tar.gz", tmp_path / "MedNIST.tar.gz")
        assert (tmp_path / "MedNIST.tar.gz").read_bytes() == packed.getvalue()
        encodings = {r.headers["accept-encoding"] for r in server.requests}
        assert encodings == {"identity"}

    def test_other_files_must_not_come_encoded(self, server: FaultServer, path: Path) -> None:
        server.plan(FILE, Gzip(compress=True))
        assert "gzip" in refused(lambda: download(f"{server.url}{FILE}", path))
        assert left(path) == set()


class TestBreaks:
    def test_only_the_rest_is_asked_for(self, server: FaultServer, path: Path) -> None:
        server.plan(FILE, Break(100_000, times=2))
        download(f"{server.url}{FILE}", path)
        assert path.read_bytes() == CONTENT
        assert left(path) == {"images.bin"}
        assert server.ranges(FILE) == [None, "bytes=100000-", "bytes=200000-"]
        assert server.sent(FILE) == len(CONTENT)
        conditions = {r.headers.get("if-range") for r in server.requests_of(FILE)[1:]}
        assert len(conditions) == 1 and conditions != {None}

    @pytest.mark.parametrize("fault", [Stall(100_000, times=2), HangUp(times=2)])
    def test_stalls_and_lost_answers_are_breaks(
        self, server: FaultServer, path: Path, fault: Fault, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(over_http, "READ_SECONDS", 1)
        server.plan(FILE, fault)
        download(f"{server.url}{FILE}", path)
        assert path.read_bytes() == CONTENT
        assert server.sent(FILE) == len(CONTENT)

    def test_breaks_in_chunks(self, server: FaultServer, path: Path) -> None:
        server.plan(FILE, Framing("chunked"), Break(100_000, times=2))
        download(f"{server.url}{FILE}", path)
        assert path.read_bytes() == CONTENT
        assert server.sent(FILE) == len(CONTENT)

    def test_progress_buys_more_attempts(self, server: FaultServer, path: Path) -> None:
        breaks = 3 * transfer.ATTEMPTS
        server.plan(FILE, Break(1000, times=breaks))
        download(f"{server.url}{FILE}", path)
        assert path.read_bytes() == CONTENT
        assert len(server.requests_of(FILE)) == breaks + 1

    def test_attempts_without_a_byte_end(
        self, server: FaultServer, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.plan(FILE, Break(100_000, times=1), Break(0, skip=1))
        text = refused(lambda: download(f"{server.url}{FILE}", path))
        assert f"{server.url}{FILE} (" in text
        assert f"100 kB in {path.parent}/.images.bin.part" in text
        assert len(server.requests_of(FILE)) == 1 + transfer.ATTEMPTS
        assert not path.exists()
        server.plan(FILE)
        download(f"{server.url}{FILE}", path)
        assert path.read_bytes() == CONTENT
        assert server.sent(FILE) == len(CONTENT)
        assert "100 kB downloaded" in caplog.text

    def test_a_server_that_breaks_at_the_same_byte_makes_no_progress(
        self, server: FaultServer, path: Path
    ) -> None:
        server.plan(FILE, NoRanges(), Break(100_000))
        refused(lambda: download(f"{server.url}{FILE}", path))
        assert len(server.requests_of(FILE)) == 1 + transfer.ATTEMPTS

    def test_too_long_an_announcement_never_ends_well(
        self, server: FaultServer, path: Path
    ) -> None:
        """The server announces all bytes and never has the last ones."""
        server.plan(FILE, Break(299_000, times=1), Break(0, skip=1))
        refused(lambda: download(f"{server.url}{FILE}", path, md5=MD5))
        assert not path.exists()

    def test_no_server(self, path: Path) -> None:
        text = refused(lambda: download("http://127.0.0.1:1/file", path))
        assert "6 times" in text
        assert left(path) == set()

    def test_no_such_host(self, path: Path) -> None:
        text = refused(lambda: download("http://nowhere.invalid/file", path))
        assert "http://nowhere.invalid/file (" in text

    @given(
        size=st.integers(0, 40_000),
        breaks=st.lists(st.integers(0, 40_000), max_size=4),
        framing=st.sampled_from(["length", "chunked"]),
        ranges=st.booleans(),
    )
    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    def test_wherever_it_breaks_the_file_arrives(
        self,
        server: FaultServer,
        path: Path,
        size: int,
        breaks: list[int],
        framing: str,
        ranges: bool,
    ) -> None:
        content = random.Random(size).randbytes(size)
        put(server.folder, "/any", content)
        faults = [Break(after, skip=turn, times=1) for turn, after in enumerate(breaks)]
        server.plan("/any", Framing(framing), *faults, *([] if ranges else [NoRanges()]))
        server.requests.clear()
        download(f"{server.url}/any", path)
        assert path.read_bytes() == content
        assert left(path) == {"images.bin"}
        # The server's thread counts what it has sent after that has arrived.
        last = time.monotonic() + 5
        while ranges and server.sent("/any") != size and time.monotonic() < last:
            time.sleep(0.01)
        assert server.sent("/any") == size or not ranges


class TestVersions:
    def test_a_server_may_ignore_ranges(self, server: FaultServer, path: Path) -> None:
        server.plan(FILE, NoRanges(), Break(100_000, times=1))
        download(f"{server.url}{FILE}", path)
        assert path.read_bytes() == CONTENT

    @pytest.mark.parametrize("after", [100_000, 250_000])
    @pytest.mark.parametrize("honest", [True, False], ids=["honest", "ignores If-Range"])
    def test_a_file_that_changes_starts_anew(
        self, server: FaultServer, path: Path, after: int, honest: bool
    ) -> None:
        """A server that ignores If-Range answers 206 with another ETag, or 416."""
        faults = [Content(OTHER, skip=1), Break(after, times=1)]
        server.plan(FILE, *faults, *([] if honest else [NoConditions()]))
        download(f"{server.url}{FILE}", path)
        assert path.read_bytes() == OTHER
        assert server.ranges(FILE)[1] == f"bytes={after}-"

    @pytest.mark.parametrize("validators", [{}, {"modified": "Mon, 01 Jun 2026 08:00:00 GMT"}])
    def test_two_versions_of_one_length_never_mix(
        self, server: FaultServer, path: Path, validators: dict[str, str]
    ) -> None:
        """The server sends the rest of the new one, whatever was requested."""
        new = CONTENT[::-1]
        server.plan(FILE, Content(new, skip=1), NoConditions(), Break(100_000, times=1))
        if validators:
            later = Validators(None, "Tue, 02 Jun 2026 08:00:00 GMT", skip=1)
            faults = [Content(new, skip=1), Validators(None, **validators, times=1), later]
            server.plan(FILE, *faults, NoConditions(), Break(100_000, times=1))
        download(f"{server.url}{FILE}", path)
        assert path.read_bytes() == new
        assert server.ranges(FILE) == [None, "bytes=100000-", None]

    def test_another_version_in_the_next_run(self, server: FaultServer, path: Path) -> None:
        server.plan(FILE, Break(100_000, times=1), HangUp(skip=1))
        refused(lambda: download(f"{server.url}{FILE}", path))
        put(server.folder, FILE, OTHER)
        server.plan(FILE)
        download(f"{server.url}{FILE}", path)
        assert path.read_bytes() == OTHER

    def test_another_address_in_the_next_run(self, server: FaultServer, path: Path) -> None:
        server.plan(FILE, Break(100_000, times=1), HangUp(skip=1))
        refused(lambda: download(f"{server.url}{FILE}", path))
        put(server.folder, "/mirror", OTHER)
        download(f"{server.url}/mirror", path)
        assert path.read_bytes() == OTHER
        assert server.ranges("/mirror") == [None]

    def test_the_rest_may_start_earlier(self, server: FaultServer, path: Path) -> None:
        server.plan(FILE, Blocks(4096), Break(100_000, times=2))
        download(f"{server.url}{FILE}", path)
        assert path.read_bytes() == CONTENT
        assert server.sent(FILE) < len(CONTENT) + 2 * 4096

    def test_the_rest_may_come_in_pieces(self, server: FaultServer, path: Path) -> None:
        server.plan(FILE, Pieces(90_000), Break(100_000, times=1))
        download(f"{server.url}{FILE}", path)
        assert path.read_bytes() == CONTENT
        ranges = [None, "bytes=100000-", "bytes=190000-", "bytes=280000-"]
        assert server.ranges(FILE) == ranges

    def test_a_weak_etag_is_no_condition(self, server: FaultServer, path: Path) -> None:
        date = "Mon, 01 Jun 2026 08:00:00 GMT"
        server.plan(FILE, Validators('W/"1"', date), Break(100_000, times=1))
        download(f"{server.url}{FILE}", path)
        assert path.read_bytes() == CONTENT
        assert server.requests_of(FILE)[1].headers["if-range"] == date
        assert server.sent(FILE) == len(CONTENT)

    def test_without_validators_a_checksum_allows_going_on(
        self, server: FaultServer, path: Path
    ) -> None:
        server.plan(FILE, Validators(), Break(100_000, times=1))
        download(f"{server.url}{FILE}", path, sha256=SHA256)
        assert server.ranges(FILE) == [None, "bytes=100000-"]
        server.requests.clear()
        server.plan(FILE, Validators(), Break(100_000, times=1))
        download(f"{server.url}{FILE}", path)
        assert server.ranges(FILE) == [None, None]
        assert path.read_bytes() == CONTENT

    def test_a_mixture_of_versions_is_found_out(self, server: FaultServer, path: Path) -> None:
        """Neither validators nor the length tell them apart."""
        mixed = OTHER + CONTENT[len(OTHER) :]
        server.plan(FILE, Content(mixed, times=1), Validators(), Break(100_000, times=1))
        text = refused(lambda: download(f"{server.url}{FILE}", path, sha256=SHA256))
        assert SHA256 in text and left(path) == set()
        download(f"{server.url}{FILE}", path, sha256=SHA256)
        assert path.read_bytes() == CONTENT

    def test_what_is_whole_is_not_asked_for_again(
        self, server: FaultServer, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(transfer, "verify", interrupt)
            download(f"{server.url}{FILE}", path)
        download(f"{server.url}{FILE}", path)
        assert path.read_bytes() == CONTENT
        assert len(server.requests_of(FILE)) == 1

    @pytest.mark.parametrize("note", [b"", b"{", b'{"source": 3}', b"\xff"])
    def test_a_damaged_note_starts_anew(self, server: FaultServer, path: Path, note: bytes) -> None:
        put(path.parent, ".images.bin.part", b"something")
        put(path.parent, ".images.bin.part.json", note)
        download(f"{server.url}{FILE}", path)
        assert path.read_bytes() == CONTENT
        assert left(path) == {"images.bin"}


def interrupt(*_: object) -> str:
    raise KeyboardInterrupt


class TestChecks:
    @pytest.mark.parametrize("algorithm", ["md5", "sha256"])
    @pytest.mark.parametrize("fault", [Flip(at=1234), Cut(to=299_999)])
    def test_another_checksum_leaves_nothing_new(
        self, server: FaultServer, path: Path, algorithm: str, fault: Fault
    ) -> None:
        put(path.parent, path.name, b"old")
        good = {"md5": MD5, "sha256": SHA256}[algorithm]
        server.plan(FILE, fault, Break(100_000, times=1))
        text = refused(lambda: download(f"{server.url}{FILE}", path, **{algorithm: good}))
        assert all(part in text for part in (f"{server.url}{FILE}", algorithm, good, "rerun"))
        assert path.read_bytes() == b"old" and left(path) == {"images.bin"}
        server.plan(FILE)
        server.requests.clear()
        download(f"{server.url}{FILE}", path, **{algorithm: good})
        assert path.read_bytes() == CONTENT
        assert server.ranges(FILE) == [None]

    def test_all_checksums_count(self, server: FaultServer, path: Path) -> None:
        wrong = "0" * 64
        text = refused(lambda: download(f"{server.url}{FILE}", path, md5=MD5, sha256=wrong))
        assert SHA256 in text and wrong in text

    def test_other_bytes_than_recorded(self, server: FaultServer, path: Path) -> None:
        put(path.parent, path.name, b"old")
        recorded = Recorded(hashlib.sha256(OTHER).hexdigest(), "provenance/images.json")
        text = refused(lambda: download(f"{server.url}{FILE}", path, recorded=recorded))
        assert f"(sha256 {SHA256})" in text
        assert f"provenance/images.json (sha256 {recorded.sha256})" in text
        assert path.read_bytes() == b"old" and left(path) == {"images.bin"}

    @pytest.mark.parametrize("content", [ZIP[:-1000], b"<html>please log in</html>", b""])
    def test_a_zip_must_be_one(self, server: FaultServer, path: Path, content: bytes) -> None:
        """No published checksum, and a length that is right."""
        put(server.folder, "/a.zip", content)
        target = path.with_suffix(".zip")
        text = refused(lambda: download(f"{server.url}/a.zip", target))
        assert f"{server.url}/a.zip " in text and "whole zip" in text
        assert left(target) == set()
        put(server.folder, "/a.zip", ZIP)
        download(f"{server.url}/a.zip", target)
        assert target.read_bytes() == ZIP


class TestRefusals:
    @pytest.mark.parametrize(
        ("code", "what"),
        [
            (400, "refuses"),
            (401, "login"),
            (403, "login"),
            (404, "not found"),
            (410, "not found"),
        ],
    )
    def test_refusals_fail_at_once(
        self, server: FaultServer, path: Path, code: int, what: str
    ) -> None:
        server.plan(FILE, Status(code))
        text = refused(lambda: download(f"{server.url}{FILE}", path))
        assert f"{server.url}{FILE} (HTTP {code}): " in text and what in text
        assert len(server.requests) == 1 and left(path) == set()

    @pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
    def test_a_busy_server_is_asked_again(
        self, server: FaultServer, path: Path, code: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.plan(FILE, Break(100_000, times=1), Status(code, skip=1, times=2))
        download(f"{server.url}{FILE}", path)
        assert path.read_bytes() == CONTENT
        assert server.ranges(FILE) == [None, *["bytes=100000-"] * 3]
        assert f"HTTP {code}" in caplog.text

    def test_a_server_that_stays_busy(self, server: FaultServer, path: Path) -> None:
        server.plan(FILE, Break(100_000, times=1), Status(503, skip=1))
        text = refused(lambda: download(f"{server.url}{FILE}", path))
        assert re.search(rf"{FILE} \(HTTP 503, 6 ", text)
        assert len(server.requests) == 1 + 1 + over_http.RETRIES
        server.plan(FILE)
        download(f"{server.url}{FILE}", path)
        assert server.ranges(FILE)[-1] == "bytes=100000-"

    @pytest.fixture
    def waits(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """Seconds that a fetch would have slept."""
        slept: list[float] = []
        monkeypatch.setattr(time, "sleep", slept.append)
        return slept

    def test_the_server_says_how_long_to_wait(
        self, server: FaultServer, path: Path, waits: list[float]
    ) -> None:
        server.plan(FILE, Status(429, retry_after="7", times=1))
        download(f"{server.url}{FILE}", path)
        assert waits == [7]

    def test_but_not_for_ever(
        self,
        server: FaultServer,
        path: Path,
        waits: list[float],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(over_http, "RETRY_AFTER_MAX_SECONDS", 5)
        server.plan(FILE, Status(429, retry_after="100000", times=3))
        download(f"{server.url}{FILE}", path)
        assert waits == [5, 5, 5]

    @pytest.mark.parametrize(
        "url", ["ftp://host/a.zip", "file:///etc/passwd", "host/a.zip", "", "https:///a.zip"]
    )
    def test_other_addresses_are_none(self, path: Path, url: str) -> None:
        assert "https://" in refused(lambda: download(url, path))

    def test_a_malformed_address(self, path: Path) -> None:
        assert "malformed" in refused(lambda: download("https://[host/a.zip", path))
        assert "cannot download" in refused(lambda: download("https://host:port/a.zip", path))

    def test_redirects_without_end(self, server: FaultServer, path: Path) -> None:
        server.plan(FILE, Redirect(FILE))
        assert "TooManyRedirects" in refused(lambda: download(f"{server.url}{FILE}", path))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    place = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(1))
        .not_valid_after(now + datetime.timedelta(1))
        .add_extension(place, critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return file


class TestHttps:
    @pytest.fixture
    def secure(self, server: FaultServer, certificate: Path) -> Iterator[FaultServer]:
        with FaultServer(server.folder, certificate) as running:
            yield running

    @pytest.fixture
    def trusted(self, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))

    @pytest.mark.usefixtures("trusted")
    def test_it_resumes(self, secure: FaultServer, path: Path) -> None:
        secure.plan(FILE, Break(100_000, times=1))
        download(f"{secure.url}{FILE}", path)
        assert path.read_bytes() == CONTENT
        assert secure.sent(FILE) == len(CONTENT)

    @pytest.mark.usefixtures("trusted")
    def test_it_is_never_left(self, secure: FaultServer, server: FaultServer, path: Path) -> None:
        secure.plan(FILE, Redirect(f"{server.url}{FILE}"))
        text = refused(lambda: download(f"{secure.url}{FILE}", path))
        assert f"{secure.url}{FILE} redirects" in text
        assert server.requests == []

    @pytest.mark.usefixtures("trusted")
    def test_it_may_be_reached(self, secure: FaultServer, server: FaultServer, path: Path) -> None:
        server.plan(FILE, Redirect(f"{secure.url}{FILE}"))
        download(f"{server.url}{FILE}", path)
        assert path.read_bytes() == CONTENT

    def test_an_unknown_certificate_fails_at_once(self, secure: FaultServer, path: Path) -> None:
        text = refused(lambda: download(f"{secure.url}{FILE}", path))
        assert "certificate" in text and f"{secure.url}{FILE} " in text


class TestSecrets:
    @pytest.mark.parametrize(
        "faults",
        [
            [],
            [HangUp()],
            [Stall(0)],
            [Status(403)],
            [Status(503)],
            [Status(429, retry_after="soon")],
            [Redirect("ftp://someone:s3cret@host/?X-Signature=5ec2e7")],
            [Redirect(f"http://127.0.0.1:1{FILE}?X-Signature=5ec2e7")],
            [Flip()],
            [Break(100_000, times=2)],
            [Gzip(compress=True)],
        ],
        ids=lambda faults: "+".join(type(fault).__name__ for fault in faults),
    )
    def test_addresses_never_show_them(
        self,
        server: FaultServer,
        path: Path,
        faults: list[Fault],
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(over_http, "READ_SECONDS", 0.05)
        caplog.set_level("INFO")
        server.plan(FILE, *faults)
        address = server.url.replace("//", "//someone:s3cret@")
        texts = []
        with contextlib.suppress(MeddiffError):
            try:
                download(f"{address}{FILE}?X-Signature=5ec2e7#5ec2e7", path, sha256=SHA256)
            except MeddiffError as error:
                texts.append(str(error))
                raise
        texts += [caplog.text, *capfd.readouterr()]
        texts += [file.read_text() for file in path.parent.glob(".*.json")]
        assert server.requests[0].headers["authorization"].startswith("Basic ")
        assert server.requests[0].query == "X-Signature=5ec2e7"
        assert not [text for text in texts if "s3cret" in text or "5ec2e7" in text]

    def test_addresses_of_no_use_do_not_either(self, path: Path) -> None:
        for url in ("ftp://someone:s3cret@host/?s3cret", "https://[s3cret", "s3cret:s3cret@x?"):
            assert "s3cret@" not in refused(lambda url=url: download(url, path))


class TestRoom:
    @staticmethod
    def leave(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
        usage = SimpleNamespace(total=10**12, used=0, free=free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    def test_it_is_checked_before_the_first_byte(
        self, server: FaultServer, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.leave(monkeypatch, 299_999)
        text = refused(lambda: download(f"{server.url}{FILE}", path))
        assert re.search(rf"\b300 kB .*{path.parent}\b.*\b300 kB free", text)
        assert left(path) == set()
        self.leave(monkeypatch, 300_000)
        download(f"{server.url}{FILE}", path)

    def test_what_is_there_counts(
        self, server: FaultServer, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.plan(FILE, Break(100_000, times=1), HangUp(skip=1))
        refused(lambda: download(f"{server.url}{FILE}", path))
        server.plan(FILE)
        self.leave(monkeypatch, 199_999)
        assert "it needs 200 kB" in refused(lambda: download(f"{server.url}{FILE}", path))
        self.leave(monkeypatch, 200_000)
        download(f"{server.url}{FILE}", path)
        assert path.read_bytes() == CONTENT and server.sent(FILE) < 2 * len(CONTENT)

    def test_without_a_length_the_expected_size_counts(
        self, server: FaultServer, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.leave(monkeypatch, 10**9)
        server.plan(FILE, Framing("chunked"))
        text = refused(lambda: download(f"{server.url}{FILE}", path, size=23_200_000_000))
        assert re.search(rf"\b23\.2 GB .*{path.parent}\b.*\b1 GB free", text)

    @pytest.mark.parametrize("room", [150_000, len(CONTENT) - 1])
    def test_a_file_that_may_not_grow(self, server: FaultServer, path: Path, room: int) -> None:
        """The operating system writes a part, then refuses, as on a disk that fills up."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            text = refused(lambda: download(f"{server.url}{FILE}", path))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert str(path) in text and os.strerror(errno.EFBIG) in text
        download(f"{server.url}{FILE}", path)
        assert path.read_bytes() == CONTENT
        assert server.ranges(FILE)[-1] == f"bytes={room}-"

    def test_a_file_in_the_place_of_the_folder(self, server: FaultServer, path: Path) -> None:
        put(path.parent.parent, path.parent.name, b"")
        text = refused(lambda: download(f"{server.url}{FILE}", path))
        assert f"{path} (" in text


FETCH = """
import logging, sys
from meddiff.data.download import transfer
from meddiff.data.download.http import download
from meddiff.core.errors import MeddiffError
logging.basicConfig(level="INFO")
transfer.BACKOFF_SECONDS = 0.01
try:
    download(sys.argv[1], sys.argv[2])
except MeddiffError as error:
    sys.exit(str(error))
"""


def start(url: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, url, str(path)],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


class TestProcesses:
    def test_a_killed_one_loses_nothing_and_blocks_nobody(
        self, server: FaultServer, path: Path
    ) -> None:
        server.plan(FILE, Stall(200_000))
        part = path.with_name(".images.bin.part")
        with start(f"{server.url}{FILE}", path) as process:
            wait_for(lambda: part.exists() and part.stat().st_size == 200_000)
            process.send_signal(signal.SIGKILL)
        assert not path.exists()
        server.plan(FILE)
        with start(f"{server.url}{FILE}", path) as process:
            output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        assert path.read_bytes() == CONTENT and left(path) == {"images.bin"}
        assert server.ranges(FILE) == [None, "bytes=200000-"]
        assert server.sent(FILE) == len(CONTENT)
        assert f"sha256 {SHA256}" in output

    @pytest.mark.filterwarnings("ignore:flock not supported")
    @pytest.mark.parametrize("number", [None, errno.ENOSYS, errno.ENOLCK])
    def test_only_one_fetches_a_file(
        self,
        server: FaultServer,
        path: Path,
        monkeypatch: pytest.MonkeyPatch,
        number: int | None,
    ) -> None:
        """Also where the file system knows no locks."""
        if number:
            monkeypatch.setattr(fcntl, "flock", lambda *_: failing(number))
        server.plan(FILE, Stall(200_000, times=1))
        monkeypatch.setattr(over_http, "READ_SECONDS", 3)
        first = threading.Thread(target=download, args=(f"{server.url}{FILE}", path))
        first.start()
        wait_for(lambda: server.sent(FILE) == 200_000)
        text = refused(lambda: download(f"{server.url}{FILE}", path))
        assert "another process" in text and str(path) in text
        first.join()
        assert path.read_bytes() == CONTENT and left(path) == {"images.bin"}
        assert server.ranges(FILE) == [None, "bytes=200000-"]

    def test_many_at_once_make_one_good_file(self, server: FaultServer, path: Path) -> None:
        server.plan(FILE, *[Break(n, times=1, skip=n) for n in range(1, 8)])
        processes = [start(f"{server.url}{FILE}", path) for _ in range(4)]
        outputs = [process.communicate(timeout=120)[0] for process in processes]
        assert any(process.returncode == 0 for process in processes), outputs
        assert path.read_bytes() == CONTENT and left(path) == {"images.bin"}
        failed = [o for p, o in zip(processes, outputs, strict=True) if p.returncode]
        assert all("another process" in output for output in failed)


def failing(number: int) -> None:
    raise OSError(number, os.strerror(number))


def token_variable(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", SECRET)


def key_variables(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", SECRET)


def token_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "access_token").write_text(SECRET)


def write_key(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "kaggle.json").write_text(json.dumps({"username": "someone", "key": SECRET}))


def key_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_key(home / ".kaggle")


def key_file_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_key(home / "elsewhere")
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(home / "elsewhere"))


def key_file_in_config(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("the client looks here on Linux only")
    write_key(home / ".config" / "kaggle")


def key_half_in_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "kaggle.json").write_text(json.dumps({"key": SECRET}))
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")


PLACES = [
    token_variable,
    key_variables,
    token_file,
    key_file,
    key_file_elsewhere,
    key_file_in_config,
    key_half_in_file,
]

ASK_CLIENT = """
import kagglesdk.kaggle_http_client, kaggle
from kaggle.api.kaggle_api_extended import KaggleApi
KaggleApi._introspect_token = lambda self, token: "someone"
api = KaggleApi()
api._load_config()
print(api._authenticate_with_access_token() or api._authenticate_with_legacy_apikey())
"""


class TestCredentials:
    @pytest.mark.parametrize("place", PLACES)
    def test_every_place_of_the_client_counts(
        self, bare: Path, monkeypatch: pytest.MonkeyPatch, place
    ) -> None:
        place(bare, monkeypatch)
        check_kaggle_credentials()

    @pytest.mark.parametrize("place", [token_file, key_file_elsewhere, key_file_in_config])
    def test_the_client_itself_agrees(
        self, bare: Path, monkeypatch: pytest.MonkeyPatch, place
    ) -> None:
        """A sample of the places, since each asks a fresh process that may not go online."""
        place(bare, monkeypatch)
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
        result = subprocess.run(
            [sys.executable, "-c", ASK_CLIENT], capture_output=True, text=True, check=True
        )
        assert result.stdout.splitlines()[-1] == "True"

    def test_a_browser_login_counts(self, bare: Path) -> None:
        (bare / ".kaggle").mkdir()
        (bare / ".kaggle" / "credentials.json").write_text(json.dumps({"refresh_token": SECRET}))
        check_kaggle_credentials()

    def test_none_are_explained_in_one_line(self, bare: Path) -> None:
        with pytest.raises(MeddiffError) as error:
            check_kaggle_credentials()
        text = str(error.value)
        assert "\n" not in text
        for part in (
            "KAGGLE_API_TOKEN",
            "KAGGLE_USERNAME and KAGGLE_KEY",
            "~/.kaggle/access_token",
            "kaggle.json",
            "https://www.kaggle.com/settings",
            "make demo",
        ):
            assert part in text

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"username": "someone"}', '{"key": ""}'])
    def test_a_file_without_a_key_does_not_count(self, bare: Path, content: str) -> None:
        (bare / ".kaggle").mkdir()
        (bare / ".kaggle" / "kaggle.json").write_text(content)
        (bare / ".kaggle" / "access_token").write_text(" \n")
        with pytest.raises(MeddiffError, match="KAGGLE_API_TOKEN"):
            check_kaggle_credentials()

    def test_half_a_key_does_not_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KAGGLE_USERNAME", "someone")
        with pytest.raises(MeddiffError, match="KAGGLE_API_TOKEN"):
            check_kaggle_credentials()


KAGGLE = """
import sys, traceback
from meddiff.data.download import http, transfer
from meddiff.data.download.kaggle import download_kaggle
from meddiff.core.errors import MeddiffError
transfer.BACKOFF_SECONDS = http.BACKOFF_SECONDS = 0.01
try:
    download_kaggle(sys.argv[1], sys.argv[2])
except MeddiffError as error:
    assert "requests.exceptions" not in "".join(traceback.format_exception(error))
    sys.exit(str(error))
"""
THERE = "/kaggle/owner/there"
ARCHIVE = f"{THERE}.zip"
LOGIN = {"KAGGLE_USERNAME": "someone", "KAGGLE_KEY": SECRET}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "isic-2018.zip"


@pytest.fixture
def stand_in(server: FaultServer) -> FaultServer:
    """A server in Kaggle's place, with data sets."""
    put(server.folder, ARCHIVE, ZIP)
    put(server.folder, "/kaggle/owner/page.zip", b"<html>")
    return server


def our_ranges(server: FaultServer) -> list[str | None]:
    """Ranges that we requested of the zip; the client opens it before and leaves it unread."""
    headers = [request.headers for request in server.requests_of(ARCHIVE)]
    return [h.get("range") for h in headers if h["accept-encoding"] == "identity"]


class TestKaggleProcess:
    """The real client, in a process of its own, sent to a local server in Kaggle's place."""

    @staticmethod
    def start(server: FaultServer, home: Path, path: Path) -> subprocess.Popen[str]:
        variables = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            **LOGIN,
            **server.as_kaggle,
        }
        return subprocess.Popen(
            [sys.executable, "-c", KAGGLE, "owner/there", str(path)],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @classmethod
    def fetch(cls, server: FaultServer, home: Path, path: Path) -> tuple[int, str]:
        """Return the exit code and the errors."""
        with cls.start(server, home, path) as process:
            output, errors = process.communicate(timeout=120)
        assert output == ""
        for secret in (SECRET, SIGNATURE, SIGNATURE.split("=")[1]):
            assert secret not in errors
        return process.returncode, errors

    def test_the_zip_arrives_after_breaks(
        self, stand_in: FaultServer, bare: Path, target: Path
    ) -> None:
        stand_in.plan(ARCHIVE, Break(40_000, skip=1, times=1), Break(30_000, skip=3, times=1))
        code, errors = self.fetch(stand_in, bare, target)
        assert code == 0, errors
        assert target.read_bytes() == ZIP and left(target) == {"isic-2018.zip"}
        assert our_ranges(stand_in) == [None, "bytes=40000-", "bytes=70000-"]
        call = stand_in.requests_of(THERE)[0]
        assert call.headers["authorization"].startswith("Basic ")
        body = json.loads(call.body)
        assert (body["ownerSlug"], body["datasetSlug"]) == ("owner", "there")
        assert stand_in.requests_of(ARCHIVE)[-1].query == SIGNATURE

    def test_a_killed_process_loses_nothing(
        self, stand_in: FaultServer, bare: Path, target: Path
    ) -> None:
        stand_in.plan(ARCHIVE, Stall(40_000, skip=1))
        part = target.with_name(".isic-2018.zip.part")
        with self.start(stand_in, bare, target) as process:
            wait_for(lambda: part.exists() and part.stat().st_size == 40_000)
            process.send_signal(signal.SIGKILL)
        stand_in.plan(ARCHIVE)
        code, errors = self.fetch(stand_in, bare, target)
        assert code == 0, errors
        assert target.read_bytes() == ZIP and left(target) == {"isic-2018.zip"}
        assert our_ranges(stand_in) == [None, "bytes=40000-"]

    def test_a_refusal_is_one_line(self, stand_in: FaultServer, bare: Path, target: Path) -> None:
        stand_in.plan(THERE, Status(403))
        code, errors = self.fetch(stand_in, bare, target)
        assert code == 1 and errors.count("\n") == 1
        assert re.search(r"owner/there \(HTTP 403\).*\btoken\b", errors)
        assert left(target) == set()


class TestKaggle:
    """The real client in this process."""

    @pytest.fixture(autouse=True)
    def logged_in(self, stand_in: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {**LOGIN, **stand_in.as_kaggle}.items():
            monkeypatch.setenv(name, value)
        # Importing it authenticates.
        for name in [name for name in sys.modules if name.split(".")[0] == "kaggle"]:
            monkeypatch.delitem(sys.modules, name)

    @pytest.fixture(autouse=True)
    def nothing_shows(
        self,
        logged_in: None,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> Iterator[None]:
        yield
        shown = [caplog.text, *capfd.readouterr()]
        secrets = (SECRET, SIGNATURE.split("=")[1])
        assert not [text for text in shown if any(secret in text for secret in secrets)]
        assert shown[1:] == ["", ""]

    @pytest.mark.parametrize("code", [403, 503])
    def test_an_error_page_never_gets_into_the_zip(
        self, stand_in: FaultServer, target: Path, code: int
    ) -> None:
        """The client itself (2.2.4) keeps the page as the first bytes of the zip."""
        stand_in.plan(ARCHIVE, Break(40_000, skip=1, times=1), Status(code, skip=3, times=9))
        with contextlib.suppress(MeddiffError):
            download_kaggle("owner/there", target)
        stand_in.plan(ARCHIVE)
        download_kaggle("owner/there", target)
        assert target.read_bytes() == ZIP
        assert set(our_ranges(stand_in)) == {None, "bytes=40000-"}

    def test_a_signed_address_may_expire(self, stand_in: FaultServer, target: Path) -> None:
        stand_in.plan(ARCHIVE, Break(40_000, skip=1, times=1), Status(403, skip=3, times=1))
        download_kaggle("owner/there", target)
        assert target.read_bytes() == ZIP
        assert our_ranges(stand_in) == [None, "bytes=40000-", "bytes=40000-"]

    @pytest.mark.parametrize("code", [429, 500, 503])
    def test_a_busy_kaggle_is_asked_again(
        self, stand_in: FaultServer, target: Path, code: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        stand_in.plan(THERE, Status(code, times=2), HangUp(skip=2, times=1))
        download_kaggle("owner/there", target)
        assert len(stand_in.requests_of(THERE)) == 4
        assert f"https://www.kaggle.com/datasets/owner/there: HTTP {code}; " in caplog.text

    def test_kaggle_says_how_long_to_wait(
        self, stand_in: FaultServer, target: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        stand_in.plan(THERE, Status(429, retry_after="1", times=1))
        download_kaggle("owner/there", target)
        assert re.search(r"HTTP 429; 0 B .*\b1 s$", caplog.text, re.M)

    @pytest.mark.parametrize(
        ("name", "fault", "reason"),
        [
            ("there", Status(401), r"owner/there \(HTTP 401\).*\btoken\b"),
            ("there", Status(400), r"owner/there .*HTTP 400"),
            ("absent", None, r"owner/absent \(HTTP 404\)"),
            ("page", None, r"^https://www\.kaggle\.com/datasets/owner/page .*whole zip"),
            ("a/b/c", None, "^owner/a/b/c .*<owner>/<name>"),
            ("there", Status(503), r"https://www\.kaggle\.com/datasets/owner/there \(HTTP 503, 6 "),
        ],
    )
    def test_failures_are_one_line_and_leave_nothing(
        self, stand_in: FaultServer, target: Path, name: str, fault: Fault | None, reason: str
    ) -> None:
        stand_in.plan(f"/kaggle/owner/{name}", *([fault] if fault else []))
        text = refused(lambda: download_kaggle(f"owner/{name}", target))
        assert re.search(reason, text)
        assert left(target) == set()

    def test_other_bytes_than_recorded(self, target: Path) -> None:
        text = refused(
            lambda: download_kaggle("owner/there", target, recorded=Recorded(SHA256, "the record"))
        )
        assert SHA256 in text and "the record" in text
        assert left(target) == set()
        recorded = Recorded(hashlib.sha256(ZIP).hexdigest(), "the record")
        download_kaggle("owner/there", target, recorded=recorded)
        assert target.read_bytes() == ZIP

    def test_the_call_itself_may_bring_the_zip(self, stand_in: FaultServer, target: Path) -> None:
        stand_in.plan(THERE, Direct(), Break(40_000, times=1))
        download_kaggle("owner/there", target)
        assert target.read_bytes() == ZIP

    def test_room_is_checked_before_the_first_byte(
        self, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        TestRoom.leave(monkeypatch, 100)
        text = refused(lambda: download_kaggle("owner/there", target))
        assert re.search(r"space .*https://www\.kaggle\.com/datasets/owner/there\b", text)
        assert left(target) == set()

    def test_a_call_without_an_answer_ends(
        self, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(over_kaggle, "RESPONSE_SECONDS", 0.01)
        monkeypatch.setattr(over_kaggle, "_call", lambda _: time.sleep(1))
        text = refused(lambda: download_kaggle("owner/there", target))
        assert re.search(r"respond.* 6 ", text)

    def test_it_never_leaves_https(self, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = SimpleNamespace(url="https://api.kaggle.com/v1")
        response = SimpleNamespace(url="http://host/?signed", history=[first], close=lambda: None)
        monkeypatch.setattr(over_kaggle, "_call", lambda _: response)
        text = refused(lambda: download_kaggle("owner/there", target))
        assert "redirects" in text and "https" in text and "signed" not in text

    def test_a_broken_client_is_one_line(
        self, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "kaggle", None)
        text = refused(lambda: download_kaggle("owner/there", target))
        assert "kaggle package" in text and "requirements.txt" in text
        assert left(target) == set()

    def test_no_credentials_stop_before_any_call(
        self, stand_in: FaultServer, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("KAGGLE_KEY")
        text = refused(lambda: download_kaggle("owner/there", target))
        assert "KAGGLE_API_TOKEN" in text
        assert not target.parent.exists() and stand_in.requests == []


@pytest.mark.parametrize("start", [b"<!DOCTYPE html>", b"\n <html><body>", b"\xef\xbb\xbf<HTML>"])
def test_a_page_is_no_data(server: FaultServer, tmp_path: Path, start: bytes) -> None:
    """A login or an apology with status 200 must not become what is enforced from then on."""
    put(tmp_path / "served", "/table.csv", start + b"please sign in</html>")
    path = tmp_path / "table.csv"
    with pytest.raises(MeddiffError, match=r"table\.csv .*page"):
        download(f"{server.url}/table.csv", path)
    assert not path.exists()


def test_a_mirror_that_cannot_be_asked_shows_no_password(tmp_path: Path) -> None:
    file = "isic/2020/ISIC_2020_Training_Duplicates.csv"
    mirrors = {"https://isic-archive.s3.amazonaws.com": "ftp://user:s3cret@mirror.example.org"}
    with pytest.raises(MeddiffError, match=r"data\.mirrors") as caught:
        download_registered(file, tmp_path / "x.csv", mirrors, None)
    assert "mirror.example.org" in str(caught.value) and "s3cret" not in str(caught.value)
