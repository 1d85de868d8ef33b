"""The nearest training image of each image: by features, or by pixels turned and mirrored."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from meddiff.metrics.features import Array, centred, checked_pair
from meddiff.metrics.groups import Groups, largest_group
from meddiff.metrics.images import Images

COPY = 1 / 3
"""A copy is within this part of the distance of the closest unseen image, and of `AROUND`."""
AROUND = 5
"""Nearest training images, the farthest of which gives the distance of the surroundings."""


@dataclass(frozen=True)
class Nearest:
    """What lies nearest to each of m images among those of training.

    Attributes:
        places: place of the nearest training image, int (m,).
        distances: its distance, float64 (m,).
        around: distance of the 5th nearest training image, or of the farthest of fewer, (m,).
    """

    places: npt.NDArray[np.intp]
    distances: Array
    around: Array

    @property
    def near(self) -> npt.NDArray[np.bool_]:
        """Which images are equal to a training image or at less than a third of `around`, (m,).

        After Carlini et al., "Extracting training data from diffusion models" (USENIX Security
        2023), section 4: images of a homogeneous kind are close to each other, and are no copies.
        """
        return (self.distances < self.around * COPY) | (self.distances == 0)


def nearest_training(
    training: npt.ArrayLike,
    views: Iterable[npt.ArrayLike],
    *,
    name: str = "synthetic",
    own: Groups = None,
) -> Nearest:
    """Return what is nearest to each of m images among `training` (n, d).

    Args:
        views: the images as features (m, d), once or more, e.g. turned: the view counts that comes
            nearest to a training image.
        own: where the images are those of training, the number of each one's group, two or more:
            only images of other groups count.
    """
    names = ("training", name)
    pairs = (
        checked_pair("memorisation", training, view, names=names, at_least=1) for view in views
    )
    more = 0 if own is None else largest_group(own)
    neighbours = [_nearest(*centred(*pair), AROUND + more) for pair in pairs]
    places, distances = (np.concatenate(parts, axis=1) for parts in zip(*neighbours, strict=True))
    if own is not None:
        distances[own[places] == own[:, None]] = np.inf
    around = np.empty(len(places))
    for row, (place, apart) in enumerate(zip(places, distances, strict=True)):
        # Each training image by its best view.
        best = np.full(len(place), np.inf)
        np.minimum.at(best, np.unique(place, return_inverse=True)[1], apart)
        best.sort()
        around[row] = best[np.isfinite(best)][:AROUND][-1]
    rows, best_view = np.arange(len(places)), distances.argmin(axis=1)
    return Nearest(places[rows, best_view], distances[rows, best_view], around)


def nearest_others(images: Images, *, groups: Groups = None) -> Nearest:
    """Return what is nearest to each of n images among the others, by pixels as `find_copies`.

    Args:
        images: uint8 (n,H,W,C).
        groups: number of each image's group, (n,), two or more: then among images of other groups.
    """
    own = np.arange(len(images)) if groups is None else groups
    return nearest_training(flat(images), map(flat, orientations(images)), own=own)


def close_pairs(nearest: Nearest) -> npt.NDArray[np.intp]:
    """Return pairs (k, 2) of an image and its nearest one that show the same, or nearly so.

    They are near (`Nearest.near`), and closer than a third of the distance of the closest of the
    others.
    """
    rows = nearest.distances.argsort(kind="stable")[: count_close(nearest)]
    return np.stack([rows, nearest.places[rows]], axis=1)


def count_close(nearest: Nearest) -> int:
    """Count the closest images, all of them near, below the last gap that a copy would leave."""
    order = nearest.distances.argsort(kind="stable")
    ordered = np.append(nearest.distances[order], np.inf)
    run = int(np.append(nearest.near[order], False).argmin())
    gaps = np.flatnonzero(ordered[:run] < ordered[1 : run + 1] * COPY)
    return int(gaps[-1]) + 1 if len(gaps) else 0


def _nearest(training: Array, images: Array, count: int) -> tuple[npt.NDArray[np.intp], Array]:
    """Return for every image the places of so many nearest training images, and distances."""
    from sklearn.neighbors import NearestNeighbors
    from sklearn.utils import gen_batches

    search = NearestNeighbors(n_neighbors=min(count, len(training)), algorithm="brute").fit(
        training
    )
    places = search.kneighbors(images, return_distance=False)
    distances = np.empty(places.shape)
    # Anew, so that a copy's distance is 0 to the last digit.
    for rows in gen_batches(len(images), 1024):
        for rank, nearest in enumerate(places[rows].T):
            distances[rows, rank] = np.linalg.norm(images[rows] - training[nearest], axis=1)
    return places, distances


def orientations(images: Images) -> Iterator[Images]:
    """Yield the eight orientations of square images, the four of others."""
    square = images.shape[1] == images.shape[2]
    for turns in range(0, 4, 1 if square else 2):
        turned = np.rot90(images, turns, axes=(1, 2))
        yield turned
        yield turned[:, :, ::-1]


def flat(images: Images) -> Array:
    """Return features (n, h w c) whose Euclidean distance is the RMSE of pixels."""
    pixels = images.reshape(len(images), -1)
    return pixels / pixels.shape[1] ** 0.5
