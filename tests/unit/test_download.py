"""Downloads appear whole and verified or not at all; missing credentials are explained once."""

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from meddiff.data.download import fetch, fetch_kaggle, kaggle_credentials
from meddiff.errors import MeddiffError

CONTENT = os.urandom(300_000)
SECRET = "0123456789abcdef-secret"


def small_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("train-metadata.csv", ",isic_id,patient_id,target\n")
    return file.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Serve one file, and, as a proxy of http://localhost, Kaggle's download call."""

    asked: list[tuple[str, dict[str, object], str]] = []

    def log_message(self, *_: object) -> None:
        pass

    def send(self, status: int, data: bytes, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        if self.path == "/file":
            self.send(200, CONTENT)
        elif self.path == "/short":
            self.send(200, CONTENT[:1000], len(CONTENT))
        else:
            self.send(404, b"not here")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, body, self.headers["Authorization"]))
        answers = {"there": (200, small_zip()), "page": (200, b"<html>"), "shut": (403, b"")}
        self.send(*answers.get(body["datasetSlug"], (404, b"")))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


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


class TestFetch:
    def test_a_verified_file_arrives(self, server: str, tmp_path: Path) -> None:
        md5 = hashlib.md5(CONTENT).hexdigest()
        sha256 = hashlib.sha256(CONTENT).hexdigest().upper()
        fetch(f"{server}/file", tmp_path / "raw" / "file.zip", md5=md5, sha256=sha256)
        assert (tmp_path / "raw" / "file.zip").read_bytes() == CONTENT
        fetch(f"{server}/file", tmp_path / "raw" / "plain.zip")
        assert (tmp_path / "raw" / "plain.zip").read_bytes() == CONTENT

    @pytest.mark.parametrize("algorithm", ["md5", "sha256"])
    def test_another_checksum_leaves_nothing(
        self, server: str, tmp_path: Path, algorithm: str
    ) -> None:
        good = {"md5": hashlib.md5(CONTENT).hexdigest()}
        wrong = {algorithm: "0" * 32}
        with pytest.raises(MeddiffError, match=rf"/file has {algorithm} \w+, not 000"):
            fetch(f"{server}/file", tmp_path / "raw" / "file.zip", **good | wrong)
        assert list((tmp_path / "raw").iterdir()) == []

    def test_the_old_file_survives_a_failure(self, server: str, tmp_path: Path) -> None:
        (tmp_path / "file.zip").write_bytes(b"old")
        with pytest.raises(MeddiffError):
            fetch(f"{server}/file", tmp_path / "file.zip", md5="0" * 32)
        assert (tmp_path / "file.zip").read_bytes() == b"old"

    @pytest.mark.parametrize(
        ("page", "reason"), [("/absent", "404"), ("/short", "1000 bytes read")]
    )
    def test_failures_leave_nothing(
        self, server: str, tmp_path: Path, page: str, reason: str
    ) -> None:
        with pytest.raises(MeddiffError, match=rf"cannot download .*{page} .*{reason}") as error:
            fetch(f"{server}{page}", tmp_path / "raw" / "file.zip")
        assert "\n" not in str(error.value)
        assert list((tmp_path / "raw").iterdir()) == []

    def test_no_server(self, tmp_path: Path) -> None:
        with pytest.raises(MeddiffError, match="check the address and the network"):
            fetch("http://127.0.0.1:1/file", tmp_path / "file.zip")


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
        kaggle_credentials()

    @pytest.mark.parametrize("place", [token_file, key_file_elsewhere, key_file_in_config])
    def test_the_client_itself_agrees(
        self, bare: Path, monkeypatch: pytest.MonkeyPatch, place
    ) -> None:
        """A sample of the places, since each asks a fresh process that may not go online."""
        place(bare, monkeypatch)
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
        found = subprocess.run(
            [sys.executable, "-c", ASK_CLIENT], capture_output=True, text=True, check=True
        )
        assert found.stdout.splitlines()[-1] == "True"

    def test_a_browser_login_counts(self, bare: Path) -> None:
        (bare / ".kaggle").mkdir()
        (bare / ".kaggle" / "credentials.json").write_text(json.dumps({"refresh_token": SECRET}))
        kaggle_credentials()

    def test_none_are_explained_in_one_line(self, bare: Path) -> None:
        with pytest.raises(MeddiffError) as error:
            kaggle_credentials()
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
        with pytest.raises(MeddiffError, match="no Kaggle credentials"):
            kaggle_credentials()

    def test_half_a_key_does_not_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KAGGLE_USERNAME", "someone")
        with pytest.raises(MeddiffError, match="no Kaggle credentials"):
            kaggle_credentials()


FETCH = """
import sys, traceback
from meddiff.data.download import fetch_kaggle
from meddiff.errors import MeddiffError
try:
    fetch_kaggle(sys.argv[1], sys.argv[2])
except MeddiffError as error:
    assert "requests.exceptions" not in "".join(traceback.format_exception(error))
    sys.exit(str(error))
"""


class TestKaggle:
    """The real client, in a process of its own, sent to a local server in Kaggle's place."""

    @staticmethod
    def fetch(server: str, home: Path, dataset: str, path: Path) -> subprocess.CompletedProcess:
        variables = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "KAGGLE_USERNAME": "someone",
            "KAGGLE_KEY": SECRET,
            # The client then calls http://localhost, and requests asks the proxy for it.
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": server,
        }
        command = [sys.executable, "-c", FETCH, dataset, str(path)]
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)

    def test_the_zip_arrives(self, server: str, bare: Path, tmp_path: Path) -> None:
        path = tmp_path / "raw" / "isic-2018.zip"
        Handler.asked.clear()
        done = self.fetch(server, bare, "owner/there", path)
        assert done.returncode == 0, done.stderr
        assert path.read_bytes() == small_zip()
        assert list(path.parent.iterdir()) == [path]
        address, body, authorisation = Handler.asked[-1]
        assert address.startswith("http://localhost/") and authorisation.startswith("Basic ")
        assert (body["ownerSlug"], body["datasetSlug"]) == ("owner", "there")
        assert SECRET not in done.stdout + done.stderr

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("shut", "Kaggle refused owner/shut (HTTP 403): renew the API token"),
            ("absent", "Kaggle has no data set owner/absent (HTTP 404)"),
            ("page", "Kaggle sent no whole zip of owner/page"),
        ],
    )
    def test_failures_are_one_line_and_leave_nothing(
        self, server: str, bare: Path, tmp_path: Path, name: str, reason: str
    ) -> None:
        path = tmp_path / "raw" / "isic-2018.zip"
        done = self.fetch(server, bare, f"owner/{name}", path)
        assert done.returncode == 1
        assert done.stderr.startswith(reason) and done.stderr.count("\n") == 1
        assert done.stdout == ""
        assert list(path.parent.iterdir()) == []
        assert SECRET not in done.stderr

    def test_a_broken_client_is_one_line(
        self, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token_variable(bare, monkeypatch)
        monkeypatch.setitem(sys.modules, "kaggle", None)
        with pytest.raises(MeddiffError, match="the kaggle package does not start"):
            fetch_kaggle("owner/there", tmp_path / "raw" / "x.zip")
        assert list((tmp_path / "raw").iterdir()) == []

    def test_no_credentials_stop_before_any_call(self, tmp_path: Path) -> None:
        with pytest.raises(MeddiffError, match="no Kaggle credentials"):
            fetch_kaggle("owner/there", tmp_path / "x.zip")
        assert not (tmp_path / "x.zip").exists()
