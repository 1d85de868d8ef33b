"""Samplers against MONAI's schedulers, closed forms and each other."""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from meddiff.diffusion.process import DdpmProcess, respaced_times
from meddiff.diffusion.sampling.ddpm import clean_estimator
from meddiff.diffusion.sampling.samplers import ddim, ddpm, dpm_solver
from nets import process

LINEAR = {"timesteps": 1000, "betas": "linear", "beta_start": 1e-4, "beta_end": 2e-2}
BARS = process(**LINEAR).alphas_cumprod.double().tolist()
MEAN, SPREAD = 0.2, 0.15
SAMPLERS = {
    "ddpm": ddpm,
    "ddpm large": partial(ddpm, variance="large"),
    "ddim": ddim,
    "ddim eta": partial(ddim, eta=0.7),
    "dpm": dpm_solver,
    "dpm sde": partial(dpm_solver, eta=1.0),
}


class Fixed(torch.nn.Module):
    """A net whose answer depends on its input but needs no training."""

    def forward(self, noisy: Tensor, timesteps: Tensor) -> Tensor:
        return 0.3 * noisy + 0.0005 * timesteps.reshape(-1, 1, 1, 1)


def never() -> Tensor:
    raise AssertionError("a deterministic sampler drew noise")


def source(seed: int, shape: tuple[int, ...]) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator)


def exact(noisy: Tensor, time: int) -> Tensor:
    """The best estimate of the clean image where data are N(MEAN, SPREAD^2)."""
    bar = BARS[time]
    gain = math.sqrt(bar) * SPREAD**2 / (bar * SPREAD**2 + 1 - bar)
    return MEAN + gain * (noisy - math.sqrt(bar) * MEAN)


def last(sampler: Callable, noise: Tensor, steps: int, seed: int = 1) -> Tensor:
    times = respaced_times(1000, steps)
    *_, images = sampler(exact, noise, BARS, times, source(seed, tuple(noise.shape)))
    return images


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_ancestral_sampling_is_monais(prediction: str, variance: str) -> None:
    """All thousand steps, with MONAI's own loop beside ours and the same noise.

    The schedule is in float64: in float32 MONAI's betas and its products of alphas are of two
    roundings, so that its last step shrinks an image by 1.7e-4.
    """
    monai = DDPMScheduler(
        1000,
        schedule="linear_beta",
        beta_start=1e-4,
        beta_end=2e-2,
        prediction_type=prediction,
        variance_type=f"fixed_{variance}",
    )
    monai.betas = torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)
    monai.alphas = 1 - monai.betas
    monai.alphas_cumprod = monai.alphas.cumprod(0)
    schedule = DdpmProcess(monai.alphas_cumprod, prediction)
    bars = monai.alphas_cumprod.tolist()
    first = torch.randn(2, 3, 8, 8)
    theirs, generator = first, torch.Generator().manual_seed(5)
    for time in range(999, -1, -1):
        output = Fixed()(theirs, torch.full((2,), time))
        theirs, _ = monai.step(output, time, theirs, generator=generator)
    denoise = clean_estimator(Fixed(), schedule)
    *_, ours = ddpm(
        denoise, first, bars, range(999, -1, -1), source(5, first.shape), variance=variance
    )
    assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_implicit_step_is_monais(prediction: str, eta: float) -> None:
    """MONAI takes the noise from the unclipped estimate, so compare where nothing is clipped."""
    monai = DDIMScheduler(
        1000,
        schedule="linear_beta",
        beta_start=1e-4,
        beta_end=2e-2,
        clip_sample=False,
        prediction_type=prediction,
    )
    monai.set_timesteps(50)
    schedule = process(**LINEAR, prediction=prediction)
    noisy = 0.1 * torch.randn(2, 3, 8, 8)
    time, after = 400, 380
    output = Fixed()(noisy, torch.full((2,), time))
    generator = torch.Generator().manual_seed(5)
    expected, _ = monai.step(output, time, noisy, eta=eta, generator=generator)
    draw = source(5, noisy.shape) if eta else never
    drawn_next = next(
        ddim(clean_estimator(Fixed(), schedule), noisy, BARS, [time, after], draw, eta=eta)
    )
    assert torch.allclose(drawn_next, expected, atol=1e-5)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_best_net_for_a_gaussian_gives_that_gaussian(name: str) -> None:
    images = last(SAMPLERS[name], torch.randn(64, 1, 16, 16), 500)
    assert images.mean().item() == pytest.approx(MEAN, abs=0.01)
    assert images.std().item() == pytest.approx(SPREAD, rel=0.06)


@pytest.mark.parametrize("steps", [10, 25])
def test_a_gaussian_survives_re_spacing(steps: int) -> None:
    """Few ancestral steps lose spread with the small variance and keep too much with the large."""
    noise = torch.randn(64, 1, 16, 16)
    small, large = (last(SAMPLERS[n], noise, steps).std() for n in ("ddpm", "ddpm large"))
    assert small < SPREAD * 1.02 and large > small


