"""Picture of families of models and their samplers."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

PANELS = {
    "fid": "FID to training images",
    "coverage": "coverage",
    "bits_gap": "gap in bits per dimension",
    "seconds_to_draw": "seconds to draw a class",
}


def families_figure(table: pd.DataFrame) -> Figure:
    """Draw scores of each family and sampler, one row each, with their 95 % intervals.

    Args:
        table: as `meddiff.evaluation.families.families_table` returns it.
    """
    names = list(dict.fromkeys(table["family"] + ", " + table["sampler"]))
    panels = [name for name in PANELS if name in table and table[name].notna().any()]
    size = (3 * len(panels) + 2, 0.34 * len(names) + 1.4)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        for number, (of_class, part) in enumerate(table.groupby("class", sort=False)):
            heights = [names.index(f"{f}, {s}") for f, s in zip(part["family"], part["sampler"])]  # noqa: B905
            low, high = (part.get(f"{panel}_ci_{end}", part[panel]) for end in ("low", "high"))
            ends = np.nan_to_num(np.stack([part[panel] - low, high - part[panel]])).clip(0)
            place = np.array(heights) + 0.18 * (number - 1)
            axis.errorbar(part[panel], place, xerr=ends, fmt="o", ms=4, capsize=2, label=of_class)
        axis.set(xlabel=PANELS[panel])
        if panel == "fid" and table[panel].max() > 10 * table[panel].median():
            # One family far off would leave the others on one point.
            axis.set_xscale("symlog", linthresh=1)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    axes[0].legend(fontsize="small")
    return figure
