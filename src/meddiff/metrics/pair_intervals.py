"""How sure a mean over pairs of images is: random half-samples of the images."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import squareform

from meddiff.core.errors import MeddiffError
from meddiff.metrics.groups import number_groups
from meddiff.metrics.intervals import LEAST, LEVEL, Estimate, estimate, half_samples


def pairs_interval(
    values: npt.ArrayLike,
    *,
    n_resamples: int = 1000,
    level: float = LEVEL,
    seed: int = 0,
    groups: Sequence[object] | None = None,
) -> Estimate:
    """Return the mean over all pairs of a set of images, with an interval over its images.

    Pairs share images, so that not pairs are drawn but images.

    Args:
        values: one finite value per pair i < j of n >= 4 images, float64 (n (n - 1) / 2,), e.g.
            `ssim_pairs`.
        groups: patient, lesion or volume of each image, (n,), which stay whole: four or more.

    Raises:
        MeddiffError: values of no set of at least four images, or not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    n = round((1 + (1 + 8 * array.size) ** 0.5) / 2)
    if array.ndim != 1 or n < LEAST or n * (n - 1) // 2 != array.size:
        raise MeddiffError(
            f"interval: values of shape {array.shape} are not those of all pairs of {LEAST} or "
            "more images"
        )
    if not np.isfinite(array).all():
        raise MeddiffError(
            f"interval: {np.count_nonzero(~np.isfinite(array))} of {array.size} values are not "
            "finite: equal images have an infinite PSNR, so leave duplicates out"
        )
    square = squareform(array)
    order = square.sum(axis=1).argsort()
    members = number_groups(None if groups is None else [groups[place] for place in order])
    (weights,) = half_samples(n, n_resamples=n_resamples, seed=seed, groups=[members])
    sizes = weights.sum(axis=1)
    totals = np.einsum("rn,rn->r", weights @ square[np.ix_(order, order)], weights)
    means = totals / (sizes * (sizes - 1))
    return estimate(float(array.mean()), means, least=-np.inf, level=level)


def between_interval(values: npt.ArrayLike, *, n_resamples: int = 1000, seed: int = 0) -> Estimate:
    """Return the mean over all pairs of one set with another, with an interval over both.

    `values` is float64 (n, m), n and m >= 4, e.g. of `ssim_between`; other arguments are those of
    `pairs_interval`.
    """
    array = np.asarray(values, dtype=np.float64)
    rows, columns = half_samples(*array.shape, n_resamples=n_resamples, seed=seed)
    ordered = array[array.sum(axis=1).argsort()][:, array.sum(axis=0).argsort()]
    totals = np.einsum("rm,rm->r", rows @ ordered, columns)
    means = totals / (rows.sum(axis=1) * columns.sum(axis=1))
    return estimate(float(array.mean()), means, least=-np.inf)