def test_the_solver_is_of_second_order() -> None:
    """Halving its steps' length quarters its error, where DDIM's is halved.

    The flow of a Gaussian has a closed form: every noise keeps its distance in standard deviations.
    The last step is of first order, so errors are taken before it.
    """
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64).reshape(9, 1, 1, 1)
    # Even in log-SNR, so that the order is that of the method and not of the schedule.
    target = 0.5 * np.log(np.array(BARS) / (1 - np.array(BARS)))
    errors: dict[str, list[float]] = {"ddim": [], "dpm": []}
    for steps in (40, 80):
        ends = np.linspace(target[600], target[20], steps)
        times = [int(np.abs(target - value).argmin()) for value in ends]
        for name, error in errors.items():
            *_, images, _ = SAMPLERS[name](exact, at(noise, times[0]), BARS, times, never)
            error.append((images - at(noise, times[-1])).abs().max().item())
    assert errors["dpm"][0] < errors["ddim"][0] / 5
    assert errors["ddim"][0] / errors["ddim"][1] == pytest.approx(2, rel=0.35)
    assert errors["dpm"][0] / errors["dpm"][1] > 3


def at(z: Tensor, time: int) -> Tensor:
    """Return the noisy value that lies z standard deviations from the mean."""
    bar = BARS[time]
    return math.sqrt(bar) * MEAN + z * math.sqrt(bar * SPREAD**2 + 1 - bar)


def test_without_noise_nothing_is_drawn_and_eta_one_is_ancestral() -> None:
    noise = torch.randn(2, 1, 4, 4)
    for sampler in (ddim, dpm_solver):
        assert len(list(sampler(exact, noise, BARS, respaced_times(1000, 7), never))) == 7
    ancestral = last(ddpm, noise, 20)
    assert torch.allclose(last(partial(ddim, eta=1.0), noise, 20), ancestral, atol=1e-5)


@pytest.mark.parametrize("eta", [0.4, 1.0])
def test_a_noisy_step_of_the_solver_is_exact_for_a_known_image(eta: float) -> None:
    """Lu et al. 2022: what is left of the image's noise, and what is drawn, are a pair whose
    squares add up to the schedule's variance; at eta 1 both are the posterior's of `ddpm`."""
    bar, after = BARS[400], BARS[300]
    clean, noisy, drawn = torch.randn(3, 1, 1, 4, 4, dtype=torch.float64)
    step = partial(dpm_solver, eta=eta)
    stepped = next(step(lambda *_: clean, noisy, BARS, [400, 300], lambda: drawn))
    kept = ((1 - after) / (1 - bar)) ** ((1 + eta) / 2) * (bar / after) ** (eta / 2)
    spread = math.sqrt(1 - after - kept**2 * (1 - bar))
    expected = math.sqrt(after) * clean + kept * (noisy - math.sqrt(bar) * clean) + spread * drawn
    assert torch.allclose(stepped, expected, atol=1e-12)
    if eta == 1:
        ancestral = next(ddpm(lambda *_: clean, noisy, BARS, [400, 300], lambda: drawn))
        assert torch.allclose(stepped, ancestral, atol=1e-12)


def test_few_noisy_steps_of_second_order_keep_more_spread_than_ancestral_ones() -> None:
    noise = torch.randn(256, 1, 16, 16)
    lost = {}
    for name in ("ddpm", "dpm sde"):
        times = respaced_times(1000, 20, "quadratic")
        *_, images = SAMPLERS[name](exact, noise, BARS, times, source(1, tuple(noise.shape)))
        lost[name] = abs(images.std().item() - SPREAD)
    assert lost["dpm sde"] < lost["ddpm"] / 2


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(sorted(SAMPLERS)), st.integers(1, 60), st.integers(0, 99))
def test_a_perfect_estimate_is_where_every_sampler_ends(name: str, steps: int, seed: int) -> None:
    """A net that knows the image: whatever the path, the last state is that image."""
    generator = torch.Generator().manual_seed(seed)
    clean, noise = torch.randn(2, 2, 1, 4, 4, generator=generator)
    times = respaced_times(1000, steps)
    states = list(
        SAMPLERS[name](lambda *_: clean, noise, BARS, times, source(seed, tuple(noise.shape)))
    )
    assert len(states) == steps
    assert torch.allclose(states[-1], clean, atol=1e-5)
    assert all(torch.isfinite(state).all() for state in states)


def test_respaced_times_run_from_the_noisiest_to_the_last() -> None:
    assert respaced_times(1000, 1000) == list(range(999, -1, -1))
    times = respaced_times(1000, 50)
    assert len(set(times)) == 50 and times[0] == 999 and times[-1] == 0


@given(st.integers(1, 1000), st.data())
def test_quadratic_times_differ_and_fall(timesteps: int, data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, timesteps))
    times = respaced_times(timesteps, steps, "quadratic")
    assert len(times) == steps and times[0] == timesteps - 1
    assert all(one > other for one, other in pairwise(times)) and times[-1] >= 0
    if steps == timesteps:
        assert times == respaced_times(timesteps, steps, "even")
    elif 2 <= steps <= 30 and timesteps >= 900:
        roots = np.sqrt(times)
        assert np.allclose(np.diff(roots), roots[-1] - roots[-2], atol=1)
