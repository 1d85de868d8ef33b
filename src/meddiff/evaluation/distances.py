"""Distances of image sets between floor and ceiling, as rows of Table 5.2, and as matrices."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from meddiff.core.progress import OnProgress
from meddiff.core.tables import OVER_CLASSES
from meddiff.evaluation.matched import REFERENCE, MatchedSets
from meddiff.evaluation.neighbours import neighbour_rows
from meddiff.evaluation.rows import Set, distance_row, matrix_rows
from meddiff.metrics.distances import (
    Distance,
    distance_at,
    distance_of_parts,
    distances_among,
    score_between,
)
from meddiff.metrics.frechet import fid_infinity
from meddiff.metrics.intervals import Estimate, without_interval
from meddiff.metrics.parts import PARTS

FeaturesByClass = Mapping[str, np.ndarray]
"""Features (n, d) by class."""
GroupsByClass = Mapping[str, Sequence[object] | None]
"""Patient, lesion or volume of each image, (n,), by class; None where images stand alone."""


@dataclass(frozen=True)
class _Cell:
    """The distance of an image set, the images that it is of, and columns of its score."""

    image_set: str
    distance: Distance
    sizes: tuple[int, int]
    score: dict[str, Any]

    def row(self, name: str, metric: str) -> dict[str, Any]:
        return (
            distance_row(name, self.image_set, metric, self.distance.estimate(), *self.sizes)
            | self.score
        )


def distance_rows(
    extractor: str,
    reference: FeaturesByClass,
    scored: Mapping[str, FeaturesByClass],
    *,
    metrics: Collection[str] = (),
    groups: Mapping[str, GroupsByClass] = MappingProxyType({}),
    n_resamples: int,
    seed: int,
    progress: OnProgress | None = None,
) -> pd.DataFrame:
    """Return the distances of image sets to each class's reference, and how they cover it.

    Distances depend on the numbers of images. The value of synthetic images is the distance of all
    of them to all of the reference. What it is compared with, the distances of real images and of
    noise and their own `matched` one, are of one number of images to one other; so are precision,
    recall, density and coverage. Those are means over random parts of the sets, and so is the
    `score`: where between real images (1) and noise (0) the synthetic ones lie. Where the two ends
    cannot be distinguished there is none, and the row has a `note`. The order of images changes
    nothing beyond rounding.

    Args:
        reference: features (n, d) of real images by class.
        scored: features (m, d) by image set and class: "synthetic" if there are any, "noise", and
            "real" images that no net was trained on. Without "real" ones random parts of the
            reference, half of it at most, stand for them, and all sets are matched with the rest.
        metrics: those defined for this extractor alone, e.g. "cmmd".
        groups: of the images of the "reference" and of image sets: parts that stand for unseen
            images share none with the rest, and intervals are over groups.

    Returns:
        One row per class, image set and metric: FID, KID, those of `metrics`; precision, recall,
        density and coverage; FID-infinity where there are enough images; CAFD, whose class is
        `mean`.
    """
    rows: list[dict[str, Any]] = []
    fids: dict[str, list[_Cell]] = {}
    for name, features in reference.items():
        features_of = {REFERENCE: features} | {
            key: by_class[name] for key, by_class in scored.items() if len(by_class[name]) > 1
        }
        names = {key: groups.get(key, {}).get(name) for key in features_of}
        matched = MatchedSets.of(name, features_of, names, n_resamples, seed)
        for metric in distances_among(metrics):
            cells = list(_distances(metric, matched, n_resamples, seed, progress))
            rows += [cell.row(name, metric) for cell in cells]
            if metric == "fid":
                for cell in cells:
                    fids.setdefault(cell.image_set, []).append(cell)
        rows += neighbour_rows(name, matched, n_resamples, seed)
        if "synthetic" in matched.sets:
            rows += _fid_infinity_rows(name, matched, seed)
    if len(reference) > 1:
        rows += [_class_aware(cells) for cells in fids.values()]
    dimension = next(iter(reference.values())).shape[1]
    return pd.DataFrame(rows).assign(extractor=extractor, dimension=dimension)


def distance_matrix(
    sets: Mapping[Set, np.ndarray], metric: str, *, most: int, n_resamples: int, seed: int
) -> pd.DataFrame:
    """Return FID or KID of every two of several image sets, at the same number of images.

    Args:
        sets: features (n, d) by image set and class.
        most: images taken of each set, unless the smallest has fewer; distances are means over
            random parts of as many.

    Returns:
        One row per ordered pair: image_set_a, class_a, image_set_b, class_b, value, ci_low,
        ci_high, n_a, n_b. The distance of a set to itself is 0.
    """
    size = min(most, *map(len, sets.values()))
    zero = Estimate(0.0, 0.0, 0.0, 0.0, 0.95)
    cells = {(key, key): zero for key in sets}
    for one, other in combinations(sets, 2):
        distance = distance_at(metric, sets[one], sets[other], (size, size), n_resamples, seed)
        cells[one, other] = cells[other, one] = distance.estimate()
    return matrix_rows(cells, list(sets), dict.fromkeys(sets, size))


def _distances(
    metric: str, matched: MatchedSets, n_resamples: int, seed: int, progress: OnProgress | None
) -> Iterator[_Cell]:
    """Yield the distance of every set; that of the synthetic one is of all images, with a score."""
    sets = dict(matched.sets)
    if "real" in matched.parts.sizes:
        sets.setdefault("real", matched.reference)
    distances = {}
    for key, features in sets.items():
        distances[key] = distance_of_parts(metric, features, matched.reference, matched.parts, key)
        if progress is not None:
            progress(1)
    for key, distance in distances.items():
        sizes, score = matched.sizes(key), {}
        if key == "synthetic":
            score = _score_columns(distances)
            whole = len(sets[key]), len(matched.reference)
            if sizes != whole:
                sizes, groups = whole, matched.groups_of(key)
                distance = distance_at(
                    metric, sets[key], matched.reference, whole, n_resamples, seed, groups=groups
                )
        yield _Cell(key, distance, sizes, score)


def _score_columns(distances: Mapping[str, Distance]) -> dict[str, Any]:
    """Columns of the matched distance and of the score, if there are a floor and a ceiling."""
    if not {"real", "noise"} <= distances.keys():
        return {}
    columns = distances["synthetic"].estimate().columns("matched")
    score = score_between(distances["noise"], distances["synthetic"], distances["real"])
    if score.reason:
        return columns | {"note": score.reason}
    return columns | {"score": score.value, "score_ci_low": score.low, "score_ci_high": score.high}


def _fid_infinity_rows(name: str, matched: MatchedSets, seed: int) -> list[dict[str, Any]]:
    """Row of FID-infinity where a quarter of the images is more than the dimensions."""
    synthetic, reference = matched.sets["synthetic"], matched.reference
    sizes = len(synthetic), len(reference)
    if min(sizes) // 4 <= reference.shape[1]:
        return []
    value = without_interval(fid_infinity(synthetic, reference, seed=seed))
    return [distance_row(name, "synthetic", "fid_infinity", value, *sizes)]


def _class_aware(fids: list[_Cell]) -> dict[str, Any]:
    """Row of CAFD, the mean of the classes' FIDs of one image set."""
    distances = [cell.distance for cell in fids]
    halves = [distance.halves for distance in distances if distance.halves is not None]
    # Of a class whose images all count, every part is the same.
    again = max((each.shape[1] for each in halves), default=1)
    halves = [np.broadcast_to(each, (len(each), again)) for each in halves]
    mean = Distance(
        np.mean([np.resize(distance.values, PARTS) for distance in distances], axis=0),
        np.mean(halves, axis=0) if len(halves) == len(distances) else None,
        0,
    )
    scored, reference = (sum(sizes) for sizes in zip(*(cell.sizes for cell in fids), strict=True))
    return distance_row(OVER_CLASSES, fids[0].image_set, "cafd", mean.estimate(), scored, reference)
