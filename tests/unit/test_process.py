"""Forward processes against closed forms, Song et al. 2021 and MONAI."""

import math

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from meddiff.core.errors import MeddiffError
from meddiff.diffusion.model import build_network
from meddiff.diffusion.process import build_process
from meddiff.diffusion.sampling.ddpm import Ddpm, clean_estimator
from meddiff.diffusion.sampling.sample import sample_images
from meddiff.diffusion.sampling.settings import SamplerSettings
from meddiff.diffusion.settings import DiffusionSettings, ScheduleSettings
from meddiff.diffusion.training import steps
from meddiff.diffusion.training.loop import train_ddpm
from nets import TINY, process

IMAGES = np.random.default_rng(0).integers(0, 256, (11, 16, 16, 3), dtype=np.uint8)
KINDS = ["ddpm", "ncsn", "ve", "vp", "sub_vp"]
SHARES = [0.0, 0.03, 0.2, 0.5, 0.77, 1.0]


def monais(settings: ScheduleSettings) -> torch.nn.Module:
    from monai.networks.schedulers import DDPMScheduler

    bounds = {"beta_start": settings.beta_start, "beta_end": settings.beta_end}
    kind = {"linear": {"schedule": "linear_beta", **bounds}, "cosine": {"schedule": "cosine"}}
    return DDPMScheduler(
        settings.timesteps, prediction_type=settings.prediction, **kind[settings.betas]
    )


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"schedule": {"betas": "linear", "prediction": "epsilon", "pixel_range": [0, 1]}},
        pytest.param(
            {"schedule": {"prediction": "sample"}, "min_snr": 5.0}, marks=pytest.mark.slow
        ),
    ],
    ids=["demo", "study", "min-snr"],
)
def test_a_ddpm_has_the_bits_of_one_with_monais_scheduler(changes: dict, monkeypatch) -> None:
    """What the engine was before it knew other processes: the loss and the estimate, with MONAI."""
    fixed = {"steps": 5, "batch_size": 4, "network": TINY, "lr": 1e-3, "ema": 0.9}
    settings = DiffusionSettings.model_validate(fixed | {"preview": {"images": 0}} | changes)
    ours = train_ddpm(IMAGES, settings, seed=0, name="x", validation=IMAGES[:5])
    scheduler = monais(settings.schedule)
    bars = scheduler.alphas_cumprod.double()

    def loss(network, process, clean, times, noise, *, weigh=None) -> Tensor:
        noisy = scheduler.add_noise(original_samples=clean, noise=noise, timesteps=times)
        output = network(noisy.contiguous(memory_format=torch.channels_last), timesteps=times)
        velocity = scheduler.get_velocity(sample=clean, noise=noise, timesteps=times)
        target = {"epsilon": noise, "sample": clean, "v_prediction": velocity}
        errors = torch.nn.functional.mse_loss(
            output, target[settings.schedule.prediction], reduction="none"
        )
        if weigh is None:
            return errors.mean()
        weights = (bars / (1 - bars)).clamp(max=5.0).float()
        return (errors.mean((1, 2, 3)) * weights[times]).mean()

    monkeypatch.setattr(steps, "denoising_loss", loss)
    theirs = train_ddpm(IMAGES, settings, seed=0, name="x", validation=IMAGES[:5])
    assert ours.history.equals(theirs.history)
    for name, weight in theirs.weights.items():
        assert torch.equal(ours.weights[name], weight), name
    network = build_network(3, **TINY).eval()
    network.load_state_dict(ours.weights)
    denoise = clean_estimator(network, build_process(settings.schedule))
    noisy = torch.randn(2, 3, 16, 16)
    for time in (0, 400, 999):
        output = network(noisy, torch.full((2,), time))
        signal, noise = bars[time].sqrt().item(), (1 - bars[time]).sqrt().item()
        clean = {
            "epsilon": (noisy - noise * output) / signal,
            "sample": output,
            "v_prediction": signal * noisy - noise * output,
        }[settings.schedule.prediction]
        assert torch.equal(denoise(noisy, time), clean.clamp(-1, 1))


