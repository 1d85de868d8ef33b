"""Distances of image sets between floor and ceiling, as rows of Table 5.2, and as matrices."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from meddiff.metrics.frechet import fid, fid_halves, fid_infinity
from meddiff.metrics.intervals import LEAST, Estimate, estimate, without_interval
from meddiff.metrics.kernel import cmmd, cmmd_halves, kid, kid_halves
from meddiff.metrics.neighbours import fidelity
from meddiff.metrics.rows import counts, interval, matrix_rows
from meddiff.randomness import stream

Array = npt.NDArray[np.float64]
Sets = Mapping[str, Mapping[str, np.ndarray]]
"""Features (n, d) by image set ("synthetic", "noise", "real") and class."""
Progress = Callable[[], None]

DISTANCES = ("fid", "kid")
OVER_CLASSES = "mean"
"""Stands for the class where a number is the mean over classes."""
NEIGHBOURS = 5


@dataclass(frozen=True)
class _Measure:
    """A distance, the same of half-samples, and the smallest value that it can take."""

    value: Callable[..., float]
    halves: Callable[..., Array]
    least: float


_MEASURES: Mapping[str, _Measure] = {
    "fid": _Measure(fid, fid_halves, 0),
    "kid": _Measure(kid, kid_halves, -np.inf),
    "cmmd": _Measure(cmmd, cmmd_halves, -np.inf),
}


@dataclass(frozen=True)
class _Measured:
    """A distance and its half-samples', which too few images do not have."""

    value: float
    halves: Array | None
    least: float

    def estimate(self) -> Estimate:
        if self.halves is None:
            return without_interval(self.value)
        return estimate(self.value, self.halves, least=self.least)


def distance(
    metric: str, one: np.ndarray, other: np.ndarray, replicates: int, seed: int
) -> Estimate:
    """Return FID, KID or CMMD of two sets of features; of too few images without an interval."""
    return _measure(metric, one, other, replicates, seed).estimate()


