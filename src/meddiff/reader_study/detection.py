"""Signal detection: how well a reader tells synthetic from real images."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtr, ndtri, roots_hermitenorm
from scipy.stats import norm, rankdata

from meddiff.metrics.intervals import LEVEL, Estimate, within_bounds, without_interval

Z = float(ndtri((1 + LEVEL) / 2))
NODES, WEIGHTS = roots_hermitenorm(100)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
NO_ERROR = 1e-9
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
    hit, false_alarm = _rate(hits, signals), _rate(false_alarms, noises)
    z_hit, z_false = float(ndtri(hit)), float(ndtri(false_alarm))
    variance = sum(
        rate * (1 - rate) / (n * norm.pdf(z) ** 2)
        for rate, n, z in ((hit, signals, z_hit), (false_alarm, noises, z_false))
    )
    error = math.sqrt(variance)
    criterion = within_bounds(-(z_hit + z_false) / 2, error / 2)
    return within_bounds(z_hit - z_false, error), criterion


def d_primes(called: NDArray[np.bool_], synthetic: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the d' of each reader as `yes_no` has it, (r,).

    Args:
        called: whether each reader called each image synthetic, (r, c).
        synthetic: whether it is, (c,).
    """
    hits, false_alarms = called[:, synthetic].sum(axis=1), called[:, ~synthetic].sum(axis=1)
    signals, noises = int(synthetic.sum()), int((~synthetic).sum())
    return np.asarray(ndtri(_rate(hits, signals)) - ndtri(_rate(false_alarms, noises)))


def _rate(count: Any, n: int) -> Any:
    """Return the rate of `count` in n with half of either answer more."""
    return (count + 0.5) / (n + 1)


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
        signals: ratings of synthetic images, higher for "synthetic", (n,), n >= 1.
        noises: ratings of real images, (m,), m >= 1; of one there is no interval.
    """
    n, m = len(signals), len(noises)
    ranks = rankdata(np.concatenate([signals, noises]))
    # DeLong et al. 1988: the share of the other kind that each image lies above or below.
    above = (ranks[:n] - rankdata(signals)) / m
    below = 1 - (ranks[n:] - rankdata(noises)) / n
    area = float(above.mean())
    if min(n, m) < 2:
        return without_interval(area)
    error = math.sqrt(above.var(ddof=1) / n + below.var(ddof=1) / m)
    if error < NO_ERROR:
        # No image differs from the others of its kind: the exact share of those that may.
        others = 1 - 0.05 ** (1 / min(n, m))
        low, high = area - others * area, area + others * (1 - area)
        return Estimate(area, low, high, 0.0, LEVEL)
    reach = Z * error / (area * (1 - area))
    ends = expit(logit(area) - reach), expit(logit(area) + reach)
    return Estimate(area, float(ends[0]), float(ends[1]), error, LEVEL)
