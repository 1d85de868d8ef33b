"""Published weights: read from torch's hub folder, or fetched into it; never unpickled.

A published digest must hold. Where none is published, the SHA-256 of the first fetch is noted
beside the file and must hold ever after.
"""

import contextlib
import logging
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, hub

from meddiff.core.errors import MeddiffError
from meddiff.core.file_errors import check_readable
from meddiff.core.files import sha256_file, write_text
from meddiff.data.download.registered import download_registered
from meddiff.data.download.verify import Recorded
from meddiff.data.registry import read_registry
from meddiff.extractors.settings import WeightsPolicy
from meddiff.extractors.weights import PretrainedWeights

log = logging.getLogger(__name__)

ATTEMPTS = 2
"""In a row that bring no byte: where there is no network, a run goes on without waiting long."""
READING = (
    OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError, SafetensorError,
)  # fmt: skip
"""What torch and safetensors raise for a file of another format."""


class _UnavailableError(Exception):
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
        policy: `required` stops without them, `auto` takes them where they are available,
            `none` never looks.
        mirrors: addresses to use instead, see `meddiff.data.registry.address_of`.
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
            return _from_hub(which, mirrors)
        state, digest = _read(Path(file)), sha256_file(file)
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


def _from_hub(
    which: PretrainedWeights, mirrors: Mapping[str, str]
) -> tuple[dict[str, Tensor], str, str]:
    path = Path(hub.get_dir(), "checkpoints", which.file)
    record = path.with_name(f"{path.name}.sha256")
    recorded = _recorded(record)
    arrived = not path.exists()
    if arrived:
        try:
            name = f"weights/{which.file}"
            download_registered(name, path, mirrors, recorded, attempts=ATTEMPTS)
        except MeddiffError as error:
            raise _UnavailableError(str(error)) from error
    expected = read_registry()[f"weights/{which.file}"].sha256
    try:
        state = _read(path)
        digest = sha256_file(path)
    except _UnavailableError:
        if arrived:
            path.unlink()  # else it would be taken for the weights the next time
        raise
    if expected and not digest.startswith(expected):
        raise _UnavailableError(f"{path} is damaged (its SHA-256 does not begin with {expected})")
    if not expected and recorded is None:
        # An administrator's folder that is read-only holds what it holds.
        with contextlib.suppress(MeddiffError):
            write_text(f"{digest}\n", record)
    elif not expected and recorded and digest != recorded.sha256:
        raise _UnavailableError(
            f"{path} holds other bytes (sha256 {digest}) than {record} recorded (sha256 "
            f"{recorded.sha256}): move one of the two away, the record if the new bytes are right"
        )
    return state, _line(which, path, digest), digest


def _recorded(record: Path) -> Recorded | None:
    try:
        return Recorded(record.read_text(encoding="utf-8").strip(), str(record))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _UnavailableError(f"{record} cannot be read ({error})") from error


def _read(file: Path) -> dict[str, Tensor]:
    """Return a state dict without running code from its file."""
    try:
        check_readable(file)
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except MeddiffError as error:
        raise _UnavailableError(str(error)) from error
    except READING as error:
        reason = " ".join(str(error).split())[:200]
        raise _UnavailableError(f"{file} is damaged ({reason})") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise _UnavailableError(f"{file} holds no weights alone")
    return dict(state)


def _line(which: PretrainedWeights, file: Path, digest: str) -> str:
    """Name the weights, by their digest where the name of their file does not hold it."""
    if file.name == which.file and digest[:8] in file.name:
        return f"{which.name} ({file.name})"
    return f"{which.name} ({file.name}, SHA-256 {digest[:16]})"