def score(
    value: npt.ArrayLike, floor: npt.ArrayLike, ceiling: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Return where distances lie: 1 as near as real images (floor), 0 as far as noise (ceiling).

    It may pass either end. NaN where noise comes no farther than real images, as with very few
    images: nothing lies between the two.
    """
    value, floor, ceiling = (np.asarray(given, dtype=float) for given in (value, floor, ceiling))
    return (ceiling - value) / np.where(ceiling > floor, ceiling - floor, np.nan)


def distance_rows(
    extractor: str,
    reference: Mapping[str, np.ndarray],
    scored: Sets,
    *,
    floor: Mapping[str, np.ndarray] | None = None,
    replicates: int,
    seed: int,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return how far image sets are from each class's reference, and how they cover it.

    Distances depend on the numbers of images. Synthetic images are told by the distance of all of
    them to all of the reference. What they are set against, the distances of real images and of
    noise and their own `matched` one, are of one number of images to one other; so are precision,
    recall, density and coverage. The `score` is taken of those.

    Args:
        extractor: name of the extractor.
        reference: features (n, d) of real images by class.
        scored: features (m, d) by image set and class, in random order: "synthetic", "noise", and
            "real" images that no net has learnt from.
        floor: what all sets are matched with where "real" ones are a part of the reference, by
            class: the rest of it.
        replicates: random half-samples behind an interval.
        seed: seed of the run.
        progress: called after each distance.

    Returns:
        One row a class, image set and metric: FID, KID, with `clip` CMMD; FID-infinity where there
        are images enough; CAFD, whose class is `mean`.
    """
    rows: list[dict[str, Any]] = []
    metrics = (*DISTANCES, *(["cmmd"] if extractor == "clip" else []))
    fids: dict[str, list[tuple[_Measured, int, int]]] = {}
    for name, whole in reference.items():
        sets = {key: sets[name] for key, sets in scored.items() if len(sets[name]) > 1}
        known = whole if floor is None else floor[name]
        size = min(map(len, sets.values()))
        matched = {key: features[:size] for key, features in sets.items()}
        everything = sets["synthetic"]
        for metric in metrics:
            found = {}
            for key, features in matched.items():
                found[key] = _measure(metric, features, known, replicates, seed)
                if progress is not None:
                    progress()
            told = {key: (measured, size, len(known)) for key, measured in found.items()}
            if len(everything) > size or len(whole) > len(known):
                of_all = _measure(metric, everything, whole, replicates, seed)
                told["synthetic"] = (of_all, len(everything), len(whole))
            for key, (measured, count, against) in told.items():
                ends = _between(found) if key == "synthetic" else {}
                rows.append(_row(name, key, metric, measured.estimate(), count, against) | ends)
                if metric == "fid":
                    fids.setdefault(key, []).append((measured, count, against))
        rows += _coverage(name, matched, known)
        if min(len(everything), len(whole)) // 4 > whole.shape[1]:
            found_at = without_interval(fid_infinity(everything, whole, seed=seed))
            rows.append(
                _row(name, "synthetic", "fid_infinity", found_at, len(everything), len(whole))
            )
    if len(reference) > 1:
        rows += [_class_aware(key, by_class) for key, by_class in fids.items()]
    dimension = next(iter(reference.values())).shape[1]
    return pd.DataFrame(rows).assign(extractor=extractor, dimension=dimension)


def real_halves(
    reference: Mapping[str, np.ndarray], sizes: Mapping[str, int], *, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Set real images aside where none are held out: by class, some and what is left.

    At most half of a class is set aside, so that enough is left to compare with.

    Args:
        reference: features (n, d) by class.
        sizes: images to set aside, by class.
        seed: seed of the run.
    """
    aside, left = {}, {}
    for name, features in reference.items():
        order = stream(seed, "real floor", name).permutation(len(features))
        size = min(sizes[name], len(features) // 2)
        aside[name], left[name] = features[order[:size]], features[order[size:]]
    return aside, left


def distance_matrix(
    sets: Mapping[tuple[str, str], np.ndarray],
    metric: str,
    *,
    most: int,
    replicates: int,
    seed: int,
) -> pd.DataFrame:
    """Return FID or KID of every two of several image sets, at the same number of images.

    Args:
        sets: features (n, d) by image set and class.
        metric: "fid" or "kid".
        most: images taken of each set, unless the smallest has fewer.
        replicates: random half-samples behind an interval.
        seed: seed of the run.

    Returns:
        One row an ordered pair: images_a, class_a, images_b, class_b, value, low, high, n_a, n_b.
        The distance of a set to itself is 0.
    """
    size = min(most, *map(len, sets.values()))
    zero = Estimate(0.0, 0.0, 0.0, 0.0, 0.95)
    cells = {(key, key): zero for key in sets}
    for one, other in combinations(sets, 2):
        found = distance(metric, sets[one][:size], sets[other][:size], replicates, seed)
        cells[one, other] = cells[other, one] = found
    return matrix_rows(cells, list(sets), dict.fromkeys(sets, size))


def _measure(
    metric: str, one: np.ndarray, other: np.ndarray, replicates: int, seed: int
) -> _Measured:
    known = _MEASURES[metric]
    enough = min(len(one), len(other)) >= LEAST
    halves = known.halves(one, other, replicates=replicates, seed=seed) if enough else None
    return _Measured(known.value(one, other), halves, known.least)


def _between(found: Mapping[str, _Measured]) -> dict[str, float]:
    """Columns of the score, whose half-samples are those of its three distances together."""
    if not {"real", "noise"} <= found.keys():
        return {}
    three = [found[key] for key in ("synthetic", "real", "noise")]
    value = float(score(*(measured.value for measured in three)))
    ends = without_interval(value)
    halves = [measured.halves for measured in three if measured.halves is not None]
    if len(halves) == len(three):
        scores = score(*halves)
        if np.isfinite([value, *scores]).all():
            ends = estimate(value, scores, least=-np.inf)
    return {
        "matched": three[0].value,
        "score": value,
        "score_low": ends.low,
        "score_high": ends.high,
    }


def _coverage(
    name: str, matched: Mapping[str, np.ndarray], known: np.ndarray
) -> list[dict[str, Any]]:
    """Rows of precision, recall, density and coverage; of too few images none."""
    return [
        _row(name, key, metric, without_interval(value), len(matched[key]), len(known))
        for key in ("synthetic", "real")
        if key in matched and min(len(matched[key]), len(known)) > NEIGHBOURS
        for metric, value in asdict(fidelity(known, matched[key], neighbours=NEIGHBOURS)).items()
    ]


def _class_aware(images: str, fids: list[tuple[_Measured, int, int]]) -> dict[str, Any]:
    """Row of CAFD, the mean of the classes' FIDs."""
    measured, sizes, against = zip(*fids, strict=True)
    halves = [m.halves for m in measured if m.halves is not None]
    together = _Measured(
        float(np.mean([m.value for m in measured])),
        np.mean(halves, axis=0) if len(halves) == len(measured) else None,
        0,
    )
    return _row(OVER_CLASSES, images, "cafd", together.estimate(), sum(sizes), sum(against))


def _row(
    name: str, images: str, metric: str, found: Estimate, scored: int, reference: int
) -> dict[str, Any]:
    return {
        "class": name,
        "images": images,
        "metric": metric,
        **interval(found),
        **counts(images, scored, reference),
    }
