"""Train on each arm, test on real images.

Classification accuracy score and naive augmentation score: Ravuri and Vinyals, "Classification
accuracy score for conditional generative models" (NeurIPS 2019).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from meddiff.cas.arms import Arm, Pool, build_arm, dose_arm
from meddiff.cas.base import Classifier, TrainingSet
from meddiff.cas.settings import CasSettings, DoseSettings
from meddiff.core.batches import count_steps, steps_per_epoch
from meddiff.core.randomness import stream_seed
from meddiff.extractors.classification import predictions_table

Key = tuple[int | str, ...]


@dataclass(frozen=True)
class HeldOut:
    """Real images that no arm is trained on.

    Attributes:
        images: uint8 (N,H,W,1 or 3).
        labels: number of the class, int64 (N,).
        ids: of the images, (N,).
        groups: patient, lesion or duplicates, (N,).
    """

    images: np.ndarray
    labels: np.ndarray
    ids: Sequence[str]
    groups: Sequence[str]


def run_arms(
    classifier: Classifier,
    pool: Pool,
    held_out: Mapping[str, HeldOut],
    classes: Sequence[str],
    settings: CasSettings,
    *,
    equal_steps: bool,
    repetitions: int,
    seed: int,
) -> pd.DataFrame:
    """Train a classifier on every arm and return its predictions of held-out images.

    Args:
        held_out: images to classify: "test", which scores are of, and "validation", on which
            thresholds and the leading classifier are chosen.
        equal_steps: whether every arm gets the optimiser steps of `real`, and as many checks for a
            plateau; else an arm with more images gets more, where the length is in epochs.
        repetitions: trainings of each arm; one does not depend on how many there are.

    Returns:
        One row per repetition, arm and image: repetition, arm, set, id, group, label, predicted,
        p_<class>; then, of the arm: n_images, n_real, n_synthetic, steps, note.
    """
    trainings = (
        (key, {"repetition": key[-1], "arm": name}, build_arm(pool, name, *key))
        for key in ((seed, "cas", repetition) for repetition in range(repetitions))
        for name in settings.arms
    )
    return _run(classifier, pool, held_out, classes, settings, trainings, equal_steps)


def run_doses(
    classifier: Classifier,
    pool: Pool,
    held_out: Mapping[str, HeldOut],
    classes: Sequence[str],
    settings: CasSettings,
    *,
    repetitions: int,
    seed: int,
) -> pd.DataFrame:
    """Train a classifier on every dose of real and synthetic images; as `run_arms`.

    Every cell gets the optimiser steps of all real images. Cells that need more synthetic images
    than there are have no rows.

    Returns:
        The same rows, with fraction and ratio in place of arm.
    """
    dose: DoseSettings = settings.dose
    trainings = (
        (key, {"repetition": key[-1], "fraction": fraction, "ratio": ratio}, arm)
        for key in ((seed, "dose", repetition) for repetition in range(repetitions))
        for fraction in dose.fractions
        for ratio in dose.ratios
        if (arm := dose_arm(pool, fraction, ratio, *key)) is not None
    )
    return _run(classifier, pool, held_out, classes, settings, trainings, True)


def _run(
    classifier: Classifier,
    pool: Pool,
    held_out: Mapping[str, HeldOut],
    classes: Sequence[str],
    settings: CasSettings,
    trainings: Iterable[tuple[Key, dict[str, Any], Arm]],
    equal_steps: bool,
) -> pd.DataFrame:
    inputs = classifier.transform(pool.images)
    held_inputs = {name: classifier.transform(images.images) for name, images in held_out.items()}
    n_real = int((pool.kind == "real").sum())
    tables = []
    for key, cell, arm in trainings:
        length = n_real if equal_steps else len(arm.rows)
        training = TrainingSet(
            inputs[arm.rows],
            arm.labels,
            pool.group[arm.rows],
            count_steps(settings, length, settings.batch_size),
            plateau_every=steps_per_epoch(length, settings.batch_size),
            seed=stream_seed(*key),
            name="cas " + " ".join(map(str, cell.values())),
        )
        fitted = classifier.fit(training)
        columns = {
            "n_images": len(arm.rows),
            "n_real": arm.n_real,
            "n_synthetic": arm.n_synthetic,
            "steps": fitted.steps,
            "note": fitted.note,
        }
        for name, images in held_out.items():
            rows = cell | {"set": name, "id": list(images.ids), "group": list(images.groups)}
            probabilities = fitted.predict_proba(held_inputs[name])
            table = predictions_table(probabilities, images.labels, classes)
            tables.append(pd.concat([pd.DataFrame(rows), table], axis=1).assign(**columns))
    return pd.concat(tables, ignore_index=True)
