"""Fréchet distance between Gaussians fitted to two sets of features (FID).

Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium"
(NeurIPS 2017), section 3. The matrix square root of the textbook formula is never taken: for
centred features X (n, d) and Y (m, d) with covariances S1 and S2,

    tr sqrt(S1 S2) = ||X Yᵀ||_* / sqrt((n - 1) (m - 1)),

since the eigenvalues of S1 S2 are the squared singular values of X Yᵀ / sqrt((n - 1) (m - 1)).
"""

import logging

import numpy as np
import numpy.typing as npt
from scipy.linalg import qr, svdvals

from meddiff.errors import MeddiffError

Array = npt.NDArray[np.float64]

logger = logging.getLogger(__name__)


def fid(features_a: npt.ArrayLike, features_b: npt.ArrayLike) -> float:
    """Return the Fréchet distance of Gaussians fitted to two feature sets.

    `features_a` (n, d) and `features_b` (m, d) hold one real feature vector a row; n, m >= 2. The
    arithmetic is float64 and costs one singular value decomposition of a matrix no larger than
    min(n, d) x min(m, d), so thousands of dimensions are cheap as long as the images are few.
    The result is symmetric, >= 0, and in squared feature units: values of different extractors
    cannot be compared. A set with no more images than dimensions is logged as a warning.

    Raises MeddiffError if a set is empty, not 2-D, has fewer than two rows or holds values that
    are not finite, or if the sets differ in d.
    """
    a, b = _checked(features_a, "features_a"), _checked(features_b, "features_b")
    if a.shape[1] != b.shape[1]:
        raise MeddiffError(
            f"FID: features_a has {a.shape[1]} dimensions, features_b {b.shape[1]}: "
            "use the same extractor for both sets"
        )
    _warn_if_few(min(len(a), len(b)), a.shape[1])
    return _frechet_distance(a, b)


def _frechet_distance(a: Array, b: Array) -> float:
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    scaled_a = (a - mean_a) / np.sqrt(len(a) - 1)
    scaled_b = (b - mean_b) / np.sqrt(len(b) - 1)
    traces = np.vdot(scaled_a, scaled_a) + np.vdot(scaled_b, scaled_b)
    root_trace = svdvals(_reduced(scaled_a) @ _reduced(scaled_b).T).sum()
    distance = np.sum((mean_a - mean_b) ** 2) + traces - 2 * root_trace
    # Rounding takes the distance of equal sets a little below zero.
    return max(0.0, float(distance))


def _reduced(centred: Array) -> Array:
    """Return a matrix R of at most d rows with RᵀR = XᵀX: it gives X Yᵀ's singular values."""
    n, d = centred.shape
    return qr(centred, mode="r")[0][:d] if n > d else centred


def _checked(features: npt.ArrayLike, name: str) -> Array:
    array = np.asarray(features)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise MeddiffError(
            f"FID: {name} must be a real array of shape (images, dimensions), "
            f"not {array.dtype} of shape {array.shape}"
        )
    if len(array) < 2 or array.shape[1] == 0:
        raise MeddiffError(
            f"FID: {name} has shape {array.shape}: a covariance needs at least 2 images "
            "and 1 dimension"
        )
    array = array.astype(np.float64, copy=False)
    # A sum over the row is finite only if all its values are, and can be squared.
    with np.errstate(over="ignore", invalid="ignore"):
        broken = np.count_nonzero(~np.isfinite(np.einsum("ij,ij->i", array, array)))
    if broken:
        raise MeddiffError(
            f"FID: {broken} of {len(array)} rows of {name} hold NaN, infinite or overflowing "
            "values: check the extractor's input and weights"
        )
    return array


def _warn_if_few(n: int, d: int) -> None:
    if n <= d:
        logger.warning(
            "FID of %d images in %d dimensions: exact for the fitted Gaussians, "
            "but biased upwards for so few images",
            n,
            d,
        )
