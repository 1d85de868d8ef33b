"""Scores over several readers: intervals that hold for other readers and other images."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from meddiff.metrics.intervals import LEVEL, Estimate, without_interval

Array = NDArray[np.float64]


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
    values: Array, mean: float, *, least: float = -np.inf, most: float = np.inf
) -> Estimate:
    """Return a mean over readers with an interval over readers and cases.

    Both are random (Hillis, "A comparison of denominator degrees of freedom methods for multiple
    observer ROC analysis", Statistics in Medicine 2007). Of one reader it is over cases alone.

    Args:
        values: right or wrong, or pseudovalues, of each reader and case, (r, c), c >= 2.
        mean: the mean score over readers.
        least: the smallest value of the score.
        most: the largest.
    """
    r, c = values.shape
    cases = values.mean(axis=0)
    readers = values.mean(axis=1)
    ms_cases = r * cases.var(ddof=1)
    if r == 1:
        variance, freedom = ms_cases / c, float(c - 1)
    else:
        ms_readers = c * readers.var(ddof=1)
        rest = values - cases - readers[:, None] + values.mean()
        ms_rest = (rest**2).sum() / ((r - 1) * (c - 1))
        total = ms_readers + max(ms_cases - ms_rest, 0)
        variance = total / (r * c)
        # Readers who do not differ at all leave the cases as the only source of chance.
        freedom = total**2 / (ms_readers**2 / (r - 1)) if ms_readers > 0 else math.inf
    error = math.sqrt(variance)
    reach = float(t.ppf((1 + LEVEL) / 2, freedom)) * error
    return Estimate(mean, max(least, mean - reach), min(most, mean + reach), error, LEVEL)


def jackknife(score: Callable[[NDArray[np.intp]], float], cases: int, **ends: float) -> Estimate:
    """Return a score of all cases with its jackknife interval; `ends` are its least and most."""
    value = score(np.arange(cases))
    values = pseudovalues(lambda places: np.array([score(places)]), cases)
    if not np.isfinite(values).all():
        return without_interval(value)
    return over_readers_and_cases(values, value, **ends)
