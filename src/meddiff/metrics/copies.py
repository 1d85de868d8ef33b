"""Copies of training images among synthetic ones, by their nearest training images."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from meddiff.core.errors import MeddiffError
from meddiff.metrics.features import Array, centred, checked, checked_pair
from meddiff.metrics.groups import Groups, largest_group
from meddiff.metrics.images import Images

COPY = 1 / 3
"""A copy is within this part of the distance of the closest unseen image, and of `AROUND`."""
AROUND = 5
"""Nearest training images, the farthest of which gives the distance of the surroundings."""


@dataclass(frozen=True)
class Memorisation:
    """How close synthetic images come to training images, beside unseen real ones.

    Attributes:
        synthetic: median distance of a synthetic image to the nearest training image.
        unseen: the same of unseen real images.
        leaked: unseen images that are training images, or nearly so; nothing else counts them.
        closer: chance that a synthetic image lies closer than an unseen one; 0.5 without copying.
        p_value: of a synthetic set this close or closer, if it were as far as unseen images.
        suspects: synthetic images that are closer than all unseen ones but the closest 1 %.
        suspects_p: of as many suspects or more, if synthetic images were as far as unseen ones.
        identical: suspects at less than a third of that distance that are near a training image for
            their surroundings, too (`Nearest.near`).
        nearest: for every synthetic image the place of its nearest training image, int (m,).
        distances: that distance, float64 (m,).
        copied: which synthetic images are counted as `identical`, bool (m,).
    """

    synthetic: float
    unseen: float
    leaked: int
    closer: float
    p_value: float
    suspects: int
    suspects_p: float
    identical: int
    nearest: npt.NDArray[np.intp]
    distances: Array
    copied: npt.NDArray[np.bool_]

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
    test of the two sets of distances. It detects a shift of all images; a few copies are detected
    by their rank among the unseen ones, which is as exact.

    Args:
        training: features (n, d) of the images that the model was trained on, e.g. their pixels.
        synthetic: features (m, d) of its images.
        unseen: features (k, d) of real images that it was not trained on.

    Raises:
        MeddiffError: as `fid` does, or most unseen images are training images.
    """
    synthetic_nearest = nearest_training(training, [synthetic])
    return judge_copies(synthetic_nearest, nearest_training(training, [unseen], name="unseen"))


def find_copies(
    training: Images, synthetic: Images, unseen: Images | None, *, groups: Groups = None
) -> Memorisation:
    """Compare nearest training images by the RMSE of pixels, in grey levels.

    Every image is compared turned and mirrored as well, since a net trained on augmented
    images may copy them so.

    Args:
        training: uint8 (n,H,W,C), images that the generator was trained on.
        unseen: uint8 (k,H,W,C), real images that it was not trained on. None: each training image
            stands for one, beside the training images of other groups.
        groups: number of each training image's group, (n,), for that.

    Raises:
        MeddiffError: as `memorisation`.
    """
    pixels = flat(training)
    of_synthetic = nearest_training(pixels, map(flat, _orientations(synthetic)))
    if unseen is None:
        return judge_copies(of_synthetic, nearest_others(training, groups=groups))
    views = map(flat, _orientations(unseen))
    return judge_copies(of_synthetic, nearest_training(pixels, views, name="unseen"))


def nearest_others(images: Images, *, groups: Groups = None) -> "Nearest":
    """Return what is nearest to each of n images among the others, by pixels as `find_copies`.

    Args:
        images: uint8 (n,H,W,C).
        groups: number of each image's group, (n,), two or more: then among images of other groups.
    """
    own = np.arange(len(images)) if groups is None else groups
    return nearest_training(flat(images), map(flat, _orientations(images)), own=own)


def close_pairs(nearest: "Nearest") -> npt.NDArray[np.intp]:
    """Return pairs (k, 2) of an image and its nearest one that show the same, or nearly so.

    They are near (`Nearest.near`), and closer than a third of the distance of the closest of the
    others.
    """
    rows = nearest.distances.argsort(kind="stable")[: _leaked(nearest)]
    return np.stack([rows, nearest.places[rows]], axis=1)


def find_changed_copies(
    training: npt.ArrayLike,
    synthetic: npt.ArrayLike,
    unseen: npt.ArrayLike | None,
    *,
    groups: Groups = None,
) -> Memorisation:
    """Compare nearest training images by the direction of their features.

    Features of a net, of one that learnt without labels above all, see copies that are cropped,
    shifted or recoloured; they are blind to some that pixels see, as blurred ones. Such copies are
    `suspects` rather than `identical`. Distances are those of vectors of length 1, in [0, 2].

    Args:
        training: features (n, d) of the images that the generator was trained on.
        synthetic: features (m, d) of its images.
        unseen: features (k, d) of real images that it was not trained on. None: each training image
            stands for one, beside the training images of other groups.
        groups: number of each training image's group, (n,), for that.

    Raises:
        MeddiffError: as `memorisation`.
    """
    rows = _directions("training", training)
    of_synthetic = nearest_training(rows, [_directions("synthetic", synthetic)])
    if unseen is None:
        own = np.arange(len(rows)) if groups is None else groups
        return judge_copies(of_synthetic, nearest_training(rows, [rows], own=own))
    baseline = nearest_training(rows, [_directions("unseen", unseen)], name="unseen")
    return judge_copies(of_synthetic, baseline)


def _directions(name: str, features: npt.ArrayLike) -> Array:
    rows = checked("memorisation", name, features)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


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


def judge_copies(synthetic: Nearest, unseen: Nearest) -> Memorisation:
    """Compare the distances of m synthetic images with those of k unseen ones.

    Unseen images that are training images, as they are or encoded anew, would set the limit below
    which a copy lies. They are left out, by the rule for synthetic images: from the closest one up,
    those that are near, and closer than a third of the distance of the closest of the others.
    """
    from scipy.stats import hypergeom, mannwhitneyu

    distances, baseline = synthetic.distances, np.sort(unseen.distances)
    leaked = _leaked(unseen)
    if leaked > len(baseline) / 2:
        raise MeddiffError(
            f"memorisation: {leaked} of {len(baseline)} unseen images are training images, or "
            "nearly so: give images that the model was not trained on (protocol: leak_free keeps "
            "some)"
        )
    baseline = baseline[leaked:]
    test = mannwhitneyu(baseline, distances, alternative="greater")
    rank = max(1, len(baseline) // 100)
    limit = baseline[rank - 1]
    suspects = int((distances < limit).sum())
    # At most rank - 1 of the images in front of the limit, suspects among them, are unseen.
    copied = synthetic.near & (distances < limit * COPY)
    chance = hypergeom(len(distances) + len(baseline), len(baseline), suspects + rank - 1)
    return Memorisation(
        synthetic=float(np.median(distances)),
        unseen=float(np.median(baseline)),
        leaked=leaked,
        closer=float(test.statistic / (len(distances) * len(baseline))),
        p_value=float(test.pvalue),
        suspects=suspects,
        suspects_p=float(chance.cdf(rank - 1)),
        identical=int(copied.sum()),
        nearest=synthetic.places,
        distances=distances,
        copied=copied,
    )


def _leaked(unseen: Nearest) -> int:
    """Count the closest images, all of them near, below the last gap that a copy would leave."""
    order = unseen.distances.argsort(kind="stable")
    ordered = np.append(unseen.distances[order], np.inf)
    run = int(np.append(unseen.near[order], False).argmin())
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


def _orientations(images: Images) -> Iterator[Images]:
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
