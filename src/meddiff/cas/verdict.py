"""Whether synthetic images can replace, complement or harm real ones, in plain words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from meddiff.cas.registry import KINDS
from meddiff.cas.scoring import ACCURACY, Scored
from meddiff.metrics.intervals import Estimate
from meddiff.metrics.probabilities import Score

NAMES = {name: kind.title for name, kind in KINDS.items()}


@dataclass(frozen=True)
class Evidence:
    """What the verdict rests on besides the scores.

    Attributes:
        stamp: data, scale, protocol and seed.
        margin: difference that does not matter.
        test_images: images tested on, by class.
        test_groups: patients, lesions or duplicates among them.
        shared: test images that share an image, lesion or patient with what a DDPM or a classifier
            has learnt from.
        imported: classes whose DDPM was trained elsewhere, on images that are not known.
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


def replaces(difference: Estimate, margin: float) -> str:
    """Answer whether what is trained on synthetic images is no worse by the margin.

    Returns "yes", "no", "worse" where it is worse but perhaps by less than the margin, or "open".

    Args:
        difference: of the score to that of real images.
        margin: difference that does not matter.
    """
    if difference.low > -margin:
        return "yes"
    if difference.high < -margin:
        return "no"
    return "worse" if difference.high < 0 else "open"


def effect(difference: Estimate, margin: float) -> str:
    """Say what an addition does to a score: helps, harms, no matter, or open."""
    if difference.low > 0:
        return "helps"
    if difference.high < 0:
        return "harms"
    if -margin < difference.low and difference.high < margin:
        return "no matter"
    return "open"


