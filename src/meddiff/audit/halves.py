"""What a distance is between images of one kind: of two halves of a set it should be none."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from meddiff.core.randomness import stream
from meddiff.metrics.distances import DISTANCES, distance_at
from meddiff.metrics.intervals import rows_by_contents


def halves_table(
    features: Mapping[str, np.ndarray], *, most: int, n_resamples: int, seed: int
) -> pd.DataFrame:
    """Return FID and KID between two halves of each class's real images.

    Of few images in many dimensions FID is large between sets of one distribution, KID is not.

    Args:
        features: (n, d) by class.
        most: images taken of each half, unless it has fewer.

    Returns:
        One row per class and metric: `class`, `metric`, `value`, `ci_low`, `ci_high`, `n_real`
        (images of one half) and `dimension`.
    """
    rows = []
    for name, values in features.items():
        order = stream(seed, "halves", name).permutation(len(values))
        one, other = (rows_by_contents(values)[part] for part in np.array_split(order, 2))
        n = min(most, len(one), len(other))
        for metric in DISTANCES:
            distance = distance_at(metric, one, other, (n, n), n_resamples, seed).estimate()
            rows.append({"class": name, "metric": metric, **distance.columns(), "n_real": n})
    return pd.DataFrame(rows).assign(dimension=next(iter(features.values())).shape[1])
