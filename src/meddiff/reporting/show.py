"""A table as a person reads it (`meddiff show results/table_5_2.csv`)."""

from pathlib import Path

import numpy as np
import pandas as pd

from meddiff.core.tables import read_csv
from meddiff.core.text import with_interval
from meddiff.metrics.distances import NO_SCALE
from meddiff.reporting.image_quality import ORDER
from meddiff.reporting.names import name_of

NOT_SHOWN = ["kid", "precision", "recall", "density", "coverage", "cafd"]
"""Metrics whose values are in the CSV alone, to keep the table narrow."""
VALUE = ["value", "ci_low", "ci_high"]
DIFFERENCE = ["difference", "difference_ci_low", "difference_ci_high"]
SCORE = ["score", "score_ci_low", "score_ci_high"]
SCALE = "from noise (0) to unseen real images (1)"
COVER = ("precision", "recall", "coverage")
COPIES = ("copies", "suspects", "closer")
"""Metrics with parts of their own in the table of several generators."""


def show(path: Path) -> str:
    """Return a table as text: Table 5.2 in the study's shape, others as they stand."""
    table = read_csv(path)
    if "generator" in table:
        return _head(path, table) + _generators(table)
    if "score" not in table:
        return table.dropna(axis="columns", how="all").to_string(index=False)
    absent = [name for name in NOT_SHOWN if name in set(table["metric"])]
    rest = [f"rows of {path.name} alone: {', '.join(absent)}"] if absent else []
    return _head(path, table) + "\n".join([_quality(with_cells(table)), *notes(table), *rest])


def _head(path: Path, table: pd.DataFrame) -> str:
    head = table.iloc[0]
    return (
        f"{path.name}: data {head['data']}, scale {head['scale']}, protocol {head['protocol']}, "
        f"seed {head['seed']}; FID against {_first(table['reference'])} images, [95 % interval]\n\n"
    )


def _generators(table: pd.DataFrame) -> str:
    """Return a part per kind of score, with a row per class and generator."""
    cells, metric = with_cells(table), table["metric"]
    trained = table["classifier"].notna()
    copies, cover = metric.isin(COPIES), metric.isin(COVER) & ~trained
    rest = ~(trained | copies | cover | metric.isin(NOT_SHOWN))
    scores = [with_interval(at, low, high, ".2f") for at, low, high in table[SCORE].to_numpy()]
    plain = cells.assign(column=metric + (" " + table["extractor"]).fillna(""))
    parts = [
        ("", cells[rest]),
        (f"score, {SCALE}", cells.assign(cell=scores)[table["score"].notna()]),
        ("share within reach: of synthetic images of real ones, and the reverse", plain[cover]),
        ("copies of training images; closer: 0.5 without copying", plain[copies]),
    ]
    shown = [
        f"{title}\n\n{_wide(rows, ['class', 'generator'])}" for title, rows in parts if len(rows)
    ]
    if trained.any():
        shown.append(_accuracies(table[trained & (metric == "accuracy")]))
    text = "\n\n".join(shown).strip("\n")
    return "\n".join([text, "", *notes(table[~(trained | copies)])])


def _accuracies(table: pd.DataFrame) -> str:
    """Return accuracies by generator and arm, and their differences to this run's images."""
    parts = []
    for prefix, ends in (("", VALUE), ("difference of ", DIFFERENCE)):
        cells = [_cell(at, np.nan, low, high) for at, low, high in table[ends].to_numpy()]
        rows = table.assign(column=prefix + table["classifier"], cell=cells)
        parts.append(rows[table[ends[0]].notna()])
    title = "accuracy on real test images of classifiers trained on these"
    return f"{title}\n\n{_wide(pd.concat(parts), ['generator', 'arm'])}"


def with_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Add the column that a number stands in, and its text."""
    columns = [
        _title(*row) for row in table[["metric", "extractor", "dimension", "subset"]].to_numpy()
    ]
    cells = [_cell(*numbers) for numbers in table[["value", "std", "ci_low", "ci_high"]].to_numpy()]
    return table.assign(column=columns, cell=cells)


def _quality(table: pd.DataFrame) -> str:
    """Return values of all image sets, and scores of the synthetic one, one column per metric."""
    text = _wide(table[~table["metric"].isin(NOT_SHOWN)], ["class", "image_set"])
    scored = table.dropna(subset=["score"])
    if len(scored):
        numbers = scored[SCORE].to_numpy()
        scores = [with_interval(at, low, high, ".2f") for at, low, high in numbers]
        text += f"\n\nscore of the synthetic images, {SCALE}\n\n"
        text += _wide(scored.assign(cell=scores), ["class"])
    return text


def notes(table: pd.DataFrame) -> list[str]:
    """Return what to know of Table 5.2's rows, in lines."""
    few = table[table["n_synthetic"].between(1, table["dimension"])]["extractor"].unique()
    lines = []
    if len(few):
        lines = [
            f"fewer images than dimensions ({', '.join(map(name_of, few))}): FID is mostly bias, "
            "and less of it for images that vary less; look at KID, recall and coverage"
        ]
    noted = table.dropna(subset=["note"]).fillna({"extractor": ""})
    # Not within parentheses.
    parts = noted["note"].str.split(r"; (?![^(]*\))", regex=True)
    for key, rows in noted.assign(note=parts).explode("note").groupby("note", sort=False):
        note = str(key)
        if note == NO_SCALE:  # of single cells
            titles = rows[["metric", "extractor", "dimension", "subset"]].to_numpy()
            cells = [f"{_title(*at)} {cls}" for at, cls in zip(titles, rows["class"], strict=True)]
            lines.append(f"{', '.join(cells)}: {note}")
            continue
        # What is of several extractors is of none alone.
        names = rows["extractor"].unique()
        lines.append(f"{name_of(names[0])}: {note}" if len(names) == 1 and names[0] else note)
    return lines


def _wide(table: pd.DataFrame, index: list[str]) -> str:
    wide = table.pivot(index=index, columns="column", values="cell").fillna("")
    columns = sorted(map(str, wide.columns), key=lambda name: ("SSIM" not in name, name[::-1]))
    order = {"image_set": ORDER}
    if "generator" in index:
        order["generator"] = {name: n for n, name in enumerate(table["generator"].unique())}
    wide = wide[columns].sort_index(
        key=lambda level: level.map(order[level.name]) if level.name in order else level
    )
    return wide.rename_axis(columns=None).to_string()


def _title(metric: str, extractor: str, dimension: float, subset: str) -> str:
    net = "" if pd.isna(extractor) else f" {name_of(extractor)}"
    size = "" if pd.isna(dimension) else f" ({dimension:.0f}-d)"
    part = "" if pd.isna(subset) else f", {name_of(subset)}"
    return f"{name_of(metric)}{net}{size}{part}"


def _cell(value: float, std: float, low: float, high: float) -> str:
    if pd.isna(value):
        return "-"
    if pd.notna(std):
        return f"{value:.3g} ± {std:.2f}"
    return with_interval(value, low, high, ".4g")


def _first(column: "pd.Series[str]") -> str:
    return next((value for value in column.dropna() if value), "no")
