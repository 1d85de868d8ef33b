"""The denoising loss and its training against closed forms, MONAI and planted faults."""

import math
from itertools import chain, repeat

import numpy as np
import pytest
import torch

from meddiff.core.errors import MeddiffError
from meddiff.diffusion.model import build_network
from meddiff.diffusion.pixels import to_model_range, to_uint8, to_unit_range
from meddiff.diffusion.process import build_process
from meddiff.diffusion.sampling.ddpm import Ddpm
from meddiff.diffusion.sampling.sample import sample
from meddiff.diffusion.settings import DiffusionSettings
from meddiff.diffusion.training.history import preview_epochs
from meddiff.diffusion.training.loop import train_ddpm
from meddiff.diffusion.training.objective import (
    denoising_loss,
    draw_times_and_noise,
    largest_loss,
    min_snr_weights,
)
from nets import TINY, process

LINEAR = {"timesteps": 1000, "betas": "linear", "beta_start": 1e-4, "beta_end": 2e-2}


def tiny(**changes) -> DiffusionSettings:
    fixed = {"steps": 4, "batch_size": 4, "network": TINY, "lr": 1e-3, "ema": None}
    return DiffusionSettings.model_validate(fixed | {"preview": {"images": 0}} | changes)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)


def test_linear_schedule_is_ho_et_al():
    schedule = process(**LINEAR, prediction="epsilon")
    betas = torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)
    assert torch.allclose(schedule.alphas_cumprod.double(), (1 - betas).cumprod(0), atol=1e-6)


def test_cosine_schedule_is_nichol_and_dhariwal():
    schedule = process(**{**LINEAR, "betas": "cosine"}, prediction="epsilon")
    t = (torch.arange(1, 1000, dtype=torch.float64) / 1000 + 0.008) / 1.008
    expected = torch.cos(t * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert torch.allclose(schedule.alphas_cumprod[:-1].double(), expected, atol=1e-4)


@pytest.mark.parametrize("pixel_range", [(-1, 1), (0, 1)])
def test_every_grey_level_survives_the_nets_range(pixel_range):
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    there = to_model_range(to_unit_range(levels), pixel_range)
    assert there.shape == (1, 1, 16, 16) and there.max() == 1
    assert there.min() == pixel_range[0]
    assert torch.equal(to_uint8(there, pixel_range), levels)


class Constant(torch.nn.Module):
    """A net that always answers the same."""

    def __init__(self, answer: float) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, noisy, timesteps):
        return torch.full_like(noisy, self.answer)


def test_loss_of_a_net_that_says_zero():
    """The target has mean square 1 for noise, and a closed form for the velocity of flat images."""
    clean = torch.full((512, 1, 16, 16), 0.5)
    drawn = draw_times_and_noise(tuple(clean.shape), process(**LINEAR), 0)
    epsilon = process(**LINEAR, prediction="epsilon")
    loss = denoising_loss(Constant(0.0), epsilon, clean, *drawn).item()
    assert loss == pytest.approx(1, abs=0.02)
    velocity = process(**LINEAR, prediction="v_prediction")
    alpha_bar = velocity.alphas_cumprod[drawn[0]].mean().item()
    expected = alpha_bar + (1 - alpha_bar) * 0.25
    loss = denoising_loss(Constant(0.0), velocity, clean, *drawn).item()
    assert loss == pytest.approx(expected, rel=0.02)


def test_a_perfect_net_has_no_loss():
    """For one image the noise follows from the noisy image exactly."""
    schedule = process(**LINEAR, prediction="epsilon")
    clean = torch.rand(1, 3, 8, 8)

    class Oracle(torch.nn.Module):
        def forward(self, noisy, timesteps):
            a = schedule.alphas_cumprod[timesteps].reshape(-1, 1, 1, 1)
            return (noisy - a.sqrt() * clean) / (1 - a).sqrt()

    batch = clean.expand(16, -1, -1, -1)
    drawn = draw_times_and_noise(tuple(batch.shape), schedule, 1)
    assert denoising_loss(Oracle(), schedule, batch, *drawn).item() < 1e-6


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_min_snr_is_the_clipped_error_of_the_clean_image(prediction):
    """Whatever the net predicts, the weighted loss is min(SNR, gamma) x the error of x0."""
    schedule = process(**LINEAR, prediction=prediction)
    weigh = min_snr_weights(schedule, 5.0)
    clean, answer = torch.randn(1, 1, 8, 8), torch.randn(1, 1, 8, 8)
    noise = torch.randn(1, 1, 8, 8)

    class Answers(torch.nn.Module):
        def forward(self, noisy, timesteps):
            return answer

    for time in (5, 100, 400, 800):
        times = torch.tensor([time])
        a = schedule.alphas_cumprod[time].double()
        noisy = a.sqrt() * clean + (1 - a).sqrt() * noise
        estimate = {
            "epsilon": (noisy - (1 - a).sqrt() * answer) / a.sqrt(),
            "v_prediction": a.sqrt() * noisy - (1 - a).sqrt() * answer,
            "sample": answer,
        }[prediction]
        snr = (a / (1 - a)).item()
        expected = min(snr, 5.0) * ((estimate - clean) ** 2).mean().item()
        loss = denoising_loss(Answers(), schedule, clean, times, noise, weigh=weigh).item()
        assert loss == pytest.approx(expected, rel=1e-4)


