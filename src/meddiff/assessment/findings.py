"""What is wrong with synthetic images, or right, in sentences with their numbers."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from meddiff.assessment.training import Training
from meddiff.cas.scoring import ACCURACY
from meddiff.cas.verdict import EXCLUDED
from meddiff.cas.verdict_text import difference
from meddiff.core.text import with_interval
from meddiff.data.image_sets import ImageSet
from meddiff.evaluation.compared import ALL
from meddiff.evaluation.evaluate import ScoredSets
from meddiff.metrics.intervals import LEAST, share_interval
from meddiff.metrics.sharpness import sharpness
from meddiff.reporting.names import name_of

Kind = Literal["answer", "problem", "good", "doubt"]
NEAR, FAR = 0.9, 0.5
"""Scores from which images are as near as real ones, and below which they are nearer to noise."""
LOST = 0.1
"""Part of precision or coverage that unseen real images reach and synthetic ones do not."""
SHARPER = 1.5
"""Ratio of details in the median from which images count as noisy; below its inverse, blurred."""


@dataclass(frozen=True)
class Finding:
    """A sentence on synthetic images.

    Attributes:
        kind: the answer; a problem; something that is as it should be; a doubt about the answer.
        text: the sentence.
    """

    kind: Kind
    text: str


def findings(
    evaluation: ScoredSets, real: ImageSet, synthetic: ImageSet, training: Training | None
) -> list[Finding]:
    """Return the answer first, then problems, what is right, and doubts."""
    findings = [
        *_copies(evaluation),
        *_classes(evaluation, training),
        *_scores(evaluation),
        *_sharpness(real, synthetic),
        *_support(evaluation),
    ]
    problems = [finding for finding in findings if finding.kind == "problem"]
    if training is None:
        answer = _untrained(evaluation, problems, real.groups)
    else:
        answer = _trained(training, problems)
    order = ("answer", "problem", "good", "doubt")
    return sorted([answer, *findings], key=lambda finding: order.index(finding.kind))


def _trained(training: Training, problems: list[Finding]) -> Finding:
    """Return the answer of the classifier that is best on validation images."""
    rows = training.verdict[
        (training.verdict["question"] == "replace") & (training.verdict["metric"] == ACCURACY[0])
    ]
    row = rows.iloc[0].to_dict()
    if row["outcome"] == EXCLUDED:
        return Finding("answer", f"No answer: {row['note']}.")
    accuracies = (
        f"a classifier trained on them has an accuracy of {row['value']:.3f} on real images, one "
        f"trained on real ones {row['baseline_value']:.3f} (difference {difference(row)})"
    )
    # The page shows what stands before the colon in large letters.
    text = {
        "non-inferior": "The synthetic images can replace real ones as training images",
        "inferior": "The synthetic images cannot replace real ones as training images",
        "worse": "The synthetic images are worse than real ones as training images",
    }.get(row["outcome"], "Whether synthetic images can replace real ones is not shown")
    but = ", with the problems below" if problems and row["outcome"] == "non-inferior" else ""
    return Finding("answer", f"{text}{but}: {accuracies}.")


def _untrained(
    evaluation: ScoredSets, problems: list[Finding], groups: Sequence[str] | None
) -> Finding:
    copies, count = evaluation.memorisation, len(problems)
    if copies and copies.identical > len(copies.distances) / 2:
        return Finding("answer", "The synthetic images are copies of the real ones.")
    if count:
        text = "one problem" if count == 1 else f"{count} problems"
        return Finding("answer", f"The synthetic images differ from the real ones: {text}.")
    rows = evaluation.scores
    kid = rows[(rows["metric"] == "kid") & (rows["class"] == ALL)]
    if kid.empty:
        return Finding("answer", "Compared with real images by pixels alone: name an --extractor.")
    if kid["score"].isna().all():
        return Finding("answer", f"It cannot be judged: {_no_score(kid, groups)}.")
    text = "No difference from real images was found; --train says what they teach."
    return Finding("answer", text)


def _no_score(kid: pd.DataFrame, groups: Sequence[str] | None) -> str:
    """Return why rows of KID have no score."""
    count = LEAST if groups is None else len(set(groups))
    if count < LEAST:
        images = "one patient or lesion" if count == 1 else f"{count} patients or lesions"
        return (
            f"all real images are of {images}, and those of {LEAST} or more are needed to say how "
            "far unseen real ones would be"
        )
    notes = kid["note"].dropna()
    return str(notes.iloc[0]) if len(notes) else "there are too few real images for a score"


def _seen_by_features(evaluation: ScoredSets) -> list[str]:
    """Return the extractors in whose features single images are closer than chance allows."""
    copies = evaluation.changed_copies.items()
    return [name for name, each in copies if each.identical or each.suspects_p < 0.01]


def _copies(evaluation: ScoredSets) -> Iterator[Finding]:
    copies = evaluation.memorisation
    if copies is None:
        reason = evaluation.left_out.get("copies", "copies: not searched for")
        yield Finding("doubt", f"{reason.capitalize()}.")
        return
    count = len(copies.distances)
    if copies.verdict == "copies":
        yield Finding(
            "problem",
            f"{copies.identical} of {count} synthetic images are copies of real ones, or nearly: "
            "they show patients, and add nothing to the images that they copy.",
        )
    elif copies.verdict == "no copies" and (seen := _seen_by_features(evaluation)):
        yield Finding(
            "doubt",
            f"Pixels find no copies, but by features of {', '.join(map(name_of, seen))} synthetic "
            "images are closer to real ones than other real images are: they may be cropped, "
            "shifted or recoloured copies. Look at the closest pairs.",
        )
    elif copies.verdict == "no copies":
        yield Finding("good", "No synthetic image is a copy of a real one, as far as pixels tell.")
    else:
        yield Finding(
            "doubt",
            f"Synthetic images are closer to real ones than other real images are (in the median "
            f"{copies.synthetic:.3g} instead of {copies.unseen:.3g} grey levels): changed copies, "
            "or images without details. Look at the closest pairs.",
        )


def _classes(evaluation: ScoredSets, training: Training | None) -> Iterator[Finding]:
    """Yield classes whose images are taken for others, by classifiers or by distances."""
    if training is not None:
        lead = training.verdict["classifier"].iloc[0]
        shares = training.recognised[training.recognised["classifier"] == lead]
        for name, rows in shares.groupby("class", sort=False):
            top = rows.loc[rows["share"].idxmax()]
            count = round(top["share"] * top["n_images"])
            surely = share_interval(count, int(top["n_images"])).low > 0.5 > top["real_share"]
            if top["predicted"] != name and surely:
                yield Finding(
                    "problem",
                    f"{top['share']:.0%} of the synthetic images of {name} are taken for "
                    f"{top['predicted']} by a classifier trained on real images, and "
                    f"{top['real_share']:.0%} of real ones: labels are exchanged, or the images "
                    "show another class.",
                )
    scores = evaluation.scores[evaluation.scores["metric"] == "kid"]
    for _, rows in scores.groupby("extractor", sort=False):
        of_all = rows.loc[rows["class"] == ALL, "score"].max()
        surely_below = rows["score_ci_high"] < min(of_all - LOST, NEAR)
        poor = rows[surely_below & (rows["class"] != ALL)]
        if len(poor):
            listed = ", ".join(
                f"{row['class']} {_with_ends(row, 'score')}" for row in poor.to_dict("records")
            )
            yield Finding(
                "problem",
                f"Images of a class are farther from real ones of it ({listed}, KID of "
                f"{name_of(rows['extractor'].iloc[0])}) than all are from all ({of_all:.2f}): "
                "labels are exchanged, or a class is less well drawn.",
            )


def _with_ends(row: Mapping[Hashable, Any], name: str) -> str:
    return with_interval(row[name], row[f"{name}_ci_low"], row[f"{name}_ci_high"], ".2f")


def _scores(evaluation: ScoredSets) -> Iterator[Finding]:
    rows = evaluation.scores[evaluation.scores["class"] == ALL].dropna(subset=["score"])
    for row in rows[rows["metric"] == "kid"].to_dict("records"):
        score = _with_ends(row, "score")
        where = (
            f"KID of {name_of(row['extractor'])}: {score}, where 1 is unseen real images, 0 noise"
        )
        if row["score_ci_high"] < FAR:
            yield Finding("problem", f"They are nearer to noise than to real images ({where}).")
        elif row["score_ci_high"] < NEAR:
            yield Finding("problem", f"They are not as near as unseen real images ({where}).")
        elif row["score"] >= NEAR:
            yield Finding("good", f"They are as near to real images as unseen ones ({where}).")


def _support(evaluation: ScoredSets) -> Iterator[Finding]:
    rows = evaluation.scores[evaluation.scores["class"] == ALL]
    words = {
        "precision": "synthetic images lie where real images do: the others are unreal",
        "coverage": "real images have a synthetic one near them: variety is lacking",
    }
    for row in rows[rows["metric"].isin(words)].to_dict("records"):
        metric, extractor = row["metric"], name_of(row["extractor"])
        if pd.isna(row["floor"]):
            continue
        text = f"{row['value']:.0%} of the {words[metric]} ({metric} of {extractor}; unseen real "
        if row["ci_high"] < row["floor"] - LOST:
            yield Finding("problem", f"Only {text}images reach {row['floor']:.0%}).")


def _sharpness(real: ImageSet, synthetic: ImageSet) -> Iterator[Finding]:
    """Yield whether images have more or less detail than real ones, beyond chance."""
    from scipy.stats import mannwhitneyu

    ours, theirs = sharpness(synthetic.images), sharpness(real.images)
    if not theirs.any():
        return
    ratio = float((np.median(ours) / max(np.median(theirs), 1e-9)) ** 0.5)
    if 1 / SHARPER < ratio < SHARPER or mannwhitneyu(ours, theirs).pvalue > 1e-3:
        return
    what = "blurred: details have" if ratio < 1 else "noisy, or sharpened: details have"
    yield Finding(
        "problem",
        f"They look {what} {ratio:.2g} times the contrast of those of real images (root of the "
        "median variance of the Laplacian).",
    )
