"""Training sets of the experiment: rows of one pool of images, which all arms share."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from meddiff.cas.settings import ArmName
from meddiff.core.arrays import balanced
from meddiff.core.randomness import stream
from meddiff.diffusion.training.augmentation import PRESETS, augment_once

CHANGES = PRESETS["isic2016"]
"""Of the arm `augmented`: flips, turns, zoom, brightness, contrast and hue."""


@dataclass(frozen=True)
class Pool:
    """Images that arms take rows of.

    Attributes:
        images: uint8 (N,H,W,1 or 3).
        labels: number of the class, int64 (N,).
        kind: "real", "synthetic" or "augmented", (N,).
        group: number of the group (patient, lesion, duplicates), int64 (N,); every synthetic image
            is a group of its own, an augmented one is in that of its original.
    """

    images: np.ndarray
    labels: np.ndarray
    kind: np.ndarray
    group: np.ndarray

    def rows(self, kind: str, label: int) -> np.ndarray:
        """Return the rows of one kind and class, in order."""
        return np.flatnonzero((self.kind == kind) & (self.labels == label))

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.labels.max()) + 1


@dataclass(frozen=True)
class Arm:
    """A training set.

    Attributes:
        rows: of the pool; a row may come more than once.
        labels: int64, as many.
        n_real: how many rows are real images, repeated ones among them.
        n_synthetic: how many are synthetic.
    """

    rows: np.ndarray
    labels: np.ndarray
    n_real: int
    n_synthetic: int


def build_pool(
    real: Sequence[np.ndarray],
    groups: Sequence[np.ndarray],
    synthetic: Sequence[np.ndarray],
    *,
    augmented: bool = False,
    seed: int = 0,
) -> Pool:
    """Put the images of all arms together.

    Args:
        real: uint8 (N,H,W,1 or 3) of each class, cut to the smallest class.
        groups: group of each image of each class, (N,).
        synthetic: uint8 (M,H,W,1 or 3) of each class, cut likewise; or none.
        augmented: whether to add as many augmented real images as there are synthetic ones.
    """
    real = balanced(real)
    synthetic = balanced(synthetic) if synthetic else [images[:0] for images in real]
    names = [list(group)[: len(images)] for group, images in zip(groups, real, strict=True)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(chain(*names)))}
    parts = []
    for label, images in enumerate(real):
        own = np.array([numbers[name] for name in names[label]], dtype=np.int64)
        parts.append((images, label, "real", own))
        if augmented:
            chosen = stream(seed, "cas augmented", label).permutation(len(images))
            origin = np.resize(chosen, len(synthetic[label]))
            copies = augment_once(images[origin], CHANGES, seed, "cas augmentation", label)
            parts.append((copies, label, "augmented", own[origin]))
    alone = len(numbers)
    for label, images in enumerate(synthetic):
        parts.append((images, label, "synthetic", np.arange(alone, alone + len(images))))
        alone += len(images)
    return Pool(
        np.concatenate([images for images, *_ in parts]),
        np.concatenate([np.full(len(part[0]), part[1], dtype=np.int64) for part in parts]),
        np.concatenate([np.full(len(part[0]), part[2]) for part in parts]),
        np.concatenate([group for *_, group in parts]),
    )


def build_arm(pool: Pool, name: ArmName, *key: int | str) -> Arm:
    """Return the rows that an arm trains on.

    Args:
        name: see `cas.arms` of the configuration.
        key: names the repetition, e.g. ``seed, "cas", 0``: what `matched` takes, what
            `oversampled` repeats and how the labels of `shuffled` lie.
    """
    kinds = {"synthetic": ["synthetic"], "mixed": ["real", "synthetic"],
             "augmented": ["real", "augmented"]}.get(name, ["real"])  # fmt: skip
    by_class = [
        np.concatenate([pool.rows(kind, label) for kind in kinds]) for label in range(pool.classes)
    ]
    counts = [len(pool.rows("synthetic", label)) for label in range(pool.classes)]
    for label, (rows, count) in enumerate(zip(by_class, counts, strict=True)):
        if name == "matched":
            by_class[label] = stream(*key, "matched", label).permutation(rows)[:count]
        elif name == "oversampled":
            repeated = _repeated(rows, count, *key, "oversampled", label)
            by_class[label] = np.concatenate([rows, repeated])
    arm = _arm(pool, np.concatenate(by_class))
    if name != "shuffled":
        return arm
    labels = stream(*key, "shuffled labels").permutation(arm.labels)
    return Arm(arm.rows, labels, arm.n_real, arm.n_synthetic)


def dose_arm(pool: Pool, fraction: float, ratio: float, *key: int | str) -> Arm | None:
    """Return part of the real images of each class with synthetic ones beside them.

    Within a repetition smaller parts lie in larger ones, so that cells differ by what was added.

    Args:
        fraction: part of the real images, in (0, 1]; at least one image per class.
        ratio: synthetic images for each of them, 0 and up.
        key: names the repetition, whose images are drawn at random.

    Returns:
        The arm, or None where there are too few synthetic images.
    """
    chosen = []
    for label in range(pool.classes):
        real, synthetic = (pool.rows(kind, label) for kind in ("real", "synthetic"))
        n_real = max(1, round(fraction * len(real)))
        n_synthetic = round(ratio * n_real)
        if n_synthetic > len(synthetic):
            return None
        for kind, rows, n in (("real", real, n_real), ("synthetic", synthetic, n_synthetic)):
            chosen.append(stream(*key, "dose", kind, label).permutation(rows)[:n])
    return _arm(pool, np.concatenate(chosen))


def _arm(pool: Pool, rows: np.ndarray) -> Arm:
    n_synthetic = int((pool.kind[rows] == "synthetic").sum())
    n_real = int((pool.kind[rows] == "real").sum())
    return Arm(rows, pool.labels[rows], n_real, n_synthetic)


def _repeated(rows: np.ndarray, count: int, *key: int | str) -> np.ndarray:
    """Draw `count` rows, each as often as any other but for one."""
    whole, rest = divmod(count, len(rows))
    return np.concatenate([np.tile(rows, whole), stream(*key).permutation(rows)[:rest]])
