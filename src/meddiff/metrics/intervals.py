"""How sure a number is: random half-samples of the images.

Every set is split at random into two halves, and the metric T is taken of the first halves and of
the second ones. Half the difference of a pair of values is the part of T that is odd in the split,
their mean the even part. Over many splits, with n images per set:

    Var(odd)  ~ V1 + 2 V2,    Var(even) ~ V2,

where V1 is the variance of T that is linear in the images (its influence function) and V2 that of
products of two images: the orders of Hoeffding's decomposition, e.g. Efron and Stein, "The
jackknife estimate of variance" (Annals of Statistics 1981). The standard error is the root of
V1 + V2. Between sets of one distribution, or in many dimensions, V2 rules: the jackknife counts it
twice, and the bootstrap thrice, besides taking repeated images for structure, so that their
intervals come out 1.4 to 2.3 times too wide. Half-samples repeat no image, and cost less.

A metric that is the mean over random parts of the sets is taken of one random part of each half:
the sampling variance of the parts is in the odd and the even part alike, and V1 + V2 = Var(odd) -
Var(even) is free of it. The sampling variance that they leave in the metric itself is added
(`drawn`).

Intervals are normal ones, for the expected value at the same numbers of images, which a biased
metric such as FID has above its value for endless images. Halves are drawn from images in an order
that their contents decide (`rows_by_contents`), so that their order, or their
names, change nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TypedDict

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.special import ndtri

from meddiff.core.errors import MeddiffError
from meddiff.core.randomness import stream
from meddiff.metrics.features import Array, checked_pair
from meddiff.metrics.groups import Groups, count_groups, group_halves

LEAST = 4
"""Images per set that an interval needs: two per half."""
LEVEL = 0.95
"""Coverage of an interval by default."""


class IntervalOptions(TypedDict, total=False):
    """Options of an interval, as `fid_interval` has them."""

    n_resamples: int
    level: float
    seed: int


@dataclass(frozen=True)
class Estimate:
    """A value with its interval.

    Attributes:
        value: the value of the images as they are.
        low: lower end of the interval.
        high: upper end.
        error: standard error.
        level: coverage of the interval, 0.95 by default.
    """

    value: float
    low: float
    high: float
    error: float
    level: float

    def columns(self, name: str = "") -> dict[str, float]:
        """Return columns `value`, `ci_low`, `ci_high`, or `<name>`, `<name>_ci_low` and so on."""
        start = f"{name}_" if name else ""
        return {
            name or "value": self.value,
            f"{start}ci_low": self.low,
            f"{start}ci_high": self.high,
        }


def half_samples(
    *counts: int, n_resamples: int, seed: int = 0, groups: Sequence[Groups] = ()
) -> tuple[Array, ...]:
    """Return weights of random halves of one or more sets of images.

    Args:
        counts: number of images, `LEAST` or more, of each set.
        n_resamples: halves per set; an odd number is raised by one.
        groups: of the images of each set, `LEAST` or more groups, which stay whole; none where
            images stand alone.

    Returns:
        One array (n_resamples, n) per set, 1 for images in the half and 0 for the others. Rows 2i
        and 2i + 1 complement each other.
    """
    if not isinstance(n_resamples, Integral) or n_resamples < 4:
        raise MeddiffError(
            f"interval: n_resamples = {n_resamples!r}: give a whole number, 4 or more"
        )
    members = [*groups, *[None] * (len(counts) - len(groups))]
    if min(least := list(map(count_groups, members, counts))) < LEAST:
        what = "images" if min(least) == min(counts) else "groups of images"
        raise MeddiffError(f"interval: {min(least)} {what}: an interval needs at least {LEAST}")
    return tuple(
        _halves(n, (n_resamples + 1) // 2, stream(seed, "half-samples", position), of_set)
        for position, (n, of_set) in enumerate(zip(counts, members, strict=True))
    )


def estimate(
    value: float,
    halves: Array,
    *,
    least: float,
    most: float = np.inf,
    level: float = LEVEL,
    drawn: float = 0.0,
) -> Estimate:
    """Return a value with the interval that its half-samples give.

    Args:
        value: the metric of the images as they are.
        halves: the metric of every row of `half_samples`, float64 (r,), or of random parts of it,
            (r, k).
        least: the smallest value that the metric can take.
        most: the largest.
        drawn: variance that random parts leave in `value`.
    """
    if not 0 < level < 1:
        raise MeddiffError(f"interval: level {level} must lie between 0 and 1")
    error = float(covariance(halves[None])[0, 0] + drawn) ** 0.5
    return within_bounds(value, error, least=least, most=most, level=level)


def within_bounds(
    value: float,
    error: float,
    *,
    least: float = -np.inf,
    most: float = np.inf,
    level: float = LEVEL,
) -> Estimate:
    """Return a value with the normal interval of its standard error, cut at the metric's ends."""
    reach = float(ndtri((1 + level) / 2)) * error
    return Estimate(value, max(least, value - reach), min(most, value + reach), error, level)


