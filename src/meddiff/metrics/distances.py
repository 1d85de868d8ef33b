"""Distances of image sets between floor and ceiling, as rows of Table 5.2, and as matrices."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from meddiff.core.randomness import stream
from meddiff.metrics.features import checked
from meddiff.metrics.frechet import fid_infinity, frechet_distance, weighted_fid
from meddiff.metrics.intervals import (
    LEAST,
    Estimate,
    covariance,
    estimate,
    luck,
    ratio_ends,
    rows_by_contents,
    thinned_variance,
    within_bounds,
    without_interval,
)
from meddiff.metrics.kernel import cmmd, kid, weighted_cmmd, weighted_kid
from meddiff.metrics.neighbours import Fidelity, weighted_fidelity
from meddiff.metrics.parts import PARTS, THINNED, Parts, draw_parts
from meddiff.metrics.rows import counts, interval, matrix_rows

Array = npt.NDArray[np.float64]
Sets = Mapping[str, Mapping[str, np.ndarray]]
"""Features (n, d) by image set ("synthetic", "noise", "real") and class."""
Progress = Callable[[], None]

OVER_CLASSES = "mean"
"""Stands for the class where a number is the mean over classes."""
NEIGHBOURS = 5
MOST_NEIGHBOURS = 4000
"""Images of a set among which neighbours are looked for: all distances are held at once."""
NO_SCALE = "no score: noise is not surely farther than unseen real images"
TOO_FEW = (
    f"no score: too few images for an interval, it needs {LEAST} of each set, and {2 * LEAST} real "
    "ones if half of them stand for unseen ones"
)


@dataclass(frozen=True)
class _Measure:
    """A distance, the same of many weightings of the images, the smallest that it can be, and the
    one extractor that it is of, if it is not of all."""

    value: Callable[[Array, Array], float]
    weighted: Callable[[Array, Array], Callable[[Array, Array], Array]]
    least: float
    extractor: str | None = None


_MEASURES: Mapping[str, _Measure] = {
    "fid": _Measure(frechet_distance, weighted_fid, 0),
    "kid": _Measure(kid, weighted_kid, -np.inf),
    "cmmd": _Measure(cmmd, weighted_cmmd, -np.inf, extractor="clip"),
}
DISTANCES = tuple(name for name, measure in _MEASURES.items() if measure.extractor is None)
"""Those of every extractor, which have matrices, too."""


@dataclass(frozen=True)
class _Measured:
    """A distance of each part (k,), and those of half-samples (r, k), which few images have not."""

    values: Array
    halves: Array | None
    least: float

    @property
    def value(self) -> float:
        return float(self.values.mean())

    def estimate(self) -> Estimate:
        if self.halves is None:
            return without_interval(self.value)
        drawn = float(luck(self.values[None, None])[0, 0])
        return estimate(self.value, self.halves, least=self.least, drawn=drawn)


def distance(
    metric: str, one: np.ndarray, other: np.ndarray, n_resamples: int, seed: int
) -> Estimate:
    """Return FID, KID or CMMD of two sets of features; of too few images without an interval."""
    return _distance(metric, one, other, len(one), len(other), n_resamples, seed).estimate()


def distance_rows(
    extractor: str,
    reference: Mapping[str, np.ndarray],
    scored: Sets,
    *,
    n_resamples: int,
    seed: int,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return how far image sets are from each class's reference, and how they cover it.

    Distances depend on the numbers of images. Synthetic images are told by the distance of all of
    them to all of the reference. What they are set against, the distances of real images and of
    noise and their own `matched` one, are of one number of images to one other; so are precision,
    recall, density and coverage. Those are means over random parts of the sets, and the `score` is
    taken of them: where between real images (1) and noise (0) the synthetic ones lie. Where the two
    ends cannot be told apart there is none, and the row has a `note`. The order of images changes
    nothing beyond rounding.

    Args:
        extractor: name of the extractor.
        reference: features (n, d) of real images by class.
        scored: features (m, d) by image set and class: "synthetic", "noise", and "real" images that
            no net has learnt from. Without "real" ones random parts of the reference, half of it at
            most, stand for them, and all sets are matched with the rest.
        n_resamples: random half-samples behind an interval.
        seed: seed of the run.
        progress: called after each distance.

    Returns:
        One row a class, image set and metric: FID, KID, with `clip` CMMD; FID-infinity where there
        are images enough; CAFD, whose class is `mean`.
    """
    rows: list[dict[str, Any]] = []
    metrics = [name for name, m in _MEASURES.items() if m.extractor in (None, extractor)]
    fids: dict[str, list[tuple[_Measured, int, int]]] = {}
    for name, whole in reference.items():
        known = rows_by_contents(checked("distances", f"reference of {name}", whole))
        sets = {
            key: rows_by_contents(checked("distances", f"{key} images of {name}", sets[name]))
            for key, sets in scored.items()
            if len(sets[name]) > 1
        }
        everything, full = sets["synthetic"], (len(sets["synthetic"]), len(known))
        parts = _matched(sets, known, n_resamples, seed)
        if "real" in parts.sizes:
            sets.setdefault("real", known)
        at = {key: (parts.sizes[key], parts.sizes["reference"]) for key in sets}
        for metric in metrics:
            found = {}
            for key, features in sets.items():
                found[key] = _of_parts(metric, features, known, parts, key)
                if progress is not None:
                    progress()
            told = {key: (measured, *at[key]) for key, measured in found.items()}
            if at["synthetic"] != full:
                of_all = _distance(metric, everything, known, *full, n_resamples, seed)
                told["synthetic"] = (of_all, *full)
            for key, (measured, count, against) in told.items():
                ends = _between(found) if key == "synthetic" else {}
                rows.append(_row(name, key, metric, measured.estimate(), count, against) | ends)
                if metric == "fid":
                    fids.setdefault(key, []).append((measured, count, against))
        rows += _coverage(name, sets, known, parts, n_resamples, seed)
        if min(full) // 4 > known.shape[1]:
            found_at = without_interval(fid_infinity(everything, known, seed=seed))
            rows.append(_row(name, "synthetic", "fid_infinity", found_at, *full))
    if len(reference) > 1:
        rows += [_class_aware(key, by_class) for key, by_class in fids.items()]
    dimension = next(iter(reference.values())).shape[1]
    return pd.DataFrame(rows).assign(extractor=extractor, dimension=dimension)


