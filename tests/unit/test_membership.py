"""Whether losses betray members: areas in closed form, a net that memorises its images, one that
does not look at them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor, nn

from meddiff.core.errors import MeddiffError
from meddiff.diffusion.model import build_network
from meddiff.diffusion.pixels import to_model_range, to_unit_range
from meddiff.diffusion.sampling.ddpm import Ddpm
from meddiff.diffusion.sampling.membership import LEVELS, denoising_losses
from meddiff.diffusion.training.objective import denoising_loss, draw_times_and_noise
from meddiff.evaluation.image_sets import read_image_set
from meddiff.evaluation.privacy import membership_rows
from meddiff.metrics import find_changed_copies, membership
from nets import TINY, process

Draw = Callable[[np.random.Generator, int, int], tuple[np.ndarray, np.ndarray]]
"""Losses of so many members and others."""


@pytest.mark.parametrize(("n", "m", "ties"), [(50, 30, False), (300, 250, False), (90, 120, True)])
def test_area_and_true_positives_are_scikit_learns(n, m, ties):
    rng = np.random.default_rng(n)
    members, others = rng.normal(-0.8, 1, n), rng.normal(0, 1, m)
    if ties:
        members, others = members.round(1), others.round(1)
    result = membership(members, others, n_resamples=20)
    truth, scores = np.r_[np.ones(n), np.zeros(m)], -np.r_[members, others]
    assert result.auc.value == pytest.approx(roc_auc_score(truth, scores))
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert result.true_positives.value == pytest.approx(true[false <= 0.01].max())
    assert result.p_value < 0.01


def gaussian(shift: float) -> Draw:
    return lambda rng, n, m: (rng.normal(-shift, 1, n), rng.normal(0, 1, m))


def heavy(rng: np.random.Generator, n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.standard_t(3, n) - 1, rng.standard_t(3, m)


def skewed(rng: np.random.Generator, n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.gamma(2, 0.5, n), rng.gamma(2, 1, m)


def few_known(rng: np.random.Generator, n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """A fifth of the members is memorised, the others are as unseen images."""
    memorised = rng.random(n) < 0.2
    return np.where(memorised, rng.normal(-4, 0.5, n), rng.normal(0, 1, n)), rng.normal(0, 1, m)


CASES = {
    "nothing, 60 and 40": (gaussian(0), 60, 40),
    "0.7 apart, 60 and 40": (gaussian(0.7), 60, 40),
    "2 apart, 100 and 80": (gaussian(2), 100, 80),
    "4 apart, 60 and 50": (gaussian(4), 60, 50),
    "0.3 apart, 300 and 300": (gaussian(0.3), 300, 300),
    "nothing, 500 and 250": (gaussian(0), 500, 250),
    "Student's t, 150 and 100": (heavy, 150, 100),
    "gamma, 100 and 100": (skewed, 100, 100),
    "a fifth by heart, 150 and 100": (few_known, 150, 100),
}
slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("case", "draws"),
    [("2 apart, 100 and 80", 60), ("4 apart, 60 and 50", 60),
     *(pytest.param(case, 400, marks=slow) for case in CASES)],
)  # fmt: skip
def test_intervals_hold_the_expected_values(case: str, draws: int) -> None:
    losses, n, m = CASES[case]
    rng = np.random.default_rng(0)
    fresh = [losses(rng, n, m) for _ in range(10 * draws)]
    area = np.mean([(one[:, None] < other).mean() for one, other in fresh])
    share = np.mean([(one < np.sort(other)[m // 100]).mean() for one, other in fresh])
    results = [membership(*losses(rng, n, m), n_resamples=200) for _ in range(draws)]
    held = {
        name: np.mean([low <= truth <= high for low, high in ends])
        for name, truth, ends in (
            ("auc", area, [(each.auc.low, each.auc.high) for each in results]),
            (
                "tpr",
                share,
                [(each.true_positives.low, each.true_positives.high) for each in results],
            ),
        )
    }
    print(f"{case}: auc {area:.3f} in {held['auc']:.3f}, tpr {share:.3f} in {held['tpr']:.3f}")
    assert min(held.values()) > 0.94 - 2 * (0.95 * 0.05 / draws) ** 0.5


def test_p_values_are_uniform_where_nothing_is_betrayed() -> None:
    rng = np.random.default_rng(0)
    nothing = [membership(rng.normal(size=80), rng.normal(size=60), n_resamples=20).p_value
               for _ in range(60)]  # fmt: skip
    assert np.mean(np.array(nothing) < 0.05) < 0.2


@given(
    losses=arrays(np.float64, st.integers(9, 60), elements=st.integers(-50, 50)),
    members=st.integers(4, 5),
    scale=st.floats(0.1, 10),
)
@settings(max_examples=40, deadline=None)
def test_order_alone_decides_and_intervals_hold_their_value(losses, members, scale) -> None:
    one, other = losses[:members], losses[members:]
    result = membership(one, other, n_resamples=50)
    for each in (result.auc, result.true_positives):
        assert 0 <= each.low <= each.value <= each.high <= 1
        assert each.high - each.low > 1 / (len(losses) + 2)
    # One that grows strictly, to other distances.
    changed = membership(np.exp(scale * one / 50), np.exp(scale * other / 50), n_resamples=50)
    assert result == changed


@pytest.mark.parametrize("losses", [[], [np.nan, 1.0], [[1.0]]])
def test_losses_that_are_none_are_refused(losses):
    with pytest.raises(MeddiffError, match=r"^membership: .*shape \(\d"):
        membership(losses, [1.0, 2.0])


def spots(seed: int, n: int) -> np.ndarray:
    """Bright spots of random place, uint8 (n, 8, 8, 3), with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:8, :8]
    centre = rng.uniform(2, 6, (2, n, 1, 1))
    inside = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / 4)
    images = 60 + 120 * inside[..., None] + rng.normal(0, 12, (n, 8, 8, 3))
    return images.clip(0, 255).astype(np.uint8)


