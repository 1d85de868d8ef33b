"""SSIM and MS-SSIM of pairs of images on the CPU, in float64; `structural` says what they are.

Every image's own mean and variance are blurred once; a pair costs one more blurred product. A blur
is a product with a banded matrix on either side, in tiles that skip most of the band's zeros.
Images are spread over as many threads as BLAS has, each with one thread of BLAS. Values depend on
the two images alone, to the last bit, not on their neighbours, on block sizes or on threads.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import lru_cache
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import toeplitz
from scipy.special import softmax
from threadpoolctl import threadpool_info, threadpool_limits

from meddiff.core.errors import MeddiffError
from meddiff.metrics.features import Array
from meddiff.metrics.images import SMALLEST_WINDOW, Images

# Window positions in one matrix product, at least: more multiply zeros, fewer leave BLAS idle.
_TILE = 18
# The right-hand images of one step should stay in a core's second-level cache.
_CHUNK_BYTES = 2**20
# Moments of one block of images: two blocks are in memory at once.
_BLOCK_BYTES = 2**26


@dataclass(frozen=True)
class Moments:
    """What SSIM needs of n images x on one scale, all of (n, rows, channels, columns).

    Images are multiplied by sqrt(2), so that the product of two is already the formula's 2xy, and
    `power` and `variance` are halved in turn and carry half a stability constant each.
    """

    images: Array
    mean: Array
    power: Array
    variance: Array

    def __getitem__(self, index: int | slice) -> "Moments":
        return Moments(
            self.images[index], self.mean[index], self.power[index], self.variance[index]
        )


@dataclass(frozen=True)
class Measure:
    """SSIM, or MS-SSIM if there are weights, with its settings."""

    kernel_size: int
    sigma: float = 1.5
    k1: float = 0.01
    k2: float = 0.03
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.kernel_size, Integral) or self.kernel_size < SMALLEST_WINDOW:
            raise MeddiffError(
                f"{self}: kernel_size must be a whole number, {SMALLEST_WINDOW} or more"
            )
        if not all(0 < value < np.inf for value in (self.sigma, self.k1, self.k2)):
            raise MeddiffError(f"{self}: sigma, k1 and k2 must be above 0 and finite")
        if self.weights is not None and not all(w >= 0 for w in self.weights or (-1,)):
            raise MeddiffError(f"{self}: weights must be one number >= 0 per scale")

    def __str__(self) -> str:
        if self.weights is None:
            return f"SSIM (kernel_size {self.kernel_size})"
        return f"MS-SSIM (kernel_size {self.kernel_size}, {len(self.weights)} scales)"

    @property
    def scales(self) -> int:
        """Number of image sizes that are compared."""
        return 1 if self.weights is None else len(self.weights)

    def pyramid(self, images: Images) -> list[Moments]:
        """Moments of uint8 images (n, h, w, c) on every scale, finest first."""
        level: Array = np.ascontiguousarray(images.transpose(0, 1, 3, 2)) * np.float64(2**0.5 / 255)
        levels = [self.moments(level)]
        while len(levels) < self.scales:
            level = _halved(level)
            levels.append(self.moments(level))
        return levels

    def moments(self, images: Array) -> Moments:
        """Return the moments of one scale's images, float64 (n, h, c, w)."""
        mean = self.blurred(images)
        power = mean * mean
        variance = self.blurred(images * images) - power
        return Moments(images, mean, (power + self.k1**2) / 2, (variance + self.k2**2) / 2)

    def blurred(self, images: Array) -> Array:
        """Correlate (n, h, c, w) with the window in both directions, where it fits wholly."""
        n, h, c, w = images.shape
        height, width = h - self.kernel_size + 1, w - self.kernel_size + 1
        # One product per image, never one over the whole stack: the order in which BLAS sums
        # depends on the operands' shapes.
        rows, columns = images.reshape(n, h, c * w), np.empty((n, height, c * w))
        for out, source, window in _tiles(height, self.kernel_size, self.sigma):
            np.matmul(window, rows[:, source], out=columns[:, out])
        columns, blurred = columns.reshape(n, -1, w), np.empty((n, height * c, width))
        for out, source, window in _tiles(width, self.kernel_size, self.sigma):
            np.matmul(columns[:, :, source], window.T, out=blurred[:, :, out])
        return blurred.reshape(n, height, c, width)

    def scores(self, one: list[Moments], many: list[Moments]) -> Array:
        """Values of one image with each of many."""
        *finer, last = zip(one, many, strict=True)
        if self.weights is None:
            return self.ssim(*last)
        factors = [*(self.contrast(*level) for level in finer), self.ssim(*last)]
        powers = [np.maximum(f, 0) ** w for f, w in zip(factors, self.weights, strict=True)]
        return np.prod(powers, axis=0)

    def contrast(self, one: Moments, many: Moments) -> Array:
        """Return the mean contrast and structure of one image with each of many."""
        return _image_means(self._contrast_map(one, many, one.mean * many.mean))

    def ssim(self, one: Moments, many: Moments) -> Array:
        """Return the mean SSIM of one image with each of many."""
        luminance = one.mean * many.mean
        ssim = self._contrast_map(one, many, luminance)
        luminance += self.k1**2
        ssim *= luminance
        ssim /= np.add(one.power, many.power, out=luminance)
        return _image_means(ssim)

    def _contrast_map(self, one: Moments, many: Moments, mean_product: Array) -> Array:
        contrast = self.blurred(one.images * many.images)
        contrast -= mean_product
        contrast += self.k2**2
        contrast /= one.variance + many.variance
        return contrast


