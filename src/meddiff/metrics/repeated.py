"""How sure a score of repeated trainings is: over their seeds and over the test images.

A score of training s on test images i varies with both. The variance of its mean over k trainings
is taken as

    V(images) + V(seeds) / k,

where V(images) is that of the mean score over random half-samples of the test images (see
`meddiff.metrics.intervals`), groups whole and classes apart, and V(seeds) the sample variance of
the trainings' scores. Differences between two ways of training are taken training by training and
image by image first, so that what both share cancels. Intervals are Student's, with the degrees of
freedom of Satterthwaite ("An approximate distribution of estimates of variance components",
Biometrics 1946).

To V(images) comes the square of one image in the n + 2: no error on twenty images is no proof of
none. Agresti and Min ("Simple improved confidence intervals for comparing matched proportions",
Statistics in Medicine 2005) add as much.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from meddiff.metrics.intervals import LEAST, Array, Estimate, estimate, half_samples

LEVEL = 0.95


def image_halves(
    labels: npt.NDArray[np.integer], groups: Sequence[object], *, replicates: int, seed: int
) -> Array | None:
    """Return half-samples of test images, classes apart and groups whole.

    Args:
        labels: number of the class, (n,).
        groups: what belongs together, (n,); a group with several classes counts to its first.
        replicates: halves.
        seed: fixes them.

    Returns:
        Weights (replicates, n), or None where a class has fewer than four groups.
    """
    _, first, members = np.unique(
        np.asarray(groups).astype(str), return_index=True, return_inverse=True
    )
    stratum = labels[first]
    counts = [int((stratum == label).sum()) for label in np.unique(labels)]
    if min(counts) < LEAST:
        return None
    weights = np.empty((replicates + replicates % 2, len(first)))
    halves = half_samples(*counts, replicates=replicates, seed=seed)
    for label, half in zip(np.unique(labels), halves, strict=True):
        weights[:, stratum == label] = half
    return weights[:, members]


def repeated_estimate(
    values: Array, halves: Array | None, *, groups: int, least: float, most: float = 1.0
) -> Estimate:
    """Return the mean of a score, or of a difference, over trainings, with its 95 % interval.

    Args:
        values: of each training, (k,).
        halves: the same on the rows of `image_halves`, (k, r); None gives no interval.
        groups: groups of test images that the score is of.
        least: the smallest value that it can take.
        most: the largest.

    Returns:
        The estimate; with one training it speaks of the test images alone.
    """
    value = float(values.mean())
    if halves is None or not np.isfinite(halves).all():
        return Estimate(value, np.nan, np.nan, np.nan, LEVEL)
    images = estimate(value, halves.mean(axis=0), least=least).error ** 2 + (groups + 2) ** -2.0
    k = len(values)
    seeds = float(values.var(ddof=1)) / k if k > 1 else 0.0
    freedom = (images + seeds) ** 2 / (
        images**2 / max(groups - 1, 1) + (seeds**2 / (k - 1) if k > 1 else 0)
    )
    error = (images + seeds) ** 0.5
    reach = float(student.ppf((1 + LEVEL) / 2, freedom)) * error
    return Estimate(value, max(least, value - reach), min(most, value + reach), error, LEVEL)