class ByHeart(nn.Module):
    """The net that minimises the loss on its training images: the mean of those that a noisy image
    may come from, each as likely as its distance says."""

    def __init__(self, training: np.ndarray, bars: Tensor) -> None:
        super().__init__()
        clean = to_model_range(to_unit_range(torch.from_numpy(training)), (-1, 1))
        self.clean = nn.Parameter(clean.flatten(1))
        self.bars = bars

    def forward(self, noisy: Tensor, timesteps: Tensor) -> Tensor:
        bar = self.bars[timesteps][:, None]
        apart = torch.cdist(noisy.flatten(1), self.clean * bar[0].sqrt()).square()
        chance = (-apart / (2 * (1 - bar))).softmax(dim=1)
        return (chance @ self.clean).reshape(noisy.shape)


class Blind(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(0.25))

    def forward(self, noisy: Tensor, timesteps: Tensor) -> Tensor:
        return torch.full_like(noisy, self.level.item())


def ddpm_of(build) -> Ddpm:
    schedule = process(
        timesteps=200, betas="linear", beta_start=1e-4, beta_end=0.05, prediction="sample"
    )
    return Ddpm(build(schedule.alphas_cumprod), schedule, (3, 8, 8), (-1, 1), 16)


def rows_of(model: Ddpm, training: np.ndarray, unseen: np.ndarray) -> list[dict]:
    rows = membership_rows(model, training, unseen, n_resamples=40, seed=0, name="spots")
    return list(rows)


def test_a_net_that_knows_its_images_by_heart_betrays_them():
    training, unseen = spots(0, 60), spots(1, 50)
    *by_level, together = rows_of(ddpm_of(lambda bars: ByHeart(training, bars)), training, unseen)
    assert [row["noise_level"] for row in by_level] == list(LEVELS)
    assert np.isnan(together["noise_level"])
    assert together["auc"] > 0.99 and together["auc_ci_low"] > 0.9
    assert together["tpr"] > 0.9 and together["tpr_ci_low"] > 0.5
    assert together["p_value"] < 1e-6 and (together["n_training"], together["n_unseen"]) == (60, 50)


def test_a_net_that_does_not_look_betrays_nothing():
    training, unseen = spots(0, 60), spots(1, 50)
    for row in rows_of(ddpm_of(lambda bars: Blind()), training, unseen):
        assert row["auc_ci_low"] < 0.5 < row["auc_ci_high"] and row["tpr"] < 0.15
        assert row["p_value"] > 0.01


