"""Samplers: from noise to images, one pure function per method.

Each is a generator: it yields the images after each of its steps, so that the last are the samples
and the others show how they came about. A net enters as `denoise` only, a schedule as the products
`alpha_bars` of its alphas, and chance as `draw`.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from torch import Tensor

Denoise = Callable[[Tensor, float | Sequence[float]], Tensor]
"""From noisy images (N,C,H,W) and their time, or one for each, to an estimate of the clean ones."""
Draw = Callable[[], Tensor]
"""Returns fresh standard normal noise (N,C,H,W)."""
Bars = Sequence[float] | Mapping[float, float]
"""Products of alphas by time, falling."""


def ddpm(
    denoise: Denoise,
    images: Tensor,
    alpha_bars: Bars,
    times: Sequence[float],
    draw: Draw,
    *,
    variance: Literal["small", "large"] = "small",
) -> Iterator[Tensor]:
    """Ancestral sampling (Ho et al. 2020, algorithm 2, eq. 6 and 7).

    Fewer times than the schedule has make it the ancestral sampling of the schedule re-spaced to
    these (Nichol and Dhariwal 2021, section 4).

    Args:
        denoise: the net.
        images: standard normal noise, (N,C,H,W).
        alpha_bars: products of alphas by time, falling.
        times: falling times to visit, down to 0.
        draw: noise of a step.
        variance: `small` is beta-tilde, that of the posterior; `large` is beta.

    Yields:
        Images after each step.
    """
    for time, bar, after in _steps(alpha_bars, times):
        clean = denoise(images, time)
        alpha = bar / after
        beta = 1 - alpha
        images = (
            math.sqrt(after) * beta / (1 - bar) * clean
            + math.sqrt(alpha) * (1 - after) / (1 - bar) * images
        )
        if after < 1:
            spread = beta if variance == "large" else (1 - after) / (1 - bar) * beta
            images = images + math.sqrt(spread) * draw()
        yield images


def ddim(
    denoise: Denoise,
    images: Tensor,
    alpha_bars: Bars,
    times: Sequence[float],
    draw: Draw,
    *,
    eta: float = 0.0,
) -> Iterator[Tensor]:
    """Implicit sampling (Song et al. 2021, eq. 12 and 16).

    Args:
        denoise, images, alpha_bars, times, draw: as for `ddpm`; no noise is drawn where `eta` is 0.
        eta: 0 is deterministic, 1 is ancestral with the small variance.

    Yields:
        Images after each step.
    """
    for time, bar, after in _steps(alpha_bars, times):
        clean = denoise(images, time)
        epsilon = (images - math.sqrt(bar) * clean) / math.sqrt(1 - bar)
        spread = eta * math.sqrt((1 - after) / (1 - bar) * (1 - bar / after))
        images = math.sqrt(after) * clean + math.sqrt(1 - after - spread**2) * epsilon
        if spread > 0:
            images = images + spread * draw()
        yield images


def dpm_solver(
    denoise: Denoise,
    images: Tensor,
    alpha_bars: Bars,
    times: Sequence[float],
    draw: Draw,
    *,
    eta: float = 0.0,
) -> Iterator[Tensor]:
    """DPM-Solver++(2M), of second order (Lu et al. 2022, algorithm 2; section 6 with noise).

    The first and the last step are of first order, which is `ddim`'s.

    Args:
        denoise, images, alpha_bars, times, draw: as for `ddpm`; no noise is drawn where `eta` is 0.
        eta: 0 solves the ordinary, 1 the stochastic differential equation, as `ddpm` does.

    Yields:
        Images after each step.
    """
    previous: tuple[Tensor, float] | None = None
    for time, bar, after in _steps(alpha_bars, times):
        clean = denoise(images, time)
        if after == 1:
            images = clean
        else:
            step = _half_log_snr(after) - _half_log_snr(bar)
            slope = clean
            if previous is not None:
                earlier, earlier_step = previous
                slope = clean + step / (2 * earlier_step) * (clean - earlier)
            kept = math.sqrt((1 - after) / (1 - bar)) * math.exp(-eta * step)
            images = kept * images - math.sqrt(after) * math.expm1(-(1 + eta) * step) * slope
            if eta > 0:
                images = images + math.sqrt(-(1 - after) * math.expm1(-2 * eta * step)) * draw()
            previous = clean, step
        yield images


def _steps(alpha_bars: Bars, times: Sequence[float]) -> Iterator[tuple[float, float, float]]:
    """Yield each time, its alpha-bar, and that of the time after it; there is no noise at 1."""
    by_time: Any = alpha_bars
    bars = [by_time[time] for time in times] + [1.0]
    for time, (bar, after) in zip(times, pairwise(bars), strict=True):
        yield time, bar, after


def _half_log_snr(alpha_bar: float) -> float:
    return 0.5 * math.log(alpha_bar / (1 - alpha_bar))
