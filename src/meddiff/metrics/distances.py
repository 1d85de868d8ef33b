"""Distances of image sets by name, over random parts of the sets, and where they lie on a scale."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from meddiff.metrics.features import Array, checked
from meddiff.metrics.frechet import frechet_distance, weighted_fid
from meddiff.metrics.groups import Groups
from meddiff.metrics.intervals import (
    LEAST,
    Estimate,
    covariance,
    estimate,
    parts_variance,
    ratio_ends,
    rows_by_contents,
    without_interval,
)
from meddiff.metrics.kernel import cmmd, kid, weighted_cmmd, weighted_kid
from meddiff.metrics.parts import Parts, draw_parts

NO_SCALE = "no score: noise is not surely farther than unseen real images"
TOO_FEW = (
    f"no score: too few images for an interval, it needs {LEAST} of each set, and {2 * LEAST} real "
    "ones if half of them stand for unseen ones"
)


@dataclass(frozen=True)
class DistanceMeasure:
    """A distance of two sets of features.

    Attributes:
        value: the distance of features (n, d) and (m, d).
        weighted: maps two sets to a function from weights of their images, (r, n) and (r, m), to
            the distances (r,).
        minimum: the smallest value that it can take.
        every_extractor: whether it is defined for features of any net.
    """

    value: Callable[[Array, Array], float]
    weighted: Callable[[Array, Array], Callable[[Array, Array], Array]]
    minimum: float
    every_extractor: bool = True


MEASURES: Mapping[str, DistanceMeasure] = {
    "fid": DistanceMeasure(frechet_distance, weighted_fid, 0),
    "kid": DistanceMeasure(kid, weighted_kid, -np.inf),
    "cmmd": DistanceMeasure(cmmd, weighted_cmmd, -np.inf, every_extractor=False),
}
DISTANCES = tuple(name for name, measure in MEASURES.items() if measure.every_extractor)
"""Those of every extractor, which have matrices, too."""


def distances_among(metrics: Collection[str]) -> list[str]:
    """Return the distances of an extractor: those of every one, and those among `metrics`."""
    return [name for name in MEASURES if name in DISTANCES or name in metrics]


@dataclass(frozen=True)
class Distance:
    """A distance of each of k parts, (k,), and of parts of half-samples, (r, k).

    Attributes:
        values: distances of the parts.
        halves: those of half-samples; None where there are too few images for an interval.
        minimum: the smallest value that the distance can take.
    """

    values: Array
    halves: Array | None
    minimum: float

    @property
    def value(self) -> float:
        """The mean over parts."""
        return float(self.values.mean())

    def estimate(self) -> Estimate:
        """Return the mean over parts with its interval."""
        if self.halves is None:
            return without_interval(self.value)
        drawn = float(parts_variance(self.values[None, None])[0, 0])
        return estimate(self.value, self.halves, least=self.minimum, drawn=drawn)


def distance_at(
    metric: str,
    features_a: np.ndarray,
    features_b: np.ndarray,
    sizes: tuple[int, int],
    n_resamples: int,
    seed: int,
    *,
    groups: Mapping[str, Groups] = MappingProxyType({}),
) -> Distance:
    """Return the distance of two sets at some numbers of images, over random parts of as many.

    `groups` are those of set "one" and of the "reference", whose rows are in the order of
    `rows_by_contents` then.
    """
    a, b = (rows_by_contents(checked(metric, "features", x)) for x in (features_a, features_b))
    counts = {"one": (len(a), sizes[0]), "reference": (len(b), sizes[1])}
    parts = draw_parts(counts, n_resamples=n_resamples, seed=seed, groups=groups)
    return distance_of_parts(metric, a, b, parts, "one")


def distance_of_parts(metric: str, a: Array, b: Array, parts: Parts, key: str) -> Distance:
    """Return the distance between parts of a set and parts of the reference."""
    measure = MEASURES[metric]
    pairs = list(zip(parts.whole[key], parts.whole["reference"], strict=True))
    # Parts of all images are the same.
    if (parts.sizes[key], parts.sizes["reference"]) == (len(a), len(b)):
        pairs = pairs[:1]
    values = np.array([measure.value(a[w > 0], b[v > 0]) for w, v in pairs])
    halves = None
    if parts.halves:
        weighted = measure.weighted(a, b)(parts.halves[key], parts.halves["reference"])
        halves = weighted.reshape(-1, parts.again)
    return Distance(np.resize(values, len(parts.whole[key])), halves, measure.minimum)


@dataclass(frozen=True)
class Score:
    """Where a distance lies between noise (0) and unseen real images (1), and its interval's ends.

    Where there is none, `value` is NaN and `reason` says why.
    """

    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    reason: str = ""


def score_between(ceiling: Distance, matched: Distance, floor: Distance) -> Score:
    """Return (ceiling - matched) / (ceiling - floor), with Fieller's interval.

    They are distances of noise, and of as many synthetic and unseen real images.
    """
    three = (ceiling, matched, floor)
    halves = [distance.halves for distance in three if distance.halves is not None]
    if len(halves) < len(three):
        return Score(reason=TOO_FEW)
    # Of the ceiling less the matched distance, and less the floor.
    gaps = np.array([[1, -1, 0], [1, 0, -1]])
    values = gaps @ np.stack([distance.values for distance in three])
    above, below = map(float, values.mean(axis=1))
    again = np.einsum("gt,trk->grk", gaps, np.stack(halves))
    ends = ratio_ends(above, below, covariance(again) + parts_variance(values[:, None]))
    return Score(reason=NO_SCALE) if ends is None else Score(above / below, *ends)
