"""Fréchet distance between Gaussians fitted to two sets of features (FID).

Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium"
(NeurIPS 2017), section 3. The matrix square root of the textbook formula is never taken: for
centred features X (n, d) and Y (m, d) with covariances S1 and S2,

    tr sqrt(S1 S2) = ||X Yᵀ||_* / sqrt((n - 1) (m - 1)),

since the eigenvalues of S1 S2 are the squared singular values of X Yᵀ / sqrt((n - 1) (m - 1)).
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Unpack

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh, eigvalsh, qr, svdvals

from meddiff.core.errors import MeddiffError
from meddiff.core.progress import OnProgress
from meddiff.core.randomness import stream
from meddiff.metrics.features import Array, centred, checked_pair
from meddiff.metrics.intervals import Estimate, IntervalOptions, rows_by_contents, sets_interval

logger = logging.getLogger(__name__)


# Sizes from all images down to a quarter, and random subsets of each.
_FRACTIONS = 1 / np.linspace(1, 4, 10)
_SUBSETS = 8


def fid(features_a: npt.ArrayLike, features_b: npt.ArrayLike) -> float:
    """Return the Fréchet distance of Gaussians fitted to two feature sets.

    The arithmetic is float64 and costs one singular value decomposition of a matrix no larger than
    min(n, d) x min(m, d), so thousands of dimensions are cheap as long as the images are few. A set
    with no more images than dimensions is logged as a warning.

    Args:
        features_a: one real feature vector per row, (n, d), n >= 2.
        features_b: the same, (m, d), m >= 2.

    Returns:
        The distance, >= 0 and symmetric, in squared feature units: values of different extractors
        cannot be compared.

    Raises:
        MeddiffError: a set is empty, not 2-D, has fewer than two rows or values that are not
            finite, or the sets differ in d.
    """
    a, b = checked_pair("FID", features_a, features_b)
    warn_if_few(min(len(a), len(b)), a.shape[1])
    return frechet_distance(a, b)


def cafd(features_a: Mapping[str, npt.ArrayLike], features_b: Mapping[str, npt.ArrayLike]) -> float:
    """Return the class-aware Fréchet distance: the mean of the classes' FIDs.

    After Liu et al., "An improved evaluation framework for generative adversarial networks" (2018),
    with one Gaussian per class, weighted alike.

    Args:
        features_a: features (n, d) by class, n >= 2.
        features_b: the same; both name the same classes.

    Raises:
        MeddiffError: as `fid`, or the classes differ.
    """
    if not features_a or features_a.keys() != features_b.keys():
        raise MeddiffError(
            f"CAFD: the sets must have the same classes, at least one: features_a has "
            f"{sorted(features_a)}, features_b {sorted(features_b)}"
        )
    values = []
    for name in features_a:
        names = f"features_a[{name!r}]", f"features_b[{name!r}]"
        a, b = checked_pair("CAFD", features_a[name], features_b[name], names=names)
        warn_if_few(min(len(a), len(b)), a.shape[1])
        values.append(frechet_distance(a, b))
    return float(np.mean(values))


def fid_infinity(features_a: npt.ArrayLike, features_b: npt.ArrayLike, *, seed: int = 0) -> float:
    """Return the FID extrapolated to endless images of both sets.

    FID is biased upwards by about c / n. Chong and Forsyth, "Effectively unbiased FID and Inception
    Score and where to find them" (CVPR 2020), section 4, fit a line in 1 / n to the FIDs of random
    subsets and take its value at 0; here both sets shrink together, from all images to a quarter,
    so that the bias of a small reference goes too. It is sound where n is well above d; with fewer
    images the bias is no line in 1 / n, and a part of it stays: a quarter with no more images than
    dimensions is logged as a warning.

    Args:
        features_a: features (n, d), n >= 8.
        features_b: features (m, d), m >= 8.
        seed: fixes the subsets.

    Returns:
        The distance, which may fall below 0 for sets of one distribution.

    Raises:
        MeddiffError: as `fid`.
    """
    a, b = map(rows_by_contents, checked_pair("FID-infinity", features_a, features_b, at_least=8))
    warn_if_few(min(len(a), len(b)) // 4, a.shape[1])
    generator = stream(seed, "fid infinity")
    shares = np.repeat(_FRACTIONS, _SUBSETS)
    weights_a, weights_b = (
        np.stack([_subset(len(features), share, generator) for share in shares])
        for features in (a, b)
    )
    values = _Weighted.of(a, b).distances(weights_a, weights_b)
    shrunk = len(a) / weights_a.sum(axis=1) + len(b) / weights_b.sum(axis=1)
    return float(np.polyfit(shrunk, values, 1)[1])


def fid_interval(
    features_a: npt.ArrayLike,
    features_b: npt.ArrayLike,
    *,
    progress: OnProgress | None = None,
    **options: Unpack[IntervalOptions],
) -> Estimate:
    """Return the FID with an interval from random halves of both sets (`metrics.intervals`).

    Args:
        features_a: features (n, d), n >= 4.
        features_b: features (m, d), m >= 4.
        options: `n_resamples`, random halves, 4 or more (1000); `level`, the coverage of the
            interval, in (0, 1) (0.95); `seed`, which fixes the halves (0).
        progress: called with the number of resamples done.

    Raises:
        MeddiffError: as `fid`, or `n_resamples` or `level` is out of range.
    """

    def weighted(a: Array, b: Array) -> Callable[[Array, Array], Array]:
        return partial(_Weighted.of(a, b).distances, progress=progress)

    return sets_interval("FID", fid, weighted, features_a, features_b, least=0, **options)


def weighted_fid(a: Array, b: Array) -> Callable[[Array, Array], Array]:
    """Return a function from weights of images, (r, n) and (r, m), to the FID of each row.

    It loses half of the digits: enough for half-samples, not for the value itself.
    """
    return _Weighted.of(a, b).distances


def frechet_distance(a: Array, b: Array) -> float:
    """Return the FID of features that are checked, float64 (n, d) and (m, d), without a warning."""
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    scaled_a = (a - mean_a) / np.sqrt(len(a) - 1)
    scaled_b = (b - mean_b) / np.sqrt(len(b) - 1)
    traces = np.vdot(scaled_a, scaled_a) + np.vdot(scaled_b, scaled_b)
    if min(len(a), len(b)) > a.shape[1]:
        scaled_a, scaled_b = _triangle(scaled_a), _triangle(scaled_b)
    root_trace = svdvals(scaled_a @ scaled_b.T).sum()
    distance = np.sum((mean_a - mean_b) ** 2) + traces - 2 * root_trace
    # Rounding takes the distance of equal sets a little below zero.
    return max(0.0, float(distance))


def _triangle(centred: Array) -> Array:
    """Return R (d, d) with RᵀR = XᵀX: it gives X Yᵀ's singular values, sooner if n > d."""
    return qr(centred, mode="r")[0][: centred.shape[1]]


