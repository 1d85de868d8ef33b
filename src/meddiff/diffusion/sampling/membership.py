"""How well a trained DDPM denoises images, which may betray that it was trained on them."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from meddiff.core.devices import memory_errors
from meddiff.core.randomness import stream
from meddiff.diffusion.sampling.ddpm import Ddpm, check_finite, clean_estimator
from meddiff.diffusion.sampling.sample import LACKS_MEMORY

LEVELS = (0.05, 0.1, 0.2, 0.4, 0.7)
"""Times at which images are denoised, as shares of the forward process."""
DRAWS = 2
"""Draws of noise at each level."""


def denoising_losses(
    model: Ddpm,
    images: np.ndarray,
    *,
    seed: int,
    name: str = "",
    levels: Sequence[float] = LEVELS,
    draws: int = DRAWS,
    progress: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """Return the error of each image's denoised estimate, whatever the net predicts.

    As a threshold on the loss sees it (Matsumoto, Miura and Yanai, "Membership inference attacks
    against diffusion models", 2023), up to a factor per level. All images get the same noise, so
    that an image's losses depend on the image, the net and the seed alone.

    Args:
        images: uint8 (n,H,W,C), of its size.
        seed: fixes the noise.
        name: class of the images, of a DDPM of several classes.
        levels: in (0, 1).
        draws: of noise, over which a loss is the mean.
        progress: is called with each number of images that are done.

    Returns:
        Mean squared errors of pixels in the net's range, float64 (n, levels).

    Raises:
        MeddiffError: images are of another size, memory does not suffice, or the net gives values
            that are not finite.
    """
    model.check_shape(images)
    losses = np.empty((len(images), len(levels)))
    with memory_errors(LACKS_MEMORY), torch.no_grad():
        for start in range(0, len(images), model.block):
            block = images[start : start + model.block]
            losses[start : start + len(block)] = _of_block(model, block, levels, draws, seed, name)
            progress(len(block))
    return check_finite(losses)


def _of_block(
    model: Ddpm, images: np.ndarray, levels: Sequence[float], draws: int, seed: int, name: str
) -> np.ndarray:
    """Return the losses of no more images than the net sees at once."""
    denoise = clean_estimator(model.predict("fp32", name), model.schedule, model.limit)
    device = next(model.network.parameters()).device
    # Always as many: how many images a net sees at once changes its rounding.
    padded = np.zeros((model.block, *images.shape[1:]), np.uint8)
    padded[: len(images)] = images
    clean = model.from_pixels(torch.from_numpy(padded)).to(device)
    losses = np.zeros((len(images), len(levels)))
    for place, level in enumerate(levels):
        time = model.schedule.at(level)
        signal, spread = model.schedule.parts(time)
        for draw in range(draws):
            noise = _noise(model, seed, time, draw).to(device)
            noisy = signal * clean + spread * noise
            errors = (denoise(noisy, time) - clean).square().mean((1, 2, 3))
            losses[:, place] += errors[: len(images)].cpu().numpy() / draws
    return losses


def _noise(model: Ddpm, seed: int, time: float, draw: int) -> Tensor:
    key = time if isinstance(time, int) else str(time)
    source = stream(seed, "membership noise", key, draw)
    return torch.from_numpy(source.standard_normal(model.shape, dtype=np.float32))
