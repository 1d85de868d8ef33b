"""Images that belong together: several of one patient, lesion or volume.

They are more alike than images of different groups are. What stands for unseen real images must
share no group with what it is compared with, and the groups, not the images, are what chance drew.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from meddiff.metrics.features import Array

Groups = npt.NDArray[np.intp] | None
"""Number of each image's group, (n,); None where every image stands alone."""


def number_groups(names: Sequence[object] | npt.NDArray[Any] | None) -> Groups:
    """Number groups in the order of their first image; None if no two images share one."""
    if names is None:
        return None
    _, first, numbers = np.unique(
        np.asarray(names).astype(str), return_index=True, return_inverse=True
    )
    if len(first) == len(numbers):
        return None
    rank = np.empty(len(first), np.intp)
    rank[first.argsort()] = np.arange(len(first))
    return rank[numbers]


def count_groups(groups: Groups, images: int) -> int:
    """Return how many groups there are among so many images."""
    return images if groups is None else int(groups.max()) + 1


def largest_group(groups: Groups) -> int:
    """Return the number of images of the largest group."""
    return 1 if groups is None else int(np.bincount(groups).max())


def random_order(groups: Groups, shape: tuple[int, int], generator: np.random.Generator) -> Array:
    """Return random numbers (r, n) whose order along a row puts the images of a group together."""
    lots = generator.random(shape)
    if groups is None:
        return lots
    of_groups = generator.random((shape[0], int(groups.max()) + 1))
    return of_groups.argsort(axis=1).argsort(axis=1)[:, groups] + lots


def with_group(taken: Array, groups: Groups) -> npt.NDArray[np.bool_]:
    """Return which images (r, n) share a group with one that is taken (weights of 0 and 1)."""
    if groups is None:
        return taken > 0
    touched = np.zeros((len(taken), int(groups.max()) + 1), dtype=bool)
    rows, columns = np.nonzero(taken)
    touched[rows, groups[columns]] = True
    return touched[:, groups]


def group_halves(
    groups: npt.NDArray[np.intp], splits: int, generator: np.random.Generator
) -> Array:
    """Return random halves of the images, (2 splits, n), groups whole.

    Groups are paired by size, those of one size at random, and a pair is divided by a coin: halves
    differ by no more images than the largest group has.
    """
    sizes = np.bincount(groups)
    weights = np.empty((2 * splits, len(groups)))
    pairs = -(-len(sizes) // 2)
    for row in range(splits):
        order = np.lexsort((generator.random(len(sizes)), -sizes))
        first = np.empty(len(sizes))
        coins = generator.integers(0, 2, pairs)
        first[order] = np.stack([coins, 1 - coins], axis=1).reshape(-1)[: len(sizes)]
        weights[2 * row] = first[groups]
        weights[2 * row + 1] = 1 - first[groups]
    return weights
