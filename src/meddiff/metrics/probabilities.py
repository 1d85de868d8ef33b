"""Scores of predicted probabilities, for any weights of the images at once."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from meddiff.metrics.features import Array

Score = tuple[str, str]
"""Name of a score and the class that it speaks of, or `ALL`."""

ALL = "all"
MEAN = "mean"
BINS = 15
"""Of the calibration error: Guo 2017, section 2."""


def scores(
    labels: npt.NDArray[np.integer],
    probabilities: Array,
    classes: Sequence[str],
    weights: Array | None = None,
    *,
    thresholds: Array | None = None,
) -> dict[Score, Array]:
    """Return every score of a classifier, of all images or of weighted ones.

    - `accuracy` of all images, and `ece`, the expected calibration error (Guo 2017, eq. 3);
    - `precision`, `recall` and `f1` of each class, 0 where nothing is called or is that class; with
      more than two classes also their mean, as class `mean`;
    - `roc_auc` and `pr_auc` (average precision), and with thresholds `sensitivity` and
      `specificity`: of the last class of two, else means over the classes, each told from all
      others.

    Args:
        labels: number of the true class, (n,).
        probabilities: (n, classes) in [0, 1], rows sum to 1; the likeliest class is predicted.
        classes: class names, the positive one of two last.
        weights: of the images, (r, n), 0 and up; None weighs all alike.
        thresholds: of `operating_thresholds`, of other images than these.

    Returns:
        One value a row of weights, (r,), each in [0, 1]; NaN where no image has the class.
    """
    w = np.ones((1, len(labels))) if weights is None else np.asarray(weights, dtype=np.float64)
    k = len(classes)
    truth = np.eye(k)[labels]
    told = np.eye(k)[probabilities.argmax(axis=1)]
    total = w.sum(axis=1)
    right, actual, called = w @ (truth * told), w @ truth, w @ told
    with np.errstate(invalid="ignore", divide="ignore"):
        by_class = {
            "precision": np.where(called > 0, right / called, 0.0),
            "recall": right / actual,
            "f1": 2 * right / (actual + called),
        }
    found: dict[Score, Array] = {
        ("accuracy", ALL): right.sum(axis=1) / total,
        ("ece", ALL): _calibration_error(truth, probabilities, w),
    }
    for name, values in by_class.items():
        found |= {(name, one): values[:, place] for place, one in enumerate(classes)}
        if k > 2:
            found[name, MEAN] = values.mean(axis=1)
    places = _places(k)
    curves = [_curve_scores(truth[:, p], probabilities[:, p], w) for p in places]
    means = dict(zip(("roc_auc", "pr_auc"), np.mean(curves, axis=0), strict=True))
    if thresholds is not None:
        above = probabilities[:, places] > thresholds
        positive, negative = truth[:, places], 1 - truth[:, places]
        with np.errstate(invalid="ignore", divide="ignore"):
            hits = (w @ (positive * above)) / (w @ positive)
            spared = (w @ (negative * ~above)) / (w @ negative)
        known = np.isfinite(thresholds).all()
        for name, values in (("sensitivity", hits), ("specificity", spared)):
            means[name] = values.mean(axis=1) if known else np.full(len(w), np.nan)
    about = classes[-1] if k == 2 else MEAN
    return found | {(name, about): values for name, values in means.items()}


def operating_thresholds(
    labels: npt.NDArray[np.integer], probabilities: Array, specificity: float
) -> Array:
    """Return the probability above which an image is called a class, so as to spare the others.

    It is chosen on images that nothing is reported of: on the test images it would be the best that
    chance offers there.

    Args:
        labels: number of the true class, (n,).
        probabilities: (n, classes).
        specificity: least share of the images of other classes that is not called so, in (0, 1).

    Returns:
        The smallest such threshold of the last of two classes, else of each class; NaN where there
        are no images of other classes.
    """
    found = []
    for place in _places(probabilities.shape[1]):
        others = np.sort(probabilities[labels != place, place])
        # A share of 0.7 of ten is seven, and not a little more.
        spared = int(np.ceil(specificity * len(others) - 1e-9))
        found.append(others[max(spared, 1) - 1] if len(others) else np.nan)
    return np.array(found)


def _places(classes: int) -> list[int]:
    """Classes that are told from all others: of two, the last one."""
    return [1] if classes == 2 else list(range(classes))


def reliability(
    labels: npt.NDArray[np.integer], probabilities: Array, classes: Sequence[str], bins: int = 10
) -> pd.DataFrame:
    """Return how often a class is right where its probability is said to be so (DeGroot 1983).

    Args:
        labels: number of the true class, (n,).
        probabilities: (n, classes).
        classes: class names; of two, only the last is told.
        bins: of equal width over [0, 1]; empty ones are left out.

    Returns:
        Columns class, n_images, predicted (mean probability) and observed (share).
    """
    rows = []
    for place, name in enumerate(classes):
        if len(classes) == 2 and place == 0:
            continue
        said = probabilities[:, place]
        held = _bin(said, bins)
        for number in np.unique(held):
            members = held == number
            rows.append(
                {
                    "class": name,
                    "n_images": int(members.sum()),
                    "predicted": float(said[members].mean()),
                    "observed": float((labels[members] == place).mean()),
                }
            )
    return pd.DataFrame(rows)


def _bin(said: Array, bins: int) -> npt.NDArray[np.int64]:
    return np.minimum((said * bins).astype(np.int64), bins - 1)


def _calibration_error(truth: Array, probabilities: Array, w: Array) -> Array:
    top = probabilities.argmax(axis=1)
    each = np.arange(len(top))
    said = probabilities[each, top]
    gap = said - truth[each, top]
    members = np.eye(BINS)[_bin(said, BINS)]
    found: Array = np.abs(w @ (members * gap[:, None])).sum(axis=1) / w.sum(axis=1)
    return found


def _curve_scores(truth: Array, said: Array, w: Array) -> Array:
    """Return area under the ROC curve and average precision, (2, r)."""
    order = np.argsort(-said, kind="stable")
    ends = np.append(np.diff(said[order]) != 0, True)
    hits = np.cumsum(w[:, order] * truth[order], axis=1)[:, ends]
    alarms = np.cumsum(w[:, order] * (1 - truth[order]), axis=1)[:, ends]
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity = hits / hits[:, -1:]
        false = alarms / alarms[:, -1:]
        precision = np.where(hits + alarms > 0, hits / (hits + alarms), 0.0)
    start = np.zeros((len(w), 1))
    area = np.trapezoid(
        np.concatenate([start, sensitivity], axis=1), np.concatenate([start, false], axis=1), axis=1
    )
    average = (np.diff(sensitivity, axis=1, prepend=0) * precision).sum(axis=1)
    # Of no image with or without the class there is no curve.
    return np.stack([area, np.where(np.isfinite(area), average, np.nan)])
