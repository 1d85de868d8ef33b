"""HOG and SVM: the study's classical classifier (section 5.3.3)."""

import logging
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from joblib import parallel_config
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedGroupKFold,
    StratifiedKFold,
    cross_val_predict,
)
from sklearn.svm import SVC

from meddiff.cas.base import Learnt, Lesson
from meddiff.cas.settings import HogSvm as Settings
from meddiff.cas.settings import Kernel
from meddiff.core.errors import MeddiffError
from meddiff.core.randomness import stream_seed

log = logging.getLogger(__name__)

WINDOW = 64
"""Side in px of what HOG sees."""
LAYOUT = ((WINDOW, WINDOW), (8, 8), (2, 2), (4, 4), 9)
"""Window, block, stride and cell in px, and directions: 29 x 29 blocks x 4 cells x 9 directions."""


def hog_features(images: np.ndarray) -> np.ndarray:
    """Return histograms of oriented gradients, float32 (N, 30,276), of uint8 images (N,H,W,3).

    Dalal and Triggs 2005, as OpenCV computes them: at every pixel of the channel with the largest
    gradient. Images of another size are resized to 64 px first (bilinear).
    """
    descriptor = cv2.HOGDescriptor(*LAYOUT)
    found = np.empty((len(images), descriptor.getDescriptorSize()), dtype=np.float32)
    for row, image in enumerate(images):
        given = np.ascontiguousarray(image)
        if given.shape[:2] != (WINDOW, WINDOW):
            given = cv2.resize(given, (WINDOW, WINDOW), interpolation=cv2.INTER_LINEAR)
        found[row] = np.ravel(descriptor.compute(given))
    return found


@dataclass(frozen=True)
class HogSvm:
    """Histograms of oriented gradients and a support vector machine.

    Inner products of images are computed once for all kernels, folds and weights C. Probabilities
    are its decisions scaled by a temperature (Guo 2017, section 4.2) that fits those on images that
    cross-validation has not learnt from: the likeliest class is the machine's own.

    Attributes:
        settings: what to choose from.
        threads: fits at a time; results do not depend on it.
    """

    settings: Settings
    threads: int = 1

    def represent(self, images: np.ndarray) -> np.ndarray:
        """Return `hog_features`."""
        return hog_features(images)

    def learn(self, lesson: Lesson) -> Learnt:
        """Choose C and kernel by the accuracy in cross-validation, then train on all images.

        Raises:
            MeddiffError: a class has a single image.
        """
        folds, trouble = self._folds(lesson)
        known = _Known.of(lesson.inputs)
        products = known.products(lesson.inputs)
        best: tuple[float, Kernel, Any, np.ndarray] | None = None
        # Fits leave Python's lock alone: threads share a kernel's matrix, processes would copy it.
        with parallel_config("threading", n_jobs=self.threads):
            for name in self.settings.kernels:
                matrix = known.kernel(name, products, known.squares)
                search = GridSearchCV(SVC(kernel="precomputed"), {"C": self.settings.C}, cv=folds)
                search.fit(matrix, lesson.labels)
                if best is None or search.best_score_ > best[0]:
                    best = search.best_score_, name, search.best_estimator_, matrix
            assert best is not None
            score, kernel, machine, matrix = best
            unseen = cross_val_predict(
                machine, matrix, lesson.labels, cv=folds, method="decision_function"
            )
        scale = _scale(_columns(unseen), lesson.labels)
        note = f"kernel {kernel}, C {machine.C:g}{trouble}"
        log.info("%s: %s, accuracy %.3f in cross-validation", lesson.name, note, score)

        def probabilities(inputs: np.ndarray) -> np.ndarray:
            matrix = known.kernel(kernel, known.products(inputs), _squares(inputs))
            found: np.ndarray = softmax(scale * _columns(machine.decision_function(matrix)), axis=1)
            return found

        return Learnt(probabilities, note)

    def _folds(self, lesson: Lesson) -> tuple[list[tuple[np.ndarray, np.ndarray]], str]:
        """Return rows to learn from and to test on, with a note; each class as evenly as can be.

        Groups stay whole. Where a class has too few of them, images are divided as if they were
        alone: the choice of C and kernel gets worse, the test stays what it was.
        """
        labels, groups = lesson.labels, lesson.groups
        present, counts = np.unique(labels, return_counts=True)
        if counts.min() < 2:
            raise MeddiffError(
                f"{lesson.name}: a class has one training image; cross-validation needs two: give "
                "it more images"
            )
        options = {"shuffle": True, "random_state": stream_seed(lesson.seed, "folds") % 2**32}
        least = min(len(np.unique(groups[labels == label])) for label in present)
        if least >= 2:
            grouped = StratifiedGroupKFold(min(self.settings.folds, least), **options)
            folds = list(grouped.split(labels, labels, groups))
            if all(len(np.unique(labels[learn])) == len(present) for learn, _ in folds):
                return folds, ""
        single = StratifiedKFold(min(self.settings.folds, int(counts.min())), **options)
        return list(single.split(labels, labels)), ", folds by image: too few groups of a class"


@dataclass(frozen=True)
class _Known:
    """Images learnt from, float32 (M, d), and what their kernels with others (N, d) need.

    As in scikit-learn's SVC, gamma is "scale", 1 over dimensions and variance, and a polynomial has
    degree 3 and no constant.
    """

    inputs: np.ndarray
    squares: np.ndarray
    gamma: float

    @classmethod
    def of(cls, inputs: np.ndarray) -> "_Known":
        squares = _squares(inputs)
        variance = float(squares.sum() / inputs.size - inputs.mean(dtype=np.float64) ** 2)
        return cls(inputs, squares, 1 / (inputs.shape[1] * max(variance, 1e-12)))

    def products(self, given: np.ndarray) -> np.ndarray:
        """Return inner products, float64 (N, M)."""
        found: np.ndarray = (given @ self.inputs.T).astype(np.float64)
        return found

    def kernel(self, name: Kernel, products: np.ndarray, squares: np.ndarray) -> np.ndarray:
        """Return the kernel, float64 (N, M), from inner products and the squares of the others."""
        if name == "linear":
            return products
        if name == "poly":
            return (self.gamma * products) ** 3
        distances = np.maximum(squares[:, None] + self.squares - 2 * products, 0)
        return np.exp(-self.gamma * distances)


def _squares(inputs: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.einsum("nd,nd->n", inputs, inputs, dtype=np.float64)
    return found


def _columns(decided: np.ndarray) -> np.ndarray:
    """Return one decision a class, (N, classes); of two classes the machine has but one in all."""
    if decided.ndim == 2:
        return decided
    return np.stack([-decided / 2, decided / 2], axis=1)


def _scale(decided: np.ndarray, labels: np.ndarray) -> float:
    """Return the inverse temperature at which decisions (N, classes) make labels likeliest."""
    each = np.arange(len(labels))

    def surprise(exponent: float) -> float:
        return -float(log_softmax(np.exp(exponent) * decided, axis=1)[each, labels].mean())

    found = minimize_scalar(surprise, bounds=(-7, 7), method="bounded")
    return float(np.exp(found.x))
