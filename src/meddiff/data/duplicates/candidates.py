"""Find pairs of images that look alike, by hashes and thumbnails of the index, permissively."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.spatial import cKDTree

from meddiff.data.duplicates.registration import MIN_CONTRAST, Plane
from meddiff.data.index import THUMBNAIL

FREQUENCIES, MAX_DISTANCE = 4, 0.3
"""Lowest frequencies of a thumbnail, across and down together, and how far those of near duplicates
are apart at most: copies of real images cropped by 4 % in all were at most 0.23 apart."""
MAX_HAMMING = 18
"""Largest distance of the hashes of near duplicates, in bits of 64."""
MAX_MISFIT = 0.09
"""Largest mean misfit of registered thumbnails, in standard deviations of their grey levels."""

BOX, PAIRS = 2048, 256
"""Rows of a box, and pairs, that are compared at a time."""

Pairs = NDArray[np.intp]


def alike_pairs(table: pd.DataFrame, copies: NDArray[np.intp], workers: int) -> Pairs:
    """Return pairs (n, 2) of distinct images in different `copies` that look alike, in order.

    Args:
        table: an index; pairs are of its rows.
        copies: (rows,) equal for images that are copies by the index alone.
    """
    thumbnails = _thumbnails(table)
    flat = thumbnails.std((1, 2)) < MIN_CONTRAST
    rows = np.flatnonzero(~table["pixels_sha256"].duplicated() & ~flat)
    hashes, smooth = hashes_of(table)[rows], _smooth(thumbnails[rows])

    def candidates() -> Iterator[Pairs]:
        for pairs in near_pairs(_shapes(smooth), MAX_DISTANCE):
            first, second = pairs.T
            alike = np.bitwise_count(hashes[first] ^ hashes[second]) <= MAX_HAMMING
            pairs = pairs[alike & (copies[rows[first]] != copies[rows[second]])]
            yield from np.array_split(pairs, len(pairs) // PAIRS + 1)

    def fitting(pairs: Pairs) -> Pairs:
        return pairs[_misfit(smooth, pairs) <= MAX_MISFIT]

    with ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(fitting, candidates()))
    pairs = np.sort(rows[np.concatenate([np.empty((0, 2), np.intp), *parts])], axis=1)
    return pairs[np.lexsort(pairs.T[::-1])]


def near_pairs(points: NDArray[np.float64], limit: float) -> Iterator[Pairs]:
    """Yield all pairs (n, 2) of points, (count, d), at most `limit` apart, in no order.

    Boxes of a k-d tree (Bentley 1975) are compared, so that most pairs are never looked at.
    """
    order = cKDTree(points).indices
    boxes = [order[start : start + BOX] for start in range(0, len(order), BOX)]
    trees = [cKDTree(points[box]) for box in boxes]
    for place, (box, tree) in enumerate(zip(boxes, trees, strict=True)):
        yield box[tree.query_pairs(limit, output_type="ndarray")]
        for other, farther in zip(boxes[place + 1 :], trees[place + 1 :], strict=True):
            if _gap(tree, farther) <= limit:
                near = tree.sparse_distance_matrix(farther, limit, output_type="ndarray")
                yield np.stack([box[near["i"]], other[near["j"]]], axis=1)


def _gap(one: cKDTree, other: cKDTree) -> float:
    """Return how far the boxes around the points of two trees are apart."""
    gap = np.maximum(one.mins - other.maxes, other.mins - one.maxes).clip(0)
    return float(np.linalg.norm(gap))


def _thumbnails(table: pd.DataFrame) -> Plane:
    data = b"".join(map(base64.b64decode, table["thumbnail"]))
    return np.frombuffer(data, np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL).astype(np.float32)


def hashes_of(table: pd.DataFrame) -> NDArray[np.uint64]:
    """Return the perceptual hashes of an index, (n,)."""
    return np.array([int(digits, 16) for digits in table["phash"]], np.uint64)


def _smooth(thumbnails: Plane) -> Plane:
    """Blur by (1, 2, 1) / 4 along both axes, so that a shift by a pixel is nearly linear."""
    for _ in range(2):
        total = thumbnails[:, :-2] + 2 * thumbnails[:, 1:-1] + thumbnails[:, 2:]
        thumbnails = (total / np.float32(4)).transpose(0, 2, 1)
    return thumbnails


def _shapes(thumbnails: Plane) -> NDArray[np.float64]:
    """Return the lowest frequencies of thumbnails without mean and contrast, (count, 14)."""
    spectrum = dctn(thumbnails.astype(float), axes=(1, 2), norm="ortho")
    spectrum[:, 0, 0] = 0
    contrast = np.sqrt((spectrum**2).sum((1, 2))).clip(1e-6)
    down, right = np.indices(spectrum.shape[1:])
    low = (down + right > 0) & (down + right <= FREQUENCIES)
    return spectrum[:, low] / contrast[:, None]


def _misfit(thumbnails: Plane, pairs: Pairs) -> Plane:
    """Return the mean misfit of pairs of thumbnails after registration, relative to their contrast.

    To first order a shift, a zoom, a gain and an offset add multiples of the mean's gradients, of
    their products with the position, of the mean and of 1: a least-squares fit removes them.
    """
    first, second = thumbnails[pairs[:, 0]], thumbnails[pairs[:, 1]]
    mean, size = (first + second) / 2, thumbnails[0].size
    down, right = np.gradient(mean, axis=1), np.gradient(mean, axis=2)
    place = np.linspace(-1, 1, mean.shape[-1], dtype=np.float32)
    parts = [np.ones_like(mean), mean, down, right, place[:, None] * down, place * right]
    basis = np.stack(parts, axis=1).reshape(-1, len(parts), size)
    difference = (first - second).reshape(-1, size, 1)
    normal = basis @ basis.mT + 1e-3 * np.eye(len(parts), dtype=np.float32)
    rest = difference - basis.mT @ np.linalg.solve(normal, basis @ difference)
    contrast = np.minimum(first.std((1, 2)), second.std((1, 2))).clip(MIN_CONTRAST)
    return np.abs(rest).mean((1, 2)) / contrast
