"""What rows of Table 5.2 and of matrices share."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from meddiff.metrics.intervals import LEAST, Estimate, pairs_interval, without_interval


def mean_of_pairs(values: np.ndarray, n_resamples: int, seed: int) -> Estimate:
    """Return the mean over all pairs of a set; of too few images without an interval."""
    if len(values) < LEAST * (LEAST - 1) // 2:
        return without_interval(float(values.mean()))
    return pairs_interval(values, n_resamples=n_resamples, seed=seed)


def interval(found: Estimate) -> dict[str, float]:
    """Return the columns of a value with its 95 % interval; it is no mean, so has no deviation."""
    return {"value": found.value, "std": np.nan, "ci_low": found.low, "ci_high": found.high}


def counts(images: str, scored: int, reference: int) -> dict[str, int]:
    """Return the real and synthetic images behind a value; noise counts as synthetic."""
    real = images == "real"
    return {"n_real": reference + scored * real, "n_synthetic": scored * (not real)}


def matrix_rows(
    cells: Mapping[tuple[tuple[str, str], tuple[str, str]], Estimate],
    order: Sequence[tuple[str, str]],
    sizes: Mapping[tuple[str, str], int],
) -> pd.DataFrame:
    """Return the cells of a matrix as rows, in the order of its sets."""
    return pd.DataFrame(
        {
            **dict(
                zip(
                    ("image_set_a", "class_a", "image_set_b", "class_b"),
                    (*one, *other),
                    strict=True,
                )
            ),
            **interval(cells[one, other]),
            "n_a": sizes[one],
            "n_b": sizes[other],
        }
        for one in order
        for other in order
    ).drop(columns="std")
