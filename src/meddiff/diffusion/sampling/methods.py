"""The sampler of settings, for a forward process."""

from collections.abc import Callable, Iterator
from functools import partial

from torch import Tensor

from meddiff.core.errors import MeddiffError
from meddiff.diffusion.process import Process
from meddiff.diffusion.sampling.flow import adaptive, heun
from meddiff.diffusion.sampling.samplers import Denoise, Draw, ddim, ddpm, dpm_solver
from meddiff.diffusion.sampling.score_samplers import (
    excess_noise,
    langevin,
    predictor_corrector,
    reverse_sde,
)
from meddiff.diffusion.sampling.settings import SamplerSettings

Steps = Callable[..., Iterator[Tensor]]
Method = Callable[[Denoise, Tensor, Draw], Iterator[Tensor]]
"""From the net, standard normal noise (N,C,H,W) and fresh noise to images after each step."""


MOST_EXCESS = 1.6
"""Largest `excess_noise` without a warning; from about 2 on small nets return noise."""


def advice(settings: SamplerSettings, process: Process) -> str:
    """Return what to change in settings that leave noise in the images; else nothing."""
    if settings.sampler != "langevin":
        return ""
    excess = excess_noise(
        process,
        process.visited(settings.steps, settings.spacing),
        steps=settings.langevin_steps,
        step_size=settings.langevin_size,
    )
    if excess <= MOST_EXCESS:
        return ""
    change = "lower sampling.langevin_size"
    if 1 / (1 - settings.langevin_size / 4) <= MOST_EXCESS:  # where steps at one level end
        change = "raise sampling.steps or langevin_steps"
        if settings.spacing != "even":
            change = f"set sampling.spacing to even, or {change}"
    return f"langevin leaves {excess:.1f} times the noise of its levels: {change}"


def method(settings: SamplerSettings, process: Process) -> Method:
    """Return a sampler with its times and options.

    Raises:
        MeddiffError: the sampler does not fit the process.
    """
    if reason := settings.misfit(process.name, process.levels):
        raise MeddiffError(f"sampling.{reason}")
    times = process.visited(settings.steps, settings.spacing)
    # These take any process for one whose variance is preserved.
    preserving: dict[str, Steps] = {
        "ddpm": partial(ddpm, variance=settings.variance),
        "ddim": partial(ddim, eta=settings.eta),
        "dpm_solver": dpm_solver,
        "sde_dpm_solver": partial(dpm_solver, eta=1.0),
    }
    if preserved := preserving.get(settings.sampler):
        bars = {time: process.bar(time) for time in times}
        return lambda denoise, noise, draw: preserved(denoise, noise, bars, times, draw)
    n_steps = settings.langevin_steps
    following: dict[str, Steps] = {
        "langevin": partial(langevin, steps=n_steps, step_size=settings.langevin_size),
        "reverse_sde": reverse_sde,
        "predictor_corrector": partial(
            predictor_corrector, predictor=settings.predictor, steps=n_steps, snr=settings.snr
        ),
        "pf_ode": partial(adaptive, tolerance=settings.tolerance) if settings.tolerance else heun,
    }
    steps = following[settings.sampler]
    return lambda denoise, noise, draw: steps(denoise, noise, process, times, draw)
