"""Predicted and true lesions, from the worst to the best (Figure 5.19 of the study)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

TRUE, PREDICTED = "#2fd6ff", "#ffb000"
N_EXAMPLES = 7


def evenly_ranked(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions of values at evenly spaced ranks, lowest first, and their quantiles.

    Args:
        values: (N,); of equal ones the first is the lower.
        count: positions wanted; all if there are no more.
    """
    last = max(1, len(values) - 1)
    ranks = np.unique(np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int))
    return np.argsort(values, kind="stable")[ranks], ranks / last


def segmentation_examples(
    images: np.ndarray, masks: np.ndarray, predicted: np.ndarray, scores: pd.DataFrame
) -> Figure:
    """Show images at evenly spaced quantiles of Dice: as they are, true outline, predicted outline.

    Args:
        images: uint8 (N,H,W,3).
        masks: bool (N,H,W), true inside the lesion.
        predicted: bool (N,H,W), true inside the predicted lesion.
        scores: columns dice and iou, one row per image.
    """
    chosen, quantiles = evenly_ranked(scores["dice"].to_numpy(), N_EXAMPLES)
    figure = Figure(figsize=(1.5 * len(chosen) + 0.5, 5.2), layout="constrained")
    axes = figure.subplots(3, len(chosen), squeeze=False)
    for column, (position, quantile) in enumerate(zip(chosen, quantiles, strict=True)):
        for axis in axes[:, column]:
            axis.imshow(images[position])
            axis.set(xticks=[], yticks=[])
        _outline(axes[1, column], masks[position], TRUE)
        _outline(axes[2, column], masks[position], TRUE, width=0.8)
        _outline(axes[2, column], predicted[position], PREDICTED)
        dice, iou = scores[["dice", "iou"]].iloc[position]
        axes[0, column].set_title(_place(quantile), fontsize="medium")
        axes[2, column].set_xlabel(f"Dice {dice:.2f}\nIoU {iou:.2f}")
    for axis, label in zip(axes[:, 0], ["image", "true outline", "predicted outline"], strict=True):
        axis.set_ylabel(label)
    return figure


def _place(quantile: float) -> str:
    return {0.0: "worst", 0.5: "median", 1.0: "best"}.get(quantile, f"quantile {quantile:.2f}")


def _outline(axis: Axes, mask: np.ndarray, colour: str, *, width: float = 1.6) -> None:
    """Draw the edge of a mask, closed where the mask reaches the image's edge."""
    height, across = mask.shape
    if mask.any():
        rows, columns = np.arange(-1, height + 1), np.arange(-1, across + 1)
        padded = np.pad(mask, 1).astype(float)
        edge = axis.contour(columns, rows, padded, [0.5], colors=[colour], linewidths=width)
        # Above the frame, where a lesion that fills the image has its edge.
        edge.set(clip_on=False, zorder=3)
        edge.set_path_effects([withStroke(linewidth=2 * width, foreground="black")])
    else:
        axis.annotate("none", (0.5, 0.5), xycoords="axes fraction", ha="center", color=colour)
    axis.set(xlim=(-0.5, across - 0.5), ylim=(height - 0.5, -0.5))
