"""What synthetic images teach a classifier: the verdict's differences, Table 5.3, doses."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from meddiff.reporting.names import name_of
from meddiff.reporting.page.charts import Chart, Mark, Scale, curves_chart, marks_chart
from meddiff.reporting.page.heat import dose_table
from meddiff.reporting.page.sections import Contents, Part, Section, mark_of, pictures_of

ARMS = {
    "synthetic": "synthetic images alone",
    "matched": "as many real images",
    "real": "real images",
    "mixed": "real and synthetic",
    "augmented": "real and augmented",
    "oversampled": "real, repeated",
    "shuffled": "real, labels shuffled",
}
"""What a classifier was trained on, by name of the arm."""


def answer_section(contents: Contents) -> Section | None:
    """Return what the answer rests on beside its differences: classes, controls and limits."""
    table = contents.tables.get("verdict")
    if table is None or table.empty:
        return None
    parts = [
        Part(
            "By class",
            "Differences of the recall of each class: a small one overall can hide a larger one.",
            [forest(table, contents.questions, by_class=True)],
        ),
        Part("Controls", lines=contents.controls),
        Part("Limits", lines=contents.limits),
    ]
    return Section("answer", "What the answer rests on", "Answer", parts)


def how_to_read(table: pd.DataFrame) -> str:
    """Return what the chart of the verdict's differences shows."""
    return (
        "Accuracy on real images less that of the training it is compared with [95 % interval]. "
        f"Within the grey band, the margin of ±{table['margin'].iloc[0]:g}, a difference does not "
        "matter; left of it synthetic images harm. The classifier that is most accurate on "
        "validation images comes first."
    )


def forest(
    table: pd.DataFrame,
    questions: Mapping[str, str],
    *,
    by_class: bool = False,
    name: str = "verdict",
) -> Chart:
    """Draw the differences of the verdict's table with their intervals and the margin.

    Args:
        table: columns classifier, question, metric, class, difference, its ends, outcome, margin.
        by_class: whether recalls of the two main questions, instead of accuracies of all.
        name: of the table in the page; rows are not linked if it is empty.
    """
    rows = table[table["metric"].ne("accuracy") if by_class else table["metric"].eq("accuracy")]
    if by_class:
        rows = rows[rows["question"].isin(["replace", "add"])]
    marks = []
    for place, row in rows.to_dict("index").items():
        question = questions.get(row["question"], row["question"])
        label, group = question, name_of(row["classifier"])
        if row["outcome"] == "excluded":
            group += ", excluded: no answer"
        if by_class:
            label, group = row["class"], f"{group}: {question}"
        marks.append(mark_of(row, label, name, place, column="difference", sign="+", group=group))
    margin = float(table["margin"].iloc[0])
    low, high = _reach([*marks], margin)
    what = "recalls" if by_class else "accuracies"
    scale = Scale(f"difference of {what}", low, high, {"no difference": 0.0}, (-margin, margin))
    return marks_chart(marks, scale, f"Differences of {what} with their intervals, and the margin")


def _reach(marks: Sequence[Mark], margin: float) -> tuple[float, float]:
    """Return the ends of a scale that shows every interval and twice the margin."""
    numbers = [end for mark in marks for end in (mark.value, mark.low, mark.high)]
    finite = [each for each in numbers if not np.isnan(each)]
    low, high = min([*finite, -2 * margin]), max([*finite, 2 * margin])
    space = 0.05 * (high - low)
    return low - space, high + space


def taught_section(contents: Contents) -> Section | None:
    """Return accuracies by what a classifier was trained on (Table 5.3), and the doses."""
    charts = [
        arms_chart(contents.tables[name], len(contents.classes), name)
        for name in ("table_5_3", "cas_hog_svm")
        if name in contents.tables
    ]
    doses = contents.tables.get("dose_response")
    if not charts and doses is None:
        return None
    return Section(
        "taught", "What do they teach a classifier? (Table 5.3)", "Training on them",
        [accuracies(charts), *_reliability(contents), *([] if doses is None else [_doses(doses)])],
    )  # fmt: skip


def _reliability(contents: Contents) -> list[Part]:
    curves = pictures_of(contents, {"figures/cas/reliability": (
        "Observed frequency of a class by its predicted probability; the dotted line is a perfect "
        "fit", "Reliability curves by classifier and arm")})  # fmt: skip
    return [Part("Are the probabilities right?", pictures=curves)] if curves else []


def accuracies(charts: Sequence[Chart]) -> Part:
    """Return the part of charts by `arms_chart`."""
    return Part(
        "Accuracy on real images",
        "By what a classifier was trained on; the upright mark is the accuracy from real images, "
        "the dotted line chance.",
        charts,
    )


def arms_chart(table: pd.DataFrame, classes: int, name: str) -> Chart:
    """Draw the accuracy of every arm and classifier of a table such as Table 5.3."""
    rows = table[table["metric"] == "accuracy"]
    real = rows[rows["arm"] == "real"].set_index("classifier")["value"]
    marks = [
        mark_of(row, ARMS.get(row["arm"], row["arm"]), name, place,
                group=name_of(row["classifier"]), reference=real.get(row["classifier"], np.nan))
        for place, row in rows.to_dict("index").items()
    ]  # fmt: skip
    scale = Scale("accuracy on real test images", 0, 1, {"chance": 1 / max(1, classes)})
    return marks_chart(marks, scale, "Accuracies by what classifiers were trained on")


def _doses(table: pd.DataFrame) -> Part:
    rows = table[table["metric"] == "accuracy"].dropna(subset=["value"])
    curves = {
        f"{fraction:.0%} of the real images": [
            (row["ratio"], row["value"], row["ci_low"], row["ci_high"])
            for row in line.sort_values("ratio").to_dict("records")
        ]
        for fraction, line in rows.groupby("fraction")
    }
    charts = [
        curves_chart(curves, "synthetic images per real one", "accuracy on real test images",
                     "Accuracy by number of synthetic images beside parts of the real ones")
    ] if curves else []  # fmt: skip
    return Part(
        "How many beside real ones? (dose-response)",
        "SkinLesNet trained on parts of the real images with more and more synthetic ones beside "
        "them; bands and hover: 95 % intervals. By chance alone one cell in twenty would differ.",
        charts,
        tables=[dose_table(table, "dose_response")],
    )
