"""Likelihoods against those of Gaussians."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from meddiff.core.errors import MeddiffError
from meddiff.diffusion.process import Process
from meddiff.diffusion.sampling.ddpm import Ddpm
from meddiff.diffusion.sampling.likelihood import bits_per_dimension, log_density
from meddiff.evaluation.likelihood import likelihood_rows
from nets import OTHERS, process

MEAN = np.array([0.2, -0.1])
COVARIANCE = np.array([[0.09, 0.04], [0.04, 0.06]])


class Best(nn.Module):
    """The best net where every pair of neighbouring pixels is normal."""

    def __init__(self, ours: Process) -> None:
        super().__init__()
        self.ours, self.place = ours, nn.Parameter(torch.zeros(()))
        values, self.vectors = torch.linalg.eigh(torch.from_numpy(COVARIANCE).float())
        self.register_buffer("values", values)

    def forward(self, noisy: Tensor, timesteps: Tensor) -> Tensor:
        time = timesteps[0].item() / (1 if self.ours.name == "ddpm" else 999)
        signal, noise = self.ours.parts(float(time))
        pairs = noisy.reshape(len(noisy), -1, 2)
        centred = (pairs - signal * torch.from_numpy(MEAN).float()) @ self.vectors
        whitened = centred / (signal**2 * self.values + noise**2)
        epsilon = (noise * whitened @ self.vectors.T).reshape(noisy.shape)
        mean = torch.from_numpy(MEAN).float().repeat(noisy[0].numel() // 2).reshape(noisy[0].shape)
        clean = mean + ((signal * self.values * whitened) @ self.vectors.T).reshape(noisy.shape)
        velocity = signal * epsilon - noise * clean
        answers = {"epsilon": epsilon, "sample": clean, "v_prediction": velocity}
        return answers[self.ours.prediction_type]


def normal(ours: Process) -> multivariate_normal:
    """Return the distribution of a pair at the process' least noise."""
    alpha, sigma = ours.scales(ours.at(0.0))
    return multivariate_normal(alpha * MEAN, alpha**2 * COVARIANCE + sigma**2 * np.eye(2))


@pytest.mark.parametrize(
    ("kind", "prediction"),
    [
        *((kind, "v_prediction") for kind in ["ddpm", *OTHERS]),
        ("ve", "epsilon"),
        ("vp", "sample"),
    ],
)
def test_the_density_is_the_gaussians(kind: str, prediction: str) -> None:
    """By two probes whose products are the axes: the trace is exact, the rest is the solver's, and
    that noise is standard normal at the end, which is the truer the more there is."""
    ours = process(process=kind, prediction=prediction, sigma_max=300.0)
    clean = torch.from_numpy(np.random.default_rng(0).normal(0, 0.5, (30, 1, 1, 2))).float()
    signs = [torch.tensor([[[1.0, sign]]]).expand_as(clean) for sign in (1.0, -1.0)]
    estimate = np.mean([log_density(Best(ours), ours, clean, probes) for probes in signs], axis=0)
    expected = normal(ours).logpdf(clean.reshape(-1, 2).numpy())
    assert estimate == pytest.approx(expected, rel=2e-3, abs=6e-3)


class Off(nn.Module):
    """A net whose output is 1 % too large."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, noisy: Tensor, timesteps: Tensor) -> Tensor:
        return 1.01 * self.net(noisy, timesteps)


@pytest.mark.parametrize(
    "prediction",
    ["epsilon", *(pytest.param(p, marks=pytest.mark.slow) for p in ("v_prediction", "sample"))],
)
@pytest.mark.parametrize("settings", [
    {"process": "ddpm", "betas": "cosine"},
    {"process": "ddpm", "betas": "linear"},
    {"process": "ve", "sigma_max": 3e4},
    {"process": "vp"},
])  # fmt: skip
def test_a_net_that_is_a_little_off_measures_a_little_off(settings: dict, prediction: str) -> None:
    """Whatever it predicts, also where there is no signal left, as with cosine betas."""
    ours = process(prediction=prediction, **settings)
    pairs = np.random.default_rng(0).multivariate_normal(MEAN, COVARIANCE, size=20)
    clean = torch.from_numpy(pairs.reshape(20, 1, 1, 2)).float()
    signs = [torch.tensor([[[1.0, sign]]]).expand_as(clean) for sign in (1.0, -1.0)]
    for net, bound in ((Best(ours), 0.002), (Off(Best(ours)), 0.1)):
        estimate = np.mean([log_density(net, ours, clean, probes) for probes in signs], axis=0)
        bits = (estimate - normal(ours).logpdf(pairs)) / 2 / math.log(2)
        assert np.abs(bits).mean() < bound, bits


@pytest.mark.parametrize("pixel_range", [(-1, 1), (0, 1)])
def test_bits_are_those_of_grey_levels(pixel_range: tuple[int, int]) -> None:
    """Of images of 128 pairs, whose grey levels have a probability each: the density over a level
    of the net's range. One probe and one place in the level per image: compared as means."""
    ours = process(process="vp")
    low, high = pixel_range
    rng = np.random.default_rng(1)
    pairs = rng.multivariate_normal(MEAN, COVARIANCE, size=(40, 128))
    levels = ((pairs - low) / (high - low) * 255).round().clip(0, 255).astype(np.uint8)
    images = levels.reshape(40, 16, 16, 1)
    model = Ddpm(Best(ours), ours, (1, 16, 16), pixel_range, 32)
    bits = bits_per_dimension(model, images, seed=0, name="x")
    density = normal(ours).logpdf(levels / 255 * (high - low) + low).mean(1) / 2
    expected = -(density + math.log((high - low) / 255)) / math.log(2)
    assert bits.mean() == pytest.approx(expected.mean(), abs=0.01)
    assert np.corrcoef(bits, expected)[0, 1] > 0.5
    again = bits_per_dimension(model, images[33:], seed=0, name="x")
    assert again == pytest.approx(bits[33:], abs=1e-6)


def test_rows_are_means_and_their_gap() -> None:
    ours = process(process="ve")
    model = Ddpm(Best(ours), ours, (1, 4, 4), (-1, 1), 8)
    rng = np.random.default_rng(0)
    sets = {
        "training": rng.integers(120, 160, (20, 4, 4, 1), dtype=np.uint8),
        "unseen": rng.integers(0, 255, (12, 4, 4, 1), dtype=np.uint8),
    }
    training, unseen, gap = likelihood_rows(model, sets, most=15, seed=0, name="x")
    assert [row["n_images"] for row in (training, unseen, gap)] == [15, 12, 12]
    difference = unseen["bits_per_dimension"] - training["bits_per_dimension"]
    assert gap["bits_per_dimension"] == pytest.approx(difference) and gap["ci_low"] > 0
    assert unseen["ci_low"] < unseen["bits_per_dimension"] < unseen["ci_high"]
    assert (
        len(list(likelihood_rows(model, {"training": sets["training"]}, most=9, seed=0, name="x")))
        == 1
    )


def test_faults_are_one_line() -> None:
    ours = process(process="ve")
    model = Ddpm(Best(ours), ours, (1, 4, 4), (-1, 1), 8)
    with pytest.raises(MeddiffError, match="4x4 px with 1 channels"):
        bits_per_dimension(model, np.zeros((2, 8, 8, 1), np.uint8), seed=0, name="x")
    model.network.values[0] = math.nan
    with pytest.raises(MeddiffError, match="not finite"):
        bits_per_dimension(model, np.zeros((2, 4, 4, 1), np.uint8), seed=0, name="x")
