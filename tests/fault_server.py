"""A server of a folder's files that fails as real servers do, where and when a test asks for it.

    with FaultServer(folder) as server:
        server.plan("/2018/images.zip", Break(after=1000, times=2))
        download(f"{server.url}/2018/images.zip", path)
        assert server.ranges("/2018/images.zip") == [None, "bytes=1000-", "bytes=2000-"]

As a proxy (`server.as_kaggle`) it stands in Kaggle's place, too: the data set `owner/name` is the
file `kaggle/owner/name.zip`. The client's call is answered by a redirect to a signed address, as by
Kaggle; faults of the call are planned at `/kaggle/owner/name`, those of the zip at
`/kaggle/owner/name.zip`. The client opens that address itself before it hands it on: this counts as
a request, and as bytes sent, though nobody reads the answer.
"""

import contextlib
import gzip
import hashlib
import json
import re
import select
import ssl
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Self, cast
from urllib.parse import unquote, urlsplit

SIGNATURE = "X-Goog-Signature=5ec2e7"
"""Query of the signed addresses: it must not show anywhere."""
BLOCK_BYTES = 2**14
KAGGLE_CALL = "/datasets.DatasetApiService/DownloadDataset"


@dataclass
class File:
    """What the server has at a path."""

    content: bytes
    etag: str | None
    modified: str | None = "Mon, 01 Jun 2026 08:00:00 GMT"
    ranges: bool = True
    conditions: bool = True
    block: int = 1
    most: int | None = None


