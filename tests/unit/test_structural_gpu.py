"""Pairs as a GPU measures them, in float32, against float64: here on a stand-in for one."""

from collections.abc import Callable

import numpy as np
import pytest

import away
from meddiff.metrics import (
    ms_ssim_between,
    ms_ssim_pairs,
    ssim_between,
    ssim_pairs,
    structural_gpu,
)

CHANCE = np.random.default_rng(0)


def coarse(count: int, side: int, channels: int) -> np.ndarray:
    pixels = CHANCE.random((count, side // 8, side // 8, channels))
    return (255 * pixels.repeat(8, 1).repeat(8, 2)).astype(np.uint8)


def ramps(count: int, side: int, channels: int) -> np.ndarray:
    noise = CHANCE.normal(0, 1, (count, side, side, channels))
    slopes = np.linspace(0.1, 1, count).reshape(-1, 1, 1, 1)
    ramp = np.linspace(0, 255, side).reshape(1, -1, 1, 1)
    return np.clip(slopes * ramp + noise, 0, 255).astype(np.uint8)


def flat(count: int, side: int, channels: int) -> np.ndarray:
    levels = np.linspace(0, 255, count).astype(np.uint8).reshape(-1, 1, 1, 1)
    return levels.repeat(side, 1).repeat(side, 2).repeat(channels, 3)


def halves(count: int, side: int, channels: int) -> np.ndarray:
    """Black on one side and bright on the other: flat places far from the image's mean."""
    images = flat(count, side, channels)
    for number, image in enumerate(images):
        image[: number * side // count] = 255 - image[0, 0]
    return images


def noise(count: int, side: int, channels: int) -> np.ndarray:
    return CHANCE.integers(0, 256, (count, side, side, channels), dtype=np.uint8)


KINDS = [coarse, ramps, flat, halves, noise]


@pytest.mark.parametrize("draw", KINDS)
@pytest.mark.parametrize(
    ("pairs", "between", "kernel", "side", "channels"),
    [(ssim_pairs, ssim_between, 11, 40, 3), (ms_ssim_pairs, ms_ssim_between, 4, 64, 1)],
)
def test_pairs_agree_with_float64_within_1e_5(
    pairs: Callable, between: Callable, kernel: int, side: int, channels: int, draw: Callable
) -> None:
    images = draw(6, side, channels)
    with away.device("cuda"):
        ours = pairs(images, kernel_size=kernel, device="cuda")
        rectangle = between(images[:2], images, kernel_size=kernel, device="cuda")
    np.testing.assert_allclose(ours, pairs(images, kernel_size=kernel), rtol=0, atol=1e-5)
    expected = between(images[:2], images, kernel_size=kernel)
    np.testing.assert_allclose(rectangle, expected, rtol=0, atol=1e-5)
    assert ours.dtype == np.float64


@pytest.mark.parametrize("block", [1, 2, 3])
def test_blocks_do_not_matter(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images = coarse(5, 16, 3)
    monkeypatch.setattr(structural_gpu, "_block", lambda _: block)
    with away.device("cuda"):
        ours = ssim_pairs(images, device="cuda")
        rectangle = ssim_between(images[:4], images, device="cuda")
    np.testing.assert_allclose(ours, ssim_pairs(images), rtol=0, atol=1e-5)
    np.testing.assert_allclose(rectangle, ssim_between(images[:4], images), rtol=0, atol=1e-5)


def test_pairs_near_zero_are_measured_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mean contrast of 1e-9 is worth 0.4 of MS-SSIM's first factor: rounding would decide."""
    images = noise(6, 64, 1)
    monkeypatch.setattr(structural_gpu, "STEEP", 2.0)
    with away.device("cuda"):
        everything_near_zero = ms_ssim_pairs(images, device="cuda")
    np.testing.assert_array_equal(everything_near_zero, ms_ssim_pairs(images))
