"""Families of models and their samplers in one table: quality, likelihood and cost."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from meddiff.core.tables import OVER_CLASSES, read_csv
from meddiff.evaluation.evaluate import ScoredSets
from meddiff.evaluation.likelihood import GAP
from meddiff.evaluation.scores import ENDS

WITHIN = {"ssim within synthetic": "ssim", "ssim within real": "ssim_real"}
"""Columns of SSIM, as of all pairs of a set."""
MEASURES = ("fid", "kid", "precision", "recall", "coverage", *WITHIN.values())
"""Metrics of the table."""
SECONDS = "s"
"""Column of Snakemake's benchmarks."""


def family_rows(result: ScoredSets) -> pd.DataFrame:
    """Return one row per class, and `all`, of one evaluation.

    Returns:
        `class`; value, interval and score of each measure; of all classes how images lie beside
        unseen ones: `closer`, `p_value`, `verdict`.
    """
    rows = []
    for name, scores in result.scores.groupby("class", sort=False):
        if name == OVER_CLASSES:
            continue
        row: dict[str, object] = {"class": name}
        for metric, of_metric in scores.replace({"metric": WITHIN}).groupby("metric", sort=False):
            if metric not in MEASURES:
                continue
            first = of_metric.iloc[0]
            row |= {f"{metric!s}{end}": first[end[1:] or "value"] for end in ENDS}
            if metric in ("fid", "kid"):
                row[f"{metric!s}_score"] = first["score"]
        copies = result.memorisation
        if name == "all" and copies is not None:
            row |= {"closer": copies.closer, "p_value": copies.p_value, "verdict": copies.verdict}
        rows.append(row)
    return pd.DataFrame(rows)


def families_table(
    drawings: Sequence[str],
    scores: Iterable[str | Path],
    likelihoods: Iterable[str | Path],
    steps: Mapping[str, int],
    trainings: Mapping[str, Sequence[str]],
    logs: str,
) -> pd.DataFrame:
    """Return one row per family, sampler and class.

    Args:
        drawings: `family/sampler`, in order.
        scores: tables of `family_rows`, in this order.
        likelihoods: tables of `likelihood_rows`, one per family, in the order of the drawings.
        steps: of each drawing's sampler.
        trainings: jobs that trained each family's nets.
        logs: how the names of logs and benchmarks begin.

    Returns:
        Scores; bits per dimension of training and unseen images and their gap; seconds to train
        all nets of the family, and to draw 100 images of a class, where their benchmarks are.
    """
    families = list(dict.fromkeys(drawing.split("/")[0] for drawing in drawings))
    bits = {family: _bits(path) for family, path in zip(families, likelihoods, strict=True)}
    rows: list[dict[str, Any]] = []
    for drawing, path in zip(drawings, scores, strict=True):
        family, sampler = drawing.split("/")
        trained = [_seconds(f"{logs}{job}") for job in trainings[family]]
        records: list[dict[str, Any]] = read_csv(path).to_dict("records")  # type: ignore[assignment]
        for row in records:
            name = row["class"]
            seconds = _seconds(f"{logs}sample_family/{family}-{sampler}-{name}")
            rows.append(
                {"family": family, "sampler": sampler, "steps": steps[drawing]}
                | row
                | bits[family].get(name, {})
                | {"seconds_to_train": sum(trained), "seconds_to_draw": seconds}
            )
    return pd.DataFrame(rows)


def _bits(path: str | Path) -> dict[str, dict[str, float]]:
    table = read_csv(path)
    bits: dict[str, dict[str, float]] = {}
    for row in table.to_dict("records"):
        name = f"bits_{row['image_set']}"
        own = bits.setdefault(row["class"], {})
        own[name] = row["bits_per_dimension"]
        if row["image_set"] == GAP:
            own |= {f"{name}{end}": row[end[1:]] for end in ENDS[1:]}
    return bits


def _seconds(stem: str) -> float:
    path = Path(f"{stem}.benchmark.tsv")
    if not path.is_file():
        return np.nan
    with path.open() as file:
        return float(next(csv.DictReader(file, delimiter="\t"))[SECONDS])