@dataclass
class Answer:
    """What it is about to send."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    framing: str = "length"  # or "chunked", or "none": it ends where the connection ends
    cut: int | None = None
    hang: bool = False
    silent: bool = False


@dataclass
class Request:
    """What came, and how many bytes of the body were sent in return."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes = b""
    status: int = 0
    sent: int = 0


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault of the requests to a path.

    Args:
        times: how many requests it strikes; all if None.
        skip: how many it lets pass before.
    """

    times: int | None = None
    skip: int = 0

    def strikes(self, turn: int) -> bool:
        """Tell whether it strikes a request, counted from 0."""
        return turn >= self.skip and (self.times is None or turn < self.skip + self.times)

    def on_file(self, file: File) -> None:
        """Change what the server has."""

    def on_answer(self, answer: Answer) -> None:
        """Change what it sends."""


@dataclass(frozen=True)
class Break(Fault):
    """The connection ends after so many bytes of the body."""

    after: int

    def on_answer(self, answer: Answer) -> None:
        answer.cut = self.after


@dataclass(frozen=True)
class Stall(Break):
    """Nothing more comes after so many bytes of the body."""

    def on_answer(self, answer: Answer) -> None:
        answer.cut, answer.hang = self.after, True


class HangUp(Fault):
    """The connection ends without an answer."""

    def on_answer(self, answer: Answer) -> None:
        answer.silent = True


@dataclass(frozen=True)
class Status(Fault):
    """An error page."""

    code: int
    retry_after: str | None = None

    def on_answer(self, answer: Answer) -> None:
        answer.status, answer.body = self.code, b"<html>an error page</html>"
        answer.headers = {"Retry-After": self.retry_after} if self.retry_after else {}


@dataclass(frozen=True)
class Redirect(Fault):
    """The file is elsewhere."""

    to: str

    def on_answer(self, answer: Answer) -> None:
        answer.status, answer.body, answer.headers = 302, b"", {"Location": self.to}


@dataclass(frozen=True)
class Content(Fault):
    """Another file is there, under an ETag of its own."""

    content: bytes

    def on_file(self, file: File) -> None:
        file.content, file.etag = self.content, _etag(self.content)


@dataclass(frozen=True)
class Flip(Fault):
    """One byte is wrong; nothing else tells."""

    at: int = 0

    def on_file(self, file: File) -> None:
        wrong = file.content[self.at] ^ 0xFF
        file.content = file.content[: self.at] + bytes([wrong]) + file.content[self.at + 1 :]


@dataclass(frozen=True)
class Cut(Fault):
    """The file was cut at its source: the stated length is that of the rest."""

    to: int

    def on_file(self, file: File) -> None:
        file.content = file.content[: self.to]


class NoRanges(Fault):
    """`Range` is ignored."""

    def on_file(self, file: File) -> None:
        file.ranges = False


class NoConditions(Fault):
    """`If-Range` is ignored."""

    def on_file(self, file: File) -> None:
        file.conditions = False


@dataclass(frozen=True)
class Blocks(Fault):
    """The rest of a file starts at a multiple of so many bytes."""

    size: int

    def on_file(self, file: File) -> None:
        file.block = self.size


@dataclass(frozen=True)
class Pieces(Fault):
    """The rest of a file comes in pieces of so many bytes, each in an answer of its own."""

    size: int

    def on_file(self, file: File) -> None:
        file.most = self.size


@dataclass(frozen=True)
class Validators(Fault):
    """The file has another ETag and another date, or none."""

    etag: str | None = None
    modified: str | None = None

    def on_file(self, file: File) -> None:
        file.etag, file.modified = self.etag, self.modified


@dataclass(frozen=True)
class Framing(Fault):
    """The body comes "chunked", or ends with the connection ("none")."""

    kind: str

    def on_answer(self, answer: Answer) -> None:
        answer.framing = self.kind


@dataclass(frozen=True)
class Gzip(Fault):
    """The answer is called gzip-encoded; the body is compressed, or was it before."""

    compress: bool

    def on_answer(self, answer: Answer) -> None:
        answer.headers["Content-Encoding"] = "gzip"
        if self.compress:
            answer.body = gzip.compress(answer.body)


class Direct(Fault):
    """Kaggle answers the call with the zip itself."""


class FaultServer:
    """Serve the files of a folder on 127.0.0.1 while the context lasts.

    Args:
        folder: the files, each at its path; they may change while the server runs.
        certificate: a PEM file with key and certificate, for HTTPS.
    """

    def __init__(self, folder: Path, certificate: Path | None = None) -> None:
        self.folder = folder
        self.requests: list[Request] = []
        self.closing = Event()
        self._plans: dict[str, Sequence[Fault]] = {}
        self._counts: Counter[str] = Counter()
        self._lock = Lock()
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)

    def __enter__(self) -> Self:
        Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"{self._scheme}://127.0.0.1:{self._http.server_port}"

    @property
    def as_kaggle(self) -> dict[str, str]:
        """Variables that send the official Kaggle client here."""
        # The client then calls http://localhost, and requests asks the proxy for it.
        return {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "http_proxy": self.url, "no_proxy": ""}

    def plan(self, path: str, *faults: Fault) -> None:
        """Plant faults at a path, in place of those before; they count requests from now on."""
        with self._lock:
            self._plans[path] = faults
            self._counts[path] = 0

    def strike(self, path: str) -> list[Fault]:
        """Count a request to a path; return the faults that strike it."""
        with self._lock:
            turn = self._counts[path]
            self._counts[path] += 1
            return [fault for fault in self._plans.get(path, ()) if fault.strikes(turn)]

    def file(self, path: str, faults: Sequence[Fault]) -> File | None:
        """Return what is at a path, if anything is."""
        place = self.folder / path.removeprefix("/")
        if not place.is_file():
            return None
        content = place.read_bytes()
        file = File(content, _etag(content))
        for fault in faults:
            fault.on_file(file)
        return file

    def requests_of(self, path: str) -> list[Request]:
        """Return the requests to a path, the oldest first."""
        return [request for request in self.requests if request.path == path]

    def ranges(self, path: str) -> list[str | None]:
        """Return the requested ranges of a file: None for the whole."""
        return [request.headers.get("range") for request in self.requests_of(path)]

    def sent(self, path: str) -> int:
        """Return how many bytes of bodies were sent from a path."""
        return sum(request.sent for request in self.requests_of(path))


class _Server(ThreadingHTTPServer):
    owner: FaultServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        request = self._note(unquote(parts.path), parts.query, b"")
        faults = self._owner.strike(request.path)
        file = self._owner.file(request.path, faults)
        self._send(request, _serve(file, request) if file else Answer(404), faults)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        call = json.loads(body)
        name = f"/kaggle/{call.get('ownerSlug')}/{call.get('datasetSlug')}"
        request = self._note(name, "", body)
        faults = self._owner.strike(name)
        file = self._owner.file(f"{name}.zip", faults)
        answer = Answer(404)
        if file and any(isinstance(fault, Direct) for fault in faults):
            answer = _serve(file, request)
        elif file and urlsplit(self.path).path.endswith(KAGGLE_CALL):
            # Kaggle, too, sends the client to the address of a store with a signature.
            answer = Answer(302, {"Location": f"http://localhost{name}.zip?{SIGNATURE}"})
        self._send(request, answer, faults)

    @property
    def _owner(self) -> FaultServer:
        return cast(_Server, self.server).owner

    def _note(self, path: str, query: str, body: bytes) -> Request:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, path, query, headers, body)
        self._owner.requests.append(request)
        return request

    def _send(self, request: Request, answer: Answer, faults: Sequence[Fault]) -> None:
        for fault in faults:
            fault.on_answer(answer)
        self.close_connection = True
        request.status = answer.status
        if answer.silent:
            return
        self._send_head(answer)
        with contextlib.suppress(ConnectionError):
            self._send_body(request, answer)
            if answer.hang:
                self._hold()

    def _send_head(self, answer: Answer) -> None:
        self.send_response(answer.status)
        headers = {"Content-Type": "application/octet-stream", **answer.headers}
        if answer.framing == "length":
            headers["Content-Length"] = str(len(answer.body))
        elif answer.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        for name, value in {**headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_body(self, request: Request, answer: Answer) -> None:
        body = answer.body[: answer.cut]
        for start in range(0, len(body), BLOCK_BYTES):
            block = body[start : start + BLOCK_BYTES]
            chunked = answer.framing == "chunked"
            self.wfile.write(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
            request.sent += len(block)
        if answer.framing == "chunked" and answer.cut is None:
            self.wfile.write(b"0\r\n\r\n")

    def _hold(self) -> None:
        """Keep the connection until the other side or the server ends it."""
        while not self._owner.closing.is_set():
            if select.select([self.connection], [], [], 0.02)[0]:
                return


def _etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:16]}"'


def _serve(file: File, request: Request) -> Answer:
    """Answer with a file or the rest of it, as HTTP has it."""
    validators = {"ETag": file.etag, "Last-Modified": file.modified}
    headers = {name: value for name, value in validators.items() if value}
    span = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
    condition = request.headers.get("if-range")
    same = condition in (None, file.etag, file.modified) or not file.conditions
    if not (span and same and file.ranges):
        return Answer(200, headers, file.content)
    start, size = int(span[1]), len(file.content)
    if start >= size:
        return Answer(416, {"Content-Range": f"bytes */{size}"})
    start -= start % file.block
    end = min(size, start + (file.most or size))
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return Answer(206, headers, file.content[start:end])
