"""What the weight of classifier-free guidance does to samples, and to what they teach."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from meddiff.cas.scoring import ACCURACY
from meddiff.cas.tables import read_runs, score_arms
from meddiff.core.arrays import load_by_class
from meddiff.evaluation.distances import distance_rows

MEASURED = ("fid", "kid", "precision", "recall", "density", "coverage")
COLUMNS = ["guidance", "extractor", "classifier", "class", "metric", "value", "ci_low", "ci_high",
           "n_a", "n_b", "n_repeats"]  # fmt: skip


def guidance_table(
    reference: Sequence[str],
    guided: Sequence[str],
    predictions: Sequence[str],
    extractors: Sequence[str],
    classes: Sequence[str],
    *,
    specificity: float,
    n_resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Return distances, precision and recall, and accuracy, by weight of guidance.

    Args:
        reference: features of real images, `features/<extractor>/<set>/<class>.npy`.
        guided: features of samples, `features/<extractor>/guided-<weight>/<class>.npy`.
        predictions: of classifiers trained on samples, `cas/guided-<weight>/<classifier>.csv`.
        specificity: as of `score_arms`.

    Returns:
        One row per weight, extractor or classifier, class and metric, with 95 % intervals.
    """
    options: dict[str, Any] = {"n_resamples": n_resamples, "seed": seed}
    parts = []
    for name in extractors:
        real = load_by_class(_of(name, reference), classes)
        for weight, paths in _by_weight(_of(name, guided)):
            samples = {"synthetic": load_by_class(paths, classes)}
            rows = distance_rows(name, real, samples, **options)
            rows = rows[rows["image_set"].eq("synthetic") & rows["metric"].isin(MEASURED)]
            parts.append(rows.assign(guidance=weight))
    for weight, paths in _by_weight(predictions):
        for name, scored in score_arms(
            read_runs(paths), classes, specificity=specificity, **options
        ).items():
            row = {"classifier": name, "metric": ACCURACY[0], "class": ACCURACY[1],
                   **scored.estimate("synthetic", ACCURACY).columns(),
                   "n_repeats": scored.runs["synthetic"]["n_repeats"]}  # fmt: skip
            parts.append(pd.DataFrame([row]).assign(guidance=weight))
    return pd.concat(parts, ignore_index=True).reindex(columns=COLUMNS)


def _of(extractor: str, paths: Sequence[str]) -> list[str]:
    return [path for path in paths if Path(path).parts[-3] == extractor]


def _by_weight(paths: Sequence[str]) -> Iterator[tuple[float, list[str]]]:
    """Yield each weight, rising, with its files."""
    weights = {path: float(Path(path).parent.name.removeprefix("guided-")) for path in paths}
    for weight in sorted(set(weights.values())):
        yield weight, [path for path in paths if weights[path] == weight]
