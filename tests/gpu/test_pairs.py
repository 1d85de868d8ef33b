"""SSIM and MS-SSIM of pairs on a GPU against float64."""

from collections.abc import Callable

import numpy as np
import pytest
from card import card  # noqa: F401

from meddiff.metrics import ms_ssim_between, ms_ssim_pairs, ssim_between, ssim_pairs, structural_gpu

pytestmark = pytest.mark.gpu


def images(count: int, side: int, channels: int) -> np.ndarray:
    """Coarse ones, noise, and flat ones."""
    chance = np.random.default_rng(0)
    noise = chance.integers(0, 256, (count, side, side, channels), dtype=np.uint8)
    coarse = noise[:, ::8, ::8].repeat(8, 1).repeat(8, 2)
    flat = noise[:, :1, :1].repeat(side, 1).repeat(side, 2)
    return np.concatenate([coarse, noise, flat])


@pytest.mark.parametrize("block", [7, 600])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("pairs", "between", "kernel"),
    [(ssim_pairs, ssim_between, 11), (ms_ssim_pairs, ms_ssim_between, 4)],
)
def test_pairs_agree_with_float64_within_1e_5(
    pairs: Callable,
    between: Callable,
    kernel: int,
    channels: int,
    block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(structural_gpu, "_block", lambda _: block)
    pictures = images(12, 64, channels)
    ours = pairs(pictures, kernel_size=kernel, device="cuda")
    np.testing.assert_allclose(ours, pairs(pictures, kernel_size=kernel), rtol=0, atol=1e-5)
    rectangle = between(pictures[:5], pictures, kernel_size=kernel, device="cuda")
    expected = between(pictures[:5], pictures, kernel_size=kernel)
    np.testing.assert_allclose(rectangle, expected, rtol=0, atol=1e-5)


def test_pairs_have_the_same_bits_twice() -> None:
    pictures = images(40, 64, 3)
    first, second = (ms_ssim_pairs(pictures, device="cuda") for _ in range(2))
    np.testing.assert_array_equal(first, second)
