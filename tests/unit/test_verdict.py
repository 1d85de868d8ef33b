"""The verdict follows from the scores, and claims nothing where they show nothing."""

import re

import numpy as np
import pandas as pd
import pytest

from meddiff.cas.classifiers import CLASSIFIERS
from meddiff.cas.scoring import Scored
from meddiff.cas.tables import arms_table, score_arms
from meddiff.cas.verdict import (
    Evidence,
    addition_outcome,
    replacement_outcome,
    verdict_table,
)
from meddiff.cas.verdict_text import Wording, answers, verdict_text
from meddiff.metrics.intervals import Estimate
from meddiff.reporting.names import name_of

CLASSES = ["benign", "malignant"]
STAMP = {"data": "phantom", "scale": "demo", "protocol": "leak_free", "seed": 0}


def scored(rates: dict[str, float], n: int = 200, seeds: int = 5, classes=CLASSES, validation=0.5):
    """Scores of arms that are right that often, on images of which some are hard for all.

    On the validation images all are right as often as `validation`.
    """
    k = len(classes)
    labels = np.repeat(np.arange(k), n)
    ids = [f"t{number}" for number in range(k * n)]
    hard = np.random.default_rng(7).random(k * n)
    parts = []
    for place, (arm, rate) in enumerate(rates.items()):
        for seed in range(seeds):
            chance = np.random.default_rng([place, seed])
            right = 0.8 * hard + 0.2 * chance.random(k * n) < rate
            predicted = np.where(right, labels, (labels + 1) % k)
            p = np.where(np.eye(k, dtype=bool)[predicted], 0.8, 0.2 / (k - 1))
            columns = {"classifier": "skinlesnet", "arm": arm, "repetition": seed, "id": ids,
                     "group": ids, "label": np.array(classes)[labels], "n_images": 100,
                     "n_real": 50, "n_synthetic": 50, "steps": 10, "note": "",
                     "source_file": "x.csv"}  # fmt: skip
            probabilities = {f"p_{name}": p[:, place] for place, name in enumerate(classes)}
            test = pd.DataFrame(columns | probabilities).assign(
                set="test", predicted=np.array(classes)[predicted]
            )
            shown = np.arange(k * n) < validation * k * n
            other = np.where(shown, test["label"], "another")
            parts += [test, test.assign(set="validation", predicted=other)]
    table = pd.concat(parts, ignore_index=True)
    return score_arms(table, classes, specificity=0.9, n_resamples=100, seed=0)


def evidence(**changes) -> Evidence:
    fields = {"margin": 0.05, "test_images": {"benign": 200, "malignant": 200},
              "test_groups": 300, "shared": 0}  # fmt: skip
    return Evidence(**fields | changes)


def outcomes(scores: dict[str, Scored], metric: str = "accuracy", **changes) -> dict[str, str]:
    """Outcomes of the first classifier by question."""
    table = verdict_table(scores, evidence(**changes))
    rows = table[table["metric"].eq(metric) & table["classifier"].eq(table["classifier"].iloc[0])]
    return dict(zip(rows["question"], rows["outcome"], strict=True))


def text_of(scores: dict[str, Scored], stamp=STAMP, **changes) -> str:
    table = verdict_table(scores, evidence(**changes))
    return " ".join(verdict_text(table, arms_table(scores), stamp, Wording()).split())


def said(scores: dict[str, Scored], **changes) -> list[str]:
    """Sentences of the classifiers, and what they leave open."""
    table = verdict_table(scores, evidence(**changes))
    return [" ".join([each.sentence, *each.doubts]) for each in answers(table)]


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({"synthetic": 0.85, "mixed": 0.95}, ("non-inferior", "better")),
        ({"synthetic": 0.60, "mixed": 0.70}, ("inferior", "worse")),
        ({"synthetic": 0.85, "mixed": 0.85}, ("non-inferior", "equivalent")),
    ],
)
def test_what_was_planted_comes_out(rates, expected):
    scores = scored({"real": 0.85, **rates, "shuffled": 0.5})
    result = outcomes(scores)
    assert (result["replace"], result["add"]) == expected
    [sentence] = said(scores)
    assert ("can replace" in sentence) == (expected[0] == "non-inferior")
    meaning = {"better": "help", "worse": "harm", "equivalent": "little"}
    assert meaning[expected[1]] in sentence


