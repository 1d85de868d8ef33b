"""Published weights: found in torch's hub folder, or fetched there; never unpickled."""

import logging
import pickle
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, hub

from meddiff.errors import MeddiffError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """Weights that somebody publishes, and what to do without them.

    Attributes:
        name: what they are, e.g. "ImageNet weights of ResNet50".
        file: their name in torch's hub folder.
        checked: whether the file's name carries the first digits of its SHA-256.
        setting: what decides about them, e.g. "extractors.resnet50.weights".
        insisting: the setting's value that does not go without them.
        instead: what is done without them, e.g. "trained from scratch".
        result: the workflow's file to delete before another try.
    """

    name: str
    file: str
    checked: bool
    setting: str
    insisting: str
    instead: str
    result: str


IMAGENET = Published(
    name="ImageNet weights of ResNet50",
    file="resnet50-11ad3fa6.pth",
    checked=True,
    setting="extractors.resnet50.weights",
    insisting="imagenet",
    instead="trained from scratch",
    result="models/imagenet_resnet50.safetensors",
)
RADIMAGENET = Published(
    name="RadImageNet weights of ResNet50",
    file="RadImageNet-ResNet50_notop.pth",
    checked=False,
    setting="hand.weights",
    insisting="radimagenet",
    instead="random weights",
    result="models/radimagenet_resnet50.safetensors",
)


def find_weights(
    which: Published, wanted: str, address: str
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
    held = Path(hub.get_dir(), "checkpoints", which.file)
    fetched = not held.exists()
    try:
        with _timeout(20):
            state = hub.load_state_dict_from_url(
                address,
                file_name=which.file,
                map_location="cpu",
                progress=False,
                check_hash=which.checked,
                weights_only=True,
            )
        if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
            raise RuntimeError("the file holds no weights")
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        if fetched:
            # A server's page of apology would otherwise be taken for the weights next time.
            held.unlink(missing_ok=True)
        told = " ".join(str(error).split())[:200]
        reason = f"{address} cannot be fetched ({told})" if fetched else f"{held} is damaged"
        if wanted == which.insisting:
            raise MeddiffError(
                f"{which.name}: {reason}; put {which.file} into torch's hub folder (checkpoints/) "
                f"or set {which.setting} to auto or none"
            ) from error
        log.warning("%s: %s; %s instead", which.name, reason, which.instead)
        return None, (
            f"none ({which.instead}: {which.name} could not be had; delete {which.result} to try "
            "again)"
        )
    return dict(state), f"{which.name} ({which.file})"


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Bound connections that would hang behind a firewall; torch.hub sets no limit itself."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
