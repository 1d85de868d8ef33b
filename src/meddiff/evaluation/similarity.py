"""Similarity of images, SSIM and MS-SSIM, as rows of Table 5.2 and as matrices."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pandas as pd

from meddiff.core.progress import OnProgress
from meddiff.evaluation.rows import Set, counts, interval, matrix_rows
from meddiff.metrics.images import Subset, places_by_contents
from meddiff.metrics.intervals import Estimate, without_interval
from meddiff.metrics.similarity import arithmetic_note, mean_of_pairs, mean_similarity, too_small


@dataclass(frozen=True)
class MeasuredPairs:
    """What all pairs of some images measure.

    Attributes:
        values: of each pair by metric ("ssim", "ms_ssim"); none where images are too small, whose
            row has a `note` in place of a value.
        size: their shorter side in px.
        subset: which images of the set these are; an empty cell stands for all.
    """

    values: Mapping[str, np.ndarray]
    images: int
    size: int
    subset: Subset = "all"
    device: str = "cpu"


def similarity_rows(
    name: str, image_set: str, pairs: MeasuredPairs, *, n_resamples: int, seed: int
) -> pd.DataFrame:
    """Return mean and standard deviation over all pairs of a class's images in one image set."""
    return pd.DataFrame(
        {
            "class": name,
            "image_set": image_set,
            "metric": metric,
            "extractor": "",
            "subset": "" if pairs.subset == "all" else pairs.subset,
            **_over_pairs(values, n_resamples, seed),
            **counts(image_set, pairs.images, 0),
            "dimension": pd.NA,
            "note": too_small(metric, pairs.size) or arithmetic_note(metric, pairs.device),
        }
        for metric, values in pairs.values.items()
    )


def similarity_matrix(
    sets: Mapping[Set, np.ndarray],
    metric: str,
    window: Mapping[str, Any],
    *,
    most: int,
    n_resamples: int,
    seed: int,
    progress: OnProgress | None = None,
) -> pd.DataFrame:
    """Return the mean SSIM or MS-SSIM between every two of several image sets, and within each.

    Args:
        sets: uint8 (N,H,W,C) by image set and class.
        most: images taken of each set, at random by their pixels alone.

    Returns:
        One row per ordered pair: image_set_a, class_a, image_set_b, class_b, value, ci_low,
        ci_high, n_a, n_b; values are empty where images are too small.
    """
    chosen = {key: images[places_by_contents(images, seed)[:most]] for key, images in sets.items()}
    cells: dict[tuple[Set, Set], Estimate] = {}
    for done, (one, other) in enumerate(combinations_with_replacement(chosen, 2), start=1):
        between = None if one == other else chosen[other]
        value = mean_similarity(metric, chosen[one], between, window, n_resamples, seed)
        cells[one, other] = cells[other, one] = value
        if progress is not None:
            progress(done)
    return matrix_rows(cells, list(sets), {key: len(images) for key, images in chosen.items()})


def _over_pairs(values: np.ndarray, n_resamples: int, seed: int) -> dict[str, float]:
    if not len(values):
        return interval(without_interval(np.nan))
    return {**interval(mean_of_pairs(values, n_resamples, seed)), "std": float(values.std())}
