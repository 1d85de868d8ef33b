"""Copies of training images among synthetic ones, by their nearest training images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from meddiff.core.errors import MeddiffError
from meddiff.metrics.features import Array, checked
from meddiff.metrics.groups import Groups
from meddiff.metrics.images import Images
from meddiff.metrics.nearest import (
    COPY,
    Nearest,
    count_close,
    flat,
    nearest_others,
    nearest_training,
    orientations,
)


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
    of_synthetic = nearest_training(pixels, map(flat, orientations(synthetic)))
    if unseen is None:
        return judge_copies(of_synthetic, nearest_others(training, groups=groups))
    views = map(flat, orientations(unseen))
    return judge_copies(of_synthetic, nearest_training(pixels, views, name="unseen"))


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
        unseen: features (k, d) of real images that it was not trained on; None and `groups` as of
            `find_copies`.

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


def judge_copies(synthetic: Nearest, unseen: Nearest) -> Memorisation:
    """Compare the distances of m synthetic images with those of k unseen ones.

    Unseen images that are training images, as they are or encoded anew, would set the limit below
    which a copy lies. They are left out, by the rule for synthetic images: from the closest one up,
    those that are near, and closer than a third of the distance of the closest of the others.
    """
    from scipy.stats import hypergeom, mannwhitneyu

    distances, baseline = synthetic.distances, np.sort(unseen.distances)
    leaked = count_close(unseen)
    if leaked > len(baseline) / 2:
        raise MeddiffError(
            f"memorisation: {leaked} of {len(baseline)} unseen images are training images, or "
            "nearly so: give real images that the model was not trained on"
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
