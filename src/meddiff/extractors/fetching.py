"""Published weights: found in torch's hub folder, or fetched there; never unpickled.

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
from meddiff.core.files import check_readable, sha256_file, write_text
from meddiff.data.download import Recorded, fetch_registered
from meddiff.data.registry import read_registry
from meddiff.extractors.weights import Published, Replaceable

log = logging.getLogger(__name__)

ATTEMPTS = 2
"""In a row that bring no byte: where there is no network, a run goes on without waiting long."""
READING = (
    OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError, SafetensorError,
)  # fmt: skip
"""What torch and safetensors raise for a file that is none of theirs."""


class _UnavailableError(Exception):
    """Why weights cannot be had."""


def find_weights(
    which: Replaceable, wanted: str, mirrors: Mapping[str, str]
) -> tuple[dict[str, Tensor] | None, str]:
    """Return published weights, or None, and a line that says which.

    Args:
        which: the weights.
        wanted: "auto" takes them if they can be found or fetched, "none" never looks, and the
            setting's third value insists.
        mirrors: addresses to use instead, see `meddiff.data.registry.address_of`.

    Raises:
        MeddiffError: they are insisted on and cannot be had.
    """
    if wanted == "none":
        return None, f"none ({which.instead}, as configured)"
    if wanted == which.insisting:
        return required_weights(which, mirrors)
    try:
        return _from_hub(which, mirrors)
    except _UnavailableError as reason:
        log.warning("%s: %s; %s instead", which.name, reason, which.instead)
        return None, (
            f"none ({which.instead}: {which.name} could not be had; delete {which.result} to try "
            "again)"
        )


def required_weights(
    which: Published, mirrors: Mapping[str, str], file: str | Path | None = None
) -> tuple[dict[str, Tensor], str]:
    """Return published weights, and a line that says which.

    Args:
        which: the weights.
        mirrors: addresses to use instead, see `meddiff.data.registry.address_of`.
        file: the user's own copy, .safetensors or in torch's format, to read in place of torch's
            hub folder and of what is published.

    Raises:
        MeddiffError: they cannot be had.
    """
    try:
        if file is None:
            return _from_hub(which, mirrors)
        return _read(Path(file)), _line(which, Path(file))
    except _UnavailableError as reason:
        remedy = (
            f"put {which.file} into torch's hub folder (checkpoints/)"
            if file is None
            else "name another file"
        )
        raise MeddiffError(f"{which.name}: {reason}; {remedy} or {which.otherwise}") from reason


def _from_hub(which: Published, mirrors: Mapping[str, str]) -> tuple[dict[str, Tensor], str]:
    held = Path(hub.get_dir(), "checkpoints", which.file)
    note = held.with_name(f"{held.name}.sha256")
    recorded = _recorded(note)
    arrived = not held.exists()
    if arrived:
        try:
            name = f"weights/{which.file}"
            fetch_registered(name, held, mirrors, recorded, attempts=ATTEMPTS)
        except MeddiffError as error:
            raise _UnavailableError(str(error)) from error
    published = read_registry()[f"weights/{which.file}"].sha256
    try:
        state = _read(held)
        found = sha256_file(held)
    except _UnavailableError:
        if arrived:
            held.unlink()  # else it would be taken for the weights the next time
        raise
    if published and not found.startswith(published):
        raise _UnavailableError(f"{held} is damaged (its SHA-256 does not begin with {published})")
    if not published and recorded is None:
        # An administrator's folder that is read-only holds what it holds.
        with contextlib.suppress(MeddiffError):
            write_text(f"{found}\n", note)
    elif not published and recorded and found != recorded.sha256:
        raise _UnavailableError(
            f"{held} holds other bytes (sha256 {found}) than {note} recorded (sha256 "
            f"{recorded.sha256}): move one of the two away, the record if the new bytes are right"
        )
    return state, _line(which, held)


def _recorded(note: Path) -> Recorded | None:
    try:
        return Recorded(note.read_text(encoding="utf-8").strip(), str(note))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _UnavailableError(f"{note} cannot be read ({error})") from error


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


def _line(which: Published, file: Path) -> str:
    """Name the weights; those whose file does not name its digest are told by it."""
    digest = sha256_file(file)
    if file.name == which.file and digest[:8] in file.name:
        return f"{which.name} ({file.name})"
    return f"{which.name} ({file.name}, SHA-256 {digest[:16]})"
