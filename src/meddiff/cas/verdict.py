"""Whether synthetic images can replace, complement or harm real ones: a table, and its text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from meddiff.cas.registry import TITLES
from meddiff.cas.scoring import ACCURACY, Scored
from meddiff.metrics.classification import Score
from meddiff.metrics.intervals import Estimate

COLUMNS = ["classifier", "question", "arm", "baseline", "metric", "class", "outcome", "value",
           "baseline_value", "difference", "ci_low", "ci_high", "note"]  # fmt: skip
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
        stamp: data, scale, protocol and seed.
        margin: non-inferiority margin, a difference that does not matter.
        test_images: number of test images, by class.
        test_groups: patients, lesions or duplicates among them.
        shared: test images that share an image, lesion or patient with training images of a DDPM or
            a classifier.
        imported: classes whose DDPM was trained elsewhere, on unknown images.
        doses: rows of the dose-response table, or None.
        copies: verdict of the search for copies by class; empty where there was none.
    """

    stamp: Mapping[str, Any]
    margin: float
    test_images: Mapping[str, int]
    test_groups: int
    shared: int
    imported: Sequence[str] = ()
    doses: pd.DataFrame | None = None
    copies: Mapping[str, str] = field(default_factory=dict)


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
        return f"trained on real images it is no better than chance: accuracy {_number(real)}"
    if "shuffled" in scores.values:
        shuffled = scores.estimate("shuffled", ACCURACY)
        if shuffled.low > chance + evidence.margin:
            return f"with shuffled labels it beats chance: accuracy {_number(shuffled)}"
    return ""


def verdict_table(scored: Mapping[str, Scored], evidence: Evidence) -> pd.DataFrame:
    """Return the outcome of every question, by classifier and class.

    Returns:
        One row per classifier, question and score (accuracy, then the recall of each class). The
        classifier with the highest validation accuracy from real images comes first, since by test
        accuracy it would be the luckiest; excluded ones, whose note says why, come last.
    """
    reasons = {name: exclusion(scores, evidence) for name, scores in scored.items()}
    order = sorted(scored, key=lambda n: (reasons[n] != "", -scored[n].validation.get("real", 0)))
    rows = [
        _row(name, key, score, scored[name], reasons[name], evidence.margin)
        for name in order
        for key, question in QUESTIONS.items()
        if {question.arm, question.baseline} <= set(scored[name].values)
        for score in [ACCURACY, *(("recall", one) for one in scored[name].classes)]
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(
    name: str, key: str, score: Score, scores: Scored, reason: str, margin: float
) -> dict[str, Any]:
    question = QUESTIONS[key]
    difference = scores.difference(question.arm, question.baseline, score)
    judge = replacement_outcome if question.arm == "synthetic" else addition_outcome
    outcome = judge(difference, margin)
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
        "note": reason,
    }


