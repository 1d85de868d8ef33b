"""How near synthetic images are to real ones: Tables 5.1 and 5.2, matrices of image sets."""

from typing import Any

import numpy as np
import pandas as pd

from meddiff.core.tables import OVER_CLASSES
from meddiff.reporting.names import name_of
from meddiff.reporting.page.charts import Scale, marks_chart
from meddiff.reporting.page.heat import matrix_table
from meddiff.reporting.page.html import Cell, Table, anchor
from meddiff.reporting.page.sections import Contents, Part, Section, mark_of, pictures_of
from meddiff.reporting.show import NOT_SHOWN, notes, with_cells

NAME = "table_5_2"
SCORE = Scale("score of the distance to real images", -0.25, 1.25, {"noise": 0, "unseen real": 1})
SHARES = ("precision", "recall", "coverage")
QUALITY = ("accuracy", "precision", "recall", "f1", "dice", "iou")


def near_section(contents: Contents) -> Section | None:
    """Return what Table 5.2 says: scores between noise and unseen real images, cover, values."""
    table = contents.tables.get(NAME)
    if table is None:
        return None
    parts = [_scores(table), _shares(table), _values(table)]
    return Section("near", "How near are they to real images? (Table 5.2)", "How near?",
                   [part for part in parts if part])  # fmt: skip


def _scores(table: pd.DataFrame) -> Part | None:
    marks = [
        mark_of(row, f"{name_of(row['metric'])} {name_of(row['extractor'])}", NAME, place,
                column="score", group=_of_class(row["class"]))
        for place, row in _sorted(table.dropna(subset=["score"]))
    ]  # fmt: skip
    if not marks:
        return None
    chart = marks_chart(
        marks, SCORE, "Scores of FID and KID by class and extractor, with intervals"
    )
    return Part(
        "From noise to real",
        "FID and KID are distances of features, and each net that computes features has its own "
        "scale. The score puts them on one: 0 is as far from real images as noise, 1 as near as "
        "real images that no DDPM has seen. The dot is the score, the bar its 95 % interval; an "
        "arrow leads beyond the chart.",
        [chart],
    )


def _shares(table: pd.DataFrame) -> Part | None:
    keys = ["class", "metric", "extractor"]
    rows = table[table["metric"].isin(SHARES)]
    unseen = rows[rows["image_set"] == "real"].set_index(keys)["value"]
    marks = [
        mark_of(row, f"{name_of(row['metric'])} {name_of(row['extractor'])}", NAME, place,
                group=_of_class(row["class"]),
                reference=unseen.get(tuple(row[key] for key in keys), np.nan))
        for place, row in _sorted(rows[rows["image_set"] == "synthetic"])
    ]  # fmt: skip
    if not marks:
        return None
    chart = marks_chart(marks, Scale("share of the images", 0, 1, {}),
                        "Precision, recall and coverage by class and extractor")  # fmt: skip
    return Part(
        "Which images have their like",
        "Precision: synthetic images that lie where real ones do. Recall and coverage: real images "
        "that synthetic ones reach; low is little variety. The upright mark is what unseen real "
        "images reach.",
        [chart],
    )


def _values(table: pd.DataFrame) -> Part:
    shown = with_cells(table)[~table["metric"].isin(NOT_SHOWN)]
    columns = sorted(shown["column"].unique(), key=lambda name: ("SSIM" not in name, name[::-1]))
    cells = {
        (row["class"], row["image_set"], row["column"]): Cell(
            row["cell"], f"#{anchor(NAME, place)}" if row["cell"] != "-" else ""
        )
        for place, row in zip(shown.index, shown.to_dict("records"), strict=True)
    }
    sets = shown[["class", "image_set"]].drop_duplicates().itertuples(index=False, name=None)
    rows: list[list[Cell | str]] = [
        [f"{name}, {images}", *(cells.get((name, images, column), "") for column in columns)]
        for name, images in sets
    ]
    return Part(
        "Values",
        "SSIM and MS-SSIM: mean likeness of two images within a set, ± standard deviation; higher "
        "than within the real set means less variety. FID: distance to real images [95 % "
        "interval]; compare within a column only.",
        tables=[Table(["images", *columns], rows, kind="values")],
        lines=notes(table),
    )


def _sorted(rows: pd.DataFrame) -> list[tuple[Any, dict[Any, Any]]]:
    """Return places and rows, classes together, the mean over them last."""
    order = rows.assign(last=rows["class"] == OVER_CLASSES).sort_values(
        ["last", "class", "metric", "extractor"], kind="stable"
    )
    return [(place, row) for place, row in zip(order.index, order.to_dict("records"), strict=True)]


def _of_class(name: str) -> str:
    return "mean over classes" if name == OVER_CLASSES else name


def extractors_section(contents: Contents) -> Section | None:
    """Return how well the nets do whose features are compared (Table 5.1)."""
    table = contents.tables.get("table_5_1")
    if table is None:
        return None
    marks = [
        mark_of(
            row,
            name_of(score),
            "table_5_1",
            place,
            column=score,
            group=name_of(row["extractor"]),
        )
        for place, row in enumerate(table.to_dict("records"))
        for score in QUALITY
        if score in row and pd.notna(row[score])
    ]
    curves = pictures_of(contents, {
        f"figures/extractors/{name}_curves": (
            name_of(name), f"Loss, learning rate and scores over the training of {name_of(name)}")
        for name in table["extractor"]
    })  # fmt: skip
    scores = Part(
        text="Scores of the feature extractors on their own test images, real ones [95 % "
        "intervals]. A net that learnt nothing cannot tell good images from bad ones.",
        charts=[marks_chart(marks, Scale("share", 0, 1, {}), "Scores of the extractors")],
    )
    trainings = [Part("Their trainings", pictures=curves)] if curves else []
    heading = "How good are the nets that compare them? (Table 5.1)"
    return Section("nets", heading, "Extractors", [scores, *trainings]) if marks else None


def matrices_section(contents: Contents) -> Section | None:
    """Return every image set and class by every other, as heat maps."""
    names = [name for name in contents.tables if name.startswith("matrices/")]
    if not names:
        return None
    maps = [matrix_table(contents.tables[name], name.split("/")[1]) for name in names]
    return Section(
        "matrices", "Every image set against every other", "Matrices",
        [Part(text="All sets at the same number of images. FID and KID: low is alike; SSIM: high "
              "is alike. Exact value and interval show on hover; they are in `results/matrices/`.",
              tables=maps, layout="maps")],
    )  # fmt: skip