def sets_interval(
    metric: str,
    value: Callable[[npt.ArrayLike, npt.ArrayLike], float],
    weighted: Callable[[Array, Array], Callable[[Array, Array], Array]],
    features_a: npt.ArrayLike,
    features_b: npt.ArrayLike,
    *,
    least: float = -np.inf,
    n_resamples: int = 1000,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """Return a distance of two sets of features with its interval, as `fid_interval` does.

    `weighted` maps both sets to a function from weights of their images to distances.
    """
    a, b = map(rows_by_contents, checked_pair(metric, features_a, features_b, at_least=LEAST))
    halves = weighted(a, b)(*half_samples(len(a), len(b), n_resamples=n_resamples, seed=seed))
    return estimate(value(features_a, features_b), halves, least=least, level=level)


def share_interval(count: int, n: int) -> Estimate:
    """Return the share of `count` in n with its exact interval (Clopper and Pearson 1934)."""
    from scipy.stats import binomtest

    share, interval = count / n, binomtest(count, n).proportion_ci(LEVEL)
    error = (share * (1 - share) / n) ** 0.5
    return Estimate(share, float(interval.low), float(interval.high), error, LEVEL)


def covariance(halves: Array) -> Array:
    """Return the covariance (q, q) of q metrics of the same images.

    Args:
        halves: the metrics of every row of `half_samples`, (q, r), or of several random parts of
            it, (q, r, k); then the covariance is that of the mean over all parts.
    """
    parts = halves.reshape(*halves.shape[:2], -1)
    means, chance = parts.mean(axis=2), parts_variance(parts) / 2
    first, second = means[:, ::2], means[:, 1::2]
    odd, even = (first - second) / 2, np.atleast_2d(np.cov((first + second) / 2))
    both = _above_zero(even - chance)
    return _above_zero(odd @ odd.T / odd.shape[1] - chance - 2 * both) + both


def parts_variance(parts: Array) -> Array:
    """Return the covariance (q, q) that k random parts leave in their mean, over r times (q, r, k).

    One part leaves none.
    """
    k = parts.shape[2]
    apart = parts - parts.mean(axis=2, keepdims=True)
    variance: Array = np.einsum("prk,qrk->pq", apart, apart) / (parts.shape[1] * k * max(k - 1, 1))
    return variance


def _above_zero(matrix: Array) -> Array:
    """Return the nearest symmetric matrix without negative eigenvalues."""
    values, vectors = eigh(matrix)
    nearest: Array = (vectors * values.clip(0)) @ vectors.T
    return nearest


def thinned_variance(thinned: Array, share: float) -> float:
    """Return the variance of a metric that halves would change too much, from thinner sets.

    Shao and Wu, "A general theory for jackknife variance estimation" (Annals of Statistics 1989):
    the jackknife that leaves many images out holds for metrics that are not smooth, too.

    Args:
        thinned: the metric of k random parts of random thinner sets, (r, k).
        share: of the images in those.
    """
    between = np.var(thinned.mean(axis=1), ddof=1) - parts_variance(thinned[None])[0, 0]
    return float(max(between, 0) * share / (1 - share))


def ratio_ends(
    above: float, below: float, spread: Array, *, level: float = LEVEL
) -> tuple[float, float] | None:
    """Return the interval of above / below, or None where `below` may be 0 or less.

    Fieller, "Some problems in interval estimation" (Journal of the Royal Statistical Society B,
    1954): all ratios q for which above - q below may be 0. It is bounded just where the interval of
    `below` lies above 0.
    """
    reach = float(ndtri((1 + level) / 2)) ** 2
    (a, b), (_, c) = reach * spread
    square = below**2 - c
    if below <= 0 or square <= 0:
        return None
    middle = above * below - b
    half = max(0.0, middle**2 - square * (above**2 - a)) ** 0.5
    return (middle - half) / square, (middle + half) / square


def rows_by_contents(features: Array) -> Array:
    """Return rows (n, d) in an order that they alone decide: that of a random projection.

    Equal rows, which alone have one place, can change places.
    """
    return features[order_by_contents(features)]


def order_by_contents(features: Array) -> npt.NDArray[np.intp]:
    """Return the places of rows (n, d) in the order of `rows_by_contents`."""
    direction = stream(0, "by contents").normal(size=features.shape[1])
    return np.argsort(features @ direction, kind="stable")


def without_interval(value: float) -> Estimate:
    """Return a value of too few images for an interval, whose ends are NaN."""
    return Estimate(value, np.nan, np.nan, np.nan, LEVEL)


def _halves(n: int, splits: int, chance: np.random.Generator, groups: Groups) -> Array:
    if groups is not None:
        return group_halves(groups, splits, chance)
    first = np.zeros((splits, n))
    first[:, : n // 2] = 1
    chance.permuted(first, axis=1, out=first)
    return np.stack([first, 1 - first], axis=1).reshape(2 * splits, n)
