"""What nearest neighbours tell: fidelity, diversity, and copies of training images.

scikit-learn and scipy.stats are imported where they are used: they take a second, in every job.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import numpy.typing as npt

from meddiff.core.errors import MeddiffError
from meddiff.metrics.features import Array, checked_pair

_ROUNDING = 1e-7
COPY = 1 / 3
"""A copy is within this part of the distance of the closest unseen image, and of `AROUND`."""
AROUND = 5
"""Nearest training images, the farthest of which tells the distance of the surroundings."""


@dataclass(frozen=True)
class Fidelity:
    """Precision, recall, density and coverage.

    For n real and m synthetic images of one distribution without ties, whatever it is, density is
    expected at 1, and coverage at 1 - (n - 1) ... (n - k) / ((n + m - 1) ... (n + m - k)), which is
    near 1 - 2^-k for n = m. Precision and recall stay somewhat below 1, too.

    Attributes:
        precision: share of synthetic images within reach of a real one, in [0, 1].
        recall: share of real images within reach of a synthetic one, in [0, 1].
        density: real neighbourhoods that a synthetic image lies in, by k; at least 0, may pass 1.
        coverage: share of real images whose neighbourhood holds a synthetic one, in [0, 1].
    """

    precision: float
    recall: float
    density: float
    coverage: float


def fidelity(real: npt.ArrayLike, synthetic: npt.ArrayLike, *, neighbours: int = 5) -> Fidelity:
    """Return precision, recall, density and coverage of synthetic features (m, d) for real (n, d).

    Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models"
    (NeurIPS 2019), and Naeem et al., "Reliable fidelity and diversity metrics for generative
    models" (ICML 2020), eq. 2 to 5. An image reaches as far as its `neighbours`-th nearest
    neighbour in its own set, that distance included, up to rounding. Values depend on the
    numbers of images: compare sets of equal size. Memory is that of `weighted_fidelity`.

    Raises MeddiffError as `fid` does, or if a set holds no more images than `neighbours`.
    """
    names = ("real", "synthetic")
    a, b = checked_pair("precision and recall", real, synthetic, names=names)
    for name, features in zip(names, (a, b), strict=True):
        if not isinstance(neighbours, Integral) or not 1 <= neighbours < len(features):
            raise MeddiffError(
                f"precision and recall: neighbours is {neighbours}, and {name} holds "
                f"{len(features)} images: use from 1 to {len(features) - 1}"
            )
    every_a, every_b = np.ones((1, len(a))), np.ones((1, len(b)))
    return Fidelity(*map(float, weighted_fidelity(a, b)(every_a, every_b, int(neighbours))[:, 0]))


def weighted_fidelity(real: Array, synthetic: Array) -> Callable[[Array, Array, int], Array]:
    """Return what maps weights of 0 and 1 of images, (r, n) and (r, m), to the scores (4, r).

    Scores are in the order of `Fidelity`; the third argument is its `neighbours`. All distances are
    held at once, 8 (n + m)² bytes.
    """
    from sklearn.metrics import pairwise_distances

    a, b = _centred(real, synthetic)
    within_a, within_b, between = (pairwise_distances(*pair) for pair in ((a,), (b,), (a, b)))
    lengths_a, lengths_b = (np.linalg.norm(x, axis=1) for x in (a, b))

    def scores(weights_a: Array, weights_b: Array, neighbours: int) -> Array:
        found = np.empty((4, len(weights_a)))
        for row, (w, v) in enumerate(zip(weights_a, weights_b, strict=True)):
            p, q = np.flatnonzero(w), np.flatnonzero(v)
            distances = between[np.ix_(p, q)]
            near_real = (
                distances <= _farthest(within_a[np.ix_(p, p)], lengths_a[p], neighbours)[:, None]
            )
            reached = distances <= _farthest(within_b[np.ix_(q, q)], lengths_b[q], neighbours)
            found[:, row] = (
                near_real.any(axis=0).mean(),
                reached.any(axis=1).mean(),
                near_real.sum(axis=0).mean() / neighbours,
                near_real.any(axis=1).mean(),
            )
        return found

    return scores


@dataclass(frozen=True)
class Memorisation:
    """How close synthetic images come to training images, beside unseen real ones.

    Attributes:
        synthetic: median distance of a synthetic image to the nearest training image.
        unseen: the same of unseen real images.
        duplicates: unseen images that are training images, or nearly so; nothing else counts them.
        closer: chance that a synthetic image lies closer than an unseen one; 0.5 without copying.
        p_value: of a synthetic set this close or closer, if it were as far as unseen images.
        suspects: synthetic images that are closer than all unseen ones but the closest 1 %.
        suspects_p: of as many suspects or more, if synthetic images were as far as unseen ones.
        identical: suspects at less than a third of that distance that are near a training image for
            their surroundings, too (`Nearest.near`).
        nearest: for every synthetic image the place of its nearest training image, int (m,).
        distances: that distance, float64 (m,).
    """

    synthetic: float
    unseen: float
    duplicates: int
    closer: float
    p_value: float
    suspects: int
    suspects_p: float
    identical: int
    nearest: npt.NDArray[np.intp]
    distances: Array

    @property
    def verdict(self) -> str:
        """`copies` if one image is nearly a training image; `closer than unseen images` if they all
        are, or more of them suspects, than chance allows (p < 0.01); else `no copies`.

        Images that are closer may be changed copies, or those of a net that draws no details.
        """
        if self.identical:
            return "copies"
        closer = min(self.p_value, self.suspects_p) < 0.01
        return "closer than unseen images" if closer else "no copies"


def memorisation(
    training: npt.ArrayLike, synthetic: npt.ArrayLike, unseen: npt.ArrayLike
) -> Memorisation:
    """Compare the nearest training image of synthetic images with that of unseen real images.

    The test of Meehan, Chaudhuri and Dasgupta, "A non-parametric test to detect data-copying in
    generative models" (AISTATS 2020), section 3, over the whole space: a one-sided Mann-Whitney
    test of the two sets of distances. It sees a shift of all images; a few copies are seen by their
    rank among the unseen ones, which is as exact.

    Args:
        training: features (n, d) of the images that the model learnt from; flattened images serve.
        synthetic: features (m, d) of its images.
        unseen: features (k, d) of real images that it has not seen.

    Raises:
        MeddiffError: as `fid` does, or most unseen images are training images.
    """
    synthetic_nearest = nearest_training(training, [synthetic])
    return judge_copies(synthetic_nearest, nearest_training(training, [unseen], name="unseen"))


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
    training: npt.ArrayLike, views: Iterable[npt.ArrayLike], *, name: str = "synthetic"
) -> Nearest:
    """Return what is nearest to each of m images among `training` (n, d).

    `views` holds the images as features (m, d), once or more, e.g. turned: the view counts that
    comes nearest to a training image. `name` is what errors call them.
    """
    names = ("training", name)
    pairs = (
        checked_pair("memorisation", training, view, names=names, at_least=1) for view in views
    )
    found = [_nearest(*_centred(*pair)) for pair in pairs]
    places, distances = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    around = np.empty(len(places))
    for row, (place, apart) in enumerate(zip(places, distances, strict=True)):
        # Each training image by its best view.
        best = np.full(len(place), np.inf)
        np.minimum.at(best, np.unique(place, return_inverse=True)[1], apart)
        best.sort()
        around[row] = best[np.isfinite(best)][:AROUND][-1]
    rows, best_view = np.arange(len(places)), distances.argmin(axis=1)
    return Nearest(places[rows, best_view], distances[rows, best_view], around)


def judge_copies(synthetic: Nearest, unseen: Nearest) -> Memorisation:
    """Return what the distances of m synthetic images tell beside those of k unseen ones.

    Unseen images that are training images, as they are or encoded anew, would set the limit below
    which a copy lies. They are left out, by the rule for synthetic images: from the closest one up,
    those that are near, and closer than a third of the distance of the closest of the others.

    Raises:
        MeddiffError: more than half of the unseen images are such.
    """
    from scipy.stats import hypergeom, mannwhitneyu

    distances, baseline = synthetic.distances, np.sort(unseen.distances)
    duplicates = _duplicates(unseen)
    if duplicates > len(baseline) / 2:
        raise MeddiffError(
            f"memorisation: {duplicates} of {len(baseline)} unseen images are training images, or "
            "nearly so: give images that the model has not learnt from (protocol: leak_free keeps "
            "some)"
        )
    baseline = baseline[duplicates:]
    test = mannwhitneyu(baseline, distances, alternative="greater")
    rank = max(1, len(baseline) // 100)
    limit = baseline[rank - 1]
    suspects = int((distances < limit).sum())
    # At most rank - 1 of the images in front of the limit, suspects among them, are unseen.
    chance = hypergeom(len(distances) + len(baseline), len(baseline), suspects + rank - 1)
    return Memorisation(
        synthetic=float(np.median(distances)),
        unseen=float(np.median(baseline)),
        duplicates=duplicates,
        closer=float(test.statistic / (len(distances) * len(baseline))),
        p_value=float(test.pvalue),
        suspects=suspects,
        suspects_p=float(chance.cdf(rank - 1)),
        identical=int((synthetic.near & (distances < limit * COPY)).sum()),
        nearest=synthetic.places,
        distances=distances,
    )


def _duplicates(unseen: Nearest) -> int:
    """Count the closest images, all of them near, below the last gap that a copy would leave."""
    order = unseen.distances.argsort(kind="stable")
    ordered = np.append(unseen.distances[order], np.inf)
    run = int(np.append(unseen.near[order], False).argmin())
    gaps = np.flatnonzero(ordered[:run] < ordered[1 : run + 1] * COPY)
    return int(gaps[-1]) + 1 if len(gaps) else 0


def _centred(a: Array, b: Array) -> tuple[Array, Array]:
    """Shift both sets alike: distances of short vectors lose fewer digits."""
    centre = a.mean(axis=0)
    return a - centre, b - centre


def _farthest(distances: Array, lengths: Array, neighbours: int) -> Array:
    """Distance of images to their k-th nearest neighbour, from those to all of their own set.

    Distances are good to half the digits of the vectors' lengths, and a copy of the k-th neighbour
    itself is within reach.
    """
    reach: Array = np.partition(distances, neighbours, axis=1)[:, neighbours]
    return reach + _ROUNDING * (reach + lengths)


def _nearest(trained: Array, drawn: Array) -> tuple[npt.NDArray[np.intp], Array]:
    """Return for every row of `drawn` the places of the nearest training images, and distances."""
    from sklearn.neighbors import NearestNeighbors
    from sklearn.utils import gen_batches

    search = NearestNeighbors(n_neighbors=min(AROUND, len(trained)), algorithm="brute").fit(trained)
    places = search.kneighbors(drawn, return_distance=False)
    distances = np.empty(places.shape)
    # Anew, so that a copy's distance is 0 to the last digit.
    for rows in gen_batches(len(drawn), 1024):
        for rank, nearest in enumerate(places[rows].T):
            distances[rows, rank] = np.linalg.norm(drawn[rows] - trained[nearest], axis=1)
    return places, distances
