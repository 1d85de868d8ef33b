"""The table of section 5.1: synthetic hand radiographs beside the published values."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from meddiff.evaluation.rows import interval
from meddiff.metrics.distances import distance
from meddiff.metrics.similarity import PAIRS, mean_of_pairs, too_small

COLUMNS = ["class", "image_set", "metric", "extractor", "value", "std", "ci_low", "ci_high",
           "published", "published_std", "n_real", "n_synthetic", "dimension", "reference",
           "note"]  # fmt: skip


def section_5_1(
    reference: np.ndarray,
    features: Mapping[str, np.ndarray],
    images: np.ndarray,
    settings: Mapping[str, Any],
    published: Mapping[tuple[str, str], Mapping[str, float]],
    extractor: str,
    weights: str,
    *,
    seed: int,
) -> pd.DataFrame:
    """Return one row a metric and image set.

    Args:
        reference: features (n, d) of the validation set.
        features: features (m, d) by image set, "synthetic" and "real".
        images: the synthetic images, uint8 (m,H,W,1).
        settings: windows of SSIM and MS-SSIM, and the number of half-samples.
        published: value and std in the study, by image set and metric.
        extractor: name of the net that the features are from.
        weights: what its weights are.
        seed: seed of the run.
    """
    sets = {
        "synthetic": images,
        "synthetic, black background": images[has_black_background(images)],
    }
    n_resamples = settings["n_resamples"]
    rows = [
        {
            "image_set": name,
            "metric": "fid",
            "extractor": extractor,
            **interval(distance("fid", compared, reference, n_resamples, seed)),
            "n_real": len(reference) + len(compared) * (name == "real"),
            "n_synthetic": len(compared) * (name == "synthetic"),
            "dimension": reference.shape[1],
            "reference": "validation",
            "note": weights,
        }
        for name, compared in features.items()
    ]
    for name, chosen in sets.items():
        rows += _similarity(name, chosen, settings, seed)
    table = pd.DataFrame(rows)
    told = [published.get((row["image_set"], row["metric"]), {}) for _, row in table.iterrows()]
    table["published"] = [values.get("value", np.nan) for values in told]
    table["published_std"] = [values.get("std", np.nan) for values in told]
    table.insert(0, "class", "hand")
    return table.reindex(columns=COLUMNS).astype({"dimension": "Int64"})


def has_black_background(images: np.ndarray) -> np.ndarray:
    """Return which of uint8 (N,H,W,C) are dark in their upper right corner, as the study asked."""
    return images[:, 0, -1].max(1) <= 127


def _similarity(
    name: str, images: np.ndarray, settings: Mapping[str, Any], seed: int
) -> list[dict[str, Any]]:
    """Return mean and standard deviation over all pairs; fewer than two images have none."""
    rows = []
    for metric, measure in PAIRS.items():
        row: dict[str, Any] = {"image_set": name, "metric": metric}
        row |= dict.fromkeys(("extractor", "reference", "note"), "")
        row |= {"n_real": 0, "n_synthetic": len(images)}
        small = too_small(metric, min(images.shape[1:3]))
        if small:
            row["note"] = small
        elif len(images) > 1:
            pairs = measure(images, **settings[metric])
            found = mean_of_pairs(pairs, settings["n_resamples"], seed)
            row |= {**interval(found), "std": pairs.std()}
        rows.append(row)
    return rows
