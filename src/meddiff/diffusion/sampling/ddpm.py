"""A trained DDPM, read from its checkpoint, and what it says of noisy images."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from meddiff.core.checkpoints import load_checkpoint, wrong_checkpoint
from meddiff.core.devices import arithmetic, compile_network
from meddiff.core.errors import MeddiffError
from meddiff.core.graphs import Graphed
from meddiff.core.settings import Precision
from meddiff.diffusion.conditions import NONE, Conditions, conditions_of
from meddiff.diffusion.latent.autoencoder import PREFIX, RANGE, Autoencoder
from meddiff.diffusion.latent.settings import LatentSettings
from meddiff.diffusion.model import build_network
from meddiff.diffusion.pixels import to_model_range, to_uint8, to_unit_range
from meddiff.diffusion.process import Process, build_process
from meddiff.diffusion.sampling.guidance import conditioned
from meddiff.diffusion.sampling.noise import philox_normal
from meddiff.diffusion.sampling.samplers import Denoise
from meddiff.diffusion.sampling.shards import PIXELS, cpu_block
from meddiff.diffusion.settings import DiffusionSettings


@dataclass(frozen=True)
class Ddpm:
    """A trained net and what it takes to draw from it.

    Attributes:
        shape: (C, H, W) of an image, or of its latents.
        pixel_range: lowest and highest value that the net sees, (-1, 1) or (0, 1).
        block: images that the net sees at once, always.
        conditions: that the net takes beside noisy images.
        autoencoder: whose latents the net draws, or None.
    """

    network: nn.Module
    schedule: Process
    shape: tuple[int, int, int]
    pixel_range: Sequence[int]
    block: int
    conditions: Conditions = NONE
    autoencoder: Autoencoder | None = None
    _graphs: dict[object, Graphed] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def predict(self, precision: Precision, name: str, guidance: float = 0.0) -> Graphed:
        """Return the net of a class as a function of noisy images (N,C,H,W) and times (N,)."""
        key = (precision, name if self.conditions else "", guidance)
        if key not in self._graphs:
            network = conditioned(self.network, self.conditions, name, guidance)
            self._graphs[key] = Graphed(partial(predict, network, precision))
        return self._graphs[key]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        if self.autoencoder is None:
            return self.shape
        _, height, width = self.shape
        factor = self.autoencoder.factor
        return self.autoencoder.channels, factor * height, factor * width

    def check_shape(self, images: np.ndarray) -> None:
        """Raise a MeddiffError for images, (N,H,W,C), of another shape than the DDPM draws."""
        channels, height, width = self.image_shape
        if images.shape[1:] != (height, width, channels):
            raise MeddiffError(
                f"the DDPM draws images of {height}x{width} px with {channels} channels and got "
                f"{images.shape[1:]}: give it images as it was trained on"
            )

    @property
    def limit(self) -> float:
        """Largest value of what the net draws."""
        return 1.0 if self.autoencoder is None else math.inf

    def from_pixels(self, pixels: Tensor) -> Tensor:
        """Map uint8 (N,H,W,C) to what the net sees, float (N,C,H,W)."""
        if self.autoencoder:
            return self.autoencoder.encode(pixels)
        return to_model_range(to_unit_range(pixels), self.pixel_range)

    def to_pixels(self, images: Tensor) -> Tensor:
        """Map a block of what the net draws, float (N,C,H,W), to uint8 (N,H,W,C)."""
        if self.autoencoder:
            return to_uint8(self.autoencoder.decode(images), RANGE)
        return to_uint8(images, self.pixel_range)

    def normal(self) -> Graphed:
        """Return `philox_normal` of images of this size."""
        if "normal" not in self._graphs:
            self._graphs["normal"] = Graphed(partial(philox_normal, shape=self.shape))
        return self._graphs["normal"]


def check_finite(values: np.ndarray) -> np.ndarray:
    """Return what a DDPM gives for images; raise a MeddiffError if that is not finite."""
    if not np.isfinite(values).all():
        raise MeddiffError("the DDPM gives values that are not finite: train it anew")
    return values


def block_of(side: int, device: str = "cpu") -> int:
    """Return how many images of side x side px a net sees at once.

    32 on a CPU and 512 on a GPU, fewer above 64 px. It follows from the size of the images and the
    kind of device alone, for it decides on their last bits.
    """
    if device == "cuda":
        return max(1, min(512, 16 * PIXELS // side**2))
    return cpu_block(side)


def load_ddpm(checkpoint: str | Path, device: str = "cpu", *, compiled: bool = False) -> Ddpm:
    """Read a DDPM as `train_ddpm`'s script writes it.

    Raises:
        MeddiffError: the file is truncated, or no checkpoint of a DDPM.
    """
    weights, about = load_checkpoint(checkpoint)
    try:
        trained = DiffusionSettings.model_validate(about["settings"])
        conditions = conditions_of(trained, about.get("classes", []))
        autoencoder = _autoencoder(weights, about["channels"], trained.latent, device)
        shape = (about["channels"], about["size"], about["size"])
        if trained.latent:
            side = about["size"] // trained.latent.factor
            shape = (trained.latent.latent_channels, side, side)
        network = build_network(shape[0], **trained.network.model_dump(), conditions=conditions)
        network.load_state_dict(weights)
    except (KeyError, ValueError, RuntimeError) as error:
        raise wrong_checkpoint(checkpoint, "DDPM", error) from error
    network = network.to(device).to(memory_format=torch.channels_last).eval()
    if compiled:
        compile_network(network, device)
    schedule = build_process(trained.schedule)
    return Ddpm(
        network,
        schedule,
        shape,
        trained.schedule.pixel_range,
        block_of(about["size"], device),
        conditions,
        autoencoder,
    )


def _autoencoder(
    weights: dict[str, Tensor], channels: int, settings: LatentSettings | None, device: str
) -> Autoencoder | None:
    """Take an autoencoder's weights out of a checkpoint's, and return it."""
    if settings is None:
        return None
    autoencoder = Autoencoder(channels, settings)
    own = {name: weights.pop(name) for name in list(weights) if name.startswith(PREFIX)}
    autoencoder.load_state_dict({name.removeprefix(PREFIX): own[name] for name in own})
    return autoencoder.to(device).eval()


def predict(
    network: Callable[..., Tensor], precision: Precision, noisy: Tensor, times: Tensor
) -> Tensor:
    """Return a net's output in float32, calculated in a precision.

    Args:
        noisy: float (N,C,H,W).
        times: what the net is given of their times, (N,).
    """
    with arithmetic(noisy.device.type, precision):
        output: Tensor = network(
            noisy.contiguous(memory_format=torch.channels_last), timesteps=times
        )
    return output.float()


def clean_estimator(
    predict: Callable[[Tensor, Tensor], Tensor], process: Process, limit: float = 1.0
) -> Denoise:
    """Return an estimate of the clean images, clipped to [-1, 1] as MONAI does.

    Args:
        predict: the net's output for noisy images (N,C,H,W) and what it is given of their times
            (N,), float32.
        limit: largest value of a clean image; latents have none.
    """

    def denoise(noisy: Tensor, time: float | Sequence[float]) -> Tensor:
        if isinstance(time, Sequence):
            each = torch.tensor([process.parts(one) for one in time])
            signal, noise = each.to(noisy).T.reshape(2, -1, 1, 1, 1)
            times = torch.tensor(time).to(noisy)
        else:
            signal, noise = process.parts(time)
            times = torch.full((len(noisy),), time, device=noisy.device)
        output = predict(noisy, process.condition(times))
        if process.prediction_type == "v_prediction":
            output = signal * noisy - noise * output
        elif process.prediction_type == "epsilon":
            output = (noisy - noise * output) / signal
        # Clipping would hide what is infinite.
        return torch.where(output.isfinite(), output.clamp(-limit, limit), torch.nan)

    return denoise
