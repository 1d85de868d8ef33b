"""Pictures of the classification accuracy score."""

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meddiff.core.text import with_interval
from meddiff.reporting.names import name_of

COLOURS = [f"C{number}" for number in range(10)]
SCORES = [("accuracy", "accuracy"), ("roc_auc", "area under the ROC curve")]


def arms_figure(table: pd.DataFrame, classes: int) -> Figure:
    """Draw accuracy and area under the ROC curve of every arm with their intervals."""
    classifiers = list(table["classifier"].drop_duplicates())
    arms = list(table["arm"].drop_duplicates())
    figure = Figure(figsize=(9, (1.2 + 0.35 * len(arms)) * len(classifiers)), layout="constrained")
    grid = figure.subplots(len(classifiers), len(SCORES), squeeze=False, sharey=True)
    for row, classifier in zip(grid, classifiers, strict=True):
        for axis, (metric, label) in zip(row, SCORES, strict=True):
            scores = table[table["classifier"].eq(classifier) & table["metric"].eq(metric)]
            scores = scores.set_index("arm").loc[arms]
            places = np.arange(len(arms))[::-1]
            ends = np.stack(
                [scores["value"] - scores["ci_low"], scores["ci_high"] - scores["value"]]
            )
            if "real" in scores.index and scores.loc["real", ["ci_low", "ci_high"]].notna().all():
                axis.axvspan(
                    scores.at["real", "ci_low"], scores.at["real", "ci_high"], color="0.92"
                )
            axis.errorbar(
                scores["value"],
                places,
                xerr=np.nan_to_num(ends),
                fmt="o",
                capsize=3,
                color="tab:blue",
            )
            axis.axvline(1 / classes if metric == "accuracy" else 0.5, color="grey", linestyle=":")
            axis.set_yticks(places, arms)
            axis.set(title=name_of(classifier), xlabel=f"{label} (95 % interval)")
            axis.grid(axis="x", alpha=0.3)
    return figure


def reliability_figure(curves: pd.DataFrame) -> Figure:
    """Draw reliability curves: how often a class is right, by its predicted probability.

    Args:
        curves: columns classifier, arm, class, n_images, predicted, observed.
    """
    kinds = curves[["classifier", "class"]].drop_duplicates().itertuples(index=False, name=None)
    panels = list(kinds)
    figure = Figure(figsize=(4.2 * len(panels), 4), layout="constrained")
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (classifier, name) in zip(row, panels, strict=True):
        axis.plot([0, 1], [0, 1], ":", color="grey")
        panel = curves[curves["classifier"].eq(classifier) & curves["class"].eq(name)]
        for colour, (arm, line) in zip(
            cycle(COLOURS), panel.groupby("arm", sort=False), strict=False
        ):
            axis.plot(line["predicted"], line["observed"], "-", color=colour, label=arm, alpha=0.8)
            sizes = 120 * line["n_images"] / line["n_images"].sum() + 2
            axis.scatter(line["predicted"], line["observed"], s=sizes, color=colour)
        axis.set(
            title=f"{name_of(classifier)}: {name}",
            xlabel="mean predicted probability",
            ylabel="observed frequency",
        )
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axis.legend(fontsize="x-small")
    return figure


def dose_figure(table: pd.DataFrame) -> Figure:
    """Draw what synthetic images add to the accuracy, as a matrix and as curves with bands.

    Cells without a value are left white.
    """
    doses = table[table["metric"] == "accuracy"]
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    matrix, curves = figure.subplots(1, 2)
    _matrix(matrix, doses)
    for colour, (fraction, line) in zip(cycle(COLOURS), doses.groupby("fraction"), strict=False):
        curve = line.dropna(subset=["value"]).sort_values("ratio")
        if curve.empty:
            continue
        label = f"{fraction:.0%} of real ({curve['n_real'].iloc[0]:.0f})"
        curves.plot(curve["ratio"], curve["value"], ".-", color=colour, label=label)
        if curve[["ci_low", "ci_high"]].notna().all(axis=None):
            curves.fill_between(
                curve["ratio"],
                curve["ci_low"],
                curve["ci_high"],
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
    curves.set(xlabel="synthetic images for each real one", ylabel="accuracy on real test images")
    curves.set_title("accuracy, 95 % bands", fontsize="medium")
    curves.grid(alpha=0.3)
    curves.legend(fontsize="small")
    return figure


def _matrix(axis: Axes, doses: pd.DataFrame) -> None:
    square = doses.pivot(index="fraction", columns="ratio", values="difference")
    # Nothing is added at ratio 0.
    shown = square.drop(columns=0.0, errors="ignore")
    cells = {(row["fraction"], row["ratio"]): row for row in doses.to_dict("records")}
    reach = max(float(np.nanmax(np.abs(shown.to_numpy()), initial=0.0)), 0.01)
    picture = axis.imshow(shown, cmap="RdBu", vmin=-reach, vmax=reach, aspect="auto")
    axis.set_xticks(range(shown.shape[1]), [f"{ratio:g}" for ratio in shown.columns])
    axis.set_yticks(range(shown.shape[0]), [f"{part:.0%}" for part in shown.index])
    axis.set(xlabel="synthetic images for each real one", ylabel="part of the real images")
    axis.set_title(
        "accuracy gained over no synthetic images; bold: interval without 0", fontsize="medium"
    )
    for (row, column), value in np.ndenumerate(shown.to_numpy()):
        if np.isnan(value):
            axis.text(column, row, "too few", ha="center", va="center", color="grey")
            continue
        cell = cells[shown.index[row], shown.columns[column]]
        low, high = cell["difference_ci_low"], cell["difference_ci_high"]
        sure = low > 0 or high < 0
        axis.text(
            column, row, with_interval(value, low, high, "+.3f").replace(" ", "\n", 1),
            ha="center", va="center", fontsize="small", fontweight="bold" if sure else "normal",
            color="white" if abs(value) > 0.7 * reach else "black",
        )  # fmt: skip
    axis.figure.colorbar(picture, ax=axis, shrink=0.8)
