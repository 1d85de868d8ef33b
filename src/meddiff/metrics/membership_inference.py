"""Whether a net's losses betray which images it was trained on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from meddiff.core.errors import MeddiffError
from meddiff.core.randomness import stream
from meddiff.metrics.features import Array
from meddiff.metrics.intervals import LEAST, LEVEL, Estimate, within_bounds, without_interval

FALSE_POSITIVES = 0.01
"""Share of images taken for members that are none, at which the true ones are counted."""


@dataclass(frozen=True)
class Membership:
    """How well members are distinguished from other images of their kind by their losses.

    Attributes:
        auc: chance that a member has a smaller loss than another image; 0.5 if nothing is betrayed.
        true_positives: share of members below a threshold that 1 % of the others pass, or none of
            fewer than a hundred; about 0.01 if nothing is betrayed.
        p_value: of an `auc` this large or larger, if members were as other images.
    """

    auc: Estimate
    true_positives: Estimate
    p_value: float


def membership(
    members: npt.ArrayLike, others: npt.ArrayLike, *, n_resamples: int = 1000, seed: int = 0
) -> Membership:
    """Return how well a threshold on the loss distinguishes members from other images.

    The attack of Yeom et al., "Privacy risk in machine learning" (CSF 2018); Carlini et al.,
    "Membership inference attacks from first principles" (S&P 2022) say why true positives are
    counted where false ones are few.

    Args:
        members: losses of images that the net was trained on, (n,), one per image.
        others: those of images of the same kind that it was not trained on, (m,).

    Raises:
        MeddiffError: there are none, or a loss is not finite.
    """
    from scipy.stats import mannwhitneyu

    one, other = (np.sort(np.asarray(losses, dtype=np.float64)) for losses in (members, others))
    for losses in (one, other):
        if losses.ndim != 1 or not len(losses) or not np.isfinite(losses).all():
            raise MeddiffError(
                f"membership: losses of shape {losses.shape}: give a finite one per image"
            )
    test = mannwhitneyu(one, other, alternative="less")
    auc = 1 - float(test.statistic) / (len(one) * len(other))
    share = float((one < other[_allowed(other)]).mean())
    p_value = float(test.pvalue)
    if min(len(one), len(other)) < LEAST:
        return Membership(without_interval(auc), without_interval(share), p_value)
    return Membership(
        within_bounds(auc, _area_error(one, other), least=0, most=1),
        _share_interval(share, one, other, n_resamples, seed),
        p_value,
    )


def _allowed(other: Array) -> int:
    """Return how many of the other images may pass as members."""
    return int(FALSE_POSITIVES * len(other) + 1e-9)


def _area_error(one: Array, other: Array) -> float:
    """Return the standard error of the area (DeLong, DeLong and Clarke-Pearson, Biometrics 1988).

    One image of a few may be on the wrong side, where none of these is.
    """
    apart = [
        (np.searchsorted(b, a, side="left") + np.searchsorted(b, a, side="right")) / (2 * len(b))
        for a, b in ((one, other), (other, one))
    ]
    variance = sum(float(each.var(ddof=1)) / len(each) for each in apart)
    return (variance + (min(len(one), len(other)) + 2) ** -2.0) ** 0.5


def _share_interval(share: float, one: Array, other: Array, draws: int, seed: int) -> Estimate:
    """Return the share below a threshold with its interval.

    The threshold is one of the few smallest losses of others, so that resamples of the images
    hardly move it. Its rank among all others is beta-distributed, and which
    members lie below it follows from a binormal ROC curve (Hanley, "The robustness of the binormal
    assumptions used in fitting ROC curves", Medical Decision Making 1988), whose parameters are as
    uncertain as the images make them. The deviation of shares so drawn, on Anscombe's (1948) scale
    and not below a binomial one, gives the interval.
    """
    n, m, chance = len(one), len(other), stream(seed, "membership")
    (mean, deviation), (others_mean, others_deviation) = _binormal(one, other, draws, chance)
    allowed = _allowed(other)
    passing = ndtri(chance.beta(allowed + 1, m - allowed, draws))
    below = ndtr((others_mean + others_deviation * passing - mean) / deviation)

    def scaled(shares: npt.ArrayLike) -> Array:
        return np.arcsin(np.sqrt((np.asarray(shares) * n + 3 / 8) / (n + 3 / 4)))

    error = max(float(scaled(chance.binomial(n, below) / n).std()), (4 * n + 2) ** -0.5)
    reach = float(ndtri((1 + LEVEL) / 2))
    ends = scaled(share) + np.array([-1, 1]) * reach * error
    shares = (np.sin(ends.clip(0, np.pi / 2)) ** 2 * (n + 3 / 4) - 3 / 8) / n
    low, high = map(float, shares.clip(0, 1))
    return Estimate(share, low, high, (high - low) / (2 * reach), LEVEL)


def _binormal(
    one: Array, other: Array, draws: int, chance: np.random.Generator
) -> list[tuple[Array, Array]]:
    """Draw mean and deviation of the normal scores of members and of others, each (draws,)."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([one, other]))
    scores = ndtri((ranks - 3 / 8) / (len(ranks) + 1 / 4))
    drawn = []
    for part in (scores[: len(one)], scores[len(one) :]):
        # Ties would leave a deviation of 0.
        n, deviation = len(part), max(float(part.std(ddof=1)), 0.05)
        means = part.mean() + deviation * chance.normal(size=draws) / n**0.5
        drawn.append((means, deviation * np.sqrt(chance.chisquare(n - 1, draws) / (n - 1))))
    return drawn
