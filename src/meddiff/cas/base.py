"""The interface of a classifier of the experiment, after scikit-learn's.

Images are transformed once, and every arm is fitted to rows of that: decoded images, features of a
frozen net and gradients are shared. A new classifier has a title in `classifiers.py`, which builds
it, and its name in `settings.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class TrainingSet:
    """Transformed images with their labels, and how to train on them.

    Attributes:
        inputs: transformed images (N, ...).
        labels: number of the class, int64 (N,).
        groups: number of the group (patient, lesion, duplicates), int64 (N,), for a classifier that
            splits its images.
        steps: optimiser steps, for a classifier that takes such.
        plateau_every: steps between its checks for a plateau of the training loss.
        seed: fixes weights, order, dropout and folds.
        name: what is trained, for progress and errors.
    """

    inputs: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    steps: int
    plateau_every: int
    seed: int
    name: str


@dataclass(frozen=True)
class FittedClassifier:
    """A trained classifier.

    Attributes:
        predict_proba: from transformed images (N, ...) to float64 (N, classes), rows sum to 1.
        note: what was chosen on the way, in words.
        steps: optimiser steps taken; None of a classifier that takes none.
    """

    predict_proba: Callable[[np.ndarray], np.ndarray]
    note: str = ""
    steps: int | None = None


class Classifier(Protocol):
    """A classifier of images."""

    def transform(self, images: np.ndarray) -> np.ndarray:
        """Return the input for uint8 images (N,H,W,1 or 3); an image's row depends on no other."""

    def fit(self, training: TrainingSet) -> FittedClassifier:
        """Fit a new model."""
