"""Picture of the weight of classifier-free guidance."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PANELS = {"fid": "FID", "recall": "recall", "accuracy": "accuracy on real images"}


def guidance_figure(table: pd.DataFrame) -> Figure:
    """Draw FID, recall and accuracy by weight of guidance, with their 95 % intervals.

    Args:
        table: as `meddiff.cas.guidance.guidance_table` returns it. A row of panels shows one
            extractor, since FIDs of several cannot be compared.
    """
    extractors = list(table["extractor"].dropna().drop_duplicates())
    panels = [name for name in PANELS if name in set(table["metric"])]
    size = (4.2 * len(panels), 3.4 * len(extractors))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(extractors), len(panels), squeeze=False)
    for row, extractor in zip(grid, extractors, strict=True):
        for axis, metric in zip(row, panels, strict=True):
            rows = table[table["metric"].eq(metric)]
            rows = rows[rows["extractor"].eq(extractor) | rows["extractor"].isna()]
            _draw(axis, rows, PANELS[metric])
            names = rows["classifier"].dropna().unique()
            axis.set(title=", ".join(names) if len(names) else extractor)
    figure.supxlabel("weight of guidance; bars are 95 % intervals", fontsize="medium")
    return figure


def _draw(axis: Axes, rows: pd.DataFrame, label: str) -> None:
    for name, line in rows.groupby("class", sort=False):
        line = line.sort_values("guidance")
        ends = np.stack([line["value"] - line["ci_low"], line["ci_high"] - line["value"]])
        axis.errorbar(
            line["guidance"],
            line["value"],
            yerr=np.nan_to_num(ends).clip(0),
            fmt="o-",
            capsize=3,
            label=str(name),
        )
    axis.set(ylabel=label, ylim=(0, None))
    axis.grid(alpha=0.3)
    if rows["class"].nunique() > 1:
        axis.legend(fontsize="small")
