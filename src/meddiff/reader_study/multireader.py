"""Scores over several readers: intervals that hold for other readers and other images."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from meddiff.metrics.intervals import LEVEL, Estimate, without_interval

Array = NDArray[np.float64]

PLUS_FOUR = np.array([1, 0, 0, 1]), np.array([1, 1, 0, 0])
"""Answers to four more cases, and what is right of them, behind intervals over readers.

Two of each kind, one right and one wrong: readers who agree on all cases have not proved that they
always would (Agresti and Coull, "Approximate is better than exact for interval estimation of
binomial proportions", 1998; Agresti and Caffo 2000, The American Statistician).
"""


def pseudovalues(score: Callable[[NDArray[np.intp]], Array], cases: int) -> Array:
    """Return jackknife pseudovalues of each reader's score (Dorfman, Berbaum and Metz 1992).

    Args:
        score: of the cases at some places, one value per reader, (readers,).
        cases: number of cases.

    Returns:
        (readers, cases); their mean over cases is the reader's score but for its bias.
    """
    every = np.arange(cases)
    whole = score(every)
    without = np.stack([score(np.delete(every, place)) for place in every], axis=1)
    return cases * whole[:, None] - (cases - 1) * without


def over_readers_and_cases(
    values: Array,
    mean: float,
    *,
    least: float = -np.inf,
    most: float = np.inf,
    least_variance: float = 0.0,
) -> Estimate:
    """Return a mean over readers with an interval over readers and cases.

    Both are random (Hillis, "A comparison of denominator degrees of freedom methods for multiple
    observer ROC analysis", Statistics in Medicine 2007). Of one reader it is over cases alone.

    Args:
        values: right or wrong, or pseudovalues, of each reader and case, (r, c), c >= 2.
        mean: the mean score over readers.
        least: the smallest value of the score.
        most: the largest.
        least_variance: the smallest variance of the mean.
    """
    r, c = values.shape
    ms_readers, ms_cases, ms_rest = _mean_squares(values)
    if r == 1:
        variance, freedom = ms_cases / c, float(c - 1)
    else:
        total = ms_readers + max(ms_cases - ms_rest, 0)
        variance = total / (r * c)
        # Readers who do not differ at all leave the cases as the only source of chance.
        freedom = total**2 / (ms_readers**2 / (r - 1)) if ms_readers > 0 else math.inf
    error = math.sqrt(max(variance, least_variance))
    reach = float(t.ppf((1 + LEVEL) / 2, freedom)) * error
    return Estimate(mean, max(least, mean - reach), min(most, mean + reach), error, LEVEL)


def likeness(right: Array) -> float:
    """Return how alike readers do on the same cases: their intraclass correlation, 0 to 1.

    ICC(3,1) of Shrout and Fleiss, "Intraclass correlations: uses in assessing rater reliability"
    (1979).

    Args:
        right: of each reader and case, (r, c), c >= 2; not all the same.
    """
    r = len(right)
    _, ms_cases, ms_rest = _mean_squares(right)
    return 1.0 if r == 1 else max((ms_cases - ms_rest) / (ms_cases + (r - 1) * ms_rest), 0.0)


def _mean_squares(values: Array) -> tuple[float, float, float]:
    """Return the mean squares of readers, of cases, and of what is left, (r, c)."""
    r, c = values.shape
    cases, readers = values.mean(axis=0), values.mean(axis=1)
    if r == 1:
        return 0.0, float(cases.var(ddof=1)), 0.0
    rest = values - cases - readers[:, None] + values.mean()
    return (
        float(c * readers.var(ddof=1)),
        float(r * cases.var(ddof=1)),
        float((rest**2).sum() / ((r - 1) * (c - 1))),
    )


def kappa_interval(
    kappa: Callable[[NDArray[np.integer]], float], answers: NDArray[np.integer]
) -> Estimate:
    """Return a kappa of answers with its jackknife interval, of four more cases as `PLUS_FOUR` has.

    Readers agree on two of those, once on each of two answers, and differ on the others.

    Args:
        answers: place of the answer of each reader to each case, (r, c), r >= 2, c >= 1.
    """
    value = kappa(answers)
    agreed = np.tile([0, 1], (len(answers), 1))
    differ = (agreed + np.arange(len(answers))[:, None]) % 2
    more = np.concatenate([answers, agreed, differ], axis=1)
    values = pseudovalues(lambda places: np.array([kappa(more[:, places])]), more.shape[1])
    if not np.isfinite([value, *values[0]]).all():
        return without_interval(value)
    return around(value, over_readers_and_cases(values, kappa(more), least=-1, most=1))


def around(value: float, interval: Estimate) -> Estimate:
    """Return a value with the interval of more cases than it is of, which it lies in."""
    low, high = min(interval.low, value), max(interval.high, value)
    return Estimate(value, low, high, interval.error, interval.level)
