"""Scores of arms and doses from predictions, with intervals and differences to a baseline."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from meddiff.metrics.classification import ALL, Score, numbers_of, operating_thresholds, scores
from meddiff.metrics.intervals import Estimate
from meddiff.metrics.repeated import image_halves, repeated_estimate

RUN_COLUMNS = ["n_images", "n_real", "n_synthetic", "steps"]
"""Columns of predictions that describe the training."""
ACCURACY: Score = ("accuracy", ALL)
TEST = "test"
"""The set that scores are of; thresholds and the like are chosen on the others."""


@dataclass(frozen=True)
class Scored:
    """Scores of several cells (arms, or doses), trained as often and tested on the same images.

    Attributes:
        values: of each cell and score, those of its repetitions, (k,).
        halves: the same on half-samples of the test images, (k, r); None where there are too few.
        groups: groups of test images by class, and of all.
        validation: of each cell, the mean accuracy on the validation images: what to choose by.
        runs: of each cell: repetitions, images and steps of the training, note and files.
    """

    classes: Sequence[str]
    values: dict[Hashable, dict[Score, np.ndarray]]
    halves: dict[Hashable, dict[Score, np.ndarray] | None]
    groups: dict[str, int]
    validation: dict[Hashable, float]
    runs: dict[Hashable, dict[str, Any]]

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
        halves, baseline = self.halves[cell], self.halves[other]
        return repeated_estimate(
            self.values[cell][score] - self.values[other][score],
            None if halves is None or baseline is None else halves[score] - baseline[score],
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
        cells: columns that name a cell, e.g. arm.
        classes: the positive one of two last.
        specificity: that the threshold of the sensitivity is to reach on the validation images.
    """
    rows = _by_repetition(predictions[predictions["set"] == TEST], cells)
    chosen_on = _by_repetition(predictions[predictions["set"] != TEST], cells)
    first = next(iter(next(iter(rows.values())).values()))
    labels = numbers_of(first["label"], classes)
    weights = image_halves(labels, first["group"].tolist(), n_resamples=n_resamples, seed=seed)
    values: dict[Hashable, dict[Score, np.ndarray]] = {}
    halves: dict[Hashable, dict[Score, np.ndarray] | None] = {}
    for cell, runs in rows.items():
        pairs = [(run, chosen_on[cell][repetition]) for repetition, run in runs.items()]
        plain = _score_runs(pairs, labels, classes, specificity)
        values[cell] = {score: np.ascontiguousarray(rows[:, 0]) for score, rows in plain.items()}
        halves[cell] = (
            None if weights is None else _score_runs(pairs, labels, classes, specificity, weights)
        )
    groups = {name: first.loc[first["label"] == name, "group"].nunique() for name in classes}
    groups[ALL] = first["group"].nunique()
    return Scored(
        classes,
        values,
        halves,
        groups,
        {cell: _mean_accuracy(chosen_on[cell].values()) for cell in rows},
        {cell: _summary(runs) for cell, runs in rows.items()},
    )


def _by_repetition(
    predictions: pd.DataFrame, cells: Sequence[str]
) -> dict[Hashable, dict[Any, pd.DataFrame]]:
    """Return the rows of each repetition of each cell; a cell of one column is its value."""
    return {
        cell if len(cells) > 1 else cell[0]: dict(iter(table.groupby("repetition", sort=True)))
        for cell, table in predictions.groupby(list(cells), sort=False)
    }


def _score_runs(
    pairs: Iterable[tuple[pd.DataFrame, pd.DataFrame]],
    labels: np.ndarray,
    classes: Sequence[str],
    specificity: float,
    weights: np.ndarray | None = None,
) -> dict[Score, np.ndarray]:
    """Return scores, (k, r), of k runs: test images, and those that thresholds are chosen on."""
    runs = []
    for test, validation in pairs:
        chosen_on = numbers_of(validation["label"], classes)
        thresholds = operating_thresholds(
            chosen_on, probabilities_of(validation, classes), specificity
        )
        probabilities = probabilities_of(test, classes)
        runs.append(scores(labels, probabilities, classes, weights, thresholds=thresholds))
    return {score: np.stack([run[score] for run in runs]) for score in runs[0]}


def probabilities_of(run: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """Return predicted probabilities, (images, classes)."""
    return run[[f"p_{name}" for name in classes]].to_numpy()


def _mean_accuracy(runs: Iterable[pd.DataFrame]) -> float:
    return float(np.mean([(run["label"] == run["predicted"]).mean() for run in runs]))


def _summary(runs: Mapping[Any, pd.DataFrame]) -> dict[str, Any]:
    table = pd.concat(runs.values())
    return {
        "n_repeats": len(runs),
        **{name: table[name].iloc[0] for name in RUN_COLUMNS},
        "note": _notes(pd.Series([run["note"].iloc[0] for run in runs.values()])),
        "n_test": len(next(iter(runs.values()))),
        "source_file": ";".join(dict.fromkeys(table["source_file"])),
    }


def _notes(notes: pd.Series) -> str:
    """Put what the trainings chose together: each thing once, with its trainings if they differ."""
    counts = notes.value_counts(sort=False)
    if len(counts) == 1:
        return str(counts.index[0])
    return "; ".join(f"{note} ({count} of {len(notes)})" for note, count in counts.items())
