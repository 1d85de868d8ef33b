"""From real images through a process to synthetic ones."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from meddiff.core.randomness import stream

SHOWN = 5


def overview_figure(
    real: Mapping[str, NDArray[np.uint8]], synthetic: Mapping[str, NDArray[np.uint8]], *, seed: int
) -> Figure:
    """Show real images of each class, noise, and images that were drawn from noise.

    Args:
        real: uint8 (n,h,w,1 or 3) by class.
        synthetic: the same, of other numbers.
        seed: fixes the noise.
    """
    figure = Figure(figsize=(11, 1 + 1.2 * len(real)), layout="constrained")
    columns = 2 * SHOWN + 3
    axes = figure.subplots(len(real), columns, squeeze=False)
    for row, cls in zip(axes, real, strict=True):
        size = real[cls].shape[1:]
        noise = stream(seed, "drawing", "overview", cls).normal(size=size) / 4 + 0.5
        images = [*real[cls][:SHOWN], None, noise.clip(0, 1), None, *synthetic[cls][:SHOWN]]
        for axis, image in zip(row, images, strict=False):
            if image is not None:
                scale = 1 if image.dtype == float else 255
                axis.imshow(image.squeeze() / scale, cmap="gray", vmin=0, vmax=1)
            else:
                axis.annotate("", (1, 0.5), (0, 0.5), xycoords="axes fraction",
                              arrowprops={"arrowstyle": "->", "color": "#56606b"})  # fmt: skip
            axis.set_axis_off()
        row[0].set_title(cls, fontsize=9, loc="left")
    middles = (SHOWN // 2, SHOWN + 1, SHOWN + 3 + SHOWN // 2)
    for place, title in zip(middles, ("real", "noise", "synthetic"), strict=True):
        axes[-1][place].text(0.5, -0.12, title, ha="center", va="top", fontsize=10,
                             transform=axes[-1][place].transAxes)  # fmt: skip
    return figure
