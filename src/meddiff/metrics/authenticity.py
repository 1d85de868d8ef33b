"""Which synthetic images lie closer to a real image than real images do: authenticity."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from meddiff.metrics.features import Array, centred, checked_pair
from meddiff.metrics.groups import Groups
from meddiff.metrics.precision_recall import reach_of

BLOCK = 512
"""Images whose distances to all others are in memory at a time."""


@dataclass(frozen=True)
class Neighbours:
    """What lies nearest to each of the n images of a set in the other one.

    Attributes:
        nearest: place of the nearest image of the other set, int (n,).
        distance: its distance, float64 (n,).
        authentic: of a synthetic image, whether its nearest real one is farther than that one's own
            nearest real one, of another group where there are groups; the same of a real image
            beside those of other groups: what unseen images reach; 1 or 0, NaN where no other group
            is left, float64 (n,).
        inside: of a synthetic image, whether it lies within reach of a real one, as for precision;
            of a real one, whether a synthetic one is within its reach, as for coverage; bool (n,).
    """

    nearest: npt.NDArray[np.intp]
    distance: Array
    authentic: Array
    inside: npt.NDArray[np.bool_]


def find_neighbours(
    real: npt.ArrayLike, synthetic: npt.ArrayLike, *, groups: Groups = None, neighbours: int = 5
) -> dict[str, Neighbours]:
    """Return what lies nearest to each "synthetic" and each "real" image, and what follows from it.

    Authenticity: Alaa et al., "How faithful is your synthetic data? Sample-level metrics for
    evaluating and auditing generative models" (ICML 2022), section 3.3. Support: Kynkäänniemi et
    al. (NeurIPS 2019), as in `prdc`.

    Args:
        real: features (n, d), as those of synthetic images, (m, d).
        groups: number of each real image's group: real images of one patient are near each other,
            and would make a copy look authentic.
        neighbours: k of an image's reach; fewer than n.

    Raises:
        MeddiffError: as `fid`.
    """
    a, b = centred(
        *checked_pair("authenticity", real, synthetic, names=("real", "synthetic"), at_least=2)
    )
    members = np.arange(len(a)) if groups is None else groups
    nearest_own, own = np.zeros(len(a), np.intp), np.empty(len(a))
    reach = np.empty(len(a))
    for rows, distances in _blocks(a, a):
        reach[rows] = reach_of(distances, a[rows], min(neighbours, len(a) - 1))
        distances[members[rows][:, None] == members] = np.inf
        nearest_own[rows], own[rows] = distances.argmin(axis=1), distances.min(axis=1)
    authentic_real = _farther(own, _own_without(a, members, nearest_own))
    nearest, apart = np.empty(len(b), np.intp), np.empty(len(b))
    inside = np.empty(len(b), bool)
    nearest_to_real, to_real = np.zeros(len(a), np.intp), np.full(len(a), np.inf)
    for rows, distances in _blocks(b, a):
        nearest[rows] = distances.argmin(axis=1)
        # Anew, so that a copy's distance is 0 to the last digit.
        apart[rows] = np.linalg.norm(b[rows] - a[nearest[rows]], axis=1)
        inside[rows] = (distances <= reach).any(axis=1)
        closest = distances.min(axis=0)
        nearer = closest < to_real
        nearest_to_real[nearer] = rows[distances.argmin(axis=0)[nearer]]
        to_real[nearer] = closest[nearer]
    return {
        "synthetic": Neighbours(nearest, apart, _farther(apart, own[nearest]), inside),
        "real": Neighbours(nearest_to_real, to_real, authentic_real, to_real <= reach),
    }


def _farther(distance: Array, own: Array) -> Array:
    """Return whether distances are larger than those of real images, NaN where these have none."""
    return np.where(np.isfinite(own), distance > own, np.nan)


def _own_without(
    features: Array, members: npt.NDArray[np.intp], nearest: npt.NDArray[np.intp]
) -> Array:
    """Return the distance of each image's nearest one to its own, if the image's group were not."""
    own = np.empty(len(features))
    for rows, distances in _blocks(features[nearest], features):
        for group in (members[rows], members[nearest[rows]]):
            distances[group[:, None] == members] = np.inf
        own[rows] = distances.min(axis=1)
    return own


def _blocks(a: Array, b: Array) -> Iterator[tuple[npt.NDArray[np.intp], Array]]:
    """Yield rows of `a` with their distances to all of `b`, block by block."""
    from sklearn.metrics import pairwise_distances

    for start in range(0, len(a), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(a)))
        yield rows, pairwise_distances(a[rows], b)
