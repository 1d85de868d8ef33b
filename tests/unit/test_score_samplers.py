"""Score samplers against Gaussians, diffusers and scipy."""

import math
import re
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn

from meddiff.core.errors import MeddiffError
from meddiff.diffusion.process import Process
from meddiff.diffusion.sampling.ddpm import Ddpm
from meddiff.diffusion.sampling.flow import adaptive, heun, solve_each
from meddiff.diffusion.sampling.methods import advice, drawn_variance, method
from meddiff.diffusion.sampling.sample import sample_images
from meddiff.diffusion.sampling.samplers import Denoise, Draw
from meddiff.diffusion.sampling.score_samplers import (
    excess_noise,
    predictor_corrector,
    reverse_sde,
)
from meddiff.diffusion.sampling.settings import SamplerSettings
from nets import OTHERS, process

MEAN = torch.tensor([0.2, -0.1], dtype=torch.float64)
COVARIANCE = torch.tensor([[0.04, 0.018], [0.018, 0.03]], dtype=torch.float64)
SAMPLERS = {
    "ddpm": {"sampler": "ddpm", "steps": 500},
    "ddim": {"sampler": "ddim", "steps": 200},
    "dpm": {"sampler": "dpm_solver"},
    "dpm sde": {"sampler": "sde_dpm_solver", "steps": 200},
    "heun": {"sampler": "pf_ode"},
    "adaptive": {"sampler": "pf_ode", "tolerance": 1e-3, "steps": 2},
    "corrector": {"sampler": "predictor_corrector", "steps": 200},
    "ancestral": {"sampler": "predictor_corrector", "predictor": "ancestral", "steps": 200},
    "reverse sde": {"sampler": "reverse_sde", "steps": 300},
    "langevin": {"sampler": "langevin", "langevin_steps": 20, "langevin_size": 0.5},
}
REFUSED = {
    "reverse sde": ("ddpm", "ncsn"),
    "langevin": ("ddpm", "vp", "sub_vp"),
}
FAST = {("ve", "reverse sde"), ("ve", "corrector"), ("vp", "ancestral"), ("sub_vp", "heun")}
PAIRS = [
    pytest.param(kind, name, marks=() if (kind, name) in FAST else pytest.mark.slow)
    for kind in ["ddpm", *OTHERS]
    for name in SAMPLERS
    if kind not in REFUSED.get(name, ())
]


def best(ours: Process) -> Denoise:
    """Return the best estimate where every pair of neighbours is normal with MEAN, COVARIANCE."""
    values, vectors = torch.linalg.eigh(COVARIANCE)

    def denoise(noisy: Tensor, time: float | Sequence[float]) -> Tensor:
        times = [time] if isinstance(time, int | float) else time
        parts = torch.tensor([ours.parts(each) for each in times], dtype=torch.float64)
        signal, noise = parts.T.reshape(2, -1, 1, 1)
        pairs = noisy.double().reshape(len(noisy), -1, 2)
        gain = signal * values / (signal**2 * values + noise**2)
        clean = MEAN + ((pairs - signal * MEAN) @ vectors * gain) @ vectors.T
        return clean.to(noisy).reshape(noisy.shape)

    return denoise


def source(seed: int, shape: tuple[int, ...]) -> Draw:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator)


def never() -> Tensor:
    raise AssertionError("a deterministic sampler drew noise")


def narrow(kind: str, **changes: object) -> Process:
    """A process whose most noise is far above the data's, so that it fits in few steps."""
    return process(process=kind, betas="linear", sigma_max=20.0, **changes)


