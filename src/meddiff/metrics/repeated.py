"""Intervals of the scores of one or more trainings, over their seeds and the test images.

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

from meddiff.metrics.intervals import (
    LEAST,
    LEVEL,
    Array,
    Estimate,
    estimate,
    half_samples,
    without_interval,
)


def image_halves(
    labels: npt.NDArray[np.integer], groups: Sequence[object], *, n_resamples: int, seed: int
) -> Array | None:
    """Return half-samples of test images, classes apart and groups whole.

    Args:
        labels: number of the class, (n,).
        groups: what belongs together, (n,); it may hold images of several classes.

    Returns:
        Weights (n_resamples, n), or None where fewer than four groups hold a class.
    """
    _, members = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    present = np.zeros((members.max() + 1, labels.max() + 1), dtype=bool)
    present[members, labels] = True
    if present[:, present.any(axis=0)].sum(axis=0).min() < LEAST:
        return None
    strata = _strata(present)
    counts = np.bincount(strata)
    weights = np.empty((n_resamples + n_resamples % 2, len(present)))
    halves = half_samples(*map(int, counts), n_resamples=n_resamples, seed=seed)
    for stratum, half in enumerate(halves):
        weights[:, strata == stratum] = half
    return weights[:, members]


def _strata(present: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Number groups by the classes present in them (groups, classes); rare kinds join others."""
    _, kinds, counts = np.unique(present, axis=0, return_inverse=True, return_counts=True)
    few = counts < LEAST
    joined = np.where(few, counts.argmax() if counts[few].sum() < LEAST else len(counts), 0)
    places = np.where(few, joined, np.arange(len(counts)))
    strata: npt.NDArray[np.int64] = np.unique(places[kinds.ravel()], return_inverse=True)[1]
    return strata


def repeated_estimate(
    values: Array, halves: Array | None, *, groups: int, least: float
) -> Estimate:
    """Return the mean of a score, or of a difference, over trainings, with its 95 % interval.

    Args:
        values: of each training, (k,).
        halves: the same on the rows of `image_halves`, (k, r); None gives no interval.
        groups: groups of test images that the score is of.
        least: the smallest value of the score; the largest is 1.

    Returns:
        The estimate; with one training its interval is over the test images alone.
    """
    value = float(values.mean())
    if halves is None or not np.isfinite(halves).all():
        return without_interval(value)
    images = estimate(value, halves.mean(axis=0), least=least).error ** 2 + (groups + 2) ** -2.0
    k = len(values)
    seeds = float(values.var(ddof=1)) / k if k > 1 else 0.0
    freedom = (images + seeds) ** 2 / (
        images**2 / max(groups - 1, 1) + (seeds**2 / (k - 1) if k > 1 else 0)
    )
    error = (images + seeds) ** 0.5
    reach = float(student.ppf((1 + LEVEL) / 2, freedom)) * error
    return Estimate(value, max(least, value - reach), min(1.0, value + reach), error, LEVEL)
