"""Download a file over HTTP(S)."""

import logging
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.response import BaseHTTPResponse

from meddiff.core.errors import MeddiffError
from meddiff.data.download.transfer import ATTEMPTS, Interrupted, receive
from meddiff.data.download.verify import Expected, Recorded

AFFECTS_RESULTS = False

log = logging.getLogger(__name__)

CONNECT_SECONDS = 15.0
READ_SECONDS = 60.0
"""A connection without a byte for this long has stalled."""
BUSY = (429, 500, 502, 503, 504)
"""Status codes after which the same request may succeed."""
RETRIES = 5
"""Retries of a request with such an answer."""
BACKOFF_SECONDS = 2.0
RETRY_AFTER_MAX_SECONDS = 900
USABLE = (200, 206, 416)
"""Status codes that the transfer handles: the whole file, the rest, or no such range."""
UNSAFE = "redirects to an address without https, which is not followed: use another address"


def download(
    url: str,
    path: str | Path,
    *,
    md5: str | None = None,
    sha256: str | None = None,
    recorded: Recorded | None = None,
    size: int | None = None,
    attempts: int = ATTEMPTS,
) -> None:
    """Download a file over HTTP(S); it appears only if whole and verified.

    Until then the bytes are kept beside `path` under a hidden name, so that a later call, also of
    another process, resumes after an interruption.

    Args:
        size: approximate bytes, to check free space if the server states no length.
        attempts: consecutive attempts without a new byte before giving up.

    Raises:
        MeddiffError: no connection, an error page, a wrong checksum, a damaged zip, a full disk, or
            another process that downloads it.
    """
    receive(_Address(url), Path(path), Expected(md5, sha256, recorded, size), attempts)


def public_address(url: str) -> str:
    """Return an address without user, password, query and fragment, which may be secrets."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def request(url: str, headers: Mapping[str, str], name: str) -> requests.Response:
    """Send a GET request and leave the body of the response unread.

    Raises:
        Interrupted: no response, but the next attempt may have one.
        MeddiffError: no attempt can succeed.
    """
    timeout = (CONNECT_SECONDS, READ_SECONDS)
    try:
        # An open response outlives its session.
        with _session(url) as session:
            return session.get(url, headers=dict(headers), stream=True, timeout=timeout)
    except requests.exceptions.InvalidSchema:
        raise MeddiffError(f"{name} {UNSAFE}") from None
    except (requests.ConnectionError, requests.Timeout) as error:
        if _is_distrusted(error):
            raise MeddiffError(
                f"the certificate of {name} is not trusted: check the address, and the clock and "
                "the certificates of this computer"
            ) from None
        raise Interrupted(_explain(error)) from None
    except requests.RequestException as error:
        raise MeddiffError(
            f"cannot download {name} ({type(error).__name__}): check the address"
        ) from None


class _Address:
    def __init__(self, url: str) -> None:
        _check_scheme(url)
        self._url, self.name = url, public_address(url)

    def open(self, headers: Mapping[str, str]) -> requests.Response:
        response = request(self._url, headers, self.name)
        if response.status_code not in USABLE:
            response.close()
            raise MeddiffError(f"cannot download {self.name} ({_refusal(response.status_code)}")
        return response


def _refusal(status: int) -> str:
    if status in BUSY:
        return f"HTTP {status}, {RETRIES + 1} times): the server is busy or broken; run again later"
    if status in (401, 403):
        return f"HTTP {status}): access denied; check the address and whether it needs a login"
    if status in (404, 410):
        return f"HTTP {status}): not found; check the address"
    return f"HTTP {status}): the server refuses the request; check the address"


def _check_scheme(url: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise MeddiffError("a download address is malformed: check the configuration") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise MeddiffError(
            f"{public_address(url).rpartition('@')[2]} is no download address: use one that "
            "begins with https://"
        )


def _session(url: str) -> requests.Session:
    """Return a session that retries busy servers and never leaves HTTPS."""
    session = requests.Session()
    # With no other adapter, requests refuses a redirect from https to http.
    session.adapters.clear()
    for scheme in {urlsplit(url).scheme, "https"}:
        session.mount(f"{scheme}://", HTTPAdapter(max_retries=busy_retry()))
    return session


class BusyRetry(urllib3.Retry):
    """Wait for a busy server as long as its Retry-After says, up to a limit."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Return the seconds of a server's Retry-After header, or None if there is no valid one."""
        try:
            return super().get_retry_after(response)
        except urllib3.exceptions.InvalidHeader:
            return None

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        """Wait, and log it."""
        if response is not None:
            log.warning("the server answers HTTP %d: retrying after a pause", response.status)
        super().sleep(response)


def busy_retry() -> BusyRetry:
    """Return the retries of a request to a busy server."""
    # Broken connections are handled by the transfer, which counts their bytes.
    return BusyRetry(
        total=RETRIES,
        connect=0,
        read=False,
        other=0,
        status_forcelist=BUSY,
        allowed_methods={"GET"},
        raise_on_status=False,
        backoff_factor=BACKOFF_SECONDS,
        backoff_jitter=BACKOFF_SECONDS,
        retry_after_max=RETRY_AFTER_MAX_SECONDS,
    )


def _cause(error: requests.RequestException) -> object:
    """Return the error of urllib3 that requests wraps."""
    inner = error.args[0] if error.args else error
    return getattr(inner, "reason", inner)


def _is_distrusted(error: requests.RequestException) -> bool:
    cause = _cause(error)
    inner = cause.args[0] if isinstance(cause, Exception) and cause.args else cause
    return isinstance(inner, ssl.SSLCertVerificationError)


def _explain(error: requests.RequestException) -> str:
    """Return why there was no response; the text of the error itself may have secrets."""
    cause = _cause(error)
    if isinstance(cause, urllib3.exceptions.NameResolutionError):
        return "the host is unknown"
    if isinstance(error, requests.Timeout):
        return "no response in time"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy does not respond"
    if isinstance(cause, urllib3.exceptions.NewConnectionError):
        return "no connection"
    return "the connection broke off"
