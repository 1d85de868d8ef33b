"""Download files of the registry, by the protocol of their address."""

from collections.abc import Mapping
from pathlib import Path

from meddiff.core.errors import MeddiffError
from meddiff.data.download.http import download, public_address
from meddiff.data.download.kaggle import download_kaggle
from meddiff.data.download.transfer import ATTEMPTS
from meddiff.data.download.verify import Recorded
from meddiff.data.registry import address_of, read_registry

AFFECTS_RESULTS = False


def download_registered(
    file: str,
    path: str | Path,
    mirrors: Mapping[str, str],
    recorded: Recorded | None,
    *,
    attempts: int = ATTEMPTS,
) -> None:
    """Download a file of the registry; it appears only if whole and verified."""
    entry, address = read_registry()[file], address_of(file, mirrors)
    size = int(entry.megabytes * 1e6) if entry.megabytes else None
    scheme, _, place = address.partition("://")
    if scheme == "kaggle":
        download_kaggle(place, path, recorded=recorded, size=size)
    elif scheme in ("http", "https"):
        download(
            address,
            path,
            md5=entry.md5,
            sha256=entry.sha256,
            recorded=recorded,
            size=size,
            attempts=attempts,
        )
    else:
        raise MeddiffError(
            f"{file} has no direct address ({public_address(address)}): set a mirror in "
            f"data.mirrors, or save the file as {path}"
        )
