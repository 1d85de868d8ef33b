"""The table of section 5.1: synthetic hand radiographs beside the published values."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from meddiff.metrics.frechet import fid
from meddiff.metrics.structural import ms_ssim_pairs, ssim_pairs

PUBLISHED = {
    ("synthetic", "fid"): (5.9603, np.nan),
    ("synthetic", "ssim"): (0.1654, 0.1078),
    ("synthetic", "ms_ssim"): (0.1784, 0.2409),
    ("synthetic, black background", "ssim"): (0.2049, 0.0836),
    ("synthetic, black background", "ms_ssim"): (0.2345, 0.2510),
}
"""Value and standard deviation in the study, by image set and metric; its FID is RadImageNet's."""
COLUMNS = ["class", "images", "metric", "extractor", "value", "std", "published", "published_std",
           "n_real", "n_synthetic", "dimension", "reference", "note"]  # fmt: skip
MEASURES = {"ssim": ssim_pairs, "ms_ssim": ms_ssim_pairs}


def section_5_1(
    reference: np.ndarray,
    features: Mapping[str, np.ndarray],
    images: np.ndarray,
    windows: Mapping[str, Any],
    extractor: str,
    weights: str,
) -> pd.DataFrame:
    """Return one row a metric and image set.

    Args:
        reference: features (n, d) of the validation set.
        features: features (m, d) by image set, "synthetic" and "real".
        images: the synthetic images, uint8 (m,H,W,1).
        windows: settings of SSIM and MS-SSIM.
        extractor: name of the net that the features are from.
        weights: what its weights are.
    """
    sets = {
        "synthetic": images,
        "synthetic, black background": images[has_black_background(images)],
    }
    rows = [
        {
            "images": name,
            "metric": "fid",
            "extractor": extractor,
            "value": fid(compared, reference),
            "n_real": len(reference) + len(compared) * (name == "real"),
            "n_synthetic": len(compared) * (name == "synthetic"),
            "dimension": reference.shape[1],
            "reference": "validation",
            "note": weights,
        }
        for name, compared in features.items()
    ]
    for name, chosen in sets.items():
        rows += _similarity(name, chosen, windows)
    table = pd.DataFrame(rows)
    told = [
        PUBLISHED.get((row["images"], row["metric"]), (np.nan, np.nan))
        for _, row in table.iterrows()
    ]
    table["published"], table["published_std"] = zip(*told, strict=True)
    table.insert(0, "class", "hand")
    return table.reindex(columns=COLUMNS).astype({"dimension": "Int64"})


def has_black_background(images: np.ndarray) -> np.ndarray:
    """Return which of uint8 (N,H,W,C) are dark in their upper right corner, as the study asked."""
    return images[:, 0, -1].max(1) <= 127


def _similarity(name: str, images: np.ndarray, windows: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return mean and standard deviation over all pairs; fewer than two images have none."""
    rows = []
    for metric, measure in MEASURES.items():
        pairs = measure(images, **windows[metric]) if len(images) > 1 else np.array([np.nan])
        row = {"images": name, "metric": metric, "extractor": "", "reference": "", "note": ""}
        counts = {"n_real": 0, "n_synthetic": len(images)}
        rows.append(row | counts | {"value": pairs.mean(), "std": pairs.std()})
    return rows
