"""Files of the registry, wherever their addresses lead."""

from collections.abc import Mapping
from pathlib import Path

from meddiff.core.errors import MeddiffError
from meddiff.data.download.http import fetch, show
from meddiff.data.download.kaggle import fetch_kaggle
from meddiff.data.download.transfer import ATTEMPTS
from meddiff.data.download.verify import Recorded
from meddiff.data.registry import address_of, read_registry

AFFECTS_RESULTS = False


def fetch_registered(
    file: str,
    path: str | Path,
    mirrors: Mapping[str, str],
    recorded: Recorded | None,
    *,
    attempts: int = ATTEMPTS,
) -> None:
    """Download a file of the registry; it appears only if whole and verified.

    Args:
        file: its place below `data/raw/published/`.
        path: where it goes.
        mirrors: addresses to use instead, see `meddiff.data.registry.address_of`.
        recorded: what it was when it was first fetched.
        attempts: over HTTP, in a row that bring no byte, before it is given up.

    Raises:
        MeddiffError: it cannot be fetched, or is not what was published or recorded.
    """
    entry, address = read_registry()[file], address_of(file, mirrors)
    size = int(entry.megabytes * 1e6) if entry.megabytes else None
    scheme, _, place = address.partition("://")
    if scheme == "kaggle":
        fetch_kaggle(place, path, recorded=recorded, size=size)
    elif scheme in ("http", "https"):
        fetch(
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
            f"{file} has no address of its own ({show(address)}): name a copy of it in "
            f"data.mirrors, or put it to {path}"
        )
