"""Scores within a training loop, beside torchmetrics' and those of all images at once."""

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

import meddiff
from meddiff.core.errors import MeddiffError
from meddiff.extractors.extractor import Extractor
from meddiff.extractors.skinlesnet import SkinLesNet
from meddiff.metrics import prdc


def batch(n: int, seed: int, shift: int = 0) -> np.ndarray:
    chance = np.random.default_rng(seed)
    images = chance.normal(120 + shift, 40, (n, 4, 4, 3)).repeat(4, 1).repeat(4, 2)
    return images.clip(0, 255).astype(np.uint8)


class Corners(nn.Module):
    """Features as an extractor of ours, and as a module of torchmetrics."""

    metrics = ()
    num_features = 12

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :, ::8, ::8].flatten(1).double() / 40

    def features(self, images: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        with torch.no_grad():
            return self(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()


REAL = [batch(25, seed) for seed in range(4)]
SYNTHETIC = [batch(20, 10 + seed, shift=10) for seed in range(4)]


def metric() -> meddiff.ImageQuality:
    result = meddiff.ImageQuality(Corners())
    for images in REAL:
        result.update(images, real=True)
    return result


def test_values_are_those_of_torchmetrics() -> None:
    fid = FrechetInceptionDistance(feature=Corners(), input_img_size=(3, 16, 16)).set_dtype(
        torch.float64
    )
    kid = KernelInceptionDistance(feature=Corners(), subsets=1, subset_size=80)
    ours = metric()
    for images in REAL:
        for other in (fid, kid):
            other.update(torch.from_numpy(images[:20]).permute(0, 3, 1, 2), real=True)
    ours.reset(real=True)
    for images in REAL:
        ours.update(images[:20], real=True)
    for images in SYNTHETIC:
        tensor = torch.from_numpy(images).permute(0, 3, 1, 2)
        fid.update(tensor, real=False)
        kid.update(tensor, real=False)
        ours.update(tensor, real=False)
    values = ours.compute()
    assert values["fid"] == pytest.approx(float(fid.compute()), rel=1e-4)
    # Of one subset that is all images, torchmetrics' KID is the whole one.
    assert values["kid"] == pytest.approx(float(kid.compute()[0]), rel=1e-3)


def test_values_are_those_of_evaluate_whatever_the_batches() -> None:
    ours = metric()
    for images in SYNTHETIC[::-1]:
        ours.update(images[:7], real=False)
        ours.update(images[7:], real=False)
    real, synthetic = np.concatenate(REAL), np.concatenate(SYNTHETIC)
    expected = meddiff.evaluate(real, synthetic, {"corners": Corners()}, n_resamples=8)
    rows = expected.scores.set_index("metric")["value"]
    values = ours.compute()
    for name in ("fid", "kid"):
        assert values[name] == pytest.approx(rows[name], rel=1e-6)
    own = prdc(Corners().features(real), Corners().features(synthetic))
    assert values["precision"] == own.precision and values["coverage"] == own.coverage


def test_a_reset_keeps_what_does_not_change() -> None:
    ours = metric()
    results = []
    for images in (SYNTHETIC[0], SYNTHETIC[1], SYNTHETIC[0]):
        ours.reset()
        ours.update(images, real=False)
        results.append(ours.compute())
    assert results[0] == results[2] != results[1]
    ours.reset(real=True)
    with pytest.raises(MeddiffError, match=r"\b0 real .*\b0 synthetic"):
        ours.compute()


def test_floats_and_bytes_give_the_same() -> None:
    results = []
    tensor = torch.from_numpy(SYNTHETIC[0]).permute(0, 3, 1, 2)
    for images in (SYNTHETIC[0], tensor, tensor.float() / 255):
        ours = metric()
        ours.update(images, real=False)
        results.append(ours.compute())
    assert results[0] == results[1] == results[2]


def test_a_training_loop_goes_on_as_if_nothing_had_been_asked() -> None:
    """torch's random numbers, and whether gradients are kept."""
    extractor = Extractor("skinlesnet", SkinLesNet(2, 16).eval(), 16, "", "random")
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    ours = meddiff.ImageQuality(extractor)
    ours.update(REAL[0], real=True)
    ours.update(torch.rand(0, 3, 16, 16), real=False)
    ours.update(SYNTHETIC[0], real=False)
    assert ours.compute()["fid"] > 0
    assert torch.equal(torch.rand(3), expected) and torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.full((2, 3, 8, 8), 1.5), r"\b1\.5\b.*\[0, 1\]"),
        (torch.full((2, 3, 8, 8), float("nan")), r"\bnan\b.*\[0, 1\]"),
        (torch.zeros((2, 3, 8, 8), dtype=torch.int64), r"int64.*uint8"),
        (torch.zeros((2, 2, 8, 8)), r"\(2, 8, 8, 2\).*1 or 3"),
        (np.zeros((2, 8, 8, 3)), r"float64 \(2, 8, 8, 3\).*uint8"),
        (np.zeros((2, 8, 8), np.uint8), r"\(2, 8, 8\).*\(n, height, width"),
        ([1, 2], r"\blist\b"),
    ],
)
def test_other_images_are_refused(images, message) -> None:
    with pytest.raises(MeddiffError, match=message):
        metric().update(images, real=False)
