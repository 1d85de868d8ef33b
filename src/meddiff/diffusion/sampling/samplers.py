"""Samplers: from noise to images, one pure function per method.

Each is a generator: it yields the images after each of its steps, so that the last are the samples
and the others show how they came about. A net enters as `denoise` only, a schedule as the products
`bars` of its alphas, and chance as `draw`.
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
Times = Sequence[float]
"""Falling times to visit."""


def ddpm(
    denoise: Denoise,
    images: Tensor,
    bars: Bars,
    times: Times,
    draw: Draw,
    *,
    variance: Literal["small", "large"] = "small",
) -> Iterator[Tensor]:
    """Ancestral sampling (Ho et al. 2020, algorithm 2, eq. 6 and 7).

    Fewer times than the schedule has make it the ancestral sampling of the schedule re-spaced to
    these (Nichol and Dhariwal 2021, section 4).

    Args:
        images: standard normal noise, (N,C,H,W).
        times: down to 0.
        variance: `small` is beta-tilde, that of the posterior; `large` is beta.
    """
    for time, bar, after in _steps(bars, times):
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
    denoise: Denoise, images: Tensor, bars: Bars, times: Times, draw: Draw, *, eta: float = 0.0
) -> Iterator[Tensor]:
    """Implicit sampling (Song et al. 2021, eq. 12 and 16), otherwise as `ddpm`.

    Args:
        eta: 0 is deterministic and draws no noise, 1 is ancestral with the small variance.
    """
    for time, bar, after in _steps(bars, times):
        clean = denoise(images, time)
        epsilon = (images - math.sqrt(bar) * clean) / math.sqrt(1 - bar)
        spread = eta * math.sqrt((1 - after) / (1 - bar) * (1 - bar / after))
        images = math.sqrt(after) * clean + math.sqrt(1 - after - spread**2) * epsilon
        if spread > 0:
            images = images + spread * draw()
        yield images


def dpm_solver(
    denoise: Denoise, images: Tensor, bars: Bars, times: Times, draw: Draw, *, eta: float = 0.0
) -> Iterator[Tensor]:
    """DPM-Solver++(2M), of second order (Lu et al. 2022, algorithm 2; section 6 with noise).

    The first and the last step are of first order, which is `ddim`'s; otherwise as `ddpm`.

    Args:
        eta: 0 solves the ordinary differential equation and draws no noise, 1 the stochastic one,
            as `ddpm` does.
    """
    previous: tuple[Tensor, float] | None = None
    for time, bar, after in _steps(bars, times):
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


def _steps(bars: Bars, times: Times) -> Iterator[tuple[float, float, float]]:
    """Yield each time, its alpha-bar, and that of the time after it; there is no noise at 1."""
    by_time: Any = bars
    visited = [by_time[time] for time in times] + [1.0]
    for time, (bar, after) in zip(times, pairwise(visited), strict=True):
        yield time, bar, after


def _half_log_snr(alpha_bar: float) -> float:
    return 0.5 * math.log(alpha_bar / (1 - alpha_bar))
