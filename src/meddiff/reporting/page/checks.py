"""What was checked: copies of training images, the data, and the study's printed numbers."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from meddiff.reporting.names import name_of
from meddiff.reporting.page.charts import Scale, marks_chart
from meddiff.reporting.page.html import Cell, Table, anchor, rows_of
from meddiff.reporting.page.sections import (
    Contents,
    Part,
    Section,
    mark_of,
    number,
    pictures_of,
)
from meddiff.reporting.reported import distance_ends, matching

STAMP = ["data", "scale", "protocol", "seed"]
AUDITED = {
    "leakage": "Test images whose image, lesion or patient a net has learnt from, by protocol",
    "copies": "The same with every image listed twice, as an edition lists those of an earlier one",
    "overlap": "Images of an edition that stand in another, or again in the same one",
    "archives": "What is listed, there and used",
    "labels": "Images of each diagnosis, and what each label policy makes of them",
}
"""Tables of the audit by name."""


def copies_section(contents: Contents) -> Section | None:
    """Return whether synthetic images copy training images, with the closest pairs."""
    table = contents.tables.get("memorisation")
    if table is None:
        return None
    by_loss = table["by"] == "denoising loss"
    lines = [
        f"{row['class']}, by {row['by']}: {row['verdict']}; {row['suspects']:.0f} of "
        f"{row['n_synthetic']:.0f} closer to a training image than unseen images are, "
        f"{row['identical']:.0f} nearly equal."
        for row in table[~by_loss].to_dict("records")
    ]
    parts = [
        Part(
            text="Distances of synthetic images to the nearest training image, beside those of "
            "real images that the DDPM has not seen. Bland images come closer than varied ones: "
            "look at the pairs.",
            lines=lines,
            pictures=pictures_of(contents, {"figures/memorisation": (
                "The synthetic images that are closest to a training image, and that image below",
                "Pairs of a synthetic image and its nearest training image, by class")}),
        )
    ]  # fmt: skip
    if by_loss.any():
        marks = [
            mark_of(row, _level(row), "memorisation", place, column="auc", group=row["class"])
            for place, row in table[by_loss].to_dict("index").items()
        ]
        chart = marks_chart(marks, Scale("area under the ROC curve", 0, 1, {"chance": 0.5}),
                            "Membership inference by class and level of noise")  # fmt: skip
        parts.append(Part("Does the DDPM betray its training images?",
                          "How well its denoising loss tells training images from unseen ones: at "
                          "chance it does not.", [chart]))  # fmt: skip
    return Section("copies", "Are they copies of training images?", "Copies", parts)


def _level(row: dict[Any, Any]) -> str:
    level = row["noise_level"]
    return "all levels" if pd.isna(level) else f"noise level {level:g}"


def audit_section(contents: Contents) -> Section | None:
    """Return the tables on the data: leakage, duplicates, labels, encoding."""
    parts = list(_audit(contents))
    return Section("data", "Are the data clean? (audit)", "Data", parts) if parts else None


def _audit(contents: Contents) -> Iterator[Part]:
    encoding = contents.tables.get("audit/encoding")
    if encoding is not None:
        marks = [
            mark_of(row, _encoding(row), "audit/encoding", place,
                    column="accuracy" if "accuracy" in row else "value")
            for place, row in encoding.to_dict("index").items()
        ]  # fmt: skip
        chart = marks_chart(marks, Scale("accuracy on held-out images", 0, 1, {"chance": 0.5}),
                            "Accuracy of classifiers of the encoding")  # fmt: skip
        yield Part(
            "Does the files' encoding give labels away?",
            "Random labels, predicted from images after changes of encoding, and the class, "
            "predicted from the headers of files: above chance, a classifier can cheat.",
            [chart],
        )
    for name, text in AUDITED.items():
        table = contents.tables.get(f"audit/{name}")
        if table is not None and len(table):
            yield Part(
                text, tables=[rows_of(table, f"audit/{name}", STAMP[:2] + STAMP[3:], spaced=True)]
            )
    pictures = pictures_of(contents, {"audit/near_duplicates": (
        "Near-duplicate pairs that are least alike: a false one would be among them",
        "Pairs of images that show one photograph")})  # fmt: skip
    if pictures:
        yield Part("Near duplicates", pictures=pictures)


def _encoding(row: dict[Any, Any]) -> str:
    words = [str(row[key]) for key in ("labels", "encoding", "treatment") if pd.notna(row.get(key))]
    return ", ".join(words)


def study_section(contents: Contents) -> Section | None:
    """Return the study's printed numbers beside those of the run."""
    rows = list(_printed(contents))
    if not rows:
        return None
    text = (
        "Printed by the study (Zorrilla Carriquí, master's thesis, University of Granada), and the "
        "same cell here: of other data and another scale, unless the line below the answer names "
        "the study's. FIDs of nets that were trained apart cannot be compared; beside them stand "
        "the distances of unseen real images (floor) and of noise (ceiling)."
    )
    head = ["cell", "study", "this run", "beside it"]
    return Section("study", "Beside the study's printed numbers", "The study",
                   [Part(text=text, tables=[Table(head, rows)])])  # fmt: skip


def _printed(contents: Contents) -> Iterator[list[Cell | str]]:
    for result in contents.printed:
        table = contents.tables.get(result.table)
        rows = None if table is None else table[matching(table, result.row)]
        if table is None or rows is None or len(rows) != 1:
            continue
        words = {name: word for name, word in result.row.items() if word not in ("", "all")}
        for column, printed in result.values.items():
            if column == "std" or pd.isna(rows.iloc[0].get(column)):
                continue
            metric = words.get("metric", "") if column == "value" else column
            name = ", ".join(name_of(word) for key, word in words.items() if key != "metric")
            deviation = result.values.get("std") if column == "value" else None
            yield [
                f"{name}: {name_of(metric)}",
                str(printed) + ("" if deviation is None else f" ± {deviation}"),
                Cell(_here(rows.iloc[0], column), f"#{anchor(result.table, rows.index[0])}"),
                "; ".join(f"{end} {number(value)}" for end, value in
                          distance_ends(table, result.row).items() if column == "value"),
            ]  # fmt: skip


def _here(row: Any, column: str) -> str:
    """Return a run's number in words, with its deviation or interval."""
    if isinstance(row[column], str):
        return str(row[column])
    start = "" if column == "value" else f"{column}_"
    text = number(float(row[column]))
    if column == "value" and pd.notna(row.get("std")) and "image_set" in row:
        return f"{text} ± {number(row['std'])}"
    if pd.notna(row.get(f"{start}ci_low")):
        text += f" [{number(row[f'{start}ci_low'])}, {number(row[f'{start}ci_high'])}]"
    return text