def test_losses_are_of_the_image_alone():
    """Closed form of the blind net; whatever else is looked at, and in whichever order."""
    images = spots(0, 20)
    model = ddpm_of(lambda bars: Blind())
    losses = denoising_losses(model, images, seed=3)
    expected = ((images / 127.5 - 1 - 0.25) ** 2).mean((1, 2, 3))
    assert losses.shape == (20, len(LEVELS)) and losses == pytest.approx(
        np.repeat(expected[:, None], len(LEVELS), 1), rel=1e-5
    )
    model = ddpm_of(lambda bars: ByHeart(spots(1, 30), bars))
    whole = denoising_losses(model, images, seed=3)
    assert np.array_equal(denoising_losses(model, images[:17], seed=3), whole[:17])
    assert np.array_equal(denoising_losses(model, images[16:], seed=3), whole[16:])
    assert not np.array_equal(denoising_losses(model, images, seed=4), whole)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_losses_do_not_depend_on_what_the_net_predicts(prediction):
    """The same estimate of the clean image, as noise, velocity or the image itself."""
    images, training = spots(0, 8), spots(1, 30)
    model = ddpm_of(lambda bars: ByHeart(training, bars))

    class As(ByHeart):
        def forward(self, noisy: Tensor, timesteps: Tensor) -> Tensor:
            clean = super().forward(noisy, timesteps)
            bar = self.bars[timesteps][:, None, None, None]
            noise = (noisy - bar.sqrt() * clean) / (1 - bar).sqrt()
            velocity = bar.sqrt() * noise - (1 - bar).sqrt() * clean
            return {"epsilon": noise, "v_prediction": velocity, "sample": clean}[prediction]

    schedule = process(
        timesteps=200, betas="linear", beta_start=1e-4, beta_end=0.05, prediction=prediction
    )
    other = replace(model, network=As(training, schedule.alphas_cumprod), schedule=schedule)
    expected = denoising_losses(model, images, seed=0)
    assert denoising_losses(other, images, seed=0) == pytest.approx(expected, rel=1e-3)


def test_images_of_another_size_are_refused():
    with pytest.raises(MeddiffError, match=r"\b8x8 px .*\b3 channels .*\(8, 8, 1\)"):
        denoising_losses(ddpm_of(lambda bars: Blind()), spots(0, 4)[..., :1], seed=0)


def test_a_net_that_gives_nan_is_named():
    model = ddpm_of(lambda bars: Blind())
    model.network.level.data.fill_(np.nan)
    with pytest.raises(MeddiffError, match="not finite"):
        denoising_losses(model, spots(0, 4), seed=0)


def directions(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 16))


def test_changed_copies_are_near_in_direction_whatever_their_length():
    training, unseen, fresh = directions(0, 200), directions(1, 100), directions(2, 80)
    copied = 3 * (training[:12] + 0.3 * directions(3, 12))
    result = find_changed_copies(training, np.r_[copied, fresh], unseen)
    assert result.nearest[:12].tolist() == list(range(12))
    assert result.suspects >= 10 and result.suspects_p < 0.01
    assert result.verdict in ("copies", "closer than unseen images")
    assert result.distances.min() >= 0 and result.distances.max() <= 2
    assert find_changed_copies(training, fresh, unseen).verdict == "no copies"
    scaled = find_changed_copies(training * 5, np.r_[copied, fresh], unseen)
    assert scaled.distances == pytest.approx(result.distances)


@pytest.mark.slow
def test_a_ddpm_that_was_trained_on_few_photographs_betrays_them(real_images):
    """A net trained for long on 24 real photographs, beside 24 others of the same kind."""
    images = read_image_set(real_images / "images", crop=None, size=8)[:48]
    training, unseen = images[::2], images[1::2]
    schedule = process(
        timesteps=200, betas="linear", beta_start=1e-4, beta_end=0.05, prediction="epsilon"
    )
    network = build_network(3, **{**TINY, "channels": [32, 32]})
    model = Ddpm(network, schedule, (3, 8, 8), (-1, 1), 24)
    untrained = rows_of(model, training, unseen)[-1]
    assert untrained["auc_ci_low"] < 0.5
    clean = to_model_range(to_unit_range(torch.from_numpy(training)), (-1, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for step in range(600):
        times, noise = draw_times_and_noise(clean.shape, schedule, step)
        optimizer.zero_grad()
        denoising_loss(network, schedule, clean, times, noise).backward()
        optimizer.step()
    network.eval()
    *by_level, together = rows_of(model, training, unseen)
    print(pd.DataFrame([untrained, *by_level, together]).to_string())
    assert together["auc_ci_low"] > 0.55 and together["p_value"] < 0.01