def mixed(kind: str, share: float) -> tuple[float, float, float, float]:
    """Time, alpha, sigma / alpha and the square of y's signal, of a process of default settings."""
    ours = process(process=kind, betas="linear")
    time = ours.at(share)
    signal, noise = ours.parts(time)
    return time, ours.alpha(time), noise / signal, signal**2


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("kind", ["vp", "sub_vp"])
def test_variance_is_preserved_as_song_et_al_say(kind: str, share: float) -> None:
    """Equations 29 and 31 of their appendix B, with beta from 0.1 to 20."""
    time, alpha, ratio, _ = mixed(kind, share)
    integral = 0.1 * time + 19.9 * time**2 / 2
    variance = (1 - math.exp(-integral)) ** (2 if kind == "sub_vp" else 1)
    assert alpha == pytest.approx(math.exp(-integral / 2), rel=1e-9)
    assert (alpha * ratio) ** 2 == pytest.approx(variance, rel=1e-9)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("kind", ["ncsn", "ve"])
def test_variance_explodes_geometrically(kind: str, share: float) -> None:
    time, alpha, ratio, bar = mixed(kind, share)
    sigma = 0.01 * 5000**time
    assert alpha == 1 and ratio == pytest.approx(sigma, rel=1e-9)
    assert bar == pytest.approx(1 / (1 + sigma**2), rel=1e-9)


def test_levels_of_a_score_network_are_a_geometric_sequence() -> None:
    ours = process(process="ncsn", timesteps=10, sigma_min=0.01, sigma_max=1.0)
    times = ours.draw_times(5000, torch.Generator().manual_seed(0))
    sigmas = ours.log_ratio(times).exp().unique().numpy()
    assert sigmas == pytest.approx(np.geomspace(0.01, 1, 10), rel=1e-5)
    assert ours.visited(10, "even") == pytest.approx(np.linspace(1, 0, 10))


def test_vp_is_the_limit_of_ddpms() -> None:
    """Ever more steps of betas that sum up to the same integral (appendix B)."""
    limit, apart = process(process="vp"), []
    for count in (500, 5000):
        ours = process(timesteps=count, betas="linear", beta_start=0.1 / count, beta_end=20 / count)
        bars = [ours.bar(round(share * count) - 1) for share in SHARES[2:]]
        expected = [limit.bar(share) for share in SHARES[2:]]
        apart.append(np.abs(np.log(bars) - np.log(expected)).max())
    assert apart[0] < 0.2 and apart[1] < apart[0] / 9


