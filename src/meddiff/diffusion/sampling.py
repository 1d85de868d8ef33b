"""Samplers: from noise to images, one pure function a method.

Image i depends only on (seed, name, i): every image has a random stream of its own, so that batch
size, order and interruptions change nothing.
"""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from monai.networks.schedulers import DDPMScheduler
from torch import Tensor, nn

from meddiff.checkpoints import load_checkpoint
from meddiff.diffusion.model import build_network, build_schedule, to_uint8
from meddiff.diffusion.settings import Diffusion, Sampling
from meddiff.errors import MeddiffError
from meddiff.progress import Progress
from meddiff.randomness import stream

log = logging.getLogger(__name__)

Step = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def ddpm_step(
    noisy: Tensor, clean: Tensor, alpha_bar: Tensor, alpha_bar_next: Tensor, noise: Tensor
) -> Tensor:
    """Ancestral step with the posterior variance beta-tilde (Ho et al. 2020, eq. 6 and 7).

    Args:
        noisy: images at this step's time, (N,C,H,W).
        clean: the net's estimate of the clean images.
        alpha_bar: product of alphas at this step's time.
        alpha_bar_next: the same at the next, less noisy time; 1 at the end.
        noise: standard normal, (N,C,H,W).
    """
    alpha = alpha_bar / alpha_bar_next
    beta = 1 - alpha
    mean = (alpha_bar_next.sqrt() * beta * clean + alpha.sqrt() * (1 - alpha_bar_next) * noisy) / (
        1 - alpha_bar
    )
    variance = (1 - alpha_bar_next) / (1 - alpha_bar) * beta
    return mean + variance.sqrt() * noise


def ddim_step(
    noisy: Tensor, clean: Tensor, alpha_bar: Tensor, alpha_bar_next: Tensor, noise: Tensor
) -> Tensor:
    """Deterministic step, eta = 0 (Song et al. 2021, eq. 12); `noise` is not used."""
    epsilon = (noisy - alpha_bar.sqrt() * clean) / (1 - alpha_bar).sqrt()
    return alpha_bar_next.sqrt() * clean + (1 - alpha_bar_next).sqrt() * epsilon


STEPS: dict[str, Step] = {"ddpm": ddpm_step, "ddim": ddim_step}


def respaced_times(timesteps: int, steps: int) -> list[int]:
    """Return `steps` times from T-1 down to 0, evenly spaced."""
    return np.linspace(timesteps - 1, 0, steps).round().astype(int).tolist()


def clean_estimate(network: nn.Module, schedule: DDPMScheduler, noisy: Tensor, time: int) -> Tensor:
    """Return the net's estimate of the clean images, clipped to [-1, 1] as MONAI does."""
    alpha_bar = schedule.alphas_cumprod[time].to(noisy)
    times = torch.full((len(noisy),), time, device=noisy.device)
    output = network(noisy.contiguous(memory_format=torch.channels_last), timesteps=times)
    if schedule.prediction_type == "v_prediction":
        clean = alpha_bar.sqrt() * noisy - (1 - alpha_bar).sqrt() * output
    else:
        clean = (noisy - (1 - alpha_bar).sqrt() * output) / alpha_bar.sqrt()
    return clean.clamp(-1, 1)


@torch.no_grad()
def sample(
    network: nn.Module,
    schedule: DDPMScheduler,
    shape: tuple[int, int, int],
    members: range,
    *,
    sampler: str,
    steps: int,
    batch_size: int,
    zero_centred: bool,
    seed: int,
    name: str,
    device: str = "cpu",
) -> Iterator[np.ndarray]:
    """Yield batches of images, uint8 (n,H,W,C).

    Args:
        network: the denoising net, in evaluation mode.
        schedule: its forward process.
        shape: (C, H, W) of an image.
        members: numbers of the images to draw; image i is the same in every call.
        sampler: "ddpm" or "ddim".
        steps: denoising steps.
        batch_size: images denoised together.
        zero_centred: whether the net's range is [-1, 1] or [0, 1].
        seed: seed of the run.
        name: class, part of each image's stream.
        device: torch device.

    Raises:
        MeddiffError: the net gives values that are not finite.
    """
    step = STEPS[sampler]
    times = respaced_times(schedule.num_train_timesteps, steps)
    alpha_bars = schedule.alphas_cumprod.to(device)
    for start in range(0, len(members), batch_size):
        batch = members[start : start + batch_size]
        streams = [stream(seed, "sample", name, member) for member in batch]
        images = _normal(streams, shape, device)
        for time, following in zip(times, [*times[1:], -1], strict=True):
            clean = clean_estimate(network, schedule, images, time)
            after = alpha_bars[following] if following >= 0 else torch.ones_like(alpha_bars[0])
            noise = _normal(streams, shape, device) if sampler == "ddpm" else images
            images = step(images, clean, alpha_bars[time], after, noise)
        if not torch.isfinite(images).all():
            raise MeddiffError(
                f"samples of {name} are not finite: the DDPM did not train well; lower "
                "diffusion.lr and train it again"
            )
        yield to_uint8(images, zero_centred).cpu().numpy()


def sample_images(
    checkpoint: str | Path, settings: Sampling, *, seed: int, name: str, device: str = "cpu"
) -> np.ndarray:
    """Draw the images of one class from its checkpoint: uint8 (settings.images,H,W,C)."""
    weights, about = load_checkpoint(checkpoint)
    trained = Diffusion.model_validate(about["settings"])
    network = build_network(about["channels"], **trained.network.model_dump())
    network.load_state_dict(weights)
    network = network.to(device).to(memory_format=torch.channels_last).eval()
    noise = trained.noise
    schedule = build_schedule(**noise.model_dump(exclude={"zero_centred"}))
    log.info(
        "%s: %d images, %s with %d steps", name, settings.images, settings.sampler, settings.steps
    )
    batches = []
    with Progress(settings.images, f"sample {name}", unit="image") as progress:
        for batch in sample(
            network,
            schedule,
            (about["channels"], about["size"], about["size"]),
            range(settings.images),
            sampler=settings.sampler,
            steps=settings.steps,
            batch_size=settings.batch_size,
            zero_centred=noise.zero_centred,
            seed=seed,
            name=name,
            device=device,
        ):
            batches.append(batch)
            progress.advance(len(batch))
    return np.concatenate(batches)


def _normal(streams: list[np.random.Generator], shape: tuple[int, int, int], device: str) -> Tensor:
    drawn = np.stack([s.standard_normal(shape, dtype=np.float32) for s in streams])
    return torch.from_numpy(drawn).to(device)