@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_the_best_net_of_a_gaussian_gives_that_gaussian(kind: str, name: str) -> None:
    """12,800 pairs of pixels: 1.3 % standard error of a variance, 2 % of their covariance; the
    bounds are three of these and what so many steps leave."""
    settings = {"steps": 100, "spacing": "even" if kind in ("ncsn", "ve") else "quadratic"}
    wanted = SamplerSettings.model_validate(settings | SAMPLERS[name])
    ours = narrow(kind)
    draw = source(0, (100, 1, 16, 16))
    *_, images = method(wanted, ours)(best(ours), draw(), draw)
    pairs = images.double().reshape(-1, 2)
    assert torch.allclose(pairs.mean(0), MEAN, atol=0.006)
    relative = torch.cov(pairs.T) / COVARIANCE
    assert torch.allclose(relative, torch.ones(2, 2).double(), atol=0.09), relative


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n, kinds in REFUSED.items() for k in kinds])
def test_a_sampler_that_does_not_fit_names_those_that_do(name: str, kind: str) -> None:
    wanted = SamplerSettings.model_validate(SAMPLERS[name])
    with pytest.raises(MeddiffError, match=rf"sampling\.sampler .* {kind}: .*pf_ode") as error:
        method(wanted, process(process=kind))
    fitting = str(error.value).split("take ")[1].split(", ")
    assert len(fitting) >= 6 and wanted.sampler not in fitting
    for other in fitting:
        method(SamplerSettings.model_validate({"sampler": other}), process(process=kind))


def exact(ours: Process, noise: Tensor, time: float) -> Tensor:
    """Return where the flow takes noise: a pair keeps its distance in standard deviations."""
    values, vectors = torch.linalg.eigh(COVARIANCE)
    first, now = (torch.tensor(ours.parts(each)).double() for each in (ours.at(1.0), time))
    spread = [(part[0] ** 2 * values + part[1] ** 2).sqrt() for part in (first, now)]
    pairs = noise.double().reshape(len(noise), -1, 2)
    apart = (pairs - first[0] * MEAN) @ vectors / spread[0] * spread[1]
    return (now[0] * MEAN + apart @ vectors.T).to(noise).reshape(noise.shape)


@pytest.mark.parametrize("kind", ["ddpm", *OTHERS])
def test_the_flow_is_solved_to_its_order(kind: str) -> None:
    """Twice the steps, a quarter of the error; and scipy's keeps its tolerance."""
    ours, noise = narrow(kind, timesteps=4001), torch.randn(4, 1, 2, 2)
    errors = []
    for steps in (41, 81):
        times = ours.visited(steps, "even" if kind in ("ncsn", "ve") else "quadratic")
        *_, images, _ = heun(best(ours), noise.double(), ours, times, never)
        errors.append((images - exact(ours, noise.double(), times[-1])).abs().max().item())
    assert errors[0] < 0.02 and 3 < errors[0] / errors[1] < 5.5
    times = ours.visited(4, "even")
    states = list(adaptive(best(ours), noise, ours, times, never, tolerance=1e-6))
    assert len(states) == 4
    for state, time in zip(states[:-1], times[1:], strict=True):
        assert torch.allclose(state, exact(ours, noise, time), atol=2e-5)


def test_every_state_has_the_steps_of_its_own() -> None:
    """As scipy solves each one alone, to the last bit."""
    stiffness = np.array([1.0, 30.0, 4.0])
    states = np.random.default_rng(0).standard_normal((3, 2))

    def rates(variables: np.ndarray, states: np.ndarray) -> np.ndarray:
        return stiffness[:, None] * np.cos(variables)[:, None] * states[:, ::-1]

    solved = solve_each(rates, states, [0.0, 0.4, 1.0], 1e-5)
    for place, rate in enumerate(stiffness):
        alone = solve_ivp(
            lambda at, state, rate=rate: rate * np.cos(at) * state[::-1],
            (0.0, 1.0), states[place], t_eval=[0.4, 1.0], rtol=1e-5, atol=1e-5,
        )  # fmt: skip
        assert np.array_equal(solved[:, place], alone.y.T)


def test_a_fault_of_the_net_ends_every_solver() -> None:
    def rates(variables: np.ndarray, states: np.ndarray) -> np.ndarray:
        raise MeddiffError("no memory")

    with pytest.raises(MeddiffError, match="no memory"):
        solve_each(rates, np.zeros((5, 2)), [0.0, 1.0], 1e-3)


