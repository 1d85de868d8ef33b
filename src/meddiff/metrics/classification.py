"""Scores of classifiers, for any weights of the images at once, and their intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from meddiff.core.tables import OVER_CLASSES
from meddiff.metrics.features import Array
from meddiff.metrics.intervals import LEAST, Estimate, estimate, half_samples, without_interval
from meddiff.metrics.repeated import image_halves, repeated_estimate

Score = tuple[str, str]
"""Name of a score and its class, or `ALL`."""

ALL = "all"
BINS = 15
"""Of the calibration error: Guo 2017, section 2."""
CURVE_BINS = 10
"""Of a reliability curve."""


def label_scores(
    labels: npt.NDArray[np.integer],
    predicted: npt.NDArray[np.integer],
    classes: Sequence[str],
    weights: Array | None = None,
) -> dict[Score, Array]:
    """Return the scores of predicted classes, of all images or of weighted ones.

    `accuracy` of all images; `precision`, `recall` and `f1` of each class, 0 where the class is
    never predicted; with more than two classes also their mean, as class `mean`.

    Args:
        labels: number of the true class, (n,), as of `numbers_of`; so is `predicted`.
        weights: of the images, (r, n), 0 and up; None weighs all alike.

    Returns:
        One value per row of weights, (r,), each in [0, 1]; NaN where no image has the class.
    """
    w = _weights(weights, len(labels))
    truth, answers = np.eye(len(classes))[labels], np.eye(len(classes))[predicted]
    hits, actual, positives = w @ (truth * answers), w @ truth, w @ answers
    with np.errstate(invalid="ignore", divide="ignore"):
        by_class = {
            "precision": np.where(positives > 0, hits / positives, 0.0),
            "recall": hits / actual,
            "f1": 2 * hits / (actual + positives),
        }
    by_name: dict[Score, Array] = {("accuracy", ALL): hits.sum(axis=1) / w.sum(axis=1)}
    for name, values in by_class.items():
        by_name |= {(name, one): values[:, place] for place, one in enumerate(classes)}
        if len(classes) > 2:
            by_name[name, OVER_CLASSES] = values.mean(axis=1)
    return by_name


def scores(
    labels: npt.NDArray[np.integer],
    probabilities: Array,
    classes: Sequence[str],
    weights: Array | None = None,
    *,
    thresholds: Array | None = None,
) -> dict[Score, Array]:
    """Return every score of a classifier, of all images or of weighted ones.

    - those of `label_scores`, of the likeliest class;
    - `ece`, the expected calibration error (Guo 2017, eq. 3);
    - `roc_auc` and `pr_auc` (average precision), and with thresholds `sensitivity` and
      `specificity`: of the last class of two, else means over the classes, each against the rest.

    scikit-learn has the curves, too, one weighting per call; here are all half-samples at once.

    Args:
        probabilities: (n, classes) in [0, 1], rows sum to 1; the likeliest class is predicted.
        classes: class names, the positive one of two last.
        thresholds: of `operating_thresholds`, of other images than these.

    Returns:
        One value per row of weights, (r,), each in [0, 1]; NaN where no image has the class.
    """
    w = _weights(weights, len(labels))
    truth = np.eye(len(classes))[labels]
    by_name = label_scores(labels, probabilities.argmax(axis=1), classes, weights)
    accuracy = {("accuracy", ALL): by_name.pop(("accuracy", ALL))}
    by_name = accuracy | {("ece", ALL): _calibration_error(truth, probabilities, w)} | by_name
    places = _places(len(classes))
    curves = [_curve_scores(truth[:, p], probabilities[:, p], w) for p in places]
    means = dict(zip(("roc_auc", "pr_auc"), np.mean(curves, axis=0), strict=True))
    if thresholds is not None:
        above = probabilities[:, places] > thresholds
        positive, negative = truth[:, places], 1 - truth[:, places]
        for name, kind, right in (
            ("sensitivity", positive, positive * above),
            ("specificity", negative, negative * ~above),
        ):
            with np.errstate(invalid="ignore", divide="ignore"):
                values = (w @ right) / (w @ kind)
            chosen = np.isfinite(thresholds).all()
            means[name] = values.mean(axis=1) if chosen else np.full(len(w), np.nan)
    return by_name | {(name, positive_class(classes)): values for name, values in means.items()}


def numbers_of(names: pd.Series, classes: Sequence[str]) -> npt.NDArray[np.integer]:
    """Return the number of each class name, (n,)."""
    places = {name: place for place, name in enumerate(classes)}
    numbers: npt.NDArray[np.integer] = names.map(places).to_numpy(int)
    return numbers


def positive_class(classes: Sequence[str]) -> str:
    """Return the class that precision, recall and F1 speak of; with more than two, their mean."""
    return classes[-1] if len(classes) == 2 else OVER_CLASSES


def _weights(weights: Array | None, n: int) -> Array:
    return np.ones((1, n)) if weights is None else np.asarray(weights, dtype=np.float64)


def operating_thresholds(
    labels: npt.NDArray[np.integer], probabilities: Array, specificity: float
) -> Array:
    """Return the probability above which an image is predicted a class, at a specificity.

    It is chosen on validation images: on the test images it would be the best that chance offers.

    Args:
        specificity: least share of the images of other classes below the threshold, in (0, 1).

    Returns:
        The smallest such threshold of the last of two classes, else of each class; NaN where there
        are no images of other classes.
    """
    thresholds = []
    for place in _places(probabilities.shape[1]):
        others = np.sort(probabilities[labels != place, place])
        # A share of 0.7 of ten is seven, and not a little more.
        below = int(np.ceil(specificity * len(others) - 1e-9))
        thresholds.append(others[max(below, 1) - 1] if len(others) else np.nan)
    return np.array(thresholds)


def _places(classes: int) -> list[int]:
    """Classes that are scored against the rest: of two, the last one."""
    return [1] if classes == 2 else list(range(classes))


def reliability(
    labels: npt.NDArray[np.integer], probabilities: Array, classes: Sequence[str]
) -> pd.DataFrame:
    """Return the observed frequency of classes by predicted probability (DeGroot 1983).

    Returns:
        Columns class (of two, the last alone), n_images, predicted (mean probability) and observed
        (share), for each of `CURVE_BINS` of equal width over [0, 1] that is not empty.
    """
    rows = []
    for place in _places(len(classes)):
        column = probabilities[:, place]
        binned = _bin(column, CURVE_BINS)
        for number in np.unique(binned):
            members = binned == number
            rows.append(
                {
                    "class": classes[place],
                    "n_images": int(members.sum()),
                    "predicted": float(column[members].mean()),
                    "observed": float((labels[members] == place).mean()),
                }
            )
    return pd.DataFrame(rows)


def _bin(probabilities: Array, bins: int) -> npt.NDArray[np.int64]:
    return np.minimum((probabilities * bins).astype(np.int64), bins - 1)


def _calibration_error(truth: Array, probabilities: Array, w: Array) -> Array:
    top = probabilities.argmax(axis=1)
    each = np.arange(len(top))
    confidence = probabilities[each, top]
    gap = confidence - truth[each, top]
    members = np.eye(BINS)[_bin(confidence, BINS)]
    error: Array = np.abs(w @ (members * gap[:, None])).sum(axis=1) / w.sum(axis=1)
    return error


def _curve_scores(truth: Array, probabilities: Array, w: Array) -> Array:
    """Return area under the ROC curve and average precision, (2, r)."""
    order = np.argsort(-probabilities, kind="stable")
    ends = np.append(np.diff(probabilities[order]) != 0, True)
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


def confusion(predictions: pd.DataFrame, classes: Sequence[str]) -> list[list[int]]:
    """Return the confusion matrix, rows true and columns predicted, in the order of `classes`."""
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(
        predictions["label"], predictions["predicted"], labels=list(classes)
    ).tolist()


def classification_intervals(
    predictions: pd.DataFrame, classes: Sequence[str], *, n_resamples: int, seed: int
) -> dict[str, Estimate]:
    """Return accuracy, precision, recall and F1, each with a 95 % interval over test images.

    Args:
        predictions: columns label and predicted, one row per image.
        classes: class names; the last three scores are of `positive_class`.

    Returns:
        Estimates as of one training by `repeated_estimate`; without an interval where a class has
        fewer than four images.
    """
    labels, predicted = (numbers_of(predictions[each], classes) for each in ("label", "predicted"))
    values = label_scores(labels, predicted, classes)
    weights = image_halves(labels, range(len(labels)), n_resamples=n_resamples, seed=seed)
    halves = {} if weights is None else label_scores(labels, predicted, classes, weights)
    counts = np.bincount(labels, minlength=len(classes))
    by_class = dict(zip(classes, counts, strict=True))
    images = {ALL: len(labels), OVER_CLASSES: counts.min()} | by_class
    names = [("accuracy", ALL)]
    names += [(name, positive_class(classes)) for name in ("precision", "recall", "f1")]
    return {
        name: repeated_estimate(
            values[name, one],
            halves[name, one][None] if halves else None,
            groups=int(images[one]),
            least=0.0,
        )
        for name, one in names
    }


def mean_intervals(
    scores: pd.DataFrame, names: Sequence[str], *, n_resamples: int, seed: int
) -> dict[str, Estimate]:
    """Return means of columns that hold one score in [0, 1] per image, e.g. Dice, with intervals.

    Fewer than four images have none.
    """
    means = {name: float(scores[name].mean()) for name in names}
    if len(scores) < LEAST:
        return {name: without_interval(mean) for name, mean in means.items()}
    (weights,) = half_samples(len(scores), n_resamples=n_resamples, seed=seed)
    shares = weights / weights.sum(axis=1, keepdims=True)
    return {
        name: estimate(mean, shares @ scores[name].to_numpy(), least=0, most=1.0)
        for name, mean in means.items()
    }


def with_ends(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """Return columns `<name>`, `<name>_ci_low` and `<name>_ci_high`."""
    columns: dict[str, float] = {}
    for name, each in estimates.items():
        columns |= each.columns(name)
    return columns
