"""Samplers that follow the score of a forward process (Song et al. 2021).

Each is a generator of the images after each of its steps, as those of `samplers`; the last are the
estimate of the clean images. They work on x = alpha x(0) + sigma epsilon of the process itself,
while `denoise` takes y = x / sqrt(alpha^2 + sigma^2).
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

from torch import Tensor

from meddiff.diffusion.process import Process
from meddiff.diffusion.sampling.samplers import Denoise, Draw, Times


def langevin(
    denoise: Denoise,
    noise: Tensor,
    process: Process,
    times: Times,
    draw: Draw,
    *,
    steps: int,
    step_size: float,
) -> Iterator[Tensor]:
    """Annealed Langevin dynamics (Song and Ermon 2019, algorithm 1), where variance explodes.

    Args:
        noise: standard normal, (N,C,H,W).
        steps: at each noise level.
        step_size: in variances of the level: Song and Ermon's epsilon over that of the last.
    """
    images = noise * math.hypot(*process.scales(times[0]))
    for time in times:
        size = step_size * process.scales(time)[1] ** 2
        for _ in range(steps):
            slope = score(denoise, images, process, time)
            images = images + size / 2 * slope + math.sqrt(size) * draw()
        yield images if time != times[-1] else clean_images(denoise, images, process, time)


def excess_noise(process: Process, times: Times, *, steps: int, step_size: float) -> float:
    """Variance of `langevin`'s images over that of their level, of data at one point: the largest.

    Far above 1 the levels follow too fast for the steps at each: noise of those before stays, which
    the net takes for an image (Song and Ermon 2020, technique 4). Arguments as for `langevin`.
    """
    kept = (1 - step_size / 2) ** 2
    own = step_size / (1 - kept)  # where steps at one level would end
    variance, largest = math.hypot(*process.scales(times[0])) ** 2, 0.0
    for time in times:
        level = process.scales(time)[1] ** 2
        variance = kept**steps * variance + (1 - kept**steps) * own * level
        largest = max(largest, variance / level)
    return largest


def reverse_sde(
    denoise: Denoise, noise: Tensor, process: Process, times: Times, draw: Draw
) -> Iterator[Tensor]:
    """The reverse stochastic differential equation by Euler and Maruyama's method (eq. 6).

    The process is in continuous time; otherwise as `langevin`.
    """
    images = noise * math.hypot(*process.scales(times[0]))
    for time, after in pairwise(times):
        drift, diffusion = process.sde(time)
        slope = drift * images - diffusion * score(denoise, images, process, time)
        step = time - after
        images = images - step * slope + math.sqrt(diffusion * step) * draw()
        yield images
    yield clean_images(denoise, images, process, times[-1])


def predictor_corrector(
    denoise: Denoise,
    noise: Tensor,
    process: Process,
    times: Times,
    draw: Draw,
    *,
    predictor: Literal["reverse_diffusion", "ancestral"],
    steps: int,
    snr: float,
) -> Iterator[Tensor]:
    """Langevin steps at each time, then a step to the next (appendix G, algorithms 2 to 5).

    Args:
        process: any.
        predictor: `reverse_diffusion` turns the forward step round (eq. 46), `ancestral` draws
            from the posterior of the step.
        steps: of the corrector at each time.
        snr: ratio of the score's part of such a step to the noise's, r of the paper. Norms are
            those of each image, so that none depends on others.
    """
    images = noise * math.hypot(*process.scales(times[0]))
    for time, after in [*pairwise(times), (times[-1], None)]:
        alpha, sigma = process.scales(time)
        next_alpha, next_sigma = (alpha, 0.0) if after is None else process.scales(after)
        kept = alpha / next_alpha
        for _ in range(steps):
            slope, drawn = score(denoise, images, process, time), draw()
            size = 2 * (kept * snr * _norms(drawn) / _norms(slope)) ** 2
            images = images + size * slope + (2 * size).sqrt() * drawn
        clean = clean_images(denoise, images, process, time)
        if after is None:
            yield clean
            return
        added = sigma**2 - kept**2 * next_sigma**2
        if predictor == "ancestral":
            share = added / sigma**2
            images = next_alpha * share * clean + kept * (next_sigma / sigma) ** 2 * images
            images = images + next_sigma * math.sqrt(share) * draw()
        else:
            slope = (alpha * clean - images) / sigma**2
            images = (2 - kept) * images + added * slope + math.sqrt(added) * draw()
        yield images


def score(denoise: Denoise, images: Tensor, process: Process, time: float) -> Tensor:
    """Return the score of images x (N,C,H,W), the gradient of the log-density."""
    alpha, sigma = process.scales(time)
    return (alpha * clean_images(denoise, images, process, time) - images) / sigma**2


def clean_images(denoise: Denoise, images: Tensor, process: Process, time: float) -> Tensor:
    """Return the net's estimate of the clean images of x (N,C,H,W)."""
    return denoise(images / math.hypot(*process.scales(time)), time)


def _norms(images: Tensor) -> Tensor:
    return images.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
