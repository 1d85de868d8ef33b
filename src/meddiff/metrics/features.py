"""Input checks of metrics of features."""

import numpy as np
import numpy.typing as npt

from meddiff.core.errors import MeddiffError

Array = npt.NDArray[np.float64]

# The cube of a squared length, summed over all pairs of images, still is a float64. Whatever is
# finite in float32 is below.
_LARGEST_SQUARE = 1e90


def checked(metric: str, name: str, features: npt.ArrayLike, *, at_least: int = 2) -> Array:
    """Return real, finite features (n, d) of `at_least` images in float64."""
    array = np.asarray(features)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise MeddiffError(
            f"{metric}: {name} must be a real array of shape (images, dimensions), "
            f"not {array.dtype} of shape {array.shape}"
        )
    if len(array) < at_least or array.shape[1] == 0:
        raise MeddiffError(
            f"{metric}: {name} has shape {array.shape}: it needs at least {at_least} images "
            "and 1 dimension"
        )
    array = array.astype(np.float64, copy=False)
    # False for NaN, too.
    with np.errstate(over="ignore", invalid="ignore"):
        broken = np.count_nonzero(~(np.einsum("ij,ij->i", array, array) < _LARGEST_SQUARE))
    if broken:
        raise MeddiffError(
            f"{metric}: {broken} of {len(array)} rows of {name} have NaN, infinite or overflowing "
            "values: check the extractor's input and weights"
        )
    return array


def checked_pair(
    metric: str,
    features_a: npt.ArrayLike,
    features_b: npt.ArrayLike,
    *,
    names: tuple[str, str] = ("features_a", "features_b"),
    at_least: int = 2,
) -> tuple[Array, Array]:
    """Return two sets of features (n, d) and (m, d) in float64."""
    a = checked(metric, names[0], features_a, at_least=at_least)
    b = checked(metric, names[1], features_b, at_least=at_least)
    if a.shape[1] != b.shape[1]:
        raise MeddiffError(
            f"{metric}: {names[0]} has {a.shape[1]} dimensions, {names[1]} {b.shape[1]}: "
            "use the same extractor for both sets"
        )
    return a, b


def centred(a: Array, b: Array) -> tuple[Array, Array]:
    """Shift both sets alike: distances of short vectors lose fewer digits."""
    centre = a.mean(axis=0)
    return a - centre, b - centre