@pytest.mark.timeout(20)  # solvers that wait for one that is gone wait for ever
@pytest.mark.parametrize("variables", [[1.5], [1.5, 1.5], [1.5, 1.5, 1.5, 0.01], [1.5, 0.5, 0.5]])
def test_states_may_be_wanted_once_or_twice(variables: list[float]) -> None:
    states = np.array([[1.0], [2.0]])
    solved = solve_each(lambda at, states: -states, states, variables, 1e-8)
    expected = [states * math.exp(variables[0] - at) for at in variables[1:]]
    assert solved.shape == (len(variables) - 1, 2, 1)
    assert np.allclose(solved, np.reshape(expected, solved.shape), atol=1e-6)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("calls", [0, 1, 9])
def test_a_derivative_that_is_not_finite_ends_its_solver_alone(bad: float, calls: int) -> None:
    seen = []

    def rates(at: np.ndarray, states: np.ndarray) -> np.ndarray:
        seen.append(at)
        slopes = np.cos(30 * at)[:, None] * states
        slopes[1] = bad if len(seen) > calls else slopes[1]
        return slopes

    solved = solve_each(rates, np.ones((3, 2)), [0.0, 0.0, 1.0], 1e-6)
    assert np.isnan(solved[-1, 1]).all() and (solved[0] == 1).all()
    assert np.allclose(solved[-1, [0, 2]], math.exp(math.sin(30) / 30), atol=1e-4)


@pytest.mark.timeout(20)
def test_a_fault_of_a_solver_ends_all_and_is_passed_on() -> None:
    with pytest.raises(ValueError, match="t_span"):
        solve_each(lambda at, states: states, np.ones((3, 2)), [0.0, 1.0, 0.5], 1e-3)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("kind", ["ddpm", "ve"])