@pytest.mark.parametrize("kind", KINDS)
def test_what_nets_see_has_the_same_variance_at_any_time(kind: str) -> None:
    ours = process(process=kind)
    times = ours.draw_times(4000, torch.Generator().manual_seed(1))
    signal, noise = ours.mix(times)
    assert signal.shape == (4000, 1, 1, 1) and signal.dtype == noise.dtype == torch.float32
    assert torch.allclose(signal**2 + noise**2, torch.ones(1), atol=1e-6)
    condition = ours.condition(times)
    assert condition.min() >= 0 and condition.max() <= 999 and condition.max() > 990
    for time in times[:5].tolist():
        assert ours.mix(torch.tensor([time]))[0].item() == pytest.approx(
            ours.parts(time)[0], rel=1e-3
        )


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_time_is_found_by_its_noise(kind: str, share: float) -> None:
    ours = process(process=kind)
    time = ours.at(share)
    signal, noise = ours.parts(time)
    assert ours.time_of(math.log(noise / signal)) == pytest.approx(time, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("share", SHARES[1:-1])
@pytest.mark.parametrize("kind", ["ve", "vp", "sub_vp"])
def test_drift_and_diffusion_are_those_of_mean_and_variance(kind: str, share: float) -> None:
    """d ln(alpha) / dt = f and d sigma^2 / dt = 2 f sigma^2 + g^2 (Särkkä and Solin 2019, 5.5)."""
    ours = process(process=kind)
    time, step = ours.at(share), 1e-5

    def moments(at: float) -> tuple[float, float]:
        signal, noise = ours.parts(at)
        return math.log(ours.alpha(at)), (ours.alpha(at) * noise / signal) ** 2

    before, now, after = map(moments, (time - step, time, time + step))
    drift, diffusion = ours.sde(time)
    assert drift == pytest.approx((after[0] - before[0]) / (2 * step), rel=1e-6, abs=1e-9)
    growth = (after[1] - before[1]) / (2 * step)
    assert growth == pytest.approx(2 * drift * now[1] + diffusion, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_noise_of_the_best_net_is_minus_sigma_times_the_score(
    kind: str, prediction: str
) -> None:
    """Eq. 2.31 of the study: both of a Gaussian in closed form: D, epsilon and score agree."""
    mean, spread = 0.1, 0.05
    ours = process(process=kind, prediction=prediction)

    def best(noisy: Tensor, condition: Tensor) -> Tensor:
        signal, noise = ours.parts(time)
        variance = (signal * spread) ** 2 + noise**2
        epsilon = noise * (noisy - signal * mean) / variance
        clean = (noisy - noise * epsilon) / signal
        velocity = signal * epsilon - noise * clean
        return {"epsilon": epsilon, "sample": clean, "v_prediction": velocity}[prediction]

    denoise = clean_estimator(best, ours)
    for share in SHARES[1:]:
        time = ours.at(share)
        signal, noise = ours.parts(time)
        alpha, sigma = ours.alpha(time), ours.alpha(time) * noise / signal
        x = alpha * mean + math.hypot(alpha * spread, sigma) * torch.linspace(-2, 2, 9).double()
        clean = denoise(x.reshape(9, 1, 1, 1) * signal / alpha, time).reshape(9)
        score = -(x - alpha * mean) / (alpha**2 * spread**2 + sigma**2)
        assert torch.allclose((x - alpha * clean) / sigma, -sigma * score, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_process_learns_and_draws(kind: str) -> None:
    """From one image it learns that image; the same loop, average, previews and sampler."""
    one = np.full((4, 16, 16, 3), 200, np.uint8)
    settings = DiffusionSettings.model_validate(
        {"steps": 80, "batch_size": 4, "network": TINY, "lr": 1e-2, "ema": 0.9,
         "schedule": {"process": kind}, "preview": {"images": 2, "steps": 5}}
    )  # fmt: skip
    trained = train_ddpm(one, settings, seed=0, name="x", validation=one)
    assert trained.previews.shape[1:] == (2, 16, 16, 3)
    network = build_network(3, **TINY).eval()
    network.load_state_dict(trained.weights)
    model = Ddpm(network, build_process(settings.schedule), (3, 16, 16), (-1, 1), 2)
    drawn = sample_images(model, SamplerSettings(steps=10), range(2), seed=0, name="x")
    assert abs(drawn.mean() - 200) < 30


def test_a_process_without_an_equation_says_which_have_one() -> None:
    ddpm = build_process(ScheduleSettings())
    with pytest.raises(MeddiffError, match=r"process ddpm .*\bve, vp\b.*\bsub_vp\b"):
        ddpm.sde(0.5)


@hypothesis.given(
    kind=st.sampled_from(["ddpm", "vp", "sub_vp"]),
    timesteps=st.sampled_from([1, 2, 7, 100, 1000, 4000]),
    bounds=st.tuples(*[st.floats(1e-6, 0.999)] * 2).map(sorted),
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_betas_that_are_taken_leave_a_signal(kind: str, timesteps: int, bounds: list) -> None:
    """In float32, in which nets are trained; where it is refused there would be next to none."""
    values = {"process": kind, "betas": "linear", "timesteps": timesteps}
    betas = np.linspace(*bounds, timesteps)
    left = np.exp(np.log1p(-betas).sum())
    try:
        ours = process(**values, beta_start=bounds[0], beta_end=bounds[1])
    except ValidationError:
        assert left < 1e-34
    else:
        last = torch.tensor([ours.at(1.0)], dtype=torch.long if kind == "ddpm" else torch.float32)
        assert ours.mix(last)[0].item() > 0 and ours.parts(ours.at(1.0))[0] > 0