@dataclass(frozen=True)
class _Weighted:
    """Distances of two sets whose images count as often as weights say, many times over.

    Squared singular values are eigenvalues of the smaller Gram matrix, which is fast and loses half
    the digits: enough for resamples, not for the value itself.
    """

    a: Array
    b: Array
    squares: tuple[Array, Array]
    cross: Array | None
    """X Yᵀ (n, m), about means that are subtracted anew for every weighting; None if d is small:
    below half of the images, since about as many count."""

    @classmethod
    def of(cls, a: Array, b: Array) -> "_Weighted":
        a, b = centred(a, b)
        squares = np.einsum("ij,ij->i", a, a), np.einsum("ij,ij->i", b, b)
        return cls(a, b, squares, a @ b.T if 2 * a.shape[1] > min(len(a), len(b)) else None)

    def distances(
        self, weights_a: Array, weights_b: Array, progress: OnProgress | None = None
    ) -> Array:
        """Return one distance per row of weights, (r, n) and (r, m)."""
        means_a = weights_a @ self.a / weights_a.sum(1, keepdims=True)
        means_b = weights_b @ self.b / weights_b.sum(1, keepdims=True)
        if self.cross is not None:
            along_a, along_b = self.b @ means_a.T, self.a @ means_b.T
        values = np.empty(len(weights_a))
        for row, (w, v) in enumerate(zip(weights_a, weights_b, strict=True)):
            one, two = means_a[row], means_b[row]
            if self.cross is None:
                root_trace = _root_trace(_covariance(self.a, w, one), _covariance(self.b, v, two))
            else:
                shifted = _shifted(self.cross, w, along_b[:, row], v, along_a[:, row], one @ two)
                root_trace = _nuclear_norm(shifted) / np.sqrt((w.sum() - 1) * (v.sum() - 1))
            traces = sum(
                (weights @ squares - weights.sum() * mean @ mean) / (weights.sum() - 1)
                for weights, squares, mean in zip((w, v), self.squares, (one, two), strict=True)
            )
            values[row] = max(0.0, np.sum((one - two) ** 2) + traces - 2 * root_trace)
            if progress is not None:
                progress(row + 1)
        return values


def _shifted(
    cross: Array, w: Array, a_by_mean_b: Array, v: Array, b_by_mean_a: Array, means: float
) -> Array:
    """Return X Yᵀ of the rows that count, about their own means and as often as they count."""
    rows, columns = np.flatnonzero(w), np.flatnonzero(v)
    product = cross[np.ix_(rows, columns)]
    product -= a_by_mean_b[rows, None]
    product -= b_by_mean_a[columns]
    product += means
    product *= np.sqrt(w[rows])[:, None]
    product *= np.sqrt(v[columns])
    return product


def _covariance(features: Array, weights: Array, mean: Array) -> Array:
    rows = np.flatnonzero(weights)
    centred = (features[rows] - mean) * np.sqrt(weights[rows] / (weights.sum() - 1))[:, None]
    return centred.T @ centred


def _root_trace(one: Array, two: Array) -> float:
    """Return tr sqrt(S1 S2) of two covariances."""
    values, vectors = eigh(one)
    root = vectors * np.sqrt(values.clip(0))
    return float(np.sqrt(eigvalsh(root.T @ two @ root).clip(0)).sum())


def _nuclear_norm(matrix: Array) -> float:
    gram = matrix @ matrix.T if len(matrix) < matrix.shape[1] else matrix.T @ matrix
    return float(np.sqrt(eigvalsh(gram).clip(0)).sum())


def _subset(n: int, share: float, generator: np.random.Generator) -> Array:
    """Return weights of 1 for a random share of n images, 0 for the others."""
    weights = np.zeros(n)
    weights[generator.permutation(n)[: max(2, round(share * n))]] = 1
    return weights


def warn_if_few(n: int, d: int) -> None:
    """Log a warning where a set has no more images, `n`, than dimensions, `d`."""
    if n <= d:
        logger.warning(
            "FID of %d images in %d dimensions: exact for the fitted Gaussians, "
            "but biased upwards for so few images",
            n,
            d,
        )
