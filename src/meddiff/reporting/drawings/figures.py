"""Every drawing of a run by name, from its configuration and a few of its images."""

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from meddiff.diffusion.process import build_process
from meddiff.diffusion.settings import ScheduleSettings
from meddiff.reporting.drawings.nets import by_size, net_figure, trace
from meddiff.reporting.drawings.noise import noising_figure, processes_figure
from meddiff.reporting.drawings.overview import overview_figure
from meddiff.reporting.drawings.scores import paths_figure, score_figure

BESIDE = {
    "linear": ScheduleSettings(betas="linear"),
    "cosine": ScheduleSettings(betas="cosine"),
    "ncsn, ve": ScheduleSettings(process="ve", prediction="epsilon"),
    "vp": ScheduleSettings(process="vp", prediction="epsilon"),
    "sub_vp": ScheduleSettings(process="sub_vp", prediction="epsilon"),
}
"""Processes that stand beside the run's own."""
ImagesByClass = Mapping[str, NDArray[np.uint8]]


def drawn_figures(
    real: ImagesByClass,
    synthetic: ImagesByClass,
    schedule: ScheduleSettings,
    nets: Mapping[str, nn.Module],
    *,
    seed: int,
) -> dict[str, Figure]:
    """Return the drawings by name, as `meddiff.reporting.figures.numbers.drawings_of` lists them.

    Args:
        real: uint8 (n,s,s,1 or 3) by class.
        synthetic: the same.
        schedule: of the run's own process.
        nets: by name; `ddpm` takes images as they are and times, the others three channels.
        seed: fixes noise and toys.
    """
    process = build_process(schedule)
    processes = {name: build_process(each) for name, each in BESIDE.items()}
    image = real[list(real)[-1]][0]
    figures = {
        "overview": overview_figure(real, synthetic, seed=seed),
        "noise": noising_figure(image, process, seed=seed),
        "processes": processes_figure(processes | {"this run": process}),
        "scores": score_figure(processes["vp"], seed=seed),
        "paths": paths_figure(processes["vp"], seed=seed),
    }
    height, width, channels = image.shape
    for name, net in nets.items():
        of_ddpm = name == "ddpm"
        times = {"timesteps": torch.zeros(1)} if of_ddpm else {}
        blocks = trace(net, torch.zeros(1, channels if of_ddpm else 3, height, width), **times)
        figures[name] = net_figure(by_size(blocks) if name == "resnet50" else blocks)
    return figures
