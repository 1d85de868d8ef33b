"""The experiment gives every arm the same chance, and its scores find what was planted."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest

from meddiff.cas.arms import build_pool
from meddiff.cas.base import FittedClassifier, TrainingSet
from meddiff.cas.experiment import HeldOut, run_arms, run_doses
from meddiff.cas.scoring import score_cells
from meddiff.cas.settings import CasSettings, DoseSettings
from meddiff.cas.tables import arms_table, doses_table, reliability_table, score_arms

CLASSES = ["benign", "malignant"]
DRAWN = {"specificity": 0.9, "n_resamples": 60, "seed": 0}
ARMS = ["synthetic", "matched", "real", "mixed", "augmented", "oversampled", "shuffled"]


def shades(means, n: int, seed: int, spread: float = 25) -> list[np.ndarray]:
    """Images of one grey level each, around a mean a class."""
    chance = np.random.default_rng(seed)
    levels = [np.clip(chance.normal(mean, spread, n), 0, 255) for mean in means]
    return [np.tile(x.astype(np.uint8)[:, None, None, None], (1, 4, 4, 3)) for x in levels]


@dataclass
class ByShade:
    """Tells classes by the nearer mean shade; remembers what it was taught."""

    trainings: list[TrainingSet] = field(default_factory=list)

    def transform(self, images: np.ndarray) -> np.ndarray:
        return images.mean(axis=(1, 2, 3))

    def fit(self, training: TrainingSet) -> FittedClassifier:
        self.trainings.append(training)
        middle = [training.inputs[training.labels == k].mean() for k in range(2)]

        def probabilities(shade: np.ndarray) -> np.ndarray:
            near = -np.abs(shade[:, None] - middle) / 25
            weights = np.exp(near)
            return weights / weights.sum(axis=1, keepdims=True)

        return FittedClassifier(probabilities, "by shade", training.steps)


def held_out(n: int = 80) -> HeldOut:
    images = np.concatenate(shades([100, 150], n, 9))
    ids = [f"t{k}" for k in range(2 * n)]
    return HeldOut(images, np.repeat([0, 1], n), ids, ids)


def both(n: int = 80) -> dict[str, HeldOut]:
    return {"test": held_out(n), "validation": held_out(20)}


def pool_of(synthetic_means, n_synthetic: int = 60):
    real = shades([100, 150], 50, 1)
    groups = [np.arange(50), np.arange(50, 100)]
    synthetic = shades(synthetic_means, n_synthetic, 2)
    return build_pool(real, groups, synthetic, augmented=True, seed=0)


def outcome(synthetic_means, *, equal_steps=True, seeds=3, **settings):
    classifier = ByShade()
    options = CasSettings(arms=ARMS, batch_size=10, **settings)
    table = run_arms(classifier, pool_of(synthetic_means), both(), CLASSES, options,
                     equal_steps=equal_steps, repetitions=seeds, seed=0)  # fmt: skip
    return classifier, table.assign(classifier="skinlesnet", source_file="cas/x.csv")


def test_arms_get_the_same_steps_and_seed_and_the_images_they_say():
    classifier, table = outcome([100, 150], steps=None, epochs=4, seeds=1)
    assert [training.steps for training in classifier.trainings] == [40] * 7
    assert {training.plateau_every for training in classifier.trainings} == {10}
    assert len({training.seed for training in classifier.trainings}) == 1
    counts = table.groupby("arm", sort=False)[["n_images", "n_real", "n_synthetic"]].first()
    assert counts.loc["mixed"].tolist() == [220, 100, 120]
    assert counts.loc["augmented", "n_images"] == counts.loc["oversampled", "n_images"] == 220
    assert counts.loc["synthetic"].tolist() == [120, 0, 120]
    by_arm = table[table["set"] == "test"].groupby("arm")["id"].apply(list)
    assert all(ids == held_out().ids for ids in by_arm)


def test_under_the_studys_protocol_more_images_are_more_steps():
    classifier, _ = outcome([100, 150], steps=None, epochs=4, equal_steps=False, seeds=1)
    by_arm = dict(zip(ARMS, [training.steps for training in classifier.trainings], strict=True))
    assert by_arm == {"synthetic": 48, "matched": 40, "real": 40, "mixed": 88, "augmented": 88,
                      "oversampled": 88, "shuffled": 40}  # fmt: skip


def test_a_repetition_has_a_seed_and_depends_on_no_other():
    classifier, table = outcome([100, 150], seeds=2)
    assert len({training.seed for training in classifier.trainings}) == 2
    _, alone = outcome([100, 150], seeds=1)
    pd.testing.assert_frame_equal(table[table["repetition"] == 0], alone)


@pytest.mark.parametrize(
    ("means", "holds"),
    [
        ([100, 150], lambda low, high: low > -0.05),
        ([150, 100], lambda low, high: high < -0.3),
    ],
    ids=["as the real ones", "labels the wrong way round"],
)
def test_scores_find_what_was_planted(means, holds):
    _, table = outcome(means)
    rows = arms_table(score_arms(table, CLASSES, **DRAWN))
    accuracy = rows[rows["metric"] == "accuracy"].set_index("arm")
    assert holds(*accuracy.loc["synthetic", ["difference_ci_low", "difference_ci_high"]])
    assert accuracy.loc["real", "value"] > 0.75 and pd.isna(accuracy.loc["real", "difference"])
    assert accuracy["n_test"].eq(160).all() and accuracy["n_repeats"].eq(3).all()
    wanted = {
        "accuracy",
        "precision",
        "recall",
        "f1",
        "roc_auc",
        "pr_auc",
        "sensitivity",
        "specificity",
        "ece",
    }
    assert set(rows["metric"]) == wanted


def test_differences_are_those_of_the_values():
    _, table = outcome([110, 140])
    rows = arms_table(score_arms(table, CLASSES, **DRAWN))
    values = rows.pivot(index=["metric", "class"], columns="arm", values="value")
    gaps = rows.pivot(index=["metric", "class"], columns="arm", values="difference")
    assert (values["mixed"] - values["real"]).to_numpy() == pytest.approx(gaps["mixed"].to_numpy())


def test_a_paired_difference_is_surer_than_its_parts():
    """Both arms fail on the same hard images, which cancel."""
    _, table = outcome([101, 151])
    scored = score_arms(table, CLASSES, **DRAWN)["skinlesnet"]
    gap = scored.difference("mixed", "real", ("accuracy", "all"))
    alone = scored.estimate("real", ("accuracy", "all"))
    assert gap.high - gap.low < 0.7 * (alone.high - alone.low)


def doses(n_synthetic: int):
    settings = CasSettings(
        batch_size=10, dose=DoseSettings(fractions=[0.04, 1.0], ratios=[0, 1, 4])
    )
    classifier = ByShade()
    table = run_doses(classifier, pool_of([100, 150], n_synthetic), both(), CLASSES, settings,
                      repetitions=3, seed=0)  # fmt: skip
    return classifier, settings, table.assign(source_file="cas/doses.csv")


def test_doses_are_compared_with_the_same_real_images_alone():
    _, settings, table = doses(200)
    scored = score_cells(table, ["fraction", "ratio"], CLASSES, **DRAWN)
    rows = doses_table(scored, settings.dose.fractions, settings.dose.ratios)
    accuracy = rows[rows["metric"] == "accuracy"].set_index(["fraction", "ratio"])
    assert len(accuracy) == 6 and accuracy["value"].notna().all()
    assert accuracy.loc[(0.04, 4), ["n_real", "n_synthetic"]].tolist() == [4, 16]
    gap = accuracy.loc[(0.04, 4), "value"] - accuracy.loc[(0.04, 0), "value"]
    assert accuracy.loc[(0.04, 4), "difference"] == pytest.approx(gap)
    # Two real images a class are fewer than are needed to know a mean.
    assert gap > -0.02


def test_a_dose_that_needs_more_images_than_there_are_says_so():
    classifier, settings, table = doses(60)
    assert len(classifier.trainings) == 3 * 5
    scored = score_cells(table, ["fraction", "ratio"], CLASSES, **DRAWN)
    rows = doses_table(scored, settings.dose.fractions, settings.dose.ratios)
    empty = rows[rows["value"].isna()]
    assert empty[["fraction", "ratio"]].to_numpy().tolist() == [[1.0, 4.0]]
    assert empty["note"].str.contains("raise cas.dose.max_synthetic_per_class").all()


def test_few_test_images_have_no_interval():
    classifier, options = ByShade(), CasSettings(arms=["real", "synthetic"])
    table = run_arms(classifier, pool_of([100, 150]), both(3), CLASSES, options,
                     equal_steps=True, repetitions=1, seed=0)  # fmt: skip
    table = table.assign(classifier="skinlesnet", source_file="x")
    rows = arms_table(score_arms(table, CLASSES, **DRAWN))
    assert rows["value"].notna().all() and rows["ci_low"].isna().all()


def test_reliability_covers_every_arm():
    _, table = outcome([100, 150])
    curves = reliability_table(table, CLASSES)
    assert set(curves["arm"]) == set(ARMS)
    assert curves.groupby("arm")["n_images"].sum().eq(3 * 160).all()


def test_specificity_is_of_the_other_classs_groups():
    _, table = outcome([100, 150])
    few = table["label"].eq("benign") & ~table["id"].isin([f"t{k}" for k in range(6)])
    scored = score_cells(table[~few], ["arm"], CLASSES, **DRAWN)
    assert scored._groups(("sensitivity", "malignant")) == 80
    assert scored._groups(("specificity", "malignant")) == 6
    assert scored._groups(("accuracy", "all")) == 86