def verdict(scored: Mapping[str, Scored], evidence: Evidence) -> str:
    """Return the verdict as Markdown.

    Args:
        scored: scores of the arms by classifier; the one that real images make the most accurate
            on the validation images answers first: by the test images, it would be the luckiest.
        evidence: what else is known.
    """
    parts = [
        "# Are the synthetic images good enough to train on?",
        _made_of(evidence),
        _answer(scored, evidence),
        *(_classifier(name, found, evidence) for name, found in scored.items()),
        _doses(evidence),
        _controls(scored, evidence),
        _limits(scored, evidence),
        _reading(evidence),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _made_of(evidence: Evidence) -> str:
    told = ", ".join(f"{key} {value}" for key, value in evidence.stamp.items())
    images = ", ".join(f"{count:,} {name}" for name, count in evidence.test_images.items())
    return f"Made of: {told}. Tested on real images only: {images}."


def _answer(scored: Mapping[str, Scored], evidence: Evidence) -> str:
    troubles = {name: _trouble(found, evidence) for name, found in scored.items()}
    able = sorted(
        (name for name in scored if troubles[name] is None),
        key=lambda name: -scored[name].validation["real"],
    )
    lines = []
    for name in able:
        said = _said(scored[name], ACCURACY, evidence.margin)
        if name == able[0]:
            lines.append(
                f"- **{said}** So says {NAMES[name]}, which real images make the most accurate "
                "classifier of the validation images."
            )
        else:
            lines.append(f"- {NAMES[name]}: {said}")
        lines += [
            f"    - {one}: {_said(scored[name], ('recall', one), evidence.margin)}"
            for one in scored[name].classes
        ]
    for name, trouble in troubles.items():
        if trouble is not None:
            lines.append(f"- **{NAMES[name]}: nothing can be said.** {trouble}")
    return "\n".join(lines)


REPLACE = {
    "yes": "Synthetic images can replace the real ones here",
    "no": "Synthetic images cannot replace the real ones here",
    "worse": "Synthetic images are worse than the real ones here, if perhaps by little",
    "open": "Whether synthetic images can replace the real ones stays open",
    "unknown": "Whether synthetic images can replace the real ones is not known",
}
COMPLEMENT = {
    "helps": "Beside real ones they help: they complement them",
    "harms": "Beside real ones they harm",
    "no matter": "Beside real ones they neither help nor harm",
    "open": "Whether they help or harm beside real ones stays open",
    "unknown": "Whether they help or harm beside real ones is not known",
}


def _said(found: Scored, score: Score, margin: float) -> str:
    """Return what synthetic images do to a score, alone and beside real ones, in sentences."""
    shown = "accuracy" if score == ACCURACY else "recall"
    sentences = []
    for arm, words in (("synthetic", REPLACE), ("mixed", COMPLEMENT)):
        if not {arm, "real"} <= set(found.values):
            continue
        answer = _outcome(found, arm, "real", score, margin)
        numbers = [
            f"{shown} {found.estimate(which, score).value:.3f}"
            + f" from {found.told[which]['n_images']:,} images" * (score == ACCURACY)
            for which in (arm, "real")
        ]
        gap = _number(found.difference(arm, "real", score), sign=True)
        said = f"{words[answer]} ({numbers[0]}; real ones alone {numbers[1]}: {gap})"
        if score == ACCURACY:
            said += _but(found, arm, answer, margin)
        sentences.append(f"{said}.")
    return " ".join(sentences) or "Nothing was asked."


def _but(found: Scored, arm: str, answer: str, margin: float) -> str:
    """Say what takes from a good answer: classes that do worse, copies that do as well."""
    if arm == "synthetic" and answer == "yes":
        outcomes = {
            one: _outcome(found, arm, "real", ("recall", one), margin) for one in found.classes
        }
        unsure = [one for one, outcome in outcomes.items() if outcome != "yes"]
        return f", though not for sure each class: see {', '.join(unsure)}" if unsure else ""
    if arm == "mixed" and answer == "helps":
        copies = [
            words
            for other, words in COPIES.items()
            if other in found.values and _outcome(found, arm, other, ACCURACY, margin) != "helps"
        ]
        return f", but not for sure more than {' or '.join(copies)} do" if copies else ""
    return ""


COPIES = {"augmented": "turned and recoloured copies", "oversampled": "repeated real images"}


def _outcome(found: Scored, arm: str, other: str, score: Score, margin: float) -> str:
    gap = found.difference(arm, other, score)
    if gap.low != gap.low or min(found.told[one]["n_repeats"] for one in (arm, other)) < 2:
        return "unknown"
    return replaces(gap, margin) if arm == "synthetic" else effect(gap, margin)


def _trouble(found: Scored, evidence: Evidence) -> str | None:
    """Say why a classifier proves nothing: the test leaks, real images teach nothing, or wrong
    labels much."""
    if evidence.shared:
        return "The test leaks: see the controls."
    if "real" not in found.values:
        return "There is no arm `real` to compare with."
    chance = 1 / len(found.classes)
    real = found.estimate("real", ACCURACY)
    if (real.value if real.low != real.low else real.low) <= chance:
        return (
            "It is not sure that even real images teach it more than chance: accuracy "
            f"{_number(real)}, chance {chance:.2f}. Train longer, or take more images."
        )
    if "shuffled" in found.values:
        wrong = found.estimate("shuffled", ACCURACY)
        if wrong.low > chance + evidence.margin:
            return f"It learns from shuffled labels: accuracy {_number(wrong)}. Look for a fault."
    return None


def _classifier(name: str, found: Scored, evidence: Evidence) -> str:
    if "real" not in found.values:
        return ""
    scores: list[tuple[str, Score]] = [("all classes: accuracy", ACCURACY)]
    scores += [(f"{one}: recall", ("recall", one)) for one in found.classes]
    arms = [arm for arm in found.values if arm not in ("real", "shuffled")]
    lines = [
        f"## {NAMES[name]}",
        "",
        "| trained on | images | " + " | ".join(label for label, _ in scores) + " |",
        "|---|---|" + "---|" * len(scores),
    ]
    for arm in ["real", *arms, *(["shuffled"] if "shuffled" in found.values else [])]:
        cells = [_number(found.estimate(arm, score)) for _, score in scores]
        count = found.told[arm]["n_images"]
        lines.append(f"| {arm} | {count:,} | " + " | ".join(cells) + " |")
    questions = [
        ("Can synthetic images replace real ones?", "synthetic", "real"),
        ("Is one synthetic image as good as one real one?", "synthetic", "matched"),
        ("Do they complement real ones, or harm?", "mixed", "real"),
        ("Do they add more than turned and recoloured copies?", "mixed", "augmented"),
        ("Do they add more than real images repeated?", "mixed", "oversampled"),
    ]
    lines += ["", "| question | " + " | ".join(label for label, _ in scores) + " |"]
    lines += ["|---|" + "---|" * len(scores)]
    for question, arm, other in questions:
        if not {arm, other} <= set(found.values):
            continue
        answers = []
        for _, score in scores:
            gap = _number(found.difference(arm, other, score), sign=True)
            answers.append(f"{_outcome(found, arm, other, score, evidence.margin)}: {gap}")
        lines.append(f"| {question} | " + " | ".join(answers) + " |")
    return "\n".join(lines)


def _doses(evidence: Evidence) -> str:
    if evidence.doses is None:
        return ""
    cells = evidence.doses.query("metric == 'accuracy' and ratio > 0").dropna(subset="difference")
    if cells.empty:
        return ""
    helped = cells[cells["difference_ci_low"] > 0]
    harmed = cells[cells["difference_ci_high"] < 0]
    lines = [
        "## Where they help, where they harm",
        "",
        f"Of {len(cells)} doses of synthetic images beside real ones, {len(helped)} raise the "
        f"accuracy of {NAMES['skinlesnet']}, {len(harmed)} lower it, and "
        f"{len(cells) - len(helped) - len(harmed)} stay open. By chance alone one in twenty would "
        "seem to. Each is compared with the same real images alone: copies were not tried here.",
    ]
    for title, some in (("Raised", helped), ("Lowered", harmed)):
        for row in some.to_dict("records"):
            gap = f"{row['difference']:+.3f} [{row['difference_ci_low']:+.3f}, "
            gap += f"{row['difference_ci_high']:+.3f}]"
            lines.append(
                f"- {title}: {row['n_real']:,.0f} real images "
                f"({row['fraction']:.0%} of them) and {row['n_synthetic']:,.0f} synthetic: {gap}"
            )
    return "\n".join(lines)


def _controls(scored: Mapping[str, Scored], evidence: Evidence) -> str:
    lines = ["## Controls", ""]
    total = sum(evidence.test_images.values())
    lines.append(
        f"- {evidence.shared:,} of {total:,} test images share an image, or a lesion or patient "
        "where these are known, with what a DDPM or a classifier has learnt from."
        + ("" if evidence.shared == 0 else " **Scores on them prove nothing: the test leaks.**")
    )
    if evidence.imported:
        lines.append(
            f"- The DDPM of {', '.join(evidence.imported)} was trained elsewhere, on images that "
            "are not known. **It may have seen the test images.**"
        )
    for name, found in scored.items():
        if "shuffled" not in found.values:
            continue
        chance = 1 / len(found.classes)
        wrong = found.estimate("shuffled", ACCURACY)
        judged = (
            "Too few test images to judge."
            if wrong.low != wrong.low
            else "As it should be."
            if wrong.low <= chance <= wrong.high
            else "**It should be at chance: look for a fault.**"
        )
        lines.append(
            f"- {NAMES[name]} with shuffled labels: accuracy {_number(wrong)}; chance is "
            f"{chance:.2f}. {judged}"
        )
    for name, told in evidence.copies.items():
        lines.append(f"- Copies of training images among the synthetic ones of {name}: {told}.")
    return "\n".join(lines)


def _limits(scored: Mapping[str, Scored], evidence: Evidence) -> str:
    seeds = min(found.told[arm]["n_repeats"] for found in scored.values() for arm in found.told)
    trainings = (
        f"that of the {seeds} trainings of each classifier, but"
        if seeds > 1
        else "neither that of training a classifier again, done once (`cas.n_repeats`),"
    )
    lines = [
        "## What this evidence does not cover",
        "",
        f"- Other data: it speaks of {evidence.stamp.get('data', 'these')} images prepared as "
        "here, and of no other camera, clinic or population.",
        "- Other DDPMs: each class has one. Intervals hold the chance of the "
        f"{evidence.test_groups:,} independent test images or patients and {trainings} not that of "
        "training the DDPMs again.",
        f"- Other classifiers than {', '.join(NAMES[name] for name in scored)}, and longer "
        "trainings.",
        "- Shortcuts that training and test images share, such as their encoding: "
        "`results/audit/encoding.csv`.",
        "- Use in a clinic: thresholds, prevalence and the cost of errors are others there. The "
        "test set has as many images of each class.",
    ]
    if evidence.stamp.get("data") == "phantom":
        lines.append("- Patients: phantom images are drawn by a program.")
    if evidence.stamp.get("scale") in ("demo", "smoke"):
        lines.append(
            f"- The study: nets of scale {evidence.stamp['scale']} are small and trained briefly."
        )
    return "\n".join(lines)


def _reading(evidence: Evidence) -> str:
    return "\n".join(
        [
            "## How to read this",
            "",
            "Numbers stand with 95 % intervals. Differences are taken training by training and "
            f"image by image. A difference below {evidence.margin:g} is held not to matter "
            "(`cas.non_inferiority_margin`).",
            "",
            f"- *yes*: at worst {evidence.margin:g} below real images; *no*: more below for sure; "
            "*worse*: below for sure, by more or less than that.",
            "- *helps*, *harms*: the whole interval is above, or below, zero; *no matter*: it lies "
            f"within {evidence.margin:g} of zero.",
            "- *open*: the interval allows both; more test images or seeds would tell. *unknown*: "
            "one training, or fewer than four groups of test images with a class.",
            "",
            "Intervals hold one by one: of twenty, one may miss.",
        ]
    )


def _number(found: Estimate, *, sign: bool = False) -> str:
    form = "+.3f" if sign else ".3f"
    if found.low != found.low:
        return f"{found.value:{form}}"
    return f"{found.value:{form}} [{found.low:{form}}, {found.high:{form}}]"
