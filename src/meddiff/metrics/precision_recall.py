"""Precision, recall, density and coverage (PRDC) from nearest neighbours."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from numbers import Integral

import numpy as np
import numpy.typing as npt

from meddiff.core.errors import MeddiffError
from meddiff.metrics.features import Array, centred, checked_pair

_ROUNDING = 1e-7
_AHEAD = 3
"""Neighbours that are sorted, by those expected until the k-th that counts."""


@dataclass(frozen=True)
class Prdc:
    """Precision, recall, density and coverage.

    For n real and m synthetic images of one distribution without ties, whatever it is, density is
    expected at 1, and coverage at 1 - (n - 1) ... (n - k) / ((n + m - 1) ... (n + m - k)), which is
    near 1 - 2^-k for n = m. Precision and recall stay somewhat below 1, too.

    Attributes:
        precision: share of synthetic images within reach of a real one, in [0, 1].
        recall: share of real images within reach of a synthetic one, in [0, 1].
        density: real neighbourhoods that a synthetic image lies in, by k; at least 0, may pass 1.
        coverage: share of real images whose neighbourhood has a synthetic one, in [0, 1].
    """

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(real: npt.ArrayLike, synthetic: npt.ArrayLike, *, neighbours: int = 5) -> Prdc:
    """Return precision, recall, density and coverage of synthetic features.

    Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models"
    (NeurIPS 2019), and Naeem et al., "Reliable fidelity and diversity metrics for generative
    models" (ICML 2020), eq. 2 to 5. An image reaches as far as its k-th nearest neighbour in its
    own set, that distance included, up to rounding. Values depend on the numbers of images: compare
    sets of equal size. Memory is that of `weighted_prdc`.

    Args:
        real: features (n, d).
        synthetic: features (m, d).
        neighbours: k, from 1 to min(n, m) - 1.

    Raises:
        MeddiffError: as `fid`, or a set has no more images than `neighbours`.
    """
    names = ("real", "synthetic")
    a, b = checked_pair("precision and recall", real, synthetic, names=names)
    for name, features in zip(names, (a, b), strict=True):
        if not isinstance(neighbours, Integral) or not 1 <= neighbours < len(features):
            raise MeddiffError(
                f"precision and recall: neighbours is {neighbours}, and {name} has "
                f"{len(features)} images: use from 1 to {len(features) - 1}"
            )
    all_a, all_b = np.ones((1, len(a))), np.ones((1, len(b)))
    return Prdc(*map(float, weighted_prdc(a, b)(all_a, all_b, int(neighbours))[:, 0]))


def weighted_prdc(real: Array, synthetic: Array) -> Callable[[Array, Array, int], Array]:
    """Return a function from weights of 0 and 1 per image, (r, n) and (r, m), to scores (4, r).

    Scores are in the order of `Prdc`; the third argument is its `neighbours`. All distances are in
    memory at once, 8 (n + m)² bytes.
    """
    from sklearn.metrics import pairwise_distances

    a, b = centred(real, synthetic)
    within_a, within_b, between = (pairwise_distances(*pair) for pair in ((a,), (b,), (a, b)))
    lengths_a, lengths_b = (np.linalg.norm(x, axis=1) for x in (a, b))

    def scores(weights_a: Array, weights_b: Array, neighbours: int) -> Array:
        values = np.empty((4, len(weights_a)))
        reaches_a = _reaches(within_a, lengths_a, weights_a, neighbours)
        reaches_b = _reaches(within_b, lengths_b, weights_b, neighbours)
        for row, ((p, reach_a), (q, reach_b)) in enumerate(zip(reaches_a, reaches_b, strict=True)):
            distances = between[np.ix_(p, q)]
            near_real, reached = distances <= reach_a[:, None], distances <= reach_b
            values[:, row] = (
                near_real.any(axis=0).mean(),
                reached.any(axis=1).mean(),
                near_real.sum(axis=0).mean() / neighbours,
                near_real.any(axis=1).mean(),
            )
        return values

    return scores


def reach_of(distances: Array, features: Array, neighbours: int) -> Array:
    """Return how far images (r, d) reach, (r,), from their distances to all of their set (r, n)."""
    kth = np.partition(distances, neighbours, axis=1)[:, neighbours]
    return _with_rounding(kth, np.linalg.norm(features, axis=1))


def _reaches(
    within: Array, lengths: Array, weights: Array, neighbours: int
) -> Iterator[tuple[npt.NDArray[np.intp], Array]]:
    """Yield by row of weights (r, n) which images count (p,), and how far they reach (p,).

    Neighbours are sorted once for all rows, as many as hold the k-th that counts but for a few
    images, whose distances are partitioned.
    """
    share = float(weights.mean())
    sorted_ones = min(len(within), ceil(_AHEAD * (neighbours + 1) / share))
    nearest = np.argsort(within, axis=1)[:, :sorted_ones]
    for counts in weights > 0:
        members = np.flatnonzero(counts)
        near = nearest[members]
        ranks = counts[near].cumsum(axis=1)
        place = (ranks == neighbours + 1).argmax(axis=1)
        kth = within[members, near[np.arange(len(members)), place]]
        few = ranks[:, -1] <= neighbours
        rows = within[np.ix_(members[few], members)]
        kth[few] = np.partition(rows, neighbours, axis=1)[:, neighbours]
        yield members, _with_rounding(kth, lengths[members])


def _with_rounding(distances: Array, lengths: Array) -> Array:
    """Let a copy of the k-th neighbour be within reach.

    Distances are good to half the digits of the vectors' lengths.
    """
    return distances + _ROUNDING * (distances + lengths)
