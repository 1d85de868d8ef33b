"""Nets and tensors are on the device that was asked for, as far as a CPU can tell.

A stand-in for a GPU: tensors that were sent to it compute on the CPU, and refuse to meet others.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten

from meddiff.diffusion.model import build_network, build_schedule
from meddiff.diffusion.sampling import Ddpm, sample_images
from meddiff.diffusion.settings import SamplerSettings
from meddiff.extractors import classification, segmentation
from meddiff.extractors.settings import UNetSettings
from meddiff.extractors.skinlesnet import SkinLesNet
from meddiff.extractors.unet import UNet
from nets import TINY

DEVICE = "mps"
"""A name that torch knows; nothing runs there."""
HERE = torch.device(DEVICE)
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
MASKS = (IMAGES[..., :1] > 127).astype(np.uint8) * 255


class Away(torch.Tensor):
    """A tensor on the device."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func == torch.Tensor.device.__get__:
            return HERE
        if func == torch.Tensor.grad.__get__:
            gradient = super().__torch_function__(func, types, args, kwargs)
            return None if gradient is None else gradient.as_subclass(cls)
        if func is torch._has_compatible_shallow_copy_type:
            return False
        if func is torch.Tensor.numpy:
            raise TypeError("a tensor of the device has no array")
        if func is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        for each in tree_flatten((args, kwargs))[0]:
            if isinstance(each, torch.Tensor) and not isinstance(each, cls) and each.dim():
                raise RuntimeError(f"{func}: tensors on {DEVICE} and on the CPU")
        return super().__torch_function__(func, types, args, kwargs)


class Device(TorchFunctionMode):
    """Sends tensors there and back."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.to:
            place = next((a for a in [*args[1:], kwargs.get("device")] if is_device(a)), None)
            if place is not None:
                rest = [each for each in args[1:] if each is not place and each is not None]
                kwargs.pop("device", None)
                moved = args[0].as_subclass(Away if torch.device(place) == HERE else torch.Tensor)
                kinds = [each for each in rest if isinstance(each, torch.dtype)]
                return moved.to(*kinds) if kinds else moved
        elif is_device(kwargs.get("device")) and torch.device(kwargs["device"]) == HERE:
            return func(*args, **kwargs | {"device": "cpu"}).as_subclass(Away)
        return func(*args, **kwargs)


def is_device(value: object) -> bool:
    return isinstance(value, torch.device) or (isinstance(value, str) and value in (DEVICE, "cpu"))


@pytest.fixture
def device() -> Iterator[None]:
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    with Device():
        yield
    torch.__future__.set_overwrite_module_params_on_conversion(before)


def lesion_maps() -> np.ndarray:
    network = UNet([8, 16], 32)
    return segmentation.lesion_maps(network, IMAGES, device=DEVICE).numpy()


def unet() -> np.ndarray:
    settings = UNetSettings.model_validate(
        {"channels": [8, 16], "steps": 2, "epochs": None, "batch_size": 4}
    )
    _, history = segmentation.train_unet(
        (IMAGES, MASKS), (IMAGES, MASKS), settings, seed=0, device=DEVICE
    )
    return history["loss"].to_numpy()


def probabilities() -> np.ndarray:
    network = SkinLesNet(2, 32)
    return classification.probabilities(network, network.transform, IMAGES, device=DEVICE)


def samples() -> np.ndarray:
    network = build_network(3, **TINY).to(DEVICE)
    schedule = build_schedule(
        timesteps=50, betas="cosine", beta_start=1e-4, beta_end=2e-2, prediction="v_prediction"
    )
    model = Ddpm(network, schedule, (3, 16, 16), (-1, 1), block=2)
    return sample_images(model, SamplerSettings(steps=2), range(3), seed=0, name="x")


@pytest.mark.parametrize("run", [lesion_maps, unet, probabilities, samples])
def test_nothing_stays_on_the_cpu(run: Callable[[], np.ndarray], device: None) -> None:
    assert np.isfinite(run()).all()


def test_tensors_of_two_devices_do_not_meet(device: None) -> None:
    away = torch.ones(2).to(DEVICE)
    with pytest.raises(RuntimeError, match=DEVICE):
        away + torch.ones(2)
    with pytest.raises(RuntimeError, match=DEVICE):
        torch.nn.Linear(2, 2)(away)
    assert (away + 1).cpu().tolist() == [2, 2]
