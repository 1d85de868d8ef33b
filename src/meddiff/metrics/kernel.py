"""Maximum mean discrepancy (MMD) of two sets of features: KID and CMMD.

Gretton et al., "A kernel two-sample test" (JMLR 2012), eq. 3: the unbiased estimate

    MMD² = mean over i != j of k(x_i, x_j) + mean over i != j of k(y_i, y_j)
           - 2 mean over i, j of k(x_i, y_j).

It has no bias at any number of images, so it may come out a little below zero.
"""

from collections.abc import Callable
from functools import partial
from typing import Unpack

import numpy as np
import numpy.typing as npt

from meddiff.core.errors import MeddiffError
from meddiff.metrics.features import Array, checked_pair
from meddiff.metrics.intervals import Estimate, IntervalOptions, sets_interval

Kernel = Callable[[Array, Array], Array]

# Kernel values of one block of rows; a few such arrays are in memory at once.
_BLOCK = 2**23


def kid(features_a: npt.ArrayLike, features_b: npt.ArrayLike) -> float:
    """Return the kernel inception distance of two feature sets.

    Bińkowski et al., "Demystifying MMD GANs" (ICLR 2018), section 4: the unbiased MMD² with the
    kernel (x·y / d + 1)³, over all images rather than over random subsets of them.

    Args:
        features_a: features (n, d), n >= 2.
        features_b: features (m, d), m >= 2.

    Returns:
        The distance, around 0 for sets of one distribution, below it, too.

    Raises:
        MeddiffError: as `fid`.
    """
    a, b = checked_pair("KID", features_a, features_b)
    return _mmd(_cubic, a, b)


def kid_interval(
    features_a: npt.ArrayLike, features_b: npt.ArrayLike, **options: Unpack[IntervalOptions]
) -> Estimate:
    """Return the KID with an interval; arguments and errors are those of `fid_interval`."""
    return sets_interval("KID", kid, weighted_kid, features_a, features_b, **options)


def weighted_kid(a: Array, b: Array) -> Callable[[Array, Array], Array]:
    """Return a function from weights of images, (r, n) and (r, m), to the KID of each row."""
    return partial(_mmds, _cubic, a, b)


def cmmd(embeddings_a: npt.ArrayLike, embeddings_b: npt.ArrayLike, *, sigma: float = 10.0) -> float:
    """Return 1000 times the unbiased MMD² with a Gaussian kernel, of CLIP embeddings.

    Jayasumana et al., "Rethinking FID: towards a better evaluation metric for image generation"
    (CVPR 2024), section 4. Embeddings are scaled to length 1 first, but for zeros. The paper's own
    code keeps the pairs of an image with itself, which adds a bias that falls as 1 / n.

    Args:
        embeddings_a: embeddings (n, d), n >= 2.
        embeddings_b: embeddings (m, d), m >= 2.
        sigma: width of the kernel, above 0.

    Returns:
        The distance, around 0 for sets of one distribution, below it, too.

    Raises:
        MeddiffError: as `fid`, or sigma is not above 0 and finite.
    """
    a, b = checked_pair("CMMD", embeddings_a, embeddings_b)
    return _mmd(_gaussian(sigma), _normalised(a), _normalised(b))


def cmmd_interval(
    embeddings_a: npt.ArrayLike,
    embeddings_b: npt.ArrayLike,
    *,
    sigma: float = 10.0,
    **options: Unpack[IntervalOptions],
) -> Estimate:
    """Return the CMMD with an interval; arguments are those of `cmmd` and `fid_interval`."""
    value, weighted = partial(cmmd, sigma=sigma), partial(weighted_cmmd, sigma=sigma)
    return sets_interval("CMMD", value, weighted, embeddings_a, embeddings_b, **options)


def weighted_cmmd(a: Array, b: Array, *, sigma: float = 10.0) -> Callable[[Array, Array], Array]:
    """As `weighted_kid`."""
    return partial(_mmds, _gaussian(sigma), _normalised(a), _normalised(b))


def _cubic(x: Array, y: Array) -> Array:
    products = x @ y.T / x.shape[1] + 1
    # Several times faster than a power.
    return products * products * products


def _gaussian(sigma: float) -> Kernel:
    """Return 1000 times the kernel, up to a constant."""
    if not 0 < sigma < np.inf:
        raise MeddiffError(f"CMMD: sigma is {sigma}: it must be above 0 and finite")

    def kernel(x: Array, y: Array) -> Array:
        squares = np.sum(x**2, axis=1)[:, None] + np.sum(y**2, axis=1) - 2 * x @ y.T
        # A constant cancels out of MMD², and so do digits of values near one.
        return 1000 * np.expm1(-squares.clip(0) / (2 * sigma**2))

    return kernel


def _normalised(embeddings: Array) -> Array:
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(lengths > 0, lengths, 1)


def _mmd(kernel: Kernel, a: Array, b: Array) -> float:
    return float(_mmds(kernel, a, b, np.ones((1, len(a))), np.ones((1, len(b))))[0])


def _mmds(kernel: Kernel, a: Array, b: Array, weights_a: Array, weights_b: Array) -> Array:
    """Return MMD² for every row of weights, (r, n) and (r, m)."""
    own = _within(kernel, a, weights_a) + _within(kernel, b, weights_b)
    sums = weights_a.sum(1) * weights_b.sum(1)
    return own - 2 * _total(kernel, a, b, weights_a, weights_b) / sums


def _within(kernel: Kernel, x: Array, weights: Array) -> Array:
    """Mean of the kernel over pairs of different images; one that counts twice is no pair."""
    pairs = weights.sum(1) ** 2 - (weights**2).sum(1)
    return _total(kernel, x, x, weights, weights, own_pairs=False) / pairs


def _total(
    kernel: Kernel, x: Array, y: Array, weights_x: Array, weights_y: Array, own_pairs: bool = True
) -> Array:
    """Weighted sum of the kernel over all pairs, in blocks of rows."""
    total = np.zeros(len(weights_x))
    size = max(1, _BLOCK // len(y))
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        values = kernel(x[rows], y)
        if not own_pairs:
            np.fill_diagonal(values[:, rows], 0)
        total += np.einsum("rm,rm->r", weights_x[:, rows] @ values, weights_y)
    return total
