"""The verdict says what the numbers say, and when they say nothing."""

import re

import numpy as np
import pandas as pd
import pytest

from meddiff.cas.tables import score_arms
from meddiff.cas.verdict import Evidence, effect, replaces, verdict
from meddiff.metrics.intervals import Estimate
from meddiff.reporting.pages import page

CLASSES = ["benign", "malignant"]
STAMP = {"data": "phantom", "scale": "demo", "protocol": "leak_free", "seed": 0}


def scored(rates: dict[str, float], n: int = 200, seeds: int = 5, classes=CLASSES, validation=0.5):
    """Scores of arms that are right that often, on images of which some are hard for all.

    On the validation images all are right as often as told.
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
            said = np.where(right, labels, (labels + 1) % k)
            p = np.where(np.eye(k, dtype=bool)[said], 0.8, 0.2 / (k - 1))
            about = {"classifier": "skinlesnet", "arm": arm, "repetition": seed, "id": ids,
                     "group": ids, "label": np.array(classes)[labels], "n_images": 100,
                     "n_real": 50, "n_synthetic": 50, "steps": 10, "note": "",
                     "source_file": "x.csv"}  # fmt: skip
            told = {f"p_{name}": p[:, place] for place, name in enumerate(classes)}
            test = pd.DataFrame(about | told).assign(set="test", predicted=np.array(classes)[said])
            shown = np.arange(k * n) < validation * k * n
            other = np.where(shown, test["label"], "another")
            parts += [test, test.assign(set="validation", predicted=other)]
    table = pd.concat(parts, ignore_index=True)
    return score_arms(table, classes, specificity=0.9, n_resamples=100, seed=0)


def evidence(**changes) -> Evidence:
    told = {"stamp": STAMP, "margin": 0.05, "test_images": {"benign": 200, "malignant": 200},
            "test_groups": 300, "shared": 0}  # fmt: skip
    return Evidence(**told | changes)


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ({"synthetic": 0.85, "mixed": 0.95}, ["can replace", "complement"]),
        ({"synthetic": 0.60, "mixed": 0.70}, ["cannot replace", "harm"]),
        ({"synthetic": 0.85, "mixed": 0.85}, ["can replace", "neither help nor harm"]),
    ],
)
def test_it_says_what_was_planted(rates, said):
    found = scored({"real": 0.85, **rates, "shuffled": 0.5})
    first = verdict(found, evidence()).split("\n\n")[2]
    assert all(words in first for words in said), first


def test_the_better_classifier_of_validation_images_answers_first():
    """Whatever the test images say, which the answer is of."""
    lucky = scored({"real": 0.9, "synthetic": 0.9}, validation=0.7)["skinlesnet"]
    good = scored({"real": 0.8, "synthetic": 0.6}, validation=0.8)["skinlesnet"]
    text = verdict({"skinlesnet": lucky, "hog_svm": good}, evidence())
    first, *others = text.split("\n\n")[2].splitlines()
    assert "cannot replace" in first and "So says HOG and SVM" in first
    assert any(line.startswith("- SkinLesNet: Synthetic images can replace") for line in others)


def test_numbers_are_those_of_the_scores():
    found = scored({"real": 0.8, "synthetic": 0.7})
    text = verdict(found, evidence())
    accuracy = found["skinlesnet"].estimate("synthetic", ("accuracy", "all"))
    assert f"{accuracy.value:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}]" in text
    gap = found["skinlesnet"].difference("synthetic", "real", ("recall", "malignant"))
    assert f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]" in text
    assert "benign: recall" in text and "malignant: recall" in text


def test_where_the_test_leaks_nothing_is_claimed():
    found = scored({"real": 0.8, "synthetic": 0.8})
    text = verdict(found, evidence(shared=3))
    assert "the test leaks" in text and "Synthetic images can" not in text
    assert "the test leaks" not in verdict(found, evidence())


def test_help_that_copies_give_as_well_is_no_praise():
    rates = {"real": 0.7, "mixed": 0.8, "augmented": 0.9, "oversampled": 0.7}
    first = verdict(scored(rates), evidence()).split("\n\n")[2].splitlines()[0]
    assert "but not for sure more than turned and recoloured copies do" in first
    assert "repeated real images" not in first


def test_one_training_claims_nothing():
    found = scored({"real": 0.8, "synthetic": 0.8, "mixed": 0.9}, seeds=1)
    text = verdict(found, evidence())
    assert "is not known" in text and "`cas.n_repeats`" in text
    assert "**Synthetic images can" not in text and "they help:" not in text


def test_a_ddpm_from_elsewhere_is_told():
    found = scored({"real": 0.8, "synthetic": 0.8})
    assert "may have seen the test images" in verdict(found, evidence(imported=["benign"]))
    assert "may have seen" not in verdict(found, evidence())


def test_a_class_that_does_worse_is_named_beside_a_good_answer():
    found = scored({"real": 0.8, "synthetic": 0.8}, n=30)
    first = verdict(found, evidence(margin=0.13)).split("\n\n")[2].splitlines()[0]
    assert "can replace" in first and "though not for sure each class" in first


def test_three_classes():
    classes = ["a", "b", "c"]
    text = verdict(
        scored({"real": 0.8, "synthetic": 0.5, "shuffled": 0.367}, classes=classes),
        evidence(test_images=dict.fromkeys(classes, 200)),
    )
    assert "cannot replace" in text and all(f"    - {name}: " in text for name in classes)
    assert "chance is 0.33" in text and "As it should be" in text


def test_a_control_that_misbehaves_is_told():
    fine, wrong = (
        verdict(scored({"real": 0.8, "synthetic": 0.8, "shuffled": rate}), evidence())
        for rate in (0.5, 0.7)
    )
    assert "As it should be" in fine and "Synthetic images can replace" in fine
    assert "It learns from shuffled labels" in wrong and "Synthetic images can" not in wrong


def test_controls_without_intervals_are_not_praised():
    text = verdict(scored({"real": 0.9, "synthetic": 0.9, "shuffled": 1.0}, n=3), evidence())
    assert "Too few test images to judge" in text and "As it should be" not in text


def test_real_images_that_teach_nothing_prove_nothing():
    text = verdict(scored({"real": 0.5, "synthetic": 0.5}), evidence())
    assert "nothing can be said" in text and "Synthetic images can" not in text


def test_without_intervals_nothing_is_claimed():
    found = scored({"real": 0.8, "synthetic": 0.8, "mixed": 0.8}, n=3)
    text = verdict(found, evidence())
    assert "is not known" in text and "Synthetic images can" not in text


def test_what_is_not_covered_is_told():
    text = verdict(scored({"real": 0.8, "synthetic": 0.7}), evidence())
    assert "phantom images are drawn by a program" in text and "briefly" in text
    other = evidence(stamp=STAMP | {"data": "mine", "scale": "study"})
    text = verdict(scored({"real": 0.8, "synthetic": 0.7}), other)
    assert "phantom" not in text and "briefly" not in text


def test_doses_that_help_are_listed():
    dose = {"metric": "accuracy", "class": "all", "ratio": 1.0, "n_real": 10, "n_synthetic": 10}
    rows = [
        dose | {"fraction": 0.1, "difference": d, "difference_ci_low": d - 0.02,
                "difference_ci_high": d + 0.02}
        for d in (0.1, -0.1, 0.0)
    ]  # fmt: skip
    text = verdict(scored({"real": 0.8, "synthetic": 0.7}), evidence(doses=pd.DataFrame(rows)))
    assert "Of 3 doses" in text and "Raised: 10 real images (10% of them)" in text
    assert "Lowered" in text and "1 stay open" in text


@pytest.mark.parametrize(
    ("low", "high", "answers"),
    [
        (0.01, 0.1, ("yes", "helps")),
        (-0.04, 0.04, ("yes", "no matter")),
        (-0.04, 0.1, ("yes", "open")),
        (-0.2, -0.06, ("no", "harms")),
        (-0.04, -0.01, ("yes", "harms")),
        (-0.2, -0.01, ("worse", "harms")),
        (-0.2, 0.2, ("open", "open")),
    ],
)
def test_answers_by_interval(low, high, answers):
    gap = Estimate((low + high) / 2, low, high, 0.1, 0.95)
    assert (replaces(gap, 0.05), effect(gap, 0.05)) == answers


def test_the_page_shows_tables_and_no_foreign_html():
    text = verdict(scored({"real": 0.8, "synthetic": 0.7}), evidence())
    shown = page(text + "\n<script>x</script>\n")
    assert shown.count("<table>") == 2 and "<script>" not in shown
    assert "<title>Are the synthetic images good enough to train on?</title>" in shown
    tables = re.findall(r"<td>([^<]*)</td>", shown)
    assert "real" in tables and "synthetic" in tables
