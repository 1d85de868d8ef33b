"""Signal detection: how well a reader tells synthetic from real images."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtr, ndtri, roots_hermitenorm
from scipy.stats import norm, rankdata

from meddiff.metrics.intervals import LEVEL, Estimate, within_bounds

Z = float(ndtri((1 + LEVEL) / 2))
NODES, WEIGHTS = roots_hermitenorm(100)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
LARGEST_D_PRIME = 6.0
"""Beyond it no number of trials tells one d' from the next."""


def yes_no(hits: int, signals: int, false_alarms: int, noises: int) -> tuple[Estimate, Estimate]:
    """Return d' and the criterion c of yes-no answers, with normal intervals.

    Rates take half an answer more on each side, so that none is 0 or 1 (Hautus 1995, the log-linear
    rule); variances are those of Gourevitch and Galanter (1967).

    Args:
        hits: synthetic images called synthetic, of `signals`.
        false_alarms: real images called synthetic, of `noises`.

    Returns:
        d' = z(hit rate) - z(false alarm rate), and c = -(z(hit rate) + z(false alarm rate)) / 2,
        which is above 0 for a reader who rather says "real".
    """
    hit = (hits + 0.5) / (signals + 1)
    false_alarm = (false_alarms + 0.5) / (noises + 1)
    z_hit, z_false = float(ndtri(hit)), float(ndtri(false_alarm))
    variance = sum(
        rate * (1 - rate) / (n * norm.pdf(z) ** 2)
        for rate, n, z in ((hit, signals, z_hit), (false_alarm, noises, z_false))
    )
    error = math.sqrt(variance)
    criterion = within_bounds(-(z_hit + z_false) / 2, error / 2)
    return within_bounds(z_hit - z_false, error), criterion


def correct_share(d_prime: float, choices: int) -> float:
    """Return the share of right choices of one signal among several (Green and Swets 1966).

    The integral over x of phi(x - d') Phi(x)^(choices - 1); for two it is Phi(d' / sqrt 2).
    """
    return float(WEIGHTS @ ndtr(NODES + d_prime) ** (choices - 1))


def forced_choice(correct: float, choices: int) -> float:
    """Return the d' at which the share `correct` of choices is right; at most 6 either way."""
    ends = -LARGEST_D_PRIME, LARGEST_D_PRIME
    low, high = (correct_share(end, choices) for end in ends)
    if not low < correct < high:
        return ends[0] if correct <= low else ends[1]
    return float(brentq(lambda d: correct_share(d, choices) - correct, *ends))


def roc_auc(signals: NDArray[np.float64], noises: NDArray[np.float64]) -> Estimate:
    """Return the area under the ROC curve of ratings, with DeLong's interval on the logit's scale.

    Args:
        signals: ratings of synthetic images, higher for "synthetic", (n,), n >= 2.
        noises: ratings of real images, (m,), m >= 2.
    """
    n, m = len(signals), len(noises)
    ranks = rankdata(np.concatenate([signals, noises]))
    # DeLong et al. 1988: the share of the other kind that each image lies above or below.
    above = (ranks[:n] - rankdata(signals)) / m
    below = 1 - (ranks[n:] - rankdata(noises)) / n
    area = float(above.mean())
    error = math.sqrt(above.var(ddof=1) / n + below.var(ddof=1) / m)
    if not 0 < area < 1:
        # No image of one kind lies among those of the other: the exact end for that many.
        end = 0.05 ** (1 / min(n, m))
        low, high = (end, 1.0) if area == 1 else (0.0, 1 - end)
        return Estimate(area, low, high, 0.0, LEVEL)
    reach = Z * error / (area * (1 - area))
    ends = expit(logit(area) - reach), expit(logit(area) + reach)
    return Estimate(area, float(ends[0]), float(ends[1]), error, LEVEL)
