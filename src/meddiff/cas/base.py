"""What the experiment asks of a classifier.

Images are represented once, and every arm learns from rows of that: decoded images, features of a
frozen net and gradients are shared. A new classifier has a module of its own, an entry in
`registry.py` and its name in `settings.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Lesson:
    """What one training learns from.

    Attributes:
        inputs: represented images (N, ...).
        labels: number of the class, int64 (N,).
        groups: what belongs together, int64 (N,), for a classifier that splits its images.
        steps: optimiser steps, of a classifier that takes such.
        plateau_every: steps between its looks for a plateau of the training loss.
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
class Learnt:
    """A trained classifier.

    Attributes:
        probabilities: from represented images (N, ...) to float64 (N, classes), rows sum to 1.
        note: what was chosen on the way, in words.
        steps: optimiser steps taken; None of a classifier that takes none.
    """

    probabilities: Callable[[np.ndarray], np.ndarray]
    note: str = ""
    steps: int | None = None


class Classifier(Protocol):
    """A way to learn classes from images."""

    def represent(self, images: np.ndarray) -> np.ndarray:
        """Return what it sees of uint8 images (N,H,W,3); an image's row depends on no other."""

    def learn(self, lesson: Lesson) -> Learnt:
        """Train anew."""
