"""The experiment's tables, one row per training set, score and class."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from meddiff.cas.scoring import ACCURACY, TEST, Scored, probabilities_of, score_cells
from meddiff.core.tables import read_csv, read_part
from meddiff.metrics.classification import numbers_of, reliability

VALUES = ["metric", "class", "value", "std", "ci_low", "ci_high", "difference", "difference_ci_low",
          "difference_ci_high"]  # fmt: skip
WHOLE = ["n_repeats", "n_images", "n_real", "n_synthetic", "n_test", "steps"]
MADE_OF = [*WHOLE, "source_file", "note"]
DOSE = ["fraction", "ratio"]


def read_runs(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Read predictions of all repetitions, each with its path as column `source_file`."""
    parts = [read_part(path).fillna({"note": ""}) for path in paths]
    return pd.concat(parts, ignore_index=True)


def score_arms(
    predictions: pd.DataFrame,
    classes: Sequence[str],
    *,
    specificity: float,
    n_resamples: int,
    seed: int,
) -> dict[str, Scored]:
    """Return the scores of every arm, by classifier; arguments as of `score_cells`."""
    return {
        str(name): score_cells(
            rows, ["arm"], classes, specificity=specificity, n_resamples=n_resamples, seed=seed
        )
        for name, rows in predictions.groupby("classifier", sort=False)
    }


def arms_table(scored: dict[str, Scored]) -> pd.DataFrame:
    """Return the scores of every classifier and arm (Table 5.3), with differences to `real`."""
    parts = [
        cells_table(scores, ["arm"], lambda _: "real").assign(classifier=name)
        for name, scores in scored.items()
    ]
    columns = ["classifier", "arm", *VALUES, *MADE_OF]
    table = pd.concat(parts, ignore_index=True).reindex(columns=columns)
    return table.astype(dict.fromkeys(WHOLE, "Int64"))


def doses_table(
    scored: Scored, fractions: Sequence[float], ratios: Sequence[float]
) -> pd.DataFrame:
    """Return the scores of every dose, with differences to the same real images alone.

    A cell of the configuration without scores has a row of the accuracy that says why.
    """
    table = cells_table(scored, DOSE, lambda cell: (cell[0], 0.0))
    missing = [
        {
            "fraction": fraction,
            "ratio": ratio,
            "metric": ACCURACY[0],
            "class": ACCURACY[1],
            "note": "too few synthetic images: raise cas.dose.max_synthetic_per_class",
        }
        for fraction in fractions
        for ratio in ratios
        if (fraction, ratio) not in scored.values
    ]
    table = pd.concat([table, pd.DataFrame(missing)], ignore_index=True) if missing else table
    table = table.sort_values(DOSE, kind="stable", ignore_index=True)
    return table.reindex(columns=[*DOSE, *VALUES, *MADE_OF]).astype(dict.fromkeys(WHOLE, "Int64"))


def reliability_table(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return reliability curves of every classifier and arm, of all repetitions together."""
    parts = []
    predictions = predictions[predictions["set"] == TEST]
    for (classifier, arm), rows in predictions.groupby(["classifier", "arm"], sort=False):
        labels, probabilities = numbers_of(rows["label"], classes), probabilities_of(rows, classes)
        curve = reliability(labels, probabilities, classes)
        parts.append(curve.assign(classifier=str(classifier), arm=str(arm)))
    columns = ["classifier", "arm", *parts[0].columns[:-2]]
    return pd.concat(parts, ignore_index=True)[columns]


def cells_table(
    scored: Scored, names: Sequence[str], baseline: Callable[[Any], Hashable]
) -> pd.DataFrame:
    """Return the scores of every cell.

    Args:
        baseline: cell that another is compared with; one that was not scored gives no difference.
    """
    rows: list[dict[str, Any]] = []
    for cell, by_score in scored.values.items():
        parts = cell if isinstance(cell, tuple) else (cell,)
        columns = dict(zip(names, parts, strict=True)) | scored.runs[cell]
        other = baseline(cell)
        for score, values in by_score.items():
            row: dict[str, Any] = {"metric": score[0], "class": score[1]}
            row |= scored.estimate(cell, score).columns()
            row["std"] = float(values.std(ddof=1)) if len(values) > 1 else np.nan
            if other in scored.values and other != cell:
                row |= scored.difference(cell, other, score).columns("difference")
            rows.append(columns | row)
    return pd.DataFrame(rows).reindex(columns=[*names, *VALUES, *MADE_OF])


def count_shared(test: Sequence[str], training: Iterable[str | Path]) -> int:
    """Count test images whose group (image, lesion or patient) is in tables of training rows."""
    groups = pd.concat([read_csv(path, ["group"])["group"] for path in training])
    return int(np.isin(np.asarray(test), groups.to_numpy()).sum())