def test_min_snr_without_a_bound_is_the_plain_loss_of_noise():
    schedule = process(**LINEAR, prediction="epsilon")
    weights = min_snr_weights(schedule, 1e9)(torch.arange(1000))
    assert torch.allclose(weights, torch.ones(1000))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_every_prediction_learns(prediction):
    """On one dark image, repeated, the loss falls below that of an untrained net."""
    image = np.full((16, 16, 16, 3), 20, dtype=np.uint8)
    settings = tiny(steps=80, batch_size=16, lr=5e-3, schedule={"prediction": prediction})
    history = train_ddpm(image, settings, seed=0, name="x").history
    losses = history["loss"]
    assert losses.iloc[-25:].mean() < 0.85 * losses.iloc[:25].mean()
    assert history["step"].tolist() == list(range(1, 81))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_follows_full_precision(images, precision):
    """Weights stay float32, and the losses those of float32 but for rounding."""
    full = train_ddpm(images, tiny(steps=12, ema=0.9), seed=0, name="x")
    mixed = train_ddpm(images, tiny(steps=12, ema=0.9, precision=precision), seed=0, name="x")
    assert {weight.dtype for weight in mixed.weights.values()} == {torch.float32}
    assert mixed.history["loss"].tolist() == pytest.approx(full.history["loss"].tolist(), rel=0.01)
    assert mixed.history["loss"].tolist() != full.history["loss"].tolist()


def test_the_average_is_of_the_parameters(images):
    """With a decay of d after two steps it is d x the first step's weights + (1 - d) x the last."""
    weights = [
        train_ddpm(images, tiny(steps=n, lr_schedule="constant"), seed=0, name="x").weights
        for n in (1, 2)
    ]
    settings = tiny(steps=2, lr_schedule="constant", ema=0.75)
    average = train_ddpm(images, settings, seed=0, name="x").weights
    assert average.keys() == weights[0].keys()
    for key, value in average.items():
        expected = 0.75 * weights[0][key] + 0.25 * weights[1][key]
        assert torch.allclose(value, expected, atol=1e-6), key


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("min_snr", [None, 5.0])
def test_no_batch_of_an_untrained_net_looks_exploded(prediction, min_snr):
    """Under min-SNR weights one batch may have many times the loss of another."""
    schedule = process(**LINEAR, prediction=prediction)
    clean = torch.ones(4, 1, 8, 8)
    drawn = [draw_times_and_noise(tuple(clean.shape), schedule, key) for key in range(300)]
    net = Constant(0.0)
    weigh = None if min_snr is None else min_snr_weights(schedule, min_snr)
    losses = [denoising_loss(net, schedule, clean, *each, weigh=weigh) for each in drawn]
    worst = max(losses).item()
    assert worst / 1.5 < largest_loss(schedule, min_snr) < 5 * worst


@pytest.mark.parametrize("loss", [math.inf, -math.inf, math.nan])
def test_a_loss_that_is_not_finite_stops_at_once(images, monkeypatch, loss):
    monkeypatch.setattr(
        "meddiff.diffusion.training.steps.denoising_loss",
        lambda network, *_, **__: 0 * next(network.parameters()).sum() + loss,
    )
    with pytest.raises(MeddiffError, match=rf"ddpm x: .*{loss}.* 1/4 "):
        train_ddpm(images, tiny(), seed=0, name="x")


def test_changes_are_drawn_once_for_training_and_validation_images(images, monkeypatch):
    seen = []

    def noting(network, schedule, clean, times, noise, **_):
        seen.append(clean.detach().clone())
        return 0 * next(network.parameters()).sum()

    monkeypatch.setattr("meddiff.diffusion.training.steps.denoising_loss", noting)
    settings = {"steps": 6, "batch_size": 8, "augmentation": "hand", "validation_every": 3}

    def epochs(**changes):
        seen.clear()
        train_ddpm(images, tiny(**settings, **changes), seed=0, name="x", validation=images)
        whole = [sorted(image.numpy().tobytes() for image in batch) for batch in seen]
        return whole[:3] + whole[4:7], whole[3::4]

    anew, held_out = epochs()
    assert len({tuple(epoch) for epoch in anew}) == 6
    unit = to_model_range(to_unit_range(torch.from_numpy(images)), pixel_range=(-1, 1))
    plain = sorted(image.contiguous().numpy().tobytes() for image in unit)
    assert held_out[0] == held_out[1] == plain
    once, held_out = epochs(augment_once=True)
    assert len({tuple(epoch) for epoch in once}) == 1 and once[0] != plain
    assert held_out[0] == held_out[1] != plain


