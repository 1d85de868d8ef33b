"""Whether a net's losses betray which images it was trained on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from meddiff.core.errors import MeddiffError
from meddiff.core.randomness import stream
from meddiff.metrics.features import Array
from meddiff.metrics.intervals import (
    LEAST,
    LEVEL,
    Estimate,
    within_bounds,
    without_interval,
)

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
        n_resamples: resamples behind the interval of the true positives.
        seed: fixes them.

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
    ones = np.ones((1, len(one))), np.ones((1, len(other)))
    auc, share = map(float, _curve(one, other, *ones)[:, 0])
    p_value = float(mannwhitneyu(one, other, alternative="less").pvalue)
    if min(len(one), len(other)) < LEAST:
        return Membership(without_interval(auc), without_interval(share), p_value)
    return Membership(
        within_bounds(auc, _area_error(one, other), least=0, most=1),
        _share_interval(share, one, other, n_resamples, seed),
        p_value,
    )


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


def _share_interval(
    share: float, one: Array, other: Array, n_resamples: int, seed: int
) -> Estimate:
    """Return the share below a threshold with its interval.

    That of the bootstrap, on Anscombe's (1948) scale: halves of the images allow other numbers of
    false positives than all of them do.
    """
    chance = stream(seed, "membership")
    weights = [
        chance.multinomial(n, np.full(n, 1 / n), n_resamples).astype(np.float64)
        for n in (len(one), len(other))
    ]
    n = len(one)

    def scaled(shares: npt.ArrayLike) -> Array:
        return np.arcsin(np.sqrt((np.asarray(shares) * n + 3 / 8) / (n + 3 / 4)))

    error = float(scaled(_curve(one, other, *weights)[1]).var() + 1 / (4 * n + 2)) ** 0.5
    reach = float(ndtri((1 + LEVEL) / 2))
    ends = scaled(share) + np.array([-1, 1]) * reach * error
    shares = (np.sin(ends.clip(0, np.pi / 2)) ** 2 * (n + 3 / 4) - 3 / 8) / n
    low, high = map(float, shares.clip(0, 1))
    return Estimate(share, low, high, (high - low) / (2 * reach), LEVEL)


def _curve(one: Array, other: Array, weights: Array, others_weights: Array) -> Array:
    """Return area and true positives of the ROC curve, (2, r), of weights (r, n) and (r, m)."""
    order = np.argsort(np.concatenate([one, other]), kind="stable")
    losses = np.concatenate([one, other])[order]
    ends = np.append(np.diff(losses) != 0, True)
    member = order < len(one)
    curves = []
    for w, belongs in ((weights, member), (others_weights, ~member)):
        placed = np.zeros((len(w), len(order)))
        placed[:, belongs] = w[:, order[belongs] - (0 if belongs is member else len(one))]
        passed = placed.cumsum(axis=1)[:, ends]
        curves.append(np.insert(passed / passed[:, -1:], 0, 0, axis=1))
    true, false = curves
    allowed = np.where(false <= FALSE_POSITIVES, true, 0)
    return np.stack([np.trapezoid(true, false, axis=1), allowed.max(axis=1)])