def test_the_better_classifier_of_validation_images_comes_first():
    """Whatever the test images say, which the answer is of."""
    lucky = scored({"real": 0.9, "synthetic": 0.9}, validation=0.7)["skinlesnet"]
    good = scored({"real": 0.8, "synthetic": 0.6}, validation=0.8)["skinlesnet"]
    both = {"skinlesnet": lucky, "hog_svm": good}
    table = verdict_table(both, evidence())
    accuracy = table[table["metric"] == "accuracy"]
    assert accuracy["classifier"].tolist() == ["hog_svm", "skinlesnet"]
    assert accuracy["outcome"].tolist() == ["inferior", "non-inferior"]
    first, second = said(both)
    assert re.match("HOG and SVM: .*cannot replace", first)
    assert re.match("SkinLesNet: .*can replace", second)


def test_numbers_are_those_of_the_scores():
    scores = scored({"real": 0.8, "synthetic": 0.7})
    table = verdict_table(scores, evidence()).set_index(["metric", "class"])
    for score in (("accuracy", "all"), ("recall", "malignant")):
        row = table.loc[score]
        gap = scores["skinlesnet"].difference("synthetic", "real", score)
        assert (row["difference"], row["ci_low"], row["ci_high"]) == (gap.value, gap.low, gap.high)
        assert row["value"] - row["baseline_value"] == pytest.approx(row["difference"])
        assert f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]" in text_of(scores)


def test_where_the_test_leaks_nothing_is_claimed():
    scores = scored({"real": 0.8, "synthetic": 0.8})
    assert set(outcomes(scores, shared=3).values()) == {"excluded"}
    assert "leaks" in text_of(scores, shared=3) and "leaks" not in text_of(scores)


def test_help_that_copies_give_as_well_is_no_praise():
    scores = scored({"real": 0.7, "mixed": 0.8, "augmented": 0.9, "oversampled": 0.7})
    result = outcomes(scores)
    assert result["add"] == result["add_oversampled"] == "better"
    assert result["add_augmented"] == "worse"
    [sentence] = said(scores)
    assert "augmented" in sentence and "oversampled" not in sentence


def test_one_training_claims_nothing():
    scores = scored({"real": 0.8, "synthetic": 0.8, "mixed": 0.9}, seeds=1)
    assert set(outcomes(scores).values()) == {"no interval"}
    assert "`cas.n_repeats`" in text_of(scores)


def test_a_ddpm_from_elsewhere_is_named():
    scores = scored({"real": 0.8, "synthetic": 0.8})
    text = text_of(scores, imported={"benign": "images made elsewhere"})
    assert re.search(r"elsewhere.*: benign\.", text)
    assert "elsewhere" not in text_of(scores)


def test_a_class_that_does_worse_is_named_beside_a_good_answer():
    scores = scored({"real": 0.8, "synthetic": 0.8}, n=30)
    table = verdict_table(scores, evidence(margin=0.13)).set_index("class")["outcome"]
    unsure = [name for name in CLASSES if table[name] != "non-inferior"]
    [sentence] = said(scores, margin=0.13)
    assert table["all"] == "non-inferior" and unsure
    assert all(name in sentence for name in unsure)


def test_three_classes():
    classes = ["a", "b", "c"]
    scores = scored({"real": 0.8, "synthetic": 0.5, "shuffled": 0.367}, classes=classes)
    images = dict.fromkeys(classes, 200)
    table = verdict_table(scores, evidence(test_images=images))
    assert table["class"].tolist() == ["all", *classes]
    assert set(table["outcome"]) == {"inferior"}
    assert "chance 0.33: as expected" in text_of(scores, test_images=images)


