"""Loss and learning rate over a training (Figures 5.3, 5.12, 5.13 of the study)."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from meddiff.files import atomic_write

matplotlib.use("Agg")


def training_curves(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw one panel a training: loss and validation loss on the left axis, rate on the right.

    Args:
        histories: by title, a table with the columns step, loss, validation_loss and lr.
    """
    figure = Figure(figsize=(4.2 * len(histories), 3.2), layout="constrained")
    axes = figure.subplots(1, len(histories), squeeze=False)[0]
    for axis, (title, history) in zip(axes, histories.items(), strict=True):
        axis.plot(history["step"], history["loss"], label="training", color="tab:blue")
        checked = history.dropna(subset=["validation_loss"])
        if len(checked):
            axis.plot(
                checked["step"],
                checked["validation_loss"],
                ".-",
                label="validation",
                color="tab:orange",
            )
        axis.set(title=title, xlabel="optimiser step", ylabel="loss", yscale="log")
        rate = axis.twinx()
        rate.plot(history["step"], history["lr"], ":", color="grey", label="learning rate")
        rate.set(ylabel="learning rate", ylim=(0, None))
        lines = [*axis.lines, *rate.lines]
        axis.legend(lines, [str(line.get_label()) for line in lines], fontsize="small")
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png", metadata={"Software": None})
