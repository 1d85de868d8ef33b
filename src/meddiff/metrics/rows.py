"""Metrics of image sets as rows of Table 5.2."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from meddiff.metrics.frechet import fid


def fid_rows(
    extractor: str,
    reference: Mapping[str, np.ndarray],
    scored: Mapping[str, Mapping[str, np.ndarray]],
) -> pd.DataFrame:
    """Return the FID of every image set and class against the class's reference.

    Args:
        extractor: name of the extractor.
        reference: features (n, d) of real images by class.
        scored: features (m, d) by image set ("synthetic", "noise", "real") and class.
    """
    return pd.DataFrame(
        {
            "class": name,
            "images": images,
            "metric": "fid",
            "extractor": extractor,
            "value": fid(features, reference[name]),
            "std": np.nan,
            **_counts(images, len(features), len(reference[name])),
            "dimension": features.shape[1],
        }
        for images, by_class in scored.items()
        for name, features in by_class.items()
    )


def similarity_rows(
    name: str, images: str, pairs: Mapping[str, np.ndarray], count: int
) -> pd.DataFrame:
    """Return mean and standard deviation over all pairs of one image set.

    Args:
        name: class.
        images: image set, "synthetic" or "real".
        pairs: values of each pair by metric ("ssim", "ms_ssim").
        count: number of images in the set.
    """
    return pd.DataFrame(
        {
            "class": name,
            "images": images,
            "metric": metric,
            "extractor": "",
            "value": values.mean(),
            "std": values.std(),
            **_counts(images, count, 0),
            "dimension": pd.NA,
        }
        for metric, values in pairs.items()
    )


def _counts(images: str, scored: int, reference: int) -> dict[str, int]:
    """Real and synthetic images behind a value; noise counts as synthetic."""
    real = images == "real"
    return {"n_real": reference + scored * real, "n_synthetic": scored * (not real)}
