"""Matrices of image sets as heat maps."""

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

KEY_A, KEY_B = ["image_set_a", "class_a"], ["image_set_b", "class_b"]


def heat_map(matrix: pd.DataFrame, title: str) -> Figure:
    """Draw one square per pair of image sets, with its value.

    Args:
        matrix: columns image_set_a, class_a, image_set_b, class_b, value, n_a.
    """
    order = list(matrix[KEY_A].drop_duplicates().itertuples(index=False, name=None))
    square = (
        matrix.set_index([*KEY_A, *KEY_B])["value"]
        .unstack(KEY_B)
        .reindex(index=order, columns=order)
        .to_numpy()
    )
    side = 2.4 + 0.75 * len(order)
    figure = Figure(figsize=(side, side - 0.6), layout="constrained")
    axis = figure.subplots()
    picture = axis.imshow(
        square, cmap="viridis", norm=colour_scale(square, logarithmic=title.startswith("fid"))
    )
    labels = [f"{images}\n{name}" for images, name in order]
    axis.set_xticks(range(len(order)), labels, rotation=45, ha="right", fontsize="small")
    axis.set_yticks(range(len(order)), labels, fontsize="small")
    count = sorted(set(matrix["n_a"]))
    sizes = f"{count[0]}" if len(count) == 1 else f"{count[0]} to {count[-1]}"
    axis.set_title(f"{title.replace('_', ' ')}, {sizes} images per set", fontsize="medium")
    brightness = picture.to_rgba(square)[..., :3] @ np.array([0.3, 0.6, 0.1])
    for (row, column), value in np.ndenumerate(square):
        axis.text(
            column, row, f"{value:.3g}", ha="center", va="center", fontsize="x-small",
            color="black" if brightness[row, column] > 0.5 else "white",
        )  # fmt: skip
    figure.colorbar(picture, ax=axis, shrink=0.8)
    return figure


def colour_scale(values: np.ndarray, *, logarithmic: bool = False) -> Normalize:
    """Return a scale of colours: FIDs span orders of magnitude, and a set's own is 0."""
    positive = values[values > 0]
    if logarithmic and len(positive):
        return LogNorm(positive.min(), positive.max(), clip=True)
    if np.isnan(values).all():
        return Normalize(0, 1)
    return Normalize(np.nanmin(values), np.nanmax(values))
