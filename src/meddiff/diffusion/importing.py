"""DDPMs that were trained elsewhere: with `monai-generative`, as the study's, or with MONAI."""

import contextlib
import io
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from meddiff.core.errors import MeddiffError, one_line
from meddiff.core.file_errors import check_readable
from meddiff.diffusion.conditions import conditions_of
from meddiff.diffusion.model import build_network
from meddiff.diffusion.settings import DiffusionSettings

HOLDERS = ("state_dict", "model_state_dict", "model", "network", "unet", "diffusion")
"""Entries under which trainers put a net's weights."""
WRAPPERS = ("module.", "_orig_mod.", "model.", "network.", "unet.")
"""What parallel, compiled and Lightning trainers put before each name."""
UNUSED = ".proj_attn."
"""`monai-generative` stores an attention projection that its nets never apply."""


def import_ddpm(
    path: str | Path, settings: DiffusionSettings, image_channels: int, classes: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Return the weights of a DDPM trained elsewhere, as our net names them.

    Args:
        path: a state dict or a trainer's checkpoint that holds one: .safetensors, or torch's
            format, which is read without running code from it.
        settings: `diffusion` of the configuration; its network must be the trained one.
        image_channels: 1 or 3.
        classes: of a `conditional` net, in the order of their labels. One that learnt without
            classes too, for guidance, has one label more than those, its last; any other needs
            `label_dropout` 0.

    Raises:
        MeddiffError: the file cannot be read so, or holds another net.
    """
    state = _unwrapped(_read(path))
    network: Any = build_network(
        image_channels, **settings.network.model_dump(), conditions=conditions_of(settings, classes)
    )
    expected = {name: weight.clone() for name, weight in network.state_dict().items()}
    rest = dict(state)
    try:
        # It prints where all names fit, and takes what it used out of the dictionary.
        with contextlib.redirect_stdout(io.StringIO()):
            network.load_old_state_dict(rest)
    except KeyError as error:
        raise _other_net(path, f"it lacks {error.args[0]}") from error
    except RuntimeError as error:
        raise _other_net(path, one_line(error, 300)) from error
    old = rest.keys() != state.keys()
    missing = set() if old else expected.keys() - state.keys()
    foreign = (
        {name for name in rest if UNUSED not in name} if old else rest.keys() - expected.keys()
    )
    if missing or foreign:
        reason = sorted(missing)[:2] + sorted(foreign)[:2]
        raise _other_net(path, f"names that do not fit: {', '.join(reason)}")
    return dict(network.state_dict())


def _read(path: str | Path) -> Any:
    check_readable(path)
    try:
        if Path(path).suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise MeddiffError(
            f"{path} holds more than weights, and code from it is not run: load it where it was "
            "made and save network.state_dict() alone"
        ) from error
    # torch raises what it likes for bytes that are none of its own.
    except Exception as error:
        reason = one_line(error, 200)
        raise MeddiffError(f"{path} cannot be read as weights ({reason}): name another") from error


def _unwrapped(content: Any) -> Mapping[str, Tensor]:
    while isinstance(content, Mapping) and not any(isinstance(v, Tensor) for v in content.values()):
        inner = [content[name] for name in HOLDERS if isinstance(content.get(name), Mapping)]
        if not inner:
            break
        content = inner[0]
    if not isinstance(content, Mapping):
        return {}
    state = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    while wrapped := [w for w in WRAPPERS if state and all(name.startswith(w) for name in state)]:
        state = {name.removeprefix(wrapped[0]): value for name, value in state.items()}
    return state


def _other_net(path: str | Path, reason: str) -> MeddiffError:
    return MeddiffError(
        f"{path} is not the DDPM that its class's network describes ({reason}): set "
        "diffusion.classes.<class>.network to the values that it was trained with"
    )
