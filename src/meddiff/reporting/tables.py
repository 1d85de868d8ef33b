"""The study's tables, one tidy row an observation, each stamped with what it was made at."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from meddiff.core.tables import OVER_CLASSES
from meddiff.metrics.classification import (
    classification_intervals,
    confusion,
    mean_intervals,
    with_ends,
)

MASK_SCORES = ("dice", "iou", "mse")
COUNTS = ("n_real", "n_synthetic", "n_test")


def table_5_1(
    classifiers: Mapping[str, pd.DataFrame],
    segmentation: pd.DataFrame | None,
    classes: Sequence[str],
    notes: Mapping[str, str],
    *,
    n_resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Return how well each extractor does on its test set, with 95 % intervals.

    Args:
        classifiers: predictions by extractor, with `n_real`, the number of training images.
        segmentation: the U-Net's scores, one row a test image, with `n_real`; None where there are
            no masks.
        classes: class names, the positive one last.
        notes: why an extractor has no scores, by name.
        n_resamples: random half-samples behind an interval.
        seed: seed of the run.
    """
    drawn = {"n_resamples": n_resamples, "seed": seed}
    rows: list[dict[str, Any]] = []
    for name, predictions in classifiers.items():
        matrix = confusion(predictions, classes)
        rows.append(
            {
                "extractor": name,
                "class": positive_class(classes),
                **with_ends(classification_intervals(predictions, classes, **drawn)),
                "confusion": " / ".join(" ".join(map(str, line)) for line in matrix),
                **_origin(predictions),
            }
        )
    unet: dict[str, Any] = {"extractor": "unet", "class": "lesion", "note": notes.get("unet", "")}
    if segmentation is not None:
        unet |= with_ends(mean_intervals(segmentation, MASK_SCORES, **drawn))
        unet |= _origin(segmentation)
    rows.append(unet)
    table = pd.DataFrame(rows)
    scores, masks = (
        [f"{name}{end}" for name in names for end in ("", "_ci_low", "_ci_high")]
        for names in (("accuracy", "precision", "recall", "f1"), MASK_SCORES)
    )
    columns = ["extractor", "class", *scores, "confusion", *masks, "n_real", "n_synthetic",
               "n_test", "source_file", "note"]  # fmt: skip
    return table.reindex(columns=columns).astype(dict.fromkeys(COUNTS, "Int64"))


def positive_class(classes: Sequence[str]) -> str:
    """Return the class that precision, recall and F1 speak of; with more than two, their mean."""
    return classes[-1] if len(classes) == 2 else "mean"


def _origin(predictions: pd.DataFrame) -> dict[str, Any]:
    """Return images and weights behind the training, test images, and the predictions' file."""
    row = predictions.iloc[0]
    counts = {name: int(row.get(name, 0)) for name in ("n_real", "n_synthetic")}
    counts["n_test"] = len(predictions)
    note = f"weights: {row['weights']}" if "weights" in row else ""
    return {**counts, "source_file": row.get("source_file", ""), "note": note}


def table_5_2(
    parts: Iterable[pd.DataFrame], reference: str, notes: Mapping[str, str]
) -> pd.DataFrame:
    """Return SSIM, MS-SSIM, FID and KID of each class.

    Args:
        parts: rows of `meddiff.metrics`, with `weights` of the extractor.
        reference: image sets that distances compare with.
        notes: why an extractor has no rows, by name; it gets one with its note and no value.
    """
    table = pd.concat(parts, ignore_index=True)
    table = table.reindex(columns=table.columns.union(["subset"], sort=False))
    table = table.fillna({"extractor": "", "subset": ""})
    order = {"synthetic": 0, "real": 1, "noise": 2}
    table = table.sort_values(
        ["class", "image_set", "metric", "extractor", "subset"],
        key=lambda column: column.map(order) if column.name == "image_set" else column,
        ignore_index=True,
    )
    table["reference"] = np.where(table["extractor"] != "", reference, "")
    remarks = table.reindex(columns=["note", "weights"]).astype(object).fillna("")
    remarks["weights"] = ("weights: " + remarks["weights"]).where(remarks["weights"] != "", "")
    table["note"] = ["; ".join(filter(None, row)) for row in remarks.itertuples(index=False)]
    present = set(table["extractor"])
    missing = [
        {
            "class": name,
            "image_set": "synthetic",
            "metric": "fid",
            "extractor": extractor,
            "note": note,
        }
        for name in sorted(set(table["class"]) - {OVER_CLASSES})
        for extractor, note in notes.items()
        if extractor not in present
    ]
    columns = ["class", "image_set", "metric", "extractor", "subset", "value", "std", "ci_low",
               "ci_high", "matched", "matched_ci_low", "matched_ci_high", "score", "score_ci_low",
               "score_ci_high", "n_real", "n_synthetic", "dimension", "reference", "source_file",
               "note"]  # fmt: skip
    table = pd.concat([table, pd.DataFrame(missing)], ignore_index=True) if missing else table
    return table.reindex(columns=columns)
