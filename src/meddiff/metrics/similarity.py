"""Similarity of images, SSIM and MS-SSIM, as rows of Table 5.2 and as matrices."""

from collections.abc import Callable, Mapping
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pandas as pd

from meddiff.metrics.images import places_by_contents
from meddiff.metrics.intervals import LEAST, Estimate, between_interval, without_interval
from meddiff.metrics.rows import counts, interval, matrix_rows, mean_of_pairs
from meddiff.metrics.settings import SMALLEST_WINDOW
from meddiff.metrics.structural import (
    ms_ssim_between,
    ms_ssim_pairs,
    ssim_between,
    ssim_pairs,
)

PAIRS: Mapping[str, Callable[..., np.ndarray]] = {"ssim": ssim_pairs, "ms_ssim": ms_ssim_pairs}
BETWEEN: Mapping[str, Callable[..., np.ndarray]] = {
    "ssim": ssim_between,
    "ms_ssim": ms_ssim_between,
}
"""Both by name; `metrics.<name>` of the configuration, if there is one, holds their settings."""
SCALES: Mapping[str, int] = {"ssim": 1, "ms_ssim": 5}
"""Of those that look through a window, how many sizes of the images they look at."""
Progress = Callable[[int], None]


def window_of(metric: str, size: int) -> int | None:
    """Return the side of the largest window, 11 px at most, that images allow; None if none does.

    Args:
        metric: one of SCALES.
        size: shorter side of the images in px.
    """
    side = min(11, size // 2 ** (SCALES[metric] - 1))
    return side if side >= SMALLEST_WINDOW else None


def too_small(metric: str, size: int) -> str:
    """Say why images of `size` px have no value of a metric; nothing where they have one."""
    if metric not in SCALES or window_of(metric, size):
        return ""
    least = SMALLEST_WINDOW * 2 ** (SCALES[metric] - 1)
    return f"{metric}: images of {size} px are too small, it needs {least} px"


def pairs_of(
    metric: str,
    images: np.ndarray,
    window: Mapping[str, Any],
    *,
    progress: Progress | None = None,
) -> np.ndarray:
    """Return a metric of all pairs of a set (N,H,W,C); none where the images are too small."""
    if too_small(metric, min(images.shape[1:3])):
        return np.empty(0)
    return PAIRS[metric](images, **window, progress=progress)


def similarity_rows(
    name: str,
    images: str,
    pairs: Mapping[str, np.ndarray],
    count: int,
    *,
    size: int,
    n_resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Return mean and standard deviation over all pairs of one image set.

    Args:
        name: class.
        images: image set, "synthetic" or "real".
        pairs: values of each pair by metric ("ssim", "ms_ssim"); none where images are too small,
            whose row has a `note` in place of a value.
        count: number of images in the set.
        size: their shorter side in px.
        n_resamples: random half-samples behind an interval.
        seed: seed of the run.
    """
    return pd.DataFrame(
        {
            "class": name,
            "image_set": images,
            "metric": metric,
            "extractor": "",
            **_over_pairs(values, n_resamples, seed),
            **counts(images, count, 0),
            "dimension": pd.NA,
            "note": too_small(metric, size),
        }
        for metric, values in pairs.items()
    )


def _over_pairs(values: np.ndarray, n_resamples: int, seed: int) -> dict[str, float]:
    if not len(values):
        return interval(without_interval(np.nan))
    return {**interval(mean_of_pairs(values, n_resamples, seed)), "std": float(values.std())}


def similarity_matrix(
    sets: Mapping[tuple[str, str], np.ndarray],
    metric: str,
    window: Mapping[str, Any],
    *,
    most: int,
    n_resamples: int,
    seed: int,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return the mean SSIM or MS-SSIM between every two of several image sets, and within each.

    Args:
        sets: uint8 (N,H,W,C) by image set and class.
        metric: "ssim" or "ms_ssim".
        window: kernel_size and sigma.
        most: images taken of each set, at random by their pixels alone.
        n_resamples: random half-samples behind an interval.
        seed: seed of the run.
        progress: called with the number of cells done.

    Returns:
        One row an ordered pair: image_set_a, class_a, image_set_b, class_b, value, ci_low, ci_high,
        n_a, n_b;
        values are empty where images are too small.
    """
    chosen = {key: images[places_by_contents(images, seed)[:most]] for key, images in sets.items()}
    cells: dict[tuple[tuple[str, str], tuple[str, str]], Estimate] = {}
    for done, (one, other) in enumerate(combinations_with_replacement(chosen, 2), start=1):
        if too_small(metric, min(chosen[one].shape[1:3])):
            cells[one, other] = cells[other, one] = without_interval(np.nan)
        elif one == other:
            values = PAIRS[metric](chosen[one], **window)
            cells[one, one] = mean_of_pairs(values, n_resamples, seed)
        else:
            values = BETWEEN[metric](chosen[one], chosen[other], **window)
            enough = min(values.shape) >= LEAST
            found = (
                between_interval(values, n_resamples=n_resamples, seed=seed)
                if enough
                else without_interval(float(values.mean()))
            )
            cells[one, other] = cells[other, one] = found
        if progress is not None:
            progress(done)
    return matrix_rows(cells, list(sets), {key: len(images) for key, images in chosen.items()})