def _image_means(maps: Array) -> Array:
    return maps.reshape(len(maps), -1).mean(axis=1)


def _halved(images: Array) -> Array:
    """Average pooling by two of (n, h, c, w); an odd last row or column is dropped."""
    n, h, c, w = images.shape
    even = images[:, : h // 2 * 2, :, : w // 2 * 2]
    return even.reshape(n, h // 2, 2, c, w // 2, 2).mean(axis=(2, 5))


@lru_cache(maxsize=64)
def _tiles(positions: int, taps: int, sigma: float) -> list[tuple[slice, slice, Array]]:
    """Cover the window's positions: (positions, pixels under them, banded matrix) per tile.

    Tiles are of one size, the last one shifted back to it, so that one matrix serves all.
    """
    tile = -(-positions // max(1, positions // max(_TILE, taps)))
    window = _banded(tile, taps, sigma)
    starts = (min(start, positions - tile) for start in range(0, positions, tile))
    return [(slice(p, p + tile), slice(p, p + tile + taps - 1), window) for p in starts]


def _banded(positions: int, taps: int, sigma: float) -> Array:
    """Return (positions, positions + taps - 1): row p has the Gaussian window from column p on.

    A window of even size is centred between two pixels.
    """
    window, zeros = window_taps(taps, sigma), np.zeros(positions - 1)
    return toeplitz(np.append(window[0], zeros), np.append(window, zeros))


def window_taps(taps: int, sigma: float) -> Array:
    """Return a Gaussian window in one direction, float64 (taps,), whose sum is 1."""
    window: Array = softmax(-(((np.arange(taps) - (taps - 1) / 2) / sigma) ** 2) / 2)
    return window


def runs(
    measure: Measure, a: Images, b: Images, *, upper: bool
) -> Iterator[tuple[int, int, Array]]:
    """Yield (i, j, values of a[i] with b[j], b[j + 1], ...), for j > i alone if `upper`."""
    block = max(1, _BLOCK_BYTES // (_float_bytes(a[0]) * len(fields(Moments))))
    blas = (pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
    threads = max(blas, default=1)
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        for rows in _split(range(len(a)), block):
            left = measure.pyramid(a[rows.start : rows.stop])
            for columns in _split(range(rows.start if upper else 0, len(b)), block):
                diagonal = upper and columns == rows
                right = left if diagonal else measure.pyramid(b[columns.start : columns.stop])

                def scores(
                    part: tuple[int, slice], left: list = left, right: list = right
                ) -> Array:
                    return measure.scores(at(left, part[0]), at(right, part[1]))

                parts = list(_parts(rows, columns, _float_bytes(left[0].images[0]), upper))
                for (row, members), values in zip(parts, pool.map(scores, parts), strict=True):
                    yield rows.start + row, columns.start + members.start, values


def _parts(
    rows: range, columns: range, image_bytes: int, upper: bool
) -> Iterator[tuple[int, slice]]:
    """Yield a row of the left block and the right-hand images of one step, by their places."""
    chunk = max(1, _CHUNK_BYTES // image_bytes)
    for group in _split(columns, chunk):
        for i in rows:
            first = max(group.start, i + 1) if upper else group.start
            if first < group.stop:
                members = slice(first - columns.start, group.stop - columns.start)
                yield i - rows.start, members


def at(levels: list[Moments], index: int | slice) -> list[Moments]:
    """Return the moments of some of the images, on every scale."""
    return [level[index] for level in levels]


def _float_bytes(image: npt.NDArray[Any]) -> int:
    return image.size * np.dtype(np.float64).itemsize


def _split(indices: range, size: int) -> Iterator[range]:
    return (indices[start : start + size] for start in range(0, len(indices), size))
