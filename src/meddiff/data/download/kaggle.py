"""Data sets of Kaggle."""

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import requests

from meddiff.core.errors import MeddiffError
from meddiff.data.download.http import BUSY, UNSAFE, USABLE, ask, patience
from meddiff.data.download.transfer import Interrupted, receive
from meddiff.data.download.verify import Expected, Recorded

AFFECTS_RESULTS = False

ANSWER_SECONDS = 120.0
"""The client itself would wait for an answer for ever."""
KEY = ("username", "key")

T = TypeVar("T")


def kaggle_credentials() -> None:
    """Make sure that there are Kaggle credentials, where the official client (2.2) looks for them.

    They are not sent anywhere, so wrong ones show only at the first download.

    Raises:
        MeddiffError: there are none; it says where to get them and where to put them.
    """
    if _has_token() or _has_key() or _has_login():
        return
    raise MeddiffError(
        "no Kaggle credentials: create an API token in the settings of your kaggle.com account "
        "(https://www.kaggle.com/settings/api) and put it into the variable KAGGLE_API_TOKEN or "
        "the file ~/.kaggle/access_token (an older key goes into KAGGLE_USERNAME and KAGGLE_KEY or "
        f"{_config_folder() / 'kaggle.json'}); `make demo` runs without any"
    )


def fetch_kaggle(
    dataset: str,
    path: str | Path,
    *,
    recorded: Recorded | None = None,
    size: int | None = None,
) -> None:
    """Download a Kaggle data set as the one zip that Kaggle serves; it appears only if whole.

    The official client logs in and asks for the address of the zip; the bytes come as with `fetch`.
    The client's own download starts over after an error page, or keeps the page as data (2.2.4).

    Args:
        dataset: `<owner>/<name>`.
        path: where the zip goes.
        recorded: what it was when it was first fetched.
        size: bytes, about: for the check of free space where the server tells no length.

    Raises:
        MeddiffError: no credentials, refused ones, no such data set, no connection, no zip, another
            one than recorded, no space, or another process that fetches it.
    """
    kaggle_credentials()
    receive(_Dataset(dataset), Path(path), Expected(recorded=recorded, size=size))


class _Dataset:
    def __init__(self, dataset: str) -> None:
        self._dataset = dataset
        self.name = f"https://www.kaggle.com/datasets/{dataset}"

    def open(self, headers: Mapping[str, str]) -> requests.Response:
        told = self._locate()
        if not told.history:
            # No redirect: this is the zip itself.
            return told
        told.close()
        if told.history[0].url.startswith("https:") and not told.url.startswith("https:"):
            raise MeddiffError(f"{self.name} {UNSAFE}")
        response = ask(told.url, headers, self.name)
        if response.status_code not in USABLE:
            response.close()
            # Signed addresses expire; the next attempt has a new one.
            raise Interrupted(f"HTTP {response.status_code}")
        return response

    def _locate(self) -> requests.Response:
        """Let the client ask; its own errors can show signed addresses: none is passed on."""
        try:
            # What it prints has no place between the lines of a log.
            with contextlib.redirect_stdout(io.StringIO()):
                return _within(ANSWER_SECONDS, lambda: _call(self._dataset))
        except ImportError as error:
            raise MeddiffError(
                f"the kaggle package does not start ({error}): install requirements.txt anew"
            ) from error
        except requests.HTTPError as error:
            raise _judge(self._dataset, error.response) from None
        except (requests.RequestException, TimeoutError):
            raise Interrupted("Kaggle does not answer") from None
        except ValueError:
            raise MeddiffError(
                f"{self._dataset} names no Kaggle data set: give <owner>/<name>"
            ) from None


def _call(dataset: str) -> requests.Response:
    """Let the official client ask for a data set; it follows the redirect to the zip."""
    # Importing the client authenticates.
    from kaggle import api
    from kagglesdk.datasets.types.dataset_api_service import (  # type: ignore[import-untyped]
        ApiDownloadDatasetRequest,
    )

    request = ApiDownloadDatasetRequest()
    request.owner_slug, request.dataset_slug, version = api.split_dataset_string(dataset)
    request.dataset_version_number = int(version) if version else None
    with api.build_kaggle_client() as client:
        response: requests.Response = client.datasets.dataset_api_client.download_dataset(request)
    return response


def _within(seconds: float, call: Callable[[], T]) -> T:
    """Return what a call returns, or stop waiting for it with a TimeoutError."""
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:
            answer.set_exception(error)

    Thread(target=run, daemon=True).start()
    return answer.result(timeout=seconds)


def _judge(dataset: str, response: requests.Response | None) -> Exception:
    """Tell what the next attempt may mend from what it will not."""
    if response is None:
        return Interrupted("Kaggle does not answer")
    if response.status_code in BUSY:
        return Interrupted(f"HTTP {response.status_code}", patience().get_retry_after(response.raw))
    return MeddiffError(_explain_kaggle(dataset, response.status_code))


def _explain_kaggle(dataset: str, status: int) -> str:
    page = f"https://www.kaggle.com/datasets/{dataset}"
    if status in (401, 403):
        return (
            f"Kaggle refused {dataset} (HTTP {status}): renew the API token at "
            f"https://www.kaggle.com/settings/api, and accept the terms at {page} if there are any"
        )
    if status == 404:
        return f"Kaggle has no data set {dataset} (HTTP 404): check its name, see {page}"
    return f"cannot download {dataset} from Kaggle (HTTP {status}): see {page} and run again"


def _has_token() -> bool:
    from kagglesdk import get_access_token_from_env  # type: ignore[import-untyped]

    return bool(get_access_token_from_env()[0])


def _has_key() -> bool:
    stored = _stored(_config_folder() / "kaggle.json")
    return all(os.environ.get(f"KAGGLE_{name.upper()}") or stored.get(name) for name in KEY)


def _has_login() -> bool:
    return bool(_stored(Path.home() / ".kaggle" / "credentials.json").get("refresh_token"))


def _config_folder() -> Path:
    """Return the folder in which the client looks for kaggle.json."""
    if folder := os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(folder)
    usual = Path.home() / ".kaggle"
    if usual.exists() or not sys.platform.startswith("linux"):
        return usual
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kaggle"


def _stored(file: Path) -> dict[str, Any]:
    """Return what a file of credentials holds; the client, too, passes over one it cannot read."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
