"""How well the feature extractors do on their test images (Table 5.1)."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from meddiff.metrics.classification import (
    classification_intervals,
    confusion,
    mean_intervals,
    positive_class,
    with_ends,
)

MASK_SCORES = ("dice", "iou", "mse")
COUNTS = ("n_real", "n_synthetic", "n_test")


def extractor_quality(
    classifiers: Mapping[str, pd.DataFrame],
    segmentation: pd.DataFrame | None,
    classes: Sequence[str],
    notes: Mapping[str, str],
    *,
    n_resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Return one row per extractor: its scores on its test set, with 95 % intervals.

    Args:
        classifiers: predictions by extractor, with `n_real`, the number of training images.
        segmentation: the U-Net's scores, one row per test image, with `n_real`; None where there
            are no masks.
        classes: class names, the positive one last.
        notes: why an extractor has no scores, by name.
    """
    resampling = {"n_resamples": n_resamples, "seed": seed}
    rows: list[dict[str, Any]] = []
    for name, predictions in classifiers.items():
        matrix = confusion(predictions, classes)
        rows.append(
            {
                "extractor": name,
                "class": positive_class(classes),
                **with_ends(classification_intervals(predictions, classes, **resampling)),
                "confusion": " / ".join(" ".join(map(str, line)) for line in matrix),
                **_origin(predictions),
            }
        )
    unet: dict[str, Any] = {"extractor": "unet", "class": "lesion", "note": notes.get("unet", "")}
    if segmentation is not None:
        unet |= with_ends(mean_intervals(segmentation, MASK_SCORES, **resampling))
        unet |= _origin(segmentation)
    table = pd.DataFrame([*rows, unet])
    scores, masks = (
        [f"{name}{end}" for name in names for end in ("", "_ci_low", "_ci_high")]
        for names in (("accuracy", "precision", "recall", "f1"), MASK_SCORES)
    )
    columns = ["extractor", "class", *scores, "confusion", *masks, *COUNTS, "source_file", "note"]
    return table.reindex(columns=columns).astype(dict.fromkeys(COUNTS, "Int64"))


def _origin(predictions: pd.DataFrame) -> dict[str, Any]:
    """Return images and weights behind the training, test images, and the predictions' file."""
    row = predictions.iloc[0]
    counts = {name: int(row.get(name, 0)) for name in ("n_real", "n_synthetic")}
    counts["n_test"] = len(predictions)
    note = f"weights: {row['weights']}" if "weights" in row else ""
    return {**counts, "source_file": row.get("source_file", ""), "note": note}
