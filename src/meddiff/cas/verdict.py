"""Whether synthetic images can replace, complement or harm real ones, as a table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from meddiff.cas.scoring import ACCURACY, Scored
from meddiff.core.text import with_interval
from meddiff.metrics.classification import Score
from meddiff.metrics.intervals import Estimate

COLUMNS = ["classifier", "question", "arm", "baseline", "metric", "class", "outcome", "value",
           "baseline_value", "difference", "ci_low", "ci_high", "margin", "n_repeats", "n_test",
           "n_groups", "n_shared", "note"]  # fmt: skip
EXCLUDED = "excluded"
NO_INTERVAL = "no interval"


@dataclass(frozen=True)
class Question:
    """What a difference of two arms answers.

    Attributes:
        text: the comparison, in words.
        arm: trained on synthetic images.
        baseline: arm that it is compared with.
    """

    text: str
    arm: str
    baseline: str


QUESTIONS = {
    "replace": Question("Synthetic instead of real images", "synthetic", "real"),
    "replace_matched": Question("Synthetic instead of as many real", "synthetic", "matched"),
    "add": Question("Synthetic beside real images", "mixed", "real"),
    "add_augmented": Question("Synthetic instead of augmented images", "mixed", "augmented"),
    "add_oversampled": Question("Synthetic instead of repeated images", "mixed", "oversampled"),
}


@dataclass(frozen=True)
class Evidence:
    """What the verdict rests on besides the scores.

    Attributes:
        margin: non-inferiority margin, a difference that does not matter.
        test_images: number of test images, by class.
        test_groups: patients, lesions or duplicates among them.
        shared: test images that share an image, lesion or patient with training images of a DDPM or
            a classifier.
        imported: what of a class was made elsewhere, by what has seen unknown images.
    """

    margin: float
    test_images: Mapping[str, int]
    test_groups: int
    shared: int
    imported: Mapping[str, str] = field(default_factory=dict)


def replacement_outcome(difference: Estimate, margin: float) -> str:
    """Return the outcome of training on synthetic images alone, from the difference to real ones.

    Returns:
        "non-inferior", "inferior" where the whole interval lies below -margin, "worse" where it
        lies below 0, else "inconclusive"; "no interval" without one.
    """
    if pd.isna(difference.low):
        return NO_INTERVAL
    if difference.low > -margin:
        return "non-inferior"
    if difference.high < -margin:
        return "inferior"
    return "worse" if difference.high < 0 else "inconclusive"


def addition_outcome(difference: Estimate, margin: float) -> str:
    """Return the outcome of adding synthetic images.

    Returns:
        "better" or "worse" where the whole interval lies above or below 0, "equivalent" where it
        lies within the margin, else "inconclusive"; "no interval" without one.
    """
    if pd.isna(difference.low):
        return NO_INTERVAL
    if difference.low > 0:
        return "better"
    if difference.high < 0:
        return "worse"
    within = -margin < difference.low and difference.high < margin
    return "equivalent" if within else "inconclusive"


def exclusion(scores: Scored, evidence: Evidence) -> str:
    """Return why a classifier is excluded from the verdict, or an empty text."""
    if evidence.shared:
        return "the test set leaks"
    if "real" not in scores.values:
        return "there is no arm `real`"
    chance = 1 / len(scores.classes)
    real = scores.estimate("real", ACCURACY)
    if (real.value if pd.isna(real.low) else real.low) <= chance:
        return f"trained on real images it is no better than chance: accuracy {_text(real)}"
    if "shuffled" in scores.values:
        shuffled = scores.estimate("shuffled", ACCURACY)
        if shuffled.low > chance + evidence.margin:
            return f"with shuffled labels it beats chance: accuracy {_text(shuffled)}"
    return ""


def verdict_table(scored: Mapping[str, Scored], evidence: Evidence) -> pd.DataFrame:
    """Return the outcome of every question, by classifier and class.

    Returns:
        One row per classifier, question and score (accuracy, then the recall of each class), with
        the margin, and the trainings, test images and independent groups of them (patients,
        lesions, duplicates) behind it; `n_shared` test images share one with training. The
        classifier with the highest validation accuracy from real images comes first, since by test
        accuracy it would be the luckiest; excluded ones, whose note says why, come last.
    """
    reasons = {name: exclusion(scores, evidence) for name, scores in scored.items()}
    order = sorted(scored, key=lambda n: (reasons[n] != "", -scored[n].validation.get("real", 0)))
    rows = [
        _row(name, key, score, scored[name], reasons[name], evidence)
        for name in order
        for key, question in QUESTIONS.items()
        if {question.arm, question.baseline} <= set(scored[name].values)
        for score in [ACCURACY, *(("recall", one) for one in scored[name].classes)]
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(
    name: str, key: str, score: Score, scores: Scored, reason: str, evidence: Evidence
) -> dict[str, Any]:
    question = QUESTIONS[key]
    difference = scores.difference(question.arm, question.baseline, score)
    judge = replacement_outcome if question.arm == "synthetic" else addition_outcome
    outcome = judge(difference, evidence.margin)
    repeats = min(scores.runs[arm]["n_repeats"] for arm in (question.arm, question.baseline))
    return {
        "classifier": name,
        "question": key,
        "arm": question.arm,
        "baseline": question.baseline,
        "metric": score[0],
        "class": score[1],
        "outcome": EXCLUDED if reason else outcome if repeats > 1 else NO_INTERVAL,
        "value": scores.estimate(question.arm, score).value,
        "baseline_value": scores.estimate(question.baseline, score).value,
        "difference": difference.value,
        "ci_low": difference.low,
        "ci_high": difference.high,
        "margin": evidence.margin,
        "n_repeats": repeats,
        "n_test": sum(evidence.test_images.values()),
        "n_groups": evidence.test_groups,
        "n_shared": evidence.shared,
        "note": reason or _elsewhere(evidence.imported),
    }


def _elsewhere(imported: Mapping[str, str]) -> str:
    """Return the doubt that what was made elsewhere leaves, or an empty text."""
    names: dict[str, list[str]] = {}
    for name, what in imported.items():
        names.setdefault(what, []).append(name)
    return "; ".join(
        f"{what}, maybe from test images: {', '.join(own)}" for what, own in names.items()
    )


def _text(estimate: Estimate) -> str:
    return with_interval(estimate.value, estimate.low, estimate.high)
