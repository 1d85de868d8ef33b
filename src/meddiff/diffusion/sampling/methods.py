"""The sampler of settings, for a forward process."""

from collections.abc import Callable, Iterator
from functools import partial

from torch import Tensor

from meddiff.diffusion.process import Process
from meddiff.diffusion.sampling.samplers import Denoise, Draw, ddim, ddpm, dpm_solver
from meddiff.diffusion.settings import SamplerSettings

Method = Callable[[Denoise, Tensor, Draw], Iterator[Tensor]]
"""From the net, standard normal noise (N,C,H,W) and fresh noise to images after each step."""


def method(settings: SamplerSettings, process: Process) -> Method:
    """Return a sampler with its times and options.

    Args:
        settings: which, its steps and options.
        process: forward process of the net.
    """
    times = process.visited(settings.steps, settings.spacing)
    bars = {time: process.bar(time) for time in times}
    samplers: dict[str, Callable[..., Iterator[Tensor]]] = {
        "ddpm": partial(ddpm, variance=settings.variance),
        "ddim": partial(ddim, eta=settings.eta),
        "dpm_solver": dpm_solver,
        "sde_dpm_solver": partial(dpm_solver, eta=1.0),
    }
    sampler = samplers[settings.sampler]
    return lambda denoise, noise, draw: sampler(denoise, noise, bars, times, draw)
