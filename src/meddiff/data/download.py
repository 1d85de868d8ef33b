"""Fetch raw archives: whole and verified, or not at all."""

import contextlib
import io
import json
import logging
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pooch
import requests

from meddiff.errors import MeddiffError
from meddiff.files import atomic_write, sha256_file

log = logging.getLogger(__name__)

CHUNK_BYTES = 2**20
KEY = ("username", "key")


def fetch(url: str, path: str | Path, *, md5: str | None = None, sha256: str | None = None) -> None:
    """Download a file over HTTP(S), with a progress bar on a terminal; it appears only if whole.

    Args:
        url: address of the file.
        path: where it goes.
        md5: expected MD5, 32 hexadecimal digits.
        sha256: expected SHA-256, 64 hexadecimal digits.

    Raises:
        MeddiffError: no connection, an error page, a connection that ends early, another checksum,
            or a full disk.
    """
    download = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=CHUNK_BYTES)
    with atomic_write(path) as temporary:
        try:
            download(url, str(temporary), None)
        except requests.RequestException as error:
            raise MeddiffError(
                f"cannot download {url} ({error}): check the address and the network, then run "
                "again"
            ) from error
        _check_digest(url, temporary, "md5", md5)
        _check_digest(url, temporary, "sha256", sha256)
    log.info("downloaded %s (sha256 %s)", path, sha256_file(path))


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


def fetch_kaggle(dataset: str, path: str | Path) -> None:
    """Download a Kaggle data set as the one zip that Kaggle serves; it appears only if whole.

    Args:
        dataset: `<owner>/<name>`.
        path: where the zip goes.

    Raises:
        MeddiffError: no credentials, refused ones, no such data set, no connection, or no zip.
    """
    kaggle_credentials()
    with (
        atomic_write(path) as temporary,
        tempfile.TemporaryDirectory(dir=temporary.parent, prefix=".kaggle-") as folder,
    ):
        _download_kaggle(dataset, folder)
        found = list(Path(folder).glob("*.zip"))
        if len(found) != 1 or not zipfile.is_zipfile(found[0]):
            raise MeddiffError(f"Kaggle sent no whole zip of {dataset}: run again")
        found[0].replace(temporary)
    log.info("downloaded %s (sha256 %s)", path, sha256_file(path))


def _check_digest(url: str, file: Path, algorithm: str, expected: str | None) -> None:
    if expected is None:
        return
    found = pooch.file_hash(str(file), alg=algorithm)
    if found.lower() != expected.lower():
        raise MeddiffError(
            f"{url} has {algorithm} {found}, not {expected}: the file changed, or was damaged on "
            "the way; run again, and if it stays so, check the address in the configuration"
        )


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


def _download_kaggle(dataset: str, folder: str) -> None:
    """Let the official client download a data set into a folder.

    Its own errors can show signed addresses: none is passed on.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            # Importing the client authenticates.
            from kaggle import api

            api.dataset_download_files(dataset, path=folder, quiet=not sys.stderr.isatty())
        except ImportError as error:
            raise MeddiffError(
                f"the kaggle package does not start ({error}): install requirements.txt anew"
            ) from error
        except requests.RequestException as error:
            raise MeddiffError(_explain_kaggle(dataset, error)) from None
        except ValueError:
            raise MeddiffError(
                f"the download of {dataset} from Kaggle broke off: run again"
            ) from None


def _explain_kaggle(dataset: str, error: requests.RequestException) -> str:
    page = f"https://www.kaggle.com/datasets/{dataset}"
    status = error.response.status_code if error.response is not None else None
    if status in (401, 403):
        return (
            f"Kaggle refused {dataset} (HTTP {status}): renew the API token at "
            f"https://www.kaggle.com/settings/api, and accept the terms at {page} if there are any"
        )
    if status == 404:
        return f"Kaggle has no data set {dataset} (HTTP 404): see {page} and data.downloads.kaggle"
    what = f"HTTP {status}" if status else type(error).__name__
    return f"cannot download {dataset} from Kaggle ({what}): check the network and run again"
