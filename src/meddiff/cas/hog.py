"""HOG and SVM: the study's classical classifier (section 5.3.3)."""

import logging
from dataclasses import dataclass

import cv2
import numpy as np
from joblib import parallel_config
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold
from sklearn.svm import SVC

from meddiff.cas.base import FittedClassifier, TrainingSet
from meddiff.cas.settings import HogSvmSettings, Kernel
from meddiff.core.errors import MeddiffError
from meddiff.core.randomness import stream_seed

log = logging.getLogger(__name__)

WINDOW = 64
"""Side in px of what HOG sees."""
LAYOUT = ((WINDOW, WINDOW), (8, 8), (2, 2), (4, 4), 9)
"""Window, block, stride and cell in px, and directions: 29 x 29 blocks x 4 cells x 9 directions."""


def hog_features(images: np.ndarray) -> np.ndarray:
    """Return histograms of oriented gradients, float32 (N, 30,276), of uint8 images.

    Dalal and Triggs 2005, as OpenCV computes them: at every pixel of the channel with the largest
    gradient. Images (N,H,W,1 or 3) of another size are resized to 64 px first (bilinear).
    """
    descriptor = cv2.HOGDescriptor(*LAYOUT)
    histograms = np.empty((len(images), descriptor.getDescriptorSize()), dtype=np.float32)
    for row, image in enumerate(images):
        window = np.ascontiguousarray(image)
        if window.shape[:2] != (WINDOW, WINDOW):
            window = cv2.resize(window, (WINDOW, WINDOW), interpolation=cv2.INTER_LINEAR)
        histograms[row] = np.ravel(descriptor.compute(window))
    return histograms


@dataclass(frozen=True)
class HogSvm:
    """Histograms of oriented gradients and a support vector machine.

    Inner products of images are computed once for all kernels, folds and weights C. Probabilities
    are its decisions scaled by a temperature (Guo 2017, section 4.2), fitted to the decisions of
    cross-validation: the likeliest class is the machine's own.

    Attributes:
        settings: what to choose from.
        threads: fits at a time; results do not depend on it.
    """

    settings: HogSvmSettings
    threads: int = 1

    def transform(self, images: np.ndarray) -> np.ndarray:
        """Return `hog_features`."""
        return hog_features(images)

    def fit(self, training: TrainingSet) -> FittedClassifier:
        """Choose C and kernel by the accuracy in cross-validation, then train on all images.

        Raises:
            MeddiffError: a class has a single image.
        """
        folds, remark = self._folds(training)
        kernels = _Kernels.of(training.inputs)
        products = kernels.products(training.inputs)
        best: tuple[float, Kernel, float, np.ndarray] | None = None
        # Fits leave Python's lock alone: threads share a kernel's matrix, processes would copy it.
        with parallel_config("threading", n_jobs=self.threads):
            for name in self.settings.kernels:
                matrix = kernels.matrix(name, products, kernels.squares)
                search = GridSearchCV(
                    SVC(kernel="precomputed"), {"C": self.settings.C}, cv=folds, refit=False
                )
                search.fit(matrix, training.labels)
                if best is None or search.best_score_ > best[0]:
                    best = search.best_score_, name, search.best_params_["C"], matrix
            assert best is not None
            score, kernel, weight, matrix = best
            machine = CalibratedClassifierCV(
                SVC(kernel="precomputed", C=weight), method="temperature", cv=folds, ensemble=False
            ).fit(matrix, training.labels)
        note = f"kernel {kernel}, C {weight:g}{remark}"
        log.info("%s: %s, accuracy %.3f in cross-validation", training.name, note, score)

        def predict_proba(inputs: np.ndarray) -> np.ndarray:
            matrix = kernels.matrix(kernel, kernels.products(inputs), _squares(inputs))
            probabilities: np.ndarray = machine.predict_proba(matrix)
            return probabilities

        return FittedClassifier(predict_proba, note)

    def _folds(self, training: TrainingSet) -> tuple[list[tuple[np.ndarray, np.ndarray]], str]:
        """Return training and test rows of each fold, stratified by class, with a remark.

        Groups stay whole. Where a class has too few of them, images are divided as if they were
        alone: the choice of C and kernel gets worse, the test stays what it was.
        """
        labels, groups = training.labels, training.groups
        present, counts = np.unique(labels, return_counts=True)
        if counts.min() < 2:
            raise MeddiffError(
                f"{training.name}: a class has one training image and cross-validation needs two: "
                "give it more images"
            )
        options = {"shuffle": True, "random_state": stream_seed(training.seed, "folds") % 2**32}
        least = min(len(np.unique(groups[labels == label])) for label in present)
        if least >= 2:
            grouped = StratifiedGroupKFold(min(self.settings.folds, least), **options)
            folds = list(grouped.split(labels, labels, groups))
            if all(len(np.unique(labels[train])) == len(present) for train, _ in folds):
                return folds, ""
        single = StratifiedKFold(min(self.settings.folds, int(counts.min())), **options)
        return list(single.split(labels, labels)), ", folds by image: too few groups of a class"


@dataclass(frozen=True)
class _Kernels:
    """Training images, float32 (M, d), and what their kernels with others (N, d) need.

    As in scikit-learn's SVC, gamma is "scale", 1 over dimensions and variance, and a polynomial has
    degree 3 and no constant.
    """

    inputs: np.ndarray
    squares: np.ndarray
    gamma: float

    @classmethod
    def of(cls, inputs: np.ndarray) -> "_Kernels":
        squares = _squares(inputs)
        variance = float(squares.sum() / inputs.size - inputs.mean(dtype=np.float64) ** 2)
        return cls(inputs, squares, 1 / (inputs.shape[1] * max(variance, 1e-12)))

    def products(self, others: np.ndarray) -> np.ndarray:
        """Return inner products, float64 (N, M)."""
        products: np.ndarray = (others @ self.inputs.T).astype(np.float64)
        return products

    def matrix(self, name: Kernel, products: np.ndarray, squares: np.ndarray) -> np.ndarray:
        """Return the kernel, float64 (N, M), from inner products and the squares of the others."""
        if name == "linear":
            return products
        if name == "poly":
            return (self.gamma * products) ** 3
        distances = np.maximum(squares[:, None] + self.squares - 2 * products, 0)
        return np.exp(-self.gamma * distances)


def _squares(inputs: np.ndarray) -> np.ndarray:
    squares: np.ndarray = np.einsum("nd,nd->n", inputs, inputs, dtype=np.float64)
    return squares
