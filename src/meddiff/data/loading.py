"""Load image sets of several classes for classifiers."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from meddiff.core.arrays import load_images


def balanced(classes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Truncate every class to the size of the smallest; rows are in random order already."""
    smallest = min(len(images) for images in classes)
    return [images[:smallest] for images in classes]


def stack(classes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return images uint8 (N,H,W,C) and labels int64 (N,), the number of the class."""
    labels = np.repeat(np.arange(len(classes)), [len(images) for images in classes])
    return np.concatenate(classes), labels


def load_balanced(paths: Iterable[str | Path]) -> tuple[np.ndarray, np.ndarray]:
    """Read one image set per class, truncated to the smallest; return images and labels."""
    return stack(balanced([load_images(path) for path in paths]))