def test_a_control_that_misbehaves_excludes_its_classifier():
    fine, wrong = (scored({"real": 0.8, "synthetic": 0.8, "shuffled": rate}) for rate in (0.5, 0.7))
    assert outcomes(fine)["replace"] == "non-inferior" and "as expected" in text_of(fine)
    table = verdict_table(wrong, evidence())
    assert set(table["outcome"]) == {"excluded"} and table["note"].str.contains("shuffled").all()


def test_controls_without_intervals_are_not_praised():
    scores = scored({"real": 0.9, "synthetic": 0.9, "shuffled": 1.0}, n=3)
    assert "as expected" not in text_of(scores)


def test_real_images_that_teach_nothing_prove_nothing():
    assert outcomes(scored({"real": 0.5, "synthetic": 0.5}))["replace"] == "excluded"


def test_without_intervals_nothing_is_claimed():
    scores = scored({"real": 0.8, "synthetic": 0.8, "mixed": 0.8}, n=3)
    assert set(outcomes(scores).values()) == {"no interval"}


def test_without_real_images_there_is_no_answer():
    scores = scored({"synthetic": 0.8, "mixed": 0.8})
    assert verdict_table(scores, evidence()).empty
    assert re.search(r"No answer: .*\barms\b", text_of(scores))


def test_limits_name_the_data_and_the_scale():
    scores = scored({"real": 0.8, "synthetic": 0.7})
    assert "phantom images" in text_of(scores) and "scale demo" in text_of(scores)
    other = text_of(scores, stamp=STAMP | {"data": "mine", "scale": "study"})
    assert "phantom" not in other and "briefly" not in other


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 0.1, ("non-inferior", "better")),
        (-0.04, 0.04, ("non-inferior", "equivalent")),
        (-0.04, 0.1, ("non-inferior", "inconclusive")),
        (-0.2, -0.06, ("inferior", "worse")),
        (-0.04, -0.01, ("non-inferior", "worse")),
        (-0.2, -0.01, ("worse", "worse")),
        (-0.2, 0.2, ("inconclusive", "inconclusive")),
        (np.nan, np.nan, ("no interval", "no interval")),
    ],
)
def test_outcomes_follow_the_interval(low, high, expected):
    gap = Estimate((low + high) / 2, low, high, 0.1, 0.95)
    assert (replacement_outcome(gap, 0.05), addition_outcome(gap, 0.05)) == expected


OUTCOMES = [
    (replace, add)
    for replace in ("non-inferior", "inferior", "worse", "inconclusive", "no interval", "excluded")
    for add in ("better", "worse", "equivalent", "inconclusive", "no interval", None)
]


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize(("replace", "add"), OUTCOMES)
def test_a_sentence_has_25_words_at_most_and_the_numbers_of_its_row(name, replace, add):
    row = {"classifier": name, "metric": "accuracy", "class": "all", "value": 0.6741,
           "baseline_value": 0.8034, "difference": -0.1293, "ci_low": -0.1982,
           "ci_high": -0.0612}  # fmt: skip
    why = "trained on real images it is no better than chance: accuracy 0.512 [0.401, 0.623]"
    rows = [row | {"question": "replace", "outcome": replace,
                   "note": why if replace == "excluded" else ""}]  # fmt: skip
    if add:
        rows.append(row | {"question": "add", "outcome": add, "value": 0.9, "note": ""})
    [answer] = answers(pd.DataFrame(rows))
    assert len(answer.sentence.split()) <= 25 and answer.sentence.startswith(name_of(name))
    if replace == "excluded":
        assert why in answer.sentence and answer.row is None
    else:
        assert "0.674 instead of 0.803, -0.129 [-0.198, -0.061]" in answer.sentence
        assert answer.row == 0