def distance_matrix(
    sets: Mapping[tuple[str, str], np.ndarray],
    metric: str,
    *,
    most: int,
    n_resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Return FID or KID of every two of several image sets, at the same number of images.

    Args:
        sets: features (n, d) by image set and class.
        metric: "fid" or "kid".
        most: images taken of each set, unless the smallest has fewer; distances are means over
            random parts of as many.
        n_resamples: random half-samples behind an interval.
        seed: seed of the run.

    Returns:
        One row an ordered pair: image_set_a, class_a, image_set_b, class_b, value, ci_low, ci_high,
        n_a, n_b.
        The distance of a set to itself is 0.
    """
    size = min(most, *map(len, sets.values()))
    zero = Estimate(0.0, 0.0, 0.0, 0.0, 0.95)
    cells = {(key, key): zero for key in sets}
    for one, other in combinations(sets, 2):
        found = _distance(metric, sets[one], sets[other], size, size, n_resamples, seed).estimate()
        cells[one, other] = cells[other, one] = found
    return matrix_rows(cells, list(sets), dict.fromkeys(sets, size))


def _distance(
    metric: str,
    one: np.ndarray,
    other: np.ndarray,
    size: int,
    against: int,
    n_resamples: int,
    seed: int,
) -> _Measured:
    """Distance of two sets at a number of images of each."""
    a, b = (rows_by_contents(checked(metric, "features", features)) for features in (one, other))
    sizes = {"one": (len(a), size), "reference": (len(b), against)}
    return _of_parts(metric, a, b, draw_parts(sizes, n_resamples=n_resamples, seed=seed), "one")


def _matched(sets: Mapping[str, Array], known: Array, n_resamples: int, seed: int) -> Parts:
    """Draw parts of one size of all sets, and of the reference if it has to give the real one."""
    size, whole = min(map(len, sets.values())), len(known)
    if "real" in sets or whole < LEAST:
        sizes = {**{key: (len(x), size) for key, x in sets.items()}, "reference": (whole, whole)}
        return draw_parts(sizes, n_resamples=n_resamples, seed=seed)
    size = min(size, whole // 2)
    sizes = {**{key: (len(x), size) for key, x in sets.items()}, "real": (whole, size)}
    return draw_parts(sizes, rest="reference", n_resamples=n_resamples, seed=seed)


def _of_parts(metric: str, a: Array, b: Array, parts: Parts, key: str) -> _Measured:
    known = _MEASURES[metric]
    pairs = list(zip(parts.whole[key], parts.whole["reference"], strict=True))
    # Parts of all images are the same.
    if (parts.sizes[key], parts.sizes["reference"]) == (len(a), len(b)):
        pairs = pairs[:1]
    values = np.array([known.value(a[w > 0], b[v > 0]) for w, v in pairs])
    halves = None
    if parts.halves:
        weighted = known.weighted(a, b)(parts.halves[key], parts.halves["reference"])
        halves = weighted.reshape(-1, parts.again)
    return _Measured(np.resize(values, len(parts.whole[key])), halves, known.least)


def _between(found: Mapping[str, _Measured]) -> dict[str, Any]:
    """Columns of the matched distance and of the score, if there are a floor and a ceiling."""
    if not {"real", "noise"} <= found.keys():
        return {}
    three = [found[key] for key in ("noise", "synthetic", "real")]
    matched = three[1].estimate()
    columns: dict[str, Any] = {"matched": matched.value, "matched_ci_low": matched.low}
    columns["matched_ci_high"] = matched.high
    halves = [measured.halves for measured in three if measured.halves is not None]
    if len(halves) < len(three):
        return columns | {"note": TOO_FEW}
    # Of the ceiling less the matched distance, and less the floor.
    gaps = np.array([[1, -1, 0], [1, 0, -1]])
    values = gaps @ np.stack([measured.values for measured in three])
    above, below = map(float, values.mean(axis=1))
    again = np.einsum("gt,trk->grk", gaps, np.stack(halves))
    ends = ratio_ends(above, below, covariance(again) + luck(values[:, None]))
    if ends is None:
        return columns | {"note": NO_SCALE}
    return columns | {"score": above / below, "score_ci_low": ends[0], "score_ci_high": ends[1]}


def _coverage(
    name: str, sets: Mapping[str, Array], known: Array, parts: Parts, n_resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Rows of precision, recall, density and coverage; of too few images none."""
    if min(parts.sizes.values()) <= NEIGHBOURS:
        return []
    if max(map(len, (known, *sets.values()))) > MOST_NEIGHBOURS:
        few = _some(known, seed)
        own = {key: _some(x, seed) for key, x in sets.items() if x is not known and key != "noise"}
        parts, sets, known = _matched(own, few, n_resamples, seed), {"real": few, **own}, few
    rows = []
    for key in ("synthetic", "real"):
        if key not in parts.sizes:
            continue
        sizes = parts.sizes[key], parts.sizes["reference"]
        scores = weighted_fidelity(known, sets[key])
        whole = scores(parts.whole["reference"], parts.whole[key], NEIGHBOURS)
        thinned = None
        if parts.thinned and min(sizes) * THINNED > NEIGHBOURS + 1:
            found = scores(parts.thinned["reference"], parts.thinned[key], NEIGHBOURS)
            thinned = found.reshape(len(found), -1, parts.again)
        for place, field in enumerate(fields(Fidelity)):
            value = without_interval(float(whole[place].mean()))
            if thinned is not None:
                # None that fail of some images are no proof of none: one image may.
                variance = thinned_variance(thinned[place], THINNED) + (sizes[0] + 2) ** -2.0
                error = float(variance + luck(whole[place, None, None])[0, 0]) ** 0.5
                most = np.inf if field.name == "density" else 1.0
                value = within_bounds(value.value, error, least=0, most=most)
            rows.append(_row(name, key, field.name, value, *sizes))
    return rows


def _some(features: Array, seed: int) -> Array:
    """Return as many random rows as neighbours are looked for among."""
    chosen = stream(seed, "among neighbours").permutation(len(features))[:MOST_NEIGHBOURS]
    return features[np.sort(chosen)]


def _class_aware(images: str, fids: list[tuple[_Measured, int, int]]) -> dict[str, Any]:
    """Row of CAFD, the mean of the classes' FIDs."""
    measured, sizes, against = zip(*fids, strict=True)
    halves = [m.halves for m in measured if m.halves is not None]
    together = _Measured(
        np.mean([np.resize(m.values, PARTS) for m in measured], axis=0),
        np.mean(halves, axis=0) if len(halves) == len(measured) else None,
        0,
    )
    return _row(OVER_CLASSES, images, "cafd", together.estimate(), sum(sizes), sum(against))


def _row(
    name: str, images: str, metric: str, found: Estimate, scored: int, reference: int
) -> dict[str, Any]:
    return {
        "class": name,
        "image_set": images,
        "metric": metric,
        **interval(found),
        **counts(images, scored, reference),
    }