def verdict_text(table: pd.DataFrame, scored: Mapping[str, Scored], evidence: Evidence) -> str:
    """Return the verdict as Markdown, from `verdict_table`."""
    stamp = ", ".join(f"{key} {value}" for key, value in evidence.stamp.items())
    images = ", ".join(f"{count:,} {name}" for name, count in evidence.test_images.items())
    parts = [
        "# Are the synthetic images good enough to train on?",
        f"Made of: {stamp}. Tested on real images only: {images}.",
        "\n".join(_answers(table, scored, evidence)),
        "\n".join(_outcomes(table)),
        "## Controls\n\n" + "\n".join(_controls(scored, evidence)),
        "## Limits\n\n" + "\n".join(_limits(scored, evidence)),
        "Differences stand with 95 % intervals, paired by training and image; the margin is "
        f"{evidence.margin:g} (`cas.non_inferiority_margin`). *non-inferior*: above -margin; "
        "*inferior*: below -margin; *better*, *worse*: above, below 0; *equivalent*: within the "
        "margin; *inconclusive*: more test images or repeats would tell. Each interval holds "
        "alone: one in twenty misses. Scores of every arm: `table_5_3.csv`, `cas_hog_svm.csv`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _answers(table: pd.DataFrame, scored: Mapping[str, Scored], evidence: Evidence) -> list[str]:
    """Return a sentence per question of the first classifier, per exclusion, and of the doses."""
    included = table[table["outcome"] != EXCLUDED]
    lines = []
    for row in included[included["metric"] == ACCURACY[0]].to_dict("records"):
        if row["classifier"] == included["classifier"].iloc[0] and row["question"] in ANSWERED:
            lines.append(f"- **{_sentence(row)}{_caveat(row, included)}**")
    if lines:
        title = TITLES[included["classifier"].iloc[0]]
        lines.append(f"- These are of {title}, the most accurate on the validation images.")
    for name, scores in scored.items():
        if reason := exclusion(scores, evidence):
            lines.append(f"- **{TITLES[name]} is excluded**: {reason}.")
    if evidence.doses is not None:
        lines += _doses(evidence.doses)
    return lines


ANSWERED = ("replace", "add")
"""Questions with a sentence of their own."""


def _sentence(row: Mapping[Any, Any]) -> str:
    return (
        f"{QUESTIONS[row['question']].text}: accuracy {row['value']:.3f} instead of "
        f"{row['baseline_value']:.3f} ({_difference(row)}): {row['outcome']}"
    )


def _caveat(row: Mapping[Any, Any], table: pd.DataFrame) -> str:
    """Name what a good outcome leaves open: classes, and copies that may do as well."""
    table = table[table["classifier"] == row["classifier"]]
    if row["outcome"] == "non-inferior":
        classes = table[(table["question"] == row["question"]) & (table["metric"] == "recall")]
        names = classes.loc[classes["outcome"] != "non-inferior", "class"]
        return f" overall, not shown for {', '.join(names)}." if len(names) else "."
    if row["outcome"] == "better":
        copies = table[table["question"].isin(["add_augmented", "add_oversampled"])]
        copies = copies[(copies["metric"] == ACCURACY[0]) & (copies["outcome"] != "better")]
        names = copies["baseline"]
        return f", not shown to exceed {' or '.join(names)} images." if len(names) else "."
    return "."


def _outcomes(table: pd.DataFrame) -> list[str]:
    """Return the outcomes as a table, a row per classifier and question."""
    if table.empty:
        return []
    classes = table["class"].unique()
    heads = ["accuracy" if one == ACCURACY[1] else f"{one}: recall" for one in classes]
    lines = [
        "| classifier | question | " + " | ".join(heads) + " |",
        "|---|---|" + "---|" * len(heads),
    ]
    for _, rows in table.groupby(["classifier", "question"], sort=False):
        name, key = rows[["classifier", "question"]].iloc[0]
        cells = [f"{row['outcome']}: {_difference(row)}" for row in rows.to_dict("records")]
        lines.append(f"| {TITLES[name]} | {QUESTIONS[key].text} | " + " | ".join(cells) + " |")
    return lines


def _doses(doses: pd.DataFrame) -> list[str]:
    cells = doses.query("metric == 'accuracy' and ratio > 0").dropna(subset="difference")
    if cells.empty:
        return []
    raised = (cells["difference_ci_low"] > 0).sum()
    lowered = (cells["difference_ci_high"] < 0).sum()
    return [
        f"- Of {len(cells)} doses beside real images, {raised} raise the accuracy of "
        f"{TITLES['skinlesnet']}, {lowered} lower it and {len(cells) - raised - lowered} are "
        "inconclusive (`dose_response.csv`); by chance alone one in twenty would differ."
    ]


def _controls(scored: Mapping[str, Scored], evidence: Evidence) -> list[str]:
    total = sum(evidence.test_images.values())
    leak = " **The test set leaks.**" if evidence.shared else ""
    lines = [
        f"- {evidence.shared:,} of {total:,} test images share an image, lesion or patient with "
        f"the training images of a DDPM or a classifier.{leak}"
    ]
    if evidence.imported:
        lines.append(
            f"- The DDPM of {', '.join(evidence.imported)} was trained elsewhere, **maybe on test "
            "images.**"
        )
    for name, scores in scored.items():
        if "shuffled" in scores.values:
            chance, shuffled = 1 / len(scores.classes), scores.estimate("shuffled", ACCURACY)
            if pd.isna(shuffled.low):
                judged = "no interval"
            elif shuffled.low <= chance <= shuffled.high:
                judged = "as expected"
            else:
                judged = "**not at chance: look for a bug**"
            lines.append(
                f"- {TITLES[name]} with shuffled labels: accuracy {_number(shuffled)}, chance "
                f"{chance:.2f}: {judged}."
            )
    lines += [
        f"- Copies of training images among the synthetic ones of {name}: {copies}."
        for name, copies in evidence.copies.items()
    ]
    return lines


def _limits(scored: Mapping[str, Scored], evidence: Evidence) -> list[str]:
    repeats = min(s.runs[arm]["n_repeats"] for s in scored.values() for arm in s.runs)
    trainings = f"{repeats} trainings per classifier" if repeats > 1 else "no repeated training"
    lines = [
        f"- One data set ({evidence.stamp.get('data')}) and one DDPM per class. Intervals cover "
        f"{evidence.test_groups:,} independent test images or patients and {trainings} "
        "(`cas.n_repeats`).",
        "- Training and test images may share shortcuts: `results/audit/encoding.csv`.",
        "- The test set is balanced; a clinic's prevalence, thresholds and costs differ.",
    ]
    if evidence.stamp.get("data") == "phantom":
        lines.append("- No patients: phantom images are drawn by a program.")
    if (scale := evidence.stamp.get("scale")) in ("demo", "smoke"):
        lines.append(f"- Nets of scale {scale} are small and trained briefly.")
    return lines


def _difference(row: Mapping[Any, Any]) -> str:
    return _shown(row["difference"], row["ci_low"], row["ci_high"], "+")


def _number(estimate: Estimate) -> str:
    return _shown(estimate.value, estimate.low, estimate.high, "")


def _shown(value: float, low: float, high: float, sign: str) -> str:
    if pd.isna(low):
        return f"{value:{sign}.3f}"
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"
