"""A forward process at work on a real image, and processes side by side."""

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from meddiff.core.randomness import stream
from meddiff.diffusion.process import Process

MOMENTS = 8


def noising_figure(image: NDArray[np.uint8], process: Process, *, seed: int) -> Figure:
    """Show an image at times of a process, each over its histogram of levels.

    Args:
        image: uint8 (h,w,1 or 3).
        process: the forward process; what nets see of it is shown, of unit variance.
        seed: fixes the noise, one for all times.
    """
    clean = image.astype(float) / 127.5 - 1
    noise = stream(seed, "drawing", "noise").normal(size=clean.shape)
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    pictures, levels = figure.subplots(2, MOMENTS, height_ratios=(2, 1))
    for place, share in enumerate(np.linspace(0, 1, MOMENTS)):
        time = process.at(share)
        signal, sigma = process.parts(time)
        noisy = clean if share == 0 else signal * clean + sigma * noise
        shown = ((noisy.clip(-1, 1) + 1) / 2).squeeze()
        pictures[place].imshow(shown, cmap="gray", vmin=0, vmax=1)
        pictures[place].set_axis_off()
        title = "t = 0" if share == 0 else f"t = {time:.4g}"
        pictures[place].set_title(title, fontsize=9)
        levels[place].hist(noisy.ravel(), bins=40, range=(-3, 3), color="#1f5fa8")
        levels[place].set(yticks=[], xlim=(-3, 3), xticks=[-2, 0, 2])
        levels[place].set_xlabel(f"signal {signal:.2f}", fontsize=8)
        for side in ("left", "top", "right"):
            levels[place].spines[side].set_visible(False)
    return figure


def processes_figure(processes: Mapping[str, Process]) -> Figure:
    """Draw the signal that is left, and the logarithm of the signal-to-noise ratio, by time."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    kept, ratios = figure.subplots(1, 2)
    shares = np.linspace(0, 1, 200)
    for name, process in processes.items():
        times = [process.at(share) for share in shares]
        line = "-" if name.endswith("this run") else "--"
        kept.plot(shares, [process.parts(time)[0] for time in times], line, label=name)
        ratios.plot(shares, -2 * process.log_ratio(torch.tensor(times)).numpy(), line)
    kept.set(xlabel="time, from data to noise", ylabel="signal in what the net sees")
    ratios.set(xlabel="time, from data to noise", ylabel="ln signal-to-noise ratio")
    figure.legend(loc="outside lower center", ncols=len(processes), fontsize=9)
    return figure
