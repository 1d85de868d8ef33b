"""Peak signal-to-noise ratio (PSNR) of all pairs of images."""

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import squareform

from meddiff.metrics.images import Images, check_same_shape, checked

Array = npt.NDArray[np.float64]

# Pixels of one block of images in float64: two blocks are held at once.
_BLOCK_BYTES = 2**26


def psnr_pairs(images: Images) -> Array:
    """Return the PSNR of every pair i < j of a set of images, in dB.

    `images` is uint8 of shape (n, h, w) or (n, h, w, c), n >= 2, and is read in blocks, so it may
    be a memory map; the peak is 255. The result is float64 of shape (n (n - 1) / 2,) in the order
    of `itertools.combinations(range(n), 2)`, each value at least 0; two equal images have infinity.
    Squares are sums of whole numbers and exact.

    Raises MeddiffError for another dtype or shape, or fewer than two images.
    """
    images = checked("PSNR", "images", images, at_least=2)
    return squareform(_psnr(images, images), checks=False)


def psnr_between(images_a: Images, images_b: Images) -> Array:
    """Return the PSNR of every image of one set with every image of another, in dB, (n, m).

    As `psnr_pairs`; one image a set is enough, and all images have the same shape.
    """
    a = checked("PSNR", "images_a", images_a, at_least=1)
    b = checked("PSNR", "images_b", images_b, at_least=1)
    check_same_shape("PSNR", a, b)
    return _psnr(a, b)


def _psnr(a: Images, b: Images) -> Array:
    size = a[0].size
    block = max(1, _BLOCK_BYTES // (size * np.dtype(np.float64).itemsize))
    values = np.empty((len(a), len(b)))
    for i in range(0, len(a), block):
        left = _flat(a[i : i + block])
        for j in range(0, len(b), block):
            values[i : i + block, j : j + block] = _squares(left, _flat(b[j : j + block]))
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 * size / values)


def _flat(images: Images) -> Array:
    return images.reshape(len(images), -1).astype(np.float64)


def _squares(x: Array, y: Array) -> Array:
    return np.sum(x**2, axis=1)[:, None] + np.sum(y**2, axis=1) - 2 * x @ y.T
