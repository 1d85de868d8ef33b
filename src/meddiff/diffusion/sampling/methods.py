"""The sampler of settings, for a forward process."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from meddiff.core.errors import MeddiffError
from meddiff.core.randomness import stream_seed
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
MOST_OFF = 0.15
"""Largest relative error of `drawn_variance` without a warning."""
PIXELS, VARIANCE = (1, 1, 128, 128), 0.04
"""Data that a sampler is tried on: independent normal pixels, of the contrast of details."""
MOST_STEPS = 1000
"""Steps up to which it is tried whether more of them help."""


def advice(settings: SamplerSettings, process: Process) -> str:
    """Return what to change in settings whose images would have too much noise, or too little.

    Nothing where they are good, or of a sampler whose errors are small in a few steps.
    """
    if settings.sampler == "langevin":
        return _advice_on_langevin(settings, process)
    if settings.sampler not in ("reverse_sde", "predictor_corrector"):
        return ""
    drawn = drawn_variance(settings, process)
    if _is_near(drawn):
        return ""
    spacing = "even" if settings.spacing == "quadratic" else "quadratic"
    more = max(settings.steps, min(4 * settings.steps, process.levels or MOST_STEPS))
    changes: dict[str, dict[str, object]] = {
        f"set sampling.spacing to {spacing}": {"spacing": spacing},
        "raise sampling.steps": {"steps": more},
        "lower sampling.snr": {"snr": settings.snr / 4},
    }
    if settings.sampler != "predictor_corrector":
        del changes["lower sampling.snr"]
    tried = {text: settings.model_copy(update=change) for text, change in changes.items()}
    good = [text for text, other in tried.items() if _is_near(drawn_variance(other, process))]
    return (
        f"{settings.sampler} in {settings.steps} steps draws normal data with {drawn:.2g} times "
        f"their variance: {', or '.join(good) or ', and '.join(changes)}"
    )


def drawn_variance(settings: SamplerSettings, process: Process) -> float:
    """Return the variance of images over that of the data, which are normal, and the net the best.

    It is that of 16,384 pixels, always of the same random numbers: its standard error is 1.1 %.
    """
    generator = torch.Generator().manual_seed(stream_seed("variance of samplers"))
    draw = partial(torch.randn, PIXELS, generator=generator)

    def best(noisy: Tensor, time: float | Sequence[float]) -> Tensor:
        assert not isinstance(time, Sequence)
        signal, noise = process.parts(time)
        return signal * VARIANCE / (signal**2 * VARIANCE + noise**2) * noisy

    *_, images = method(settings, process)(best, draw(), draw)
    return images.var().item() / VARIANCE


def _is_near(drawn: float) -> bool:
    return abs(drawn - 1) <= MOST_OFF


def _advice_on_langevin(settings: SamplerSettings, process: Process) -> str:
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
