"""Download data sets of Kaggle."""

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
from meddiff.data.download.http import BUSY, UNSAFE, USABLE, busy_retry, request
from meddiff.data.download.transfer import Interrupted, receive
from meddiff.data.download.verify import Expected, Recorded

AFFECTS_RESULTS = False

RESPONSE_SECONDS = 120.0
"""Timeout of a request, since the client has none."""
KEY = ("username", "key")

T = TypeVar("T")


def check_kaggle_credentials() -> None:
    """Check that there are Kaggle credentials where the official client (2.2) looks for them.

    They are not sent anywhere: wrong ones fail at the first download.
    """
    from kagglesdk import get_access_token_from_env  # type: ignore[import-untyped]

    key = _stored(_config_folder() / "kaggle.json")
    login = _stored(Path.home() / ".kaggle" / "credentials.json")
    if (
        get_access_token_from_env()[0]
        or all(os.environ.get(f"KAGGLE_{name.upper()}") or key.get(name) for name in KEY)
        or login.get("refresh_token")
    ):
        return
    raise MeddiffError(
        "no Kaggle credentials: create an API token in the settings of your kaggle.com account "
        "(https://www.kaggle.com/settings/api) and put it into the variable KAGGLE_API_TOKEN or "
        "the file ~/.kaggle/access_token (an older key goes into KAGGLE_USERNAME and KAGGLE_KEY or "
        f"{_config_folder() / 'kaggle.json'}); `make demo` runs without any"
    )


def download_kaggle(
    dataset: str, path: str | Path, *, recorded: Recorded | None = None, size: int | None = None
) -> None:
    """Download a Kaggle data set, `<owner>/<name>`, as one zip; it appears only if whole.

    The official client logs in and requests the address of the zip, which is downloaded as by
    `download`. The client's own download starts over after an error page, or keeps the page as data
    (2.2.4).
    """
    check_kaggle_credentials()
    receive(_Dataset(dataset), Path(path), Expected(recorded=recorded, size=size))


class _Dataset:
    def __init__(self, dataset: str) -> None:
        self._dataset = dataset
        self.name = f"https://www.kaggle.com/datasets/{dataset}"

    def open(self, headers: Mapping[str, str]) -> requests.Response:
        located = self._locate()
        if not located.history:
            # No redirect: this is the zip itself.
            return located
        located.close()
        if located.history[0].url.startswith("https:") and not located.url.startswith("https:"):
            raise MeddiffError(f"{self.name} {UNSAFE}")
        response = request(located.url, headers, self.name)
        if response.status_code not in USABLE:
            response.close()
            # Signed addresses expire; the next attempt requests a new one.
            raise Interrupted(f"HTTP {response.status_code}")
        return response

    def _locate(self) -> requests.Response:
        """Request the address by the client; its errors, with signed addresses, are replaced."""
        try:
            # Its output would be mixed with the log.
            with contextlib.redirect_stdout(io.StringIO()):
                return _within(RESPONSE_SECONDS, lambda: _call(self._dataset))
        except ImportError as error:
            raise MeddiffError(
                f"the kaggle package does not start ({error}): reinstall requirements.txt"
            ) from error
        except requests.HTTPError as error:
            raise _classify(self._dataset, error.response) from None
        except (requests.RequestException, TimeoutError):
            raise Interrupted("Kaggle does not respond") from None
        except ValueError:
            raise MeddiffError(
                f"{self._dataset} is not the name of a Kaggle data set, <owner>/<name>"
            ) from None


def _call(dataset: str) -> requests.Response:
    """Request a data set by the official client, which follows the redirect to the zip."""
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
    """Return the result of a call, or raise TimeoutError after `seconds`."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as error:
            result.set_exception(error)

    Thread(target=run, daemon=True).start()
    return result.result(timeout=seconds)


def _classify(dataset: str, response: requests.Response | None) -> Exception:
    """Return Interrupted for errors that a retry may solve, else MeddiffError."""
    if response is None:
        return Interrupted("Kaggle does not respond")
    if response.status_code in BUSY:
        return Interrupted(
            f"HTTP {response.status_code}", busy_retry().get_retry_after(response.raw)
        )
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


def _config_folder() -> Path:
    """Return the folder in which the client looks for kaggle.json."""
    if folder := os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(folder)
    usual = Path.home() / ".kaggle"
    if usual.exists() or not sys.platform.startswith("linux"):
        return usual
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kaggle"


def _stored(file: Path) -> dict[str, Any]:
    """Return the content of a file of credentials; like the client, ignore unreadable ones."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
