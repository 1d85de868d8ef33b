"""Resize images that were decoded at a reduced scale as if they were whole."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

from meddiff.data.preprocessing.resizing import Crop
from meddiff.data.readers.decode import SHRINKS, Stored

SPARE = 1.7
"""A JPEG is decoded smaller as long as this many pixels remain per packed pixel, on each axis."""


def shrink_for(side: int, size: int) -> int:
    """Return by how much a JPEG may be decoded smaller to resize `side` px of it to `size` px."""
    return next((factor for factor in SHRINKS if side >= SPARE * size * factor), 1)


def resize_reduced(image: Stored, crop: Crop, size: int) -> NDArray[np.uint8]:
    """Crop and resize an image that was decoded at a reduced scale.

    Weights are multiples of 2^-12 and grey levels of 1/4: float32 adds their products up exactly,
    in any order and on any machine.
    """
    top, left, side = crop
    rows = _weights(image.height, top, side, size, image.shrink)
    columns = _weights(image.width, left, side, size, image.shrink)
    stored = np.atleast_3d(image.pixels[rows.span, columns.span])
    samples = stored.swapaxes(1, 2).astype(np.float32, order="C")
    tall = _weigh(rows, samples.reshape(len(samples), -1))
    np.rint(4 * tall, out=tall)
    both = _weigh(columns, tall.reshape(-1, samples.shape[2]).T)
    pixels = np.clip(np.rint(both / 4), 0, 255).astype(np.uint8)
    return pixels.reshape(size, size, -1).swapaxes(0, 1)


class Weights(NamedTuple):
    """A matrix without most of its zeros."""

    span: slice
    """Columns that are not all zero."""
    bands: list[tuple[slice, NDArray[np.float32]]]
    """Groups of rows: which columns of the span are not all zero, and those."""


def _weigh(weights: Weights, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([part @ samples[used] for used, part in weights.bands])


@lru_cache(maxsize=512)
def _weights(full: int, start: int, side: int, size: int, shrink: int) -> Weights:
    """Return the matrix from one axis of a JPEG decoded smaller to that of the packed image.

    Decoding to n pixels a block keeps n of its 8 cosines. Undoing that as far as it goes (the
    pseudo-inverse) and then filtering as for a whole image is one matrix, (size, ceil(full /
    shrink)), rounded to multiples of 2^-12.

    Args:
        full: px of the axis in the file.
        start: where the window starts, px.
        side: of the window, px.
        shrink: 4 or 8.
    """
    kept, blocks = 8 // shrink, -(-full // 8)
    whole = np.zeros((size, 8 * blocks))
    whole[:, start : start + side] = _triangles(side, size)
    weights = (whole.reshape(size, blocks, 8) @ _enlargement(kept)).reshape(size, -1)
    last = -(-full // shrink) - 1
    weights[:, last] += weights[:, last + 1 :].sum(1)
    return _bands(_rounded(weights[:, : last + 1]))


def _triangles(side: int, size: int) -> NDArray[np.float64]:
    """Return the bilinear filter with anti-aliasing, (size, side); rows add up to 1."""
    scale = side / size
    centres = scale * (np.arange(size) + 0.5)
    distance = np.abs(np.arange(side) + 0.5 - centres[:, None]) / scale
    weights = np.clip(1 - distance, 0, None)
    return weights / weights.sum(1, keepdims=True)


def _enlargement(kept: int) -> NDArray[np.float64]:
    """Return the matrix (8, kept) from a block decoded to `kept` pixels to its 8 pixels."""
    whole = dct(np.eye(8), axis=0, norm="ortho")
    small = dct(np.eye(kept), axis=0, norm="ortho")
    return whole[:kept].T @ small * np.sqrt(8 / kept)


def _rounded(weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to multiples of 2^-12; rows add up to 1, so that flat areas keep their grey."""
    units = np.rint(weights * 2**12)
    rows = np.arange(len(units))
    units[rows, units.argmax(1)] += 2**12 - units.sum(1)
    return (units / 2**12).astype(np.float32)


def _bands(matrix: NDArray[np.float32]) -> Weights:
    span = _used(matrix)
    matrix = matrix[:, span]
    groups = np.array_split(matrix, -(-len(matrix) // 32))
    return Weights(span, [(used, group[:, used]) for group in groups if (used := _used(group))])


def _used(matrix: NDArray[np.float32]) -> slice:
    columns = np.flatnonzero(matrix.any(0))
    return slice(int(columns[0]), int(columns[-1]) + 1)
