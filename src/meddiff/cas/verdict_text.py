"""The verdict as text."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from meddiff.cas.classifiers import TITLES
from meddiff.cas.scoring import ACCURACY, Scored
from meddiff.cas.verdict import EXCLUDED, QUESTIONS, Evidence, exclusion, shown
from meddiff.metrics.intervals import LEVEL, Estimate


def verdict_text(table: pd.DataFrame, scored: Mapping[str, Scored], evidence: Evidence) -> str:
    """Return the verdict as Markdown, from `verdict_table`."""
    wording = evidence.wording
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
        f"{evidence.margin:g} ({wording.margin}). *non-inferior*: above -margin; "
        "*inferior*: below -margin; *better*, *worse*: above, below 0; *equivalent*: within the "
        "margin; *inconclusive*: more test images or repeats would tell. Each interval holds "
        f"alone: one in twenty misses. Scores of every arm: {wording.scores}.",
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
        f"the training images of {evidence.wording.learners}.{leak}"
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
                f"- {TITLES[name]} with shuffled labels: accuracy {shown(shuffled)}, chance "
                f"{chance:.2f}: {judged}."
            )
    lines += [
        f"- Copies of training images among the synthetic ones of {name}: {copies}."
        for name, copies in evidence.copies.items()
    ]
    lines += [f"- {doubt}" for doubt in evidence.wording.doubts]
    return lines


def _limits(scored: Mapping[str, Scored], evidence: Evidence) -> list[str]:
    repeats = min(s.runs[arm]["n_repeats"] for s in scored.values() for arm in s.runs)
    trainings = f"{repeats} trainings per classifier" if repeats > 1 else "no repeated training"
    wording = evidence.wording
    lines = [
        f"- One data set ({evidence.stamp.get('data')}) and {wording.generators}. Intervals cover "
        f"{evidence.test_groups:,} independent test images or patients and {trainings} "
        f"({wording.repeats}).",
        f"- Training and test images may share shortcuts: {wording.encoding}.",
        "- The test set is balanced; a clinic's prevalence, thresholds and costs differ.",
    ]
    if evidence.stamp.get("data") == "phantom":
        lines.append("- No patients: phantom images are drawn by a program.")
    if (scale := evidence.stamp.get("scale")) in ("demo", "smoke"):
        lines.append(f"- Nets of scale {scale} are small and trained briefly.")
    return lines


def _difference(row: Mapping[Any, Any]) -> str:
    ends = row["ci_low"], row["ci_high"]
    return shown(Estimate(row["difference"], *ends, error=float("nan"), level=LEVEL), "+")
