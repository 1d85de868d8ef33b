"""Published weights: found in torch's hub folder, or fetched there; never unpickled."""

import logging
import pickle
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, hub

from meddiff.errors import MeddiffError
from meddiff.files import sha256_file

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """Weights that somebody publishes.

    Attributes:
        name: what they are, e.g. "ImageNet weights of ResNet50".
        file: their name in torch's hub folder.
        checked: whether the file's name carries the first digits of its SHA-256.
        otherwise: what a user does who cannot have them, e.g. "set hand.weights to none".
    """

    name: str
    file: str
    checked: bool
    otherwise: str


@dataclass(frozen=True)
class Replaceable(Published):
    """Published weights that a run can do without.

    Attributes:
        insisting: the setting's value that does not go without them.
        instead: what is done without them, e.g. "trained from scratch".
        result: the workflow's file to delete before another try.
    """

    insisting: str
    instead: str
    result: str


IMAGENET = Replaceable(
    name="ImageNet weights of ResNet50",
    file="resnet50-11ad3fa6.pth",
    checked=True,
    otherwise="set extractors.resnet50.weights to auto or none",
    insisting="imagenet",
    instead="trained from scratch",
    result="models/imagenet_resnet50.safetensors",
)
RADIMAGENET = Replaceable(
    name="RadImageNet weights of ResNet50",
    file="RadImageNet-ResNet50_notop.pth",
    checked=False,
    otherwise="set hand.weights to auto or none",
    insisting="radimagenet",
    instead="random weights",
    result="models/radimagenet_resnet50.safetensors",
)


READING = (
    OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError, SafetensorError,
)  # fmt: skip
"""What torch and safetensors raise for a file that is none of theirs."""


class _UnavailableError(Exception):
    """Why weights cannot be had."""


def find_weights(
    which: Replaceable, wanted: str, address: str
) -> tuple[dict[str, Tensor] | None, str]:
    """Return published weights, or None, and a line that says which.

    Args:
        which: the weights.
        wanted: "auto" takes them if they can be found or fetched, "none" never looks, and the
            setting's third value insists.
        address: where their file is fetched from, unless torch's hub folder has it.

    Raises:
        MeddiffError: they are insisted on and cannot be had.
    """
    if wanted == "none":
        return None, f"none ({which.instead}, as configured)"
    if wanted == which.insisting:
        return required_weights(which, address)
    try:
        return _from_hub(which, address)
    except _UnavailableError as reason:
        log.warning("%s: %s; %s instead", which.name, reason, which.instead)
        return None, (
            f"none ({which.instead}: {which.name} could not be had; delete {which.result} to try "
            "again)"
        )


def required_weights(
    which: Published, address: str, file: str | Path | None = None
) -> tuple[dict[str, Tensor], str]:
    """Return published weights, and a line that says which.

    Args:
        which: the weights.
        address: where their file is fetched from, unless torch's hub folder has it.
        file: the user's own copy, .safetensors or in torch's format, to read in place of both.

    Raises:
        MeddiffError: they cannot be had.
    """
    try:
        if file is None:
            return _from_hub(which, address)
        return _read(Path(file)), _line(which, Path(file))
    except _UnavailableError as reason:
        remedy = (
            f"put {which.file} into torch's hub folder (checkpoints/)"
            if file is None
            else "name another file"
        )
        raise MeddiffError(f"{which.name}: {reason}; {remedy} or {which.otherwise}") from reason


def _from_hub(which: Published, address: str) -> tuple[dict[str, Tensor], str]:
    held = Path(hub.get_dir(), "checkpoints", which.file)
    digest = _promised_digest(which)
    if not held.exists():
        try:
            held.parent.mkdir(parents=True, exist_ok=True)
            with _timeout(20):
                hub.download_url_to_file(address, str(held), digest, progress=False)
            state = _read(held)
        except (OSError, RuntimeError, ValueError, HTTPException, _UnavailableError) as error:
            # A server's page of apology would otherwise be taken for the weights next time.
            held.unlink(missing_ok=True)
            told = " ".join(str(error).split())[:200]
            raise _UnavailableError(f"{address} cannot be fetched ({told})") from error
    else:
        state = _read(held)
        if digest and not sha256_file(held).startswith(digest):
            raise _UnavailableError(f"{held} is damaged (its SHA-256 does not begin with {digest})")
    return state, _line(which, held)


def _promised_digest(which: Published) -> str | None:
    found = re.search(r"-([0-9a-f]{8,64})\.\w+$", which.file) if which.checked else None
    return found and found[1]


def _read(file: Path) -> dict[str, Tensor]:
    """Return a state dict without running code from its file."""
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except READING as error:
        told = " ".join(str(error).split())[:200]
        raise _UnavailableError(f"{file} is damaged ({told})") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise _UnavailableError(f"{file} holds no weights alone")
    return dict(state)


def _line(which: Published, file: Path) -> str:
    """Name the weights; those whose file does not name its digest are told by it."""
    if which.checked and file.name == which.file:
        return f"{which.name} ({file.name})"
    return f"{which.name} ({file.name}, SHA-256 {sha256_file(file)[:16]})"


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Bound connections that would hang behind a firewall; torch.hub sets no limit itself."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
