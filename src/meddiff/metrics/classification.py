"""Scores of a classifier from its predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from meddiff.core.randomness import stream
from meddiff.metrics.intervals import (
    LEAST,
    Estimate,
    estimate,
    half_samples,
    without_interval,
)


def classification_scores(predictions: pd.DataFrame, classes: Sequence[str]) -> dict[str, float]:
    """Return accuracy, precision, recall and F1, each in [0, 1].

    Args:
        predictions: columns label and predicted, one row an image.
        classes: class names; with two, the last is the positive class; with more, precision,
            recall and F1 are means over the classes. A score without any positive is 0.
    """
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    truth, predicted = predictions["label"], predictions["predicted"]
    binary = len(classes) == 2
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth,
        predicted,
        labels=[classes[-1]] if binary else list(classes),
        average="macro",
        zero_division=0.0,
    )
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
    }


def confusion(predictions: pd.DataFrame, classes: Sequence[str]) -> list[list[int]]:
    """Return the confusion matrix, rows true and columns predicted, in the order of `classes`."""
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(
        predictions["label"], predictions["predicted"], labels=list(classes)
    ).tolist()


def classification_intervals(
    predictions: pd.DataFrame, classes: Sequence[str], *, n_resamples: int, seed: int
) -> dict[str, Estimate]:
    """Return the scores of `classification_scores`, each with a 95 % interval over test images.

    Intervals of shares of images are Wilson's; F1 follows from such a share, of the images that
    are positive or called so. Means over more than two classes have the quantiles of `n_resamples`
    confusion matrices drawn from what is known of the true one (Dirichlet, one more image a class
    spread evenly), since classes without an error would have no interval otherwise.
    """
    values = classification_scores(predictions, classes)
    places = {name: place for place, name in enumerate(classes)}
    truth, predicted = (
        predictions[column].map(places).to_numpy() for column in ("label", "predicted")
    )
    right = truth == predicted
    found = {"accuracy": _wilson(values["accuracy"], right)}
    if len(classes) == 2:
        found["precision"] = _wilson(values["precision"], right[predicted == 1])
        found["recall"] = _wilson(values["recall"], right[truth == 1])
        found["f1"] = _f1_of_share(values["f1"], right[(truth == 1) | (predicted == 1)])
        return found
    drawn = _scores(_likely(np.array(confusion(predictions, classes)), n_resamples, seed))
    return found | {name: _quantiles(values[name], drawn[name]) for name in drawn}


def mean_intervals(
    scores: pd.DataFrame, names: Sequence[str], *, n_resamples: int, seed: int
) -> dict[str, Estimate]:
    """Return means of columns that hold one score in [0, 1] an image, e.g. Dice, with intervals.

    Fewer than four images have none.
    """
    means = {name: float(scores[name].mean()) for name in names}
    if len(scores) < LEAST:
        return {name: without_interval(mean) for name, mean in means.items()}
    (weights,) = half_samples(len(scores), n_resamples=n_resamples, seed=seed)
    shares = weights / weights.sum(axis=1, keepdims=True)
    found = {
        name: estimate(mean, shares @ scores[name].to_numpy(), least=0)
        for name, mean in means.items()
    }
    return {name: replace(told, high=min(1.0, told.high)) for name, told in found.items()}


def with_ends(found: Mapping[str, Estimate]) -> dict[str, float]:
    """Return columns `<name>`, `<name>_ci_low` and `<name>_ci_high`."""
    ends = {"": "value", "_ci_low": "low", "_ci_high": "high"}
    return {
        f"{name}{end}": getattr(told, field)
        for name, told in found.items()
        for end, field in ends.items()
    }


def _wilson(value: float, right: np.ndarray) -> Estimate:
    """Share of images with Wilson's interval; of no images all from 0 to 1."""
    from scipy.stats import binomtest

    if not len(right):
        return Estimate(value, 0.0, 1.0, np.nan, 0.95)
    low, high = binomtest(int(right.sum()), len(right)).proportion_ci(0.95, method="wilson")
    return Estimate(value, low, high, (value * (1 - value) / len(right)) ** 0.5, 0.95)


def _f1_of_share(value: float, right: np.ndarray) -> Estimate:
    """F1 is 2 s / (1 + s) of the share s of hits among hits, misses and false alarms."""
    share = _wilson(value / (2 - value), right)
    low, high = (2 * end / (1 + end) for end in (share.low, share.high))
    return Estimate(value, low, high, share.error * 2 / (1 + share.value) ** 2, share.level)


def _likely(matrix: np.ndarray, n_resamples: int, seed: int) -> np.ndarray:
    """Return confusion matrices (n_resamples, classes, classes) that may lie behind one."""
    chance = stream(seed, "confusion matrices")
    rows = [chance.dirichlet(row + 1 / len(matrix), n_resamples) * row.sum() for row in matrix]
    return np.stack(rows, axis=1)


def _quantiles(value: float, drawn: np.ndarray) -> Estimate:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(value, min(low, value), max(high, value), float(drawn.std()), 0.95)


def _scores(matrices: np.ndarray) -> dict[str, np.ndarray]:
    """Return mean precision, recall and F1 of confusion matrices (r, classes, classes), (r,)."""
    right = np.diagonal(matrices, axis1=1, axis2=2)
    actual, told = matrices.sum(2), matrices.sum(1)
    # A class that is nowhere counts 0, as in `classification_scores`.
    by_class = {
        "precision": right / np.where(told > 0, told, 1),
        "recall": right / np.where(actual > 0, actual, 1),
        "f1": 2 * right / np.where(told + actual > 0, told + actual, 1),
    }
    return {name: values.mean(1) for name, values in by_class.items()}
