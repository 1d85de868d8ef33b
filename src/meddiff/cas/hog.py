"""HOG and SVM: the study's classical classifier (section 5.3.3)."""

import logging
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from joblib import parallel_config
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, cross_val_predict
from sklearn.svm import SVC

from meddiff.cas.classifier import Learnt, Lesson
from meddiff.cas.settings import HogSvm as Settings
from meddiff.cas.settings import Kernel
from meddiff.errors import MeddiffError

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
    are Platt's: a logistic regression of what cross-validation decides on images that it has not
    learnt from.

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
            MeddiffError: a class has images of a single group.
        """
        folds = self._folds(lesson)
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
        platt = LogisticRegression().fit(_columns(unseen), lesson.labels)
        note = f"kernel {kernel}, C {machine.C:g}, {score:.3f} in cross-validation"
        log.info("%s: %s", lesson.name, note)

        def probabilities(inputs: np.ndarray) -> np.ndarray:
            matrix = known.kernel(kernel, known.products(inputs), _squares(inputs))
            found: np.ndarray = platt.predict_proba(_columns(machine.decision_function(matrix)))
            return found

        return Learnt(probabilities, note)

    def _folds(self, lesson: Lesson) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return rows to learn from and to test on; each class and group as evenly as can be."""
        least = min(
            len(np.unique(lesson.groups[lesson.labels == label]))
            for label in np.unique(lesson.labels)
        )
        if least < 2:
            raise MeddiffError(
                f"{lesson.name}: a class has images of one patient, lesion or duplicate only; "
                "cross-validation needs two: give it more images"
            )
        folds = StratifiedGroupKFold(
            min(self.settings.folds, least), shuffle=True, random_state=lesson.seed % 2**32
        )
        return list(folds.split(lesson.labels, lesson.labels, lesson.groups))


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
    """One column a class, or one alone where there are two."""
    return decided.reshape(len(decided), -1)
