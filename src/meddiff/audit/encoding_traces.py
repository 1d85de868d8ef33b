"""Traces that an encoding leaves in pixels, whatever the picture: can they tell two sets apart?

Each statistic compares neighbouring pixels, or grey levels, with the others of the same image, so
that contents and sharpness cancel and what remains is the encoding: the 8 x 8 blocks of JPEG, its
halved colour resolution, and grey levels that stretching left empty.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from meddiff.core.errors import MeddiffError
from meddiff.core.randomness import stream_seed
from meddiff.metrics.intervals import Estimate, share_interval

BLOCK = 8
"""Side of a block of JPEG in px."""
BORDER = 4
"""Pixels left out at each edge, where filters and nets pad: no trace of an encoding."""
LEAST_SIDE = 18
"""Side in px from which every place in a block has a pair of pixels within the borders."""
FOLDS = 5


def encoding_traces(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the traces of encoding in an image, uint8 (h, w, 1 or 3), float64 (21,).

    Per axis: mean absolute differences of neighbours in luminance by their place in a block of 8,
    and those of Cb and Cr by odd and even place, each over its mean; per channel of RGB, the share
    of empty grey levels between used ones.

    Raises:
        MeddiffError: a side is shorter than `LEAST_SIDE`.
    """
    if min(image.shape[:2]) < LEAST_SIDE:
        raise MeddiffError(
            f"images of {image.shape[1]} x {image.shape[0]} px are too small to check their "
            f"encoding: give {LEAST_SIDE} px or more"
        )
    rgb = image if image.shape[-1] == 3 else image.repeat(3, axis=-1)
    planes = np.moveaxis(np.asarray(Image.fromarray(rgb).convert("YCbCr"), float), 2, 0)
    values: list[NDArray[np.float64]] = []
    for axis in (0, 1):
        steps = [
            np.abs(np.diff(plane, axis=axis)).mean(axis=1 - axis)[BORDER:-BORDER]
            for plane in planes
        ]
        values.append(_by_phase(steps[0], BLOCK))
        values.append(_by_phase(steps[1] + steps[2], 2)[:1])
    values.append(np.array([_empty_levels(rgb[..., channel]) for channel in range(3)]))
    return np.concatenate(values)


def _by_phase(steps: NDArray[np.float64], period: int) -> NDArray[np.float64]:
    """Return the mean of every `period`-th step over that of all; ones if nothing changes."""
    means = np.array([steps[phase::period].mean() for phase in range(period)])
    total = means.mean()
    return means / total if total > 0 else np.ones(period)


def _empty_levels(channel: NDArray[np.uint8]) -> float:
    """Return the share of unused levels among those whose both neighbours are well used."""
    counts = np.bincount(channel.ravel(), minlength=256).astype(float)
    around = np.minimum(counts[:-2], counts[2:])
    # Of a smooth histogram a level with such neighbours is empty by chance in one of exp(8).
    used = around >= 8
    return float((counts[1:-1][used] == 0).mean()) if used.any() else 0.0


def separation(first: NDArray[np.uint8], second: NDArray[np.uint8], *, seed: int = 0) -> Estimate:
    """Return the accuracy with which traces of encoding predict, cross-validated, an image's set.

    Args:
        first: uint8 (n,h,w,C).
        second: the same number of images of that size; the longer set is cut.
        seed: fixes the folds.

    Returns:
        The accuracy, 0.5 by chance, with its exact interval.
    """
    count = min(len(first), len(second))
    values = np.stack([encoding_traces(each) for of in (first, second) for each in of[:count]])
    labels = np.repeat([0, 1], count)
    folds = StratifiedKFold(
        min(FOLDS, count), shuffle=True, random_state=stream_seed(seed, "traces") % 2**32
    )
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=5000))
    right = cross_val_predict(model, values, labels, cv=folds) == labels
    return share_interval(int(right.sum()), 2 * count)