def test_a_net_that_gives_no_numbers_is_one_line_whatever_draws(kind: str, steps: int) -> None:
    """Also from one step, which takes no solver; and a net that does gives images."""
    ours = process(process=kind)

    class Net(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.value = nn.Parameter(torch.tensor(value))

        def forward(self, noisy: Tensor, timesteps: Tensor) -> Tensor:
            return noisy * self.value

    for tolerance in (None, 0.01):
        wanted = SamplerSettings(sampler="pf_ode", tolerance=tolerance, steps=steps)
        good, broken = (Ddpm(Net(v), ours, (1, 4, 4), (-1, 1), 4) for v in (0.0, math.nan))
        assert sample_images(good, wanted, [2], seed=0, name="x").shape == (1, 4, 4, 1)
        with pytest.raises(MeddiffError, match=r"\bx\b.*finite"):
            sample_images(broken, wanted, [2], seed=0, name="x")


@pytest.mark.slow
def test_a_step_of_the_predictor_and_the_corrector_is_diffusers() -> None:
    from diffusers.schedulers.scheduling_sde_ve import ScoreSdeVeScheduler

    theirs = ScoreSdeVeScheduler(snr=0.2, sigma_min=0.01, sigma_max=20.0)
    theirs.set_timesteps(11)
    theirs.set_sigmas(11)
    ours, shape = narrow("ve"), (1, 1, 4, 4)
    noise = torch.randn(shape)
    wanted = {"predictor": "reverse_diffusion", "steps": 2, "snr": 0.2}
    times = ours.visited(11, "even")
    steps = predictor_corrector(best(ours), noise, ours, times, source(3, shape), **wanted)
    images, generator = noise * math.hypot(1, 20), torch.Generator().manual_seed(3)
    for time, sampled in zip(times[:-1], steps, strict=False):
        sigma = ours.scales(time)[1]

        def slope(images: Tensor, time: float = time, sigma: float = sigma) -> Tensor:
            clean = best(ours)(images / math.hypot(1, sigma), time)
            return (clean - images) / sigma**2

        for _ in range(2):
            images = theirs.step_correct(slope(images), images, generator=generator).prev_sample
        images = theirs.step_pred(slope(images), time, images, generator=generator).prev_sample
        assert torch.allclose(sampled, images, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_step_of_the_reverse_equation_is_diffusers() -> None:
    from diffusers.schedulers.deprecated.scheduling_sde_vp import ScoreSdeVpScheduler

    theirs = ScoreSdeVpScheduler(beta_min=0.1, beta_max=20)
    ours, shape = narrow("vp"), (2, 1, 4, 4)
    noise, times = torch.randn(shape), [1.0, 0.99, 0.98, 0.97]
    theirs.timesteps = torch.linspace(1, 0, 100)
    steps = reverse_sde(best(ours), noise, ours, times, source(3, shape))
    images, generator = noise, torch.Generator().manual_seed(3)
    for time, sampled in zip(times[:-1], steps, strict=False):
        signal, sigma = ours.parts(time)
        epsilon = (images - signal * best(ours)(images, time)) / sigma
        images, _ = theirs.step_pred(epsilon, images, torch.tensor(time), generator=generator)
        assert torch.allclose(sampled, images, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vp", "ve"])
def test_the_flow_ends_where_that_of_diffusers_ends(kind: str) -> None:
    """Heun's method of Karras et al. in sigma, in many steps of both."""
    from diffusers.schedulers.scheduling_heun_discrete import HeunDiscreteScheduler

    ours, noise = narrow(kind), torch.randn(3, 1, 4, 4)
    times = ours.visited(400, "even")
    *_, expected, _ = heun(best(ours), noise, ours, times, never)
    theirs = HeunDiscreteScheduler(prediction_type="sample")
    ratios = [noise / signal for signal, noise in map(ours.parts, times)]
    theirs.set_timesteps(400)
    ordered = [ratios[0], *np.repeat(ratios[1:], 2), 0.0]
    theirs.sigmas, theirs.timesteps = torch.tensor(ordered), torch.arange(len(ordered) - 1.0)
    images = noise * math.hypot(1, ratios[0])
    for number, ratio in enumerate(ordered[:-2]):
        clean = best(ours)(images / math.hypot(1, ratio), ours.time_of(math.log(ratio)))
        images = theirs.step(clean, theirs.timesteps[number], images).prev_sample
    assert torch.allclose(images / math.hypot(1, ratios[-1]), expected, atol=2e-3)


def test_langevin_steps_are_song_and_ermons() -> None:
    """Sizes epsilon sigma_i^2 / sigma_L^2, and an estimate of the clean images at the end."""
    ours, noise = narrow("ncsn", timesteps=4), torch.randn(2, 1, 2, 2)
    wanted = SamplerSettings.model_validate(
        {"sampler": "langevin", "steps": 4, "langevin_steps": 3, "spacing": "even"}
    )
    draw, again = source(1, noise.shape), source(1, noise.shape)
    states = list(method(wanted, ours)(best(ours), noise, draw))
    images, sigmas = noise * math.hypot(1, 20), np.geomspace(20, 0.01, 4)
    step_size = wanted.langevin_size * sigmas[-1] ** 2
    for sigma, time in zip(sigmas, ours.visited(4, "even"), strict=True):
        size = step_size * (sigma / sigmas[-1]) ** 2
        estimate = partial(best(ours), time=time)
        for _ in range(3):
            slope = (estimate(images / math.hypot(1, sigma)) - images) / sigma**2
            images = images + size / 2 * slope + math.sqrt(size) * again()
    assert torch.allclose(states[-1], estimate(images / math.hypot(1, sigma)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("steps", "at_each", "size", "spacing", "words"),
    [
        (3, 1, 0.6, "even", r": raise sampling\.steps"),
        (12, 2, 0.6, "even", r": raise sampling\.steps"),
        (50, 1, 0.6, "even", ""),
        (50, 1, 0.6, "quadratic", r"sampling\.spacing .*even"),
        (50, 4, 1.7, "even", r"sampling\.langevin_size"),
    ],
)
def test_noise_that_stays_is_foretold(
    steps: int, at_each: int, size: float, spacing: str, words: str
) -> None:
    """What is left of the noise at every level, beside a simulation with the exact score."""
    ours = narrow("ncsn", timesteps=100)
    times = ours.visited(steps, spacing)
    images = source(2, (20000, 1, 1, 1))() * math.hypot(*ours.scales(times[0]))
    draw, seen = source(3, images.shape), []
    for time in times:
        level = ours.scales(time)[1] ** 2
        for _ in range(at_each):  # the score of data at 0
            images = images - size / 2 * images + math.sqrt(size * level) * draw()
        seen.append((images.var() / level).item())
    excess = excess_noise(ours, times, steps=at_each, step_size=size)
    assert excess == pytest.approx(max(seen), rel=0.05)
    wanted = {"sampler": "langevin", "steps": steps, "langevin_steps": at_each}
    wanted |= {"langevin_size": size, "spacing": spacing}
    message = advice(SamplerSettings.model_validate(wanted), ours)
    assert re.search(words, message) and bool(message) == (max(seen) > 1.6)


def variance_left(ours: Process, times: Sequence[float], corrected: bool, data: float) -> float:
    """Variance by that of normal data: every sampler is linear in x and fresh noise for them."""
    kept = math.hypot(*ours.scales(times[0])) ** 2
    for time, after in [*pairwise(times), (times[-1], None)]:
        alpha, sigma = ours.scales(time)
        gain = alpha * data / (alpha**2 * data + sigma**2)  # of the best estimate
        slope = (alpha * gain - 1) / sigma**2  # of the score
        next_alpha, next_sigma = (alpha, 0.0) if after is None else ours.scales(after)
        ratio = alpha / next_alpha
        if corrected:
            size = 2 * (ratio * 0.16) ** 2 / (slope**2 * kept)
            kept = (1 + size * slope) ** 2 * kept + 2 * size
        if after is None:
            return gain**2 * kept / data
        if corrected:
            added = sigma**2 - ratio**2 * next_sigma**2
            kept = (2 - ratio + added * slope) ** 2 * kept + added
        else:
            drift, diffusion = ours.sde(time)
            step = time - after
            kept = (1 - step * (drift - diffusion * slope)) ** 2 * kept + diffusion * step
    raise AssertionError


@pytest.mark.parametrize(
    ("kind", "sampler"),
    [
        ("ve", "reverse_sde"),
        ("vp", "predictor_corrector"),
        *(pytest.param(kind, "reverse_sde", marks=pytest.mark.slow) for kind in ("vp", "sub_vp")),
        *(
            pytest.param(kind, "predictor_corrector", marks=pytest.mark.slow)
            for kind in ("ddpm", "ncsn", "ve", "sub_vp")
        ),
    ],
)
def test_a_wrong_variance_is_foretold(kind: str, sampler: str) -> None:
    """And the change that is named mends it."""
    ours = process(process=kind, betas="linear")
    for steps in (15, 25, 50):
        for spacing in ("even", "quadratic"):
            wanted = SamplerSettings(sampler=sampler, steps=steps, spacing=spacing)
            times = ours.visited(steps, spacing)
            left = variance_left(ours, times, sampler == "predictor_corrector", 0.04)
            assert drawn_variance(wanted, ours) == pytest.approx(left, rel=0.05)
            message = advice(wanted, ours)
            if abs(left - 1) < 0.1:
                assert not message
            if abs(left - 1) > 0.2:
                assert f"{sampler} in {steps} steps" in message and "sampling." in message
            if "spacing to" in message and ", and" not in message:
                other = message.split("spacing to ")[1].split(",")[0]
                left = variance_left(ours, ours.visited(steps, other), sampler[0] == "p", 0.04)
                assert other != spacing and abs(left - 1) < 0.2


@pytest.mark.parametrize("steps", range(5, 20))
def test_a_step_that_is_too_long_for_stability_is_foretold(steps: int) -> None:
    """Of `reverse_sde` in the default spacing; g^2 / sigma^2 of `ve` is the same at all times."""
    ours = process(process="ve")
    times = ours.visited(steps, "quadratic")
    lengths = [
        (time - after) * ours.sde(time)[1] / ours.scales(time)[1] ** 2
        for time, after in pairwise(times)
    ]
    if max(lengths) > 2:
        assert advice(SamplerSettings(sampler="reverse_sde", steps=steps), ours)


def test_a_corrector_with_too_much_noise_is_foretold() -> None:
    wanted = SamplerSettings(sampler="predictor_corrector", steps=100, snr=2.0)
    assert "lower sampling.snr" in advice(wanted, process(process="vp"))
