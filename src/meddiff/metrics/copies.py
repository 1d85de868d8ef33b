"""Synthetic images that copy training images, as rows of a table."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from meddiff.metrics.neighbours import Memorisation, Nearest, judge_copies, nearest_training

SCORES = ("synthetic", "unseen", "duplicates", "closer", "p_value", "suspects", "suspects_p",
          "identical", "verdict")  # fmt: skip


def find_copies(training: np.ndarray, synthetic: np.ndarray, unseen: np.ndarray) -> Memorisation:
    """Compare nearest training images by the RMSE of pixels, in grey levels.

    Every image is looked for turned and mirrored as well, since a net that learns from augmented
    images may copy them so.

    Args:
        training: uint8 (n,H,W,C) that the model learnt from.
        synthetic: uint8 (m,H,W,C).
        unseen: uint8 (k,H,W,C), real images that it has not learnt from.

    Raises:
        MeddiffError: most unseen images are training images.
    """
    drawn, baseline = (
        _nearest(training, images, name)
        for images, name in ((synthetic, "synthetic"), (unseen, "unseen"))
    )
    return judge_copies(drawn, baseline)


def copies_row(found: Memorisation) -> dict[str, Any]:
    """Return the scores by name, and the verdict."""
    return {name: getattr(found, name) for name in SCORES}


def _nearest(training: np.ndarray, images: np.ndarray, name: str) -> Nearest:
    return nearest_training(_flat(training), map(_flat, _turned(images)), name=name)


def _turned(images: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the eight orientations of square images, the four of others."""
    square = images.shape[1] == images.shape[2]
    for turns in range(0, 4, 1 if square else 2):
        turned = np.rot90(images, turns, axes=(1, 2))
        yield turned
        yield turned[:, :, ::-1]


def _flat(images: np.ndarray) -> np.ndarray:
    pixels = images.reshape(len(images), -1)
    return pixels / pixels.shape[1] ** 0.5
