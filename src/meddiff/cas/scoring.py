"""Scores of arms and doses from predictions, with intervals and differences to a baseline."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from meddiff.metrics.intervals import Estimate
from meddiff.metrics.probabilities import ALL, Score, operating_thresholds, scores
from meddiff.metrics.repeated import image_halves, repeated_estimate

TOLD = ["n_images", "n_real", "n_synthetic", "steps"]
"""Columns of predictions that speak of the training."""
ACCURACY: Score = ("accuracy", ALL)
TEST = "test"
"""The set that scores are of; thresholds and the like are chosen on the others."""


@dataclass(frozen=True)
class Scored:
    """Scores of several cells (arms, or doses), trained as often and tested on the same images.

    Attributes:
        classes: class names.
        values: of each cell and score, those of its repetitions, (k,).
        halves: the same on half-samples of the test images, (k, r); None where there are too few.
        groups: groups of test images by class, and of all.
        validation: of each cell, the mean accuracy on the validation images: what to choose by.
        told: of each cell: repetitions, and what its predictions tell of the training.
    """

    classes: Sequence[str]
    values: dict[Hashable, dict[Score, np.ndarray]]
    halves: dict[Hashable, dict[Score, np.ndarray] | None]
    groups: dict[str, int]
    validation: dict[Hashable, float]
    told: dict[Hashable, dict[str, Any]]

    def estimate(self, cell: Hashable, score: Score) -> Estimate:
        """Return a score of a cell with its 95 % interval."""
        halves = self.halves[cell]
        return repeated_estimate(
            self.values[cell][score],
            None if halves is None else halves[score],
            groups=self._groups(score),
            least=0.0,
        )

    def difference(self, cell: Hashable, other: Hashable, score: Score) -> Estimate:
        """Return a score of a cell less that of another, repetition by repetition."""
        ours, theirs = self.halves[cell], self.halves[other]
        return repeated_estimate(
            self.values[cell][score] - self.values[other][score],
            None if ours is None or theirs is None else ours[score] - theirs[score],
            groups=self._groups(score),
            least=-1.0,
        )

    def _groups(self, score: Score) -> int:
        least = min(self.groups[name] for name in self.classes)
        # Specificity is of the images of the other class.
        others = [name for name in self.classes if score[0] == "specificity" and name != score[1]]
        return self.groups[others[0]] if len(others) == 1 else self.groups.get(score[1], least)


def score_cells(
    predictions: pd.DataFrame,
    cells: Sequence[str],
    classes: Sequence[str],
    *,
    specificity: float,
    n_resamples: int,
    seed: int,
) -> Scored:
    """Score predictions of `meddiff.cas.experiment`.

    Args:
        predictions: rows of all repetitions; those of a repetition and cell are in the same order.
        cells: columns that tell a cell, e.g. arm.
        classes: class names, the positive one of two last.
        specificity: that the threshold of the sensitivity is to reach on the validation images.
        n_resamples: random half-samples of the test images.
        seed: fixes them.
    """
    places = {name: place for place, name in enumerate(classes)}
    columns = [f"p_{name}" for name in classes]
    tested = predictions["set"] == TEST
    predictions, chosen_on = predictions[tested], predictions[~tested]
    first = next(table for _, table in predictions.groupby([*cells, "repetition"], sort=False))
    labels = first["label"].map(places).to_numpy(int)
    weights = image_halves(labels, first["group"].tolist(), n_resamples=n_resamples, seed=seed)
    values: dict[Hashable, dict[Score, np.ndarray]] = {}
    halves: dict[Hashable, dict[Score, np.ndarray] | None] = {}
    told: dict[Hashable, dict[str, Any]] = {}
    validation: dict[Hashable, float] = {}
    choices = dict(iter(chosen_on.groupby([*cells, "repetition"], sort=False)))
    for cell, table in predictions.groupby(list(cells), sort=False):
        name = cell if len(cells) > 1 else cell[0]
        runs, thresholds, right = [], [], []
        for repetition, run in table.groupby("repetition", sort=True):
            runs.append(run[columns].to_numpy())
            chosen = choices[*cell, repetition]
            known = chosen["label"].map(places).to_numpy(int)
            thresholds.append(operating_thresholds(known, chosen[columns].to_numpy(), specificity))
            right.append((chosen["label"] == chosen["predicted"]).mean())
        validation[name] = float(np.mean(right))

        def drawn(w: np.ndarray | None, runs: list = runs, at: list = thresholds) -> list:
            return [
                scores(labels, p, classes, w, thresholds=t) for p, t in zip(runs, at, strict=True)
            ]

        plain = drawn(None)
        values[name] = {score: np.array([found[score][0] for found in plain]) for score in plain[0]}
        halves[name] = None
        if weights is not None:
            again = drawn(weights)
            halves[name] = {score: np.stack([run[score] for run in again]) for score in again[0]}
        told[name] = {
            "n_repeats": len(runs),
            **{name: table[name].iloc[0] for name in TOLD},
            "note": _notes(table.drop_duplicates("repetition")["note"]),
            "n_test": len(labels),
            "source_file": ";".join(dict.fromkeys(table["source_file"])),
        }
    groups = {name: first.loc[first["label"] == name, "group"].nunique() for name in classes}
    groups[ALL] = first["group"].nunique()
    return Scored(classes, values, halves, groups, validation, told)


def _notes(notes: pd.Series) -> str:
    """Put what the trainings chose together: each thing once, with its trainings if they differ."""
    counts = notes.value_counts(sort=False)
    if len(counts) == 1:
        return str(counts.index[0])
    return "; ".join(f"{note} ({count} of {len(notes)})" for note, count in counts.items())
