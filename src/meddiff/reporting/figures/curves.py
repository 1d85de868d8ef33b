"""Loss, learning rate and scores over a training (Figures 5.3, 5.12, 5.13, 5.16-5.18)."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from meddiff.core.files import atomic_write
from meddiff.reporting.names import name_of


def training_curves(history: pd.DataFrame, title: str, *, held_out: str = "validation") -> Figure:
    """Draw losses on the left axis and the rate on the right, and a panel for each other column.

    Args:
        history: columns step, loss, validation_loss and lr; any columns after lr are scores in
            [0, 1] of the validation images, named validation_<score>, NaN where there were none.
        title: name of the network, perhaps with its class.
    """
    columns = list(history.columns)
    scores = columns[columns.index("lr") + 1 :]
    # A line of one epoch alone would be invisible.
    mark = "." if len(history) == 1 else ""
    figure = Figure(
        figsize=(4.2 * (1 + len(scores)), 3.4), layout=ConstrainedLayoutEngine(wspace=0.08)
    )
    losses, *panels = figure.subplots(1, 1 + len(scores), squeeze=False)[0]
    losses.plot(history["step"], history["loss"], label="training", color="tab:blue", marker=mark)
    _plot_checked(losses, history, "validation_loss", held_out)
    losses.set(title=name_of(title), xlabel="optimiser step", ylabel="loss", yscale=_scale(history))
    rate = losses.twinx()
    rate.plot(history["step"], history["lr"], ":", color="grey", label="learning rate")
    rate.set(ylabel="learning rate", ylim=(0, None))
    lines = [*losses.lines, *rate.lines]
    labels = [str(line.get_label()) for line in lines]
    figure.legend(lines, labels, fontsize="small", loc="outside lower center", ncols=len(lines))
    for axis, score in zip(panels, scores, strict=True):
        name = score.removeprefix("validation_").replace("dice", "mean Dice")
        last = _plot_checked(axis, history, score, held_out)
        axis.set(title=f"{name} {last:.3f} at the end", ylabel=f"{name}, {held_out} images")
        axis.set(xlabel="optimiser step", xlim=losses.get_xlim(), ylim=(0, 1.02))
        axis.grid(alpha=0.3)
    return figure


def _scale(history: pd.DataFrame) -> str:
    """Return the scale of the losses' axis: decades only where the losses span one."""
    values = history[["loss", "validation_loss"]].to_numpy()
    return "log" if np.nanmax(values) > 10 * np.nanmin(values) else "linear"


def _plot_checked(axis: Axes, history: pd.DataFrame, column: str, label: str) -> float:
    """Plot the epochs at which a column was computed; return its last value."""
    checked = history.dropna(subset=[column])
    if checked.empty:
        return math.nan
    axis.plot(checked["step"], checked[column], ".-", label=label, color="tab:orange")
    return float(checked[column].iloc[-1])


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png", metadata={"Software": None})
