"""The seven criteria of a scorecard for synthetic medical data, and the result of each."""

import pandas as pd

from meddiff.assessment.evaluate import Evaluation
from meddiff.core.text import with_interval
from meddiff.evaluation.compared import ALL
from meddiff.reporting.names import name_of

AFFECTS_RESULTS = False


def criteria(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """Return name, the result, and what it leaves open, of each criterion of Zamzmi et al. 2025."""
    return [
        (
            "Congruence",
            _all(evaluation, "kid", "score", "KID's score (1: as near as unseen real images)"),
            "likeness of what a physician measures.",
        ),
        (
            "Coverage",
            f"{_all(evaluation, 'coverage', 'value', 'Coverage')} "
            f"{_all(evaluation, 'recall', 'value', 'Recall')} {_novelty(evaluation)}".strip(),
            "kinds of patients that REAL itself lacks.",
        ),
        (
            "Constraint",
            _all(evaluation, "precision", "value", "Precision, images that look like real ones"),
            "whether anatomy is possible: let physicians look, at the images above first.",
        ),
        (
            "Completeness",
            "Classes of the images are those of REAL."
            if (evaluation.scores["class"] != ALL).any()
            else "The images have no classes here.",
            "age, sex, scanner, annotations: this program reads none of a synthetic image.",
        ),
        (
            "Comprehension",
            "This program sees images, not how they were made.",
            "the generator, its training images and its settings: ask for them.",
        ),
        ("Compliance", _copies(evaluation), "privacy in any legal sense; consent; licences."),
        ("Consistency", _classes(evaluation), "subgroups other than classes; other hospitals."),
    ]


def _all(evaluation: Evaluation, metric: str, column: str, title: str) -> str:
    rows = evaluation.scores
    rows = rows[(rows["metric"] == metric) & (rows["class"] == ALL)].dropna(subset=[column])
    if rows.empty:
        return f"{title.split(' (')[0].split(',')[0]}: not measured."
    prefix = "" if column == "value" else f"{column}_"
    columns = [column, f"{prefix}ci_low", f"{prefix}ci_high"]
    parts = []
    for row in rows.to_dict("records"):
        value, low, high = (row[name] for name in columns)
        floor = "" if column == "score" or pd.isna(row["floor"]) else f", real {row['floor']:.2f}"
        shown = with_interval(value, low, high, ".2f")
        parts.append(f"{shown} ({name_of(row['extractor'])}{floor})")
    return f"{title}: {'; '.join(parts)}."


def _novelty(evaluation: Evaluation) -> str:
    synthetic = evaluation.images[evaluation.images["image_set"] == "synthetic"]
    share = synthetic["authentic"].astype(float).mean()
    if pd.isna(share):
        return ""
    return f"Novel (authentic): {share:.0%} of the synthetic images."


def _copies(evaluation: Evaluation) -> str:
    copies = evaluation.memorisation
    if copies is None:
        return "Copies were not searched for."
    return (
        f"Copies of real images: {copies.verdict}; {copies.identical} of {len(copies.distances)} "
        "nearly equal, as stored, turned or mirrored."
    )


def _classes(evaluation: Evaluation) -> str:
    rows = evaluation.scores
    rows = rows[(rows["metric"] == "kid") & ~rows["class"].isin([ALL])].dropna(subset=["score"])
    if rows.empty:
        return "No class has a score of its own."
    parts = [
        f"{row['class']} {row['score']:.2f} ({name_of(row['extractor'])})"
        for row in rows.to_dict("records")
    ]
    return f"KID's score by class: {', '.join(parts)}."
