"""Precision, recall, density and coverage as rows of Table 5.2."""

from dataclasses import fields
from typing import Any

import numpy as np

from meddiff.evaluation.matched import REFERENCE, MatchedSets
from meddiff.evaluation.rows import distance_row
from meddiff.metrics.features import Array
from meddiff.metrics.intervals import (
    Estimate,
    parts_variance,
    thinned_variance,
    within_bounds,
    without_interval,
)
from meddiff.metrics.parts import THINNED, Parts
from meddiff.metrics.precision_recall import Prdc, weighted_prdc

NEIGHBOURS = 5
MAX_FOR_NEIGHBOURS = 4000
"""Images of a set among which neighbours are searched: all distances are in memory at once."""


def neighbour_rows(
    name: str, matched: MatchedSets, n_resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Rows of precision, recall, density and coverage; of too few images none."""
    if min(matched.parts.sizes.values()) <= NEIGHBOURS:
        return []
    if max(map(len, (matched.reference, *matched.sets.values()))) > MAX_FOR_NEIGHBOURS:
        matched = matched.without_noise(MAX_FOR_NEIGHBOURS, n_resamples, seed)
    reference, parts = matched.reference, matched.parts
    rows = []
    for key in ("synthetic", "real"):
        if key in parts.sizes:
            scores = _prdc_of_parts(matched.sets.get(key, reference), reference, parts, key)
            rows += [
                distance_row(name, key, metric, score, *matched.sizes(key))
                for metric, score in scores.items()
            ]
    return rows


def _prdc_of_parts(
    features: Array, reference: Array, parts: Parts, key: str
) -> dict[str, Estimate]:
    """Return precision, recall, density and coverage over parts of a set and of the reference."""
    sizes = parts.sizes[key], parts.sizes[REFERENCE]
    scores = weighted_prdc(reference, features)
    whole = scores(parts.whole[REFERENCE], parts.whole[key], NEIGHBOURS)
    thinned = None
    if parts.thinned and min(sizes) * THINNED > NEIGHBOURS + 1:
        values = scores(parts.thinned[REFERENCE], parts.thinned[key], NEIGHBOURS)
        thinned = values.reshape(len(values), -1, parts.again)
    estimates = {}
    for place, field in enumerate(fields(Prdc)):
        value = float(whole[place].mean())
        estimates[field.name] = without_interval(value)
        if thinned is not None:
            # None that fail of some images are no proof of none: one image may.
            variance = thinned_variance(thinned[place], THINNED) + (sizes[0] + 2) ** -2.0
            error = float(variance + parts_variance(whole[place, None, None])[0, 0]) ** 0.5
            most = np.inf if field.name == "density" else 1.0
            estimates[field.name] = within_bounds(value, error, least=0, most=most)
    return estimates
