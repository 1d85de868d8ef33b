"""What only some runs measure: other generators, the weight of guidance, readers."""

from collections.abc import Callable, Iterator

import pandas as pd

from meddiff.reporting.names import name_of
from meddiff.reporting.page.charts import Chart, Scale, marks_chart
from meddiff.reporting.page.quality import SCORE
from meddiff.reporting.page.sections import Contents, Part, Section, mark_of, pictures_of

RATES = ("accuracy", "hit_rate", "false_alarm_rate", "roc_auc")
"""Scores of readers between 0 and 1."""


def further_section(contents: Contents) -> Section | None:
    """Return what the run measured beside the questions of every run."""
    builders: dict[str, Callable[[Contents, pd.DataFrame], Part]] = {
        "generators": _generators,
        "reader_study": _readers,
        "guidance": _guidance,
    }
    parts = [
        build(contents, contents.tables[name])
        for name, build in builders.items()
        if name in contents.tables
    ]
    return Section("further", "Against what, and by whom?", "Further", parts) if parts else None


def _generators(contents: Contents, table: pd.DataFrame) -> Part:
    return Part(
        "Several generators",
        "As many images per class of each. Scores are between noise (0) and unseen real images "
        "(1); accuracies are of classifiers trained on synthetic images alone, on real images.",
        list(_by_generator(table)),
    )


def _by_generator(table: pd.DataFrame) -> Iterator[Chart]:
    scored = table.dropna(subset=["score"]).sort_values(
        ["class", "metric", "extractor"], kind="stable"
    )
    if len(scored):
        marks = [
            mark_of(row, row["generator"], "generators", place, column="score",
                    group=f"{row['class']}: {name_of(row['metric'])} {name_of(row['extractor'])}")
            for place, row in scored.to_dict("index").items()
        ]  # fmt: skip
        yield marks_chart(marks, SCORE, "Scores of FID and KID by generator, with intervals")
    trained = table[table["metric"].eq("accuracy") & table["arm"].isin(["synthetic", "real"])]
    if len(trained):
        marks = [
            mark_of(row, row["generator"], "generators", place, group=name_of(row["classifier"]))
            for place, row in trained.sort_values("classifier", kind="stable")
            .to_dict("index").items()
        ]  # fmt: skip
        yield marks_chart(marks, Scale("accuracy on real test images", 0, 1, {}),
                          "Accuracies by generator that a classifier was trained on")  # fmt: skip


def _readers(contents: Contents, table: pd.DataFrame) -> Part:
    rates = table[table["metric"].isin(RATES)].sort_values("metric", kind="stable")
    marks = [
        mark_of(row, "all readers" if row["reader"] == "all" else f"reader {row['reader']}",
                "reader_study", place, group=name_of(row["metric"]))
        for place, row in rates.to_dict("index").items()
    ]  # fmt: skip
    scale = Scale("share, or area under the ROC curve", 0, 1, {})
    return Part(
        "Readers",
        "How well readers distinguished synthetic from real images, blinded, both equally often: "
        "0.5 is guessing, for m images to choose from 1/m.",
        [marks_chart(marks, scale, "Scores of readers with intervals")] if marks else [],
    )


def _guidance(contents: Contents, table: pd.DataFrame) -> Part:
    return Part(
        "Weight of guidance",
        "Distance, recall and accuracy by the weight of classifier-free guidance: more weight, "
        "images nearer to their class and less varied. Every row is in `results/guidance.csv`.",
        pictures=pictures_of(contents, {"figures/guidance": (
            "FID, recall and accuracy by the weight of guidance",
            "Curves of FID, recall and accuracy by the weight of guidance")}),
    )  # fmt: skip
