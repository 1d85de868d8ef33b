"""Similarity of images by name, SSIM and MS-SSIM, and which images are too small for it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from meddiff.core.progress import OnProgress
from meddiff.metrics.images import SMALLEST_WINDOW, Images, Subset
from meddiff.metrics.intervals import LEAST, Estimate, without_interval
from meddiff.metrics.pair_intervals import between_interval, pairs_interval
from meddiff.metrics.structural import ms_ssim_between, ms_ssim_pairs, ssim_between, ssim_pairs

PAIRS: Mapping[str, Callable[..., np.ndarray]] = {"ssim": ssim_pairs, "ms_ssim": ms_ssim_pairs}
BETWEEN: Mapping[str, Callable[..., np.ndarray]] = {
    "ssim": ssim_between,
    "ms_ssim": ms_ssim_between,
}
"""Both by name; `metrics.<name>` of the configuration, if there is one, has their settings."""
SCALES: Mapping[str, int] = {"ssim": 1, "ms_ssim": 5}
"""Of those with a sliding window, the number of image sizes that they look at."""


def has_black_background(images: Images) -> npt.NDArray[np.bool_]:
    """Return which of uint8 (N,H,W,C) are dark in their upper right corner, bool (N,): the study's
    section 5.1 distinguishes hand radiographs on black from inverted ones so."""
    dark: npt.NDArray[np.bool_] = images[:, 0, -1].max(1) <= 127
    return dark


SUBSETS: Mapping[Subset, Callable[[Images], npt.NDArray[np.bool_]]] = {
    "all": lambda images: np.ones(len(images), bool),
    "black_background": has_black_background,
}
"""Images whose pairs are measured, by name in `metrics.ssim_on`."""


def window_of(metric: str, size: int) -> int | None:
    """Return the largest window, 11 px at most, that images of `size` px allow; None if none."""
    side = min(11, size // 2 ** (SCALES[metric] - 1))
    return side if side >= SMALLEST_WINDOW else None


def too_small(metric: str, size: int) -> str:
    """Say why images of `size` px have no value of a metric; nothing where they have one."""
    if metric not in SCALES or window_of(metric, size):
        return ""
    minimum = SMALLEST_WINDOW * 2 ** (SCALES[metric] - 1)
    return f"{metric}: images of {size} px are too small, it needs {minimum} px"


def options_of(metric: str, settings: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Return how a metric is computed: by its settings, and on a device if it has a window.

    Args:
        settings: of every metric that has any, by name.
    """
    where = {"device": device} if metric in SCALES else {}
    return {**settings.get(metric, {}), **where}


def arithmetic_note(metric: str, device: str) -> str:
    """Say in which arithmetic a metric is not computed in float64; nothing where it is."""
    return "pairs in float32, on a GPU" if metric in SCALES and device != "cpu" else ""


def pairs_of(
    metric: str, images: Images, window: Mapping[str, Any], *, progress: OnProgress | None = None
) -> np.ndarray:
    """Return a metric of all pairs of a set (N,H,W,C); none where they are too small or too few."""
    if len(images) < 2 or too_small(metric, min(images.shape[1:3])):
        return np.empty(0)
    return PAIRS[metric](images, **window, progress=progress)


def mean_of_pairs(
    values: np.ndarray, n_resamples: int, seed: int, groups: Sequence[object] | None = None
) -> Estimate:
    """Return the mean over all pairs of a set; of too few images or groups without an interval."""
    few = groups is not None and len(set(groups)) < LEAST
    if len(values) < LEAST * (LEAST - 1) // 2 or few:
        return without_interval(float(values.mean()))
    return pairs_interval(values, n_resamples=n_resamples, seed=seed, groups=groups)


def mean_similarity(
    metric: str,
    images_a: Images,
    images_b: Images | None,
    window: Mapping[str, Any],
    n_resamples: int,
    seed: int,
) -> Estimate:
    """Return the mean over all pairs of two sets (N,H,W,C), or within one where `images_b` is None.

    NaN where the images are too small; no interval where there are too few.
    """
    if too_small(metric, min(images_a.shape[1:3])):
        return without_interval(np.nan)
    if images_b is None:
        return mean_of_pairs(PAIRS[metric](images_a, **window), n_resamples, seed)
    values = BETWEEN[metric](images_a, images_b, **window)
    if min(values.shape) < LEAST:
        return without_interval(float(values.mean()))
    return between_interval(values, n_resamples=n_resamples, seed=seed)
