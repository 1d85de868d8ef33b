"""Images from a trained DDPM.

Image i depends only on (seed, name, i): every image has a random stream of its own, so that batch
size, shards, order and interruptions change nothing.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from monai.networks.schedulers import DDPMScheduler
from torch import Tensor, nn

from meddiff.checkpoints import load_checkpoint
from meddiff.devices import naming_memory
from meddiff.diffusion.model import build_network, build_schedule, to_uint8
from meddiff.diffusion.samplers import Denoise, ddim, ddpm, dpm_solver, respaced_times
from meddiff.diffusion.samplers import Sampler as Method
from meddiff.diffusion.settings import Diffusion, Sampler
from meddiff.diffusion.state import Safety, State
from meddiff.errors import MeddiffError
from meddiff.progress import Progress
from meddiff.randomness import stream

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ddpm:
    """A trained net and what it takes to draw from it.

    Attributes:
        network: the denoising net.
        schedule: its forward process.
        shape: (C, H, W) of an image.
        zero_centred: whether the net's range is [-1, 1] or [0, 1].
    """

    network: nn.Module
    schedule: DDPMScheduler
    shape: tuple[int, int, int]
    zero_centred: bool


def load_ddpm(checkpoint: str | Path, device: str = "cpu") -> Ddpm:
    """Read a DDPM as `train_ddpm`'s script writes it.

    Raises:
        MeddiffError: the file is truncated, or no checkpoint of a DDPM.
    """
    weights, about = load_checkpoint(checkpoint)
    try:
        trained = Diffusion.model_validate(about["settings"])
        network = build_network(about["channels"], **trained.network.model_dump())
        network.load_state_dict(weights)
        shape = (about["channels"], about["size"], about["size"])
    except (KeyError, ValueError, RuntimeError) as error:
        told = " ".join(str(error).split())[:300]
        raise MeddiffError(
            f"{checkpoint} holds no DDPM ({told}): delete it and run again"
        ) from error
    network = network.to(device).to(memory_format=torch.channels_last).eval()
    noise = trained.noise
    schedule = build_schedule(**noise.model_dump(exclude={"zero_centred"}))
    return Ddpm(network, schedule, shape, noise.zero_centred)


def sample_images(
    model: Ddpm,
    settings: Sampler,
    members: Sequence[int],
    *,
    batch_size: int,
    seed: int,
    name: str,
    safety: Safety | None = None,
) -> np.ndarray:
    """Draw images, uint8 (members,H,W,C), with progress; arguments as for `sample`.

    Args:
        model: what to draw from.
        settings: sampler and steps.
        members: numbers of the images to draw.
        batch_size: images denoised together.
        seed: seed of the run.
        name: class.
        safety: keeps what is drawn, so that a run that was stopped goes on there.

    Raises:
        MeddiffError: the net gives values that are not finite, or memory does not suffice.
    """
    log.info("%s: %d images, %s, %d steps", name, len(members), settings.sampler, settings.steps)
    channels, height, width = model.shape
    saved = safety.load() if safety else None
    drawn = [saved.tensors["images"].numpy()] if saved else []
    done = sum(map(len, drawn))
    lacking = "lower compute.sampling_batch, which changes no image"
    with (
        naming_memory(lacking),
        Progress(len(members), f"sample {name}", "image", done=done) as bar,
    ):
        batches = sample(
            model, settings, members[done:], batch_size=batch_size, seed=seed, name=name
        )
        for images in batches:
            drawn.append(images)
            bar.advance(len(images))
            if safety and safety.is_due():
                safety.save(State({"images": torch.from_numpy(np.concatenate(drawn))}, {}))
    return np.concatenate([*drawn, np.empty((0, height, width, channels), np.uint8)])


def denoising_strip(
    model: Ddpm, settings: Sampler, members: Sequence[int], moments: int, *, seed: int, name: str
) -> np.ndarray:
    """Return images on their way from noise, evenly spaced in steps, the first and last included.

    Args:
        model: what to draw from.
        settings: sampler and steps.
        members: numbers of the images.
        moments: states to show of each.
        seed: seed of the run.
        name: class.

    Returns:
        uint8 (members,moments,H,W,C).
    """
    wanted = np.linspace(0, settings.steps - 1, moments).round().astype(int)
    states = trajectory(model, settings, members, seed=seed, name=name)
    shown = [
        to_uint8(images, model.zero_centred).cpu().numpy()
        for step, images in enumerate(states)
        for _ in range(int((wanted == step).sum()))
    ]
    return np.stack(shown, axis=1)


def sample(
    model: Ddpm,
    settings: Sampler,
    members: Sequence[int],
    *,
    batch_size: int,
    seed: int,
    name: str,
) -> Iterator[np.ndarray]:
    """Yield batches of images, uint8 (n,H,W,C).

    Args:
        model: what to draw from.
        settings: sampler and steps.
        members: numbers of the images to draw; image i is the same in every call.
        batch_size: images denoised together.
        seed: seed of the run.
        name: class, part of each image's stream.

    Raises:
        MeddiffError: the net gives values that are not finite, or memory does not suffice.
    """
    for start in range(0, len(members), batch_size):
        batch = members[start : start + batch_size]
        # Only the last are kept, where a list would hold those of every step.
        images = deque(trajectory(model, settings, batch, seed=seed, name=name), maxlen=1).pop()
        yield to_uint8(images, model.zero_centred).cpu().numpy()


@torch.no_grad()
def trajectory(
    model: Ddpm, settings: Sampler, members: Sequence[int], *, seed: int, name: str
) -> Iterator[Tensor]:
    """Yield the images after each denoising step, float (n,C,H,W) in the net's range.

    Arguments as for `sample`; the last are the samples.

    Raises:
        MeddiffError: the net gives values that are not finite.
    """
    model.network.eval()
    device = next(model.network.parameters()).device
    streams = [stream(seed, "sample", name, member) for member in members]
    draw = partial(_normal, streams, model.shape, device)
    steps = _method(settings)(
        clean_estimator(model.network, model.schedule),
        draw(),
        model.schedule.alphas_cumprod.cpu().double().tolist(),
        respaced_times(model.schedule.num_train_timesteps, settings.steps),
        draw,
    )
    for images in steps:
        yield images
    if not torch.isfinite(images).all():
        raise MeddiffError(
            f"samples of {name} are not finite: the DDPM did not train well; lower diffusion.lr "
            "and train it again"
        )


def clean_estimator(network: nn.Module, schedule: DDPMScheduler) -> Denoise:
    """Return the net as an estimate of the clean images, clipped to [-1, 1] as MONAI does."""
    bars = schedule.alphas_cumprod.cpu().double()

    def denoise(noisy: Tensor, time: int) -> Tensor:
        signal, noise = bars[time].sqrt().item(), (1 - bars[time]).sqrt().item()
        times = torch.full((len(noisy),), time, device=noisy.device)
        output = network(noisy.contiguous(memory_format=torch.channels_last), timesteps=times)
        if schedule.prediction_type == "v_prediction":
            output = signal * noisy - noise * output
        elif schedule.prediction_type == "epsilon":
            output = (noisy - noise * output) / signal
        clean: Tensor = output.clamp(-1, 1)
        return clean

    return denoise


def _method(settings: Sampler) -> Method:
    methods: dict[str, Callable[..., Iterator[Tensor]]] = {
        "ddpm": partial(ddpm, variance=settings.variance),
        "ddim": partial(ddim, eta=settings.eta),
        "dpm_solver": dpm_solver,
    }
    return methods[settings.sampler]


def _normal(
    streams: list[np.random.Generator], shape: tuple[int, int, int], device: torch.device
) -> Tensor:
    drawn = np.stack([s.standard_normal(shape, dtype=np.float32) for s in streams])
    return torch.from_numpy(drawn).to(device)