def test_an_exploding_loss_stops(images, monkeypatch):
    """Finite, but far above that of the untrained net."""
    losses = chain(repeat(1.0, 30), repeat(11.0))
    monkeypatch.setattr(
        "meddiff.diffusion.training.steps.denoising_loss",
        lambda network, *_, **__: 0 * next(network.parameters()).sum() + next(losses),
    )
    with pytest.raises(MeddiffError, match=r"11 .*31/50 .*diffusion\.lr"):
        train_ddpm(images, tiny(steps=50), seed=0, name="x")


def test_previews_are_drawn_when_due_from_the_same_noise(images):
    settings = tiny(steps=8, batch_size=8, validation_every=3, preview={"images": 3, "steps": 4})
    trained = train_ddpm(images, settings, seed=0, name="x")
    assert trained.previews.shape == (3, 3, 16, 16, 3) and trained.previews.dtype == np.uint8
    schedule = build_process(settings.schedule)
    model = Ddpm(build_network(3, **TINY), schedule, (3, 16, 16), (-1, 1), block=3)
    model.network.load_state_dict(trained.weights)
    assert preview_epochs(trained.history, 3) == [3, 6, 8]
    (last,) = sample(model, settings.preview, range(3), seed=0, name="x")
    assert np.array_equal(last, trained.previews[-1])


def test_previews_and_watchers_change_no_weight(images):
    seen = []

    class Noting:
        def on_epoch_end(self, row, images_per_second, previews):
            seen.append((row["epoch"], images_per_second > 0, previews is not None))

    plain = train_ddpm(images, tiny(), seed=0, name="x")
    watched = tiny(preview={"images": 2, "steps": 3}, validation_every=1)
    trained = train_ddpm(images, watched, seed=0, name="x", callbacks=(Noting(),))
    assert all(torch.equal(w, trained.weights[k]) for k, w in plain.weights.items())
    assert seen == [(1, True, True), (2, True, True)]


def test_too_little_memory_names_the_settings(images, monkeypatch):
    monkeypatch.setattr(
        "meddiff.diffusion.training.steps.denoising_loss", lambda *_, **__: torch.empty(2**50)
    )
    with pytest.raises(MeddiffError, match=r"diffusion\.batch_size"):
        train_ddpm(images, tiny(), seed=0, name="x")


def test_accumulated_gradients_are_those_of_the_whole_batch(images):
    """Forward passes of three, three and two images take the step of one of eight."""
    parts = train_ddpm(images, tiny(batch_size=3, gradient_accumulation=3), seed=0, name="x")
    whole = train_ddpm(images, tiny(batch_size=9), seed=0, name="x")
    assert parts.history["loss"].tolist() == pytest.approx(whole.history["loss"].tolist())
    for key, weight in whole.weights.items():
        assert torch.allclose(parts.weights[key], weight, atol=1e-4), key


def test_training_is_a_function_of_the_seed(images):
    first, again, other = (
        train_ddpm(images, tiny(ema=0.9), seed=seed, name="x", validation=images[:4])
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(w, again.weights[k]) for k, w in first.weights.items())
    assert first.history.equals(again.history)
    assert any(not torch.equal(w, other.weights[k]) for k, w in first.weights.items())


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1e-3] * 4),
        ("linear", [1e-3, 1e-3 * 0.75, 1e-3 * 0.5, 1e-3 * 0.25]),
    ],
)
def test_learning_rate_follows_its_schedule(images, schedule, expected):
    settings = tiny(batch_size=8, lr_schedule=schedule, lr_end=0)
    rates = train_ddpm(images, settings, seed=0, name="x").history["lr"]
    assert rates.tolist() == pytest.approx(expected)


def test_plateau_halves_the_rate_when_the_loss_stalls(images, monkeypatch):
    monkeypatch.setattr(
        "meddiff.diffusion.training.steps.denoising_loss",
        lambda network, *_, **__: 0 * next(network.parameters()).sum() + 1,
    )
    settings = tiny(steps=6, batch_size=8, lr_schedule="plateau")
    rates = train_ddpm(images, settings, seed=0, name="x").history["lr"]
    assert rates.tolist() == pytest.approx([1e-3] * 3 + [5e-4] * 2 + [2.5e-4])


def test_a_loss_that_turns_nan_stops_with_step_rate_and_remedy(images):
    with pytest.raises(MeddiffError, match=r"ddpm x: .*\d+/50.*diffusion\.lr"):
        train_ddpm(images, tiny(steps=50, lr=1e18, lr_schedule="constant"), seed=0, name="x")


def test_validation_loss_is_checked_when_due(images):
    settings = tiny(steps=8, batch_size=8, validation_every=3)
    history = train_ddpm(images, settings, seed=0, name="x", validation=images).history
    assert history["validation_loss"].notna().tolist() == [False, False, True] * 2 + [False, True]
