"""PSNR of all pairs against scikit-image, MONAI, closed forms and its properties."""

import tracemalloc
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from monai.metrics import PSNRMetric
from skimage.metrics import peak_signal_noise_ratio

from meddiff.core.errors import MeddiffError
from meddiff.metrics import pixels, psnr_between, psnr_pairs


def images(n, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(16, 16), (9, 13, 1), (12, 10, 3)])
def test_equals_scikit_image_in_the_order_of_combinations(shape):
    a, b = images(6, *shape), images(4, *shape, seed=1)
    expected = [peak_signal_noise_ratio(x, y) for x, y in combinations(a, 2)]
    np.testing.assert_allclose(psnr_pairs(a), expected, rtol=1e-12)
    matrix = [[peak_signal_noise_ratio(x, y) for y in b] for x in a]
    np.testing.assert_allclose(psnr_between(a, b), matrix, rtol=1e-12)


def test_equals_monai():
    a, b = images(5, 16, 16, 3), images(5, 16, 16, 3, seed=1)
    metric = PSNRMetric(max_val=255)
    expected = metric(torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32))
    np.testing.assert_allclose(np.diag(psnr_between(a, b)), expected[:, 0], rtol=1e-5)


def test_constant_images_have_closed_forms():
    levels = np.array([0, 255, 254, 0], np.uint8)
    constant = np.broadcast_to(levels[:, None, None], (4, 8, 8))
    one = 20 * np.log10(255)
    expected = [0, 20 * np.log10(255 / 254), np.inf, one, 0, 20 * np.log10(255 / 254)]
    np.testing.assert_allclose(psnr_pairs(constant), expected, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint8, (3, 5, 4, 2)))
def test_is_symmetric_never_negative_and_infinite_for_equal_images_alone(some):
    matrix = psnr_between(some, some)
    assert (matrix >= 0).all()
    np.testing.assert_array_equal(matrix, matrix.T)
    same = [[np.array_equal(x, y) for y in some] for x in some]
    np.testing.assert_array_equal(np.isinf(matrix), same)
    np.testing.assert_array_equal(psnr_pairs(some), matrix[np.triu_indices(3, 1)])


def test_one_pixel_off_by_one_is_not_lost_in_a_large_image():
    a = np.full((2, 512, 512, 3), 255, np.uint8)
    a[1, 0, 0, 0] = 254
    assert psnr_pairs(a)[0] == pytest.approx(10 * np.log10(255**2 * 512 * 512 * 3), rel=1e-14)


@pytest.mark.parametrize("block", [1, 3 * 64 * 8, 10**9])
def test_blocks_change_nothing(monkeypatch, block):
    a, b = images(7, 8, 8), images(5, 8, 8, seed=1)
    pairs, matrix = psnr_pairs(a), psnr_between(a, b)
    monkeypatch.setattr(pixels, "_BLOCK_BYTES", block)
    np.testing.assert_array_equal(psnr_pairs(a), pairs)
    np.testing.assert_array_equal(psnr_between(a, b), matrix)


def test_memory_is_bounded_whatever_the_number_of_images():
    """In float64, 3,000 such images would take 1.2 GB."""
    many = np.broadcast_to(images(1, 128, 128, 3), (3000, 128, 128, 3))
    tracemalloc.start()
    values = psnr_between(many[:1], many)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isinf(values).all()
    assert peak < 300e6


def test_grey_images_need_no_channel_axis():
    grey = images(3, 8, 8)
    np.testing.assert_array_equal(psnr_pairs(grey), psnr_pairs(grey[..., None]))
    np.testing.assert_array_equal(psnr_between(grey, grey[..., None]), psnr_between(grey, grey))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (images(3, 8, 8).astype(np.float64), "uint8 array .* not float64"),
        (images(3, 8, 8).tolist(), "not list"),
        (images(3, 8), r"not uint8 \(3, 8\)"),
        (images(3, 0, 8), r"\(3, 0, 8\)"),
        (images(1, 8, 8), "a pair needs two images, images holds 1"),
    ],
)
def test_bad_images_are_named(bad, message):
    with pytest.raises(MeddiffError, match=message):
        psnr_pairs(bad)


def test_between_refuses_different_shapes_and_empty_sets():
    with pytest.raises(MeddiffError, match=r"\(8, 8, 1\).*\(8, 9, 1\).*resize them alike"):
        psnr_between(images(2, 8, 8), images(2, 8, 9))
    with pytest.raises(MeddiffError, match="images_b"):
        psnr_between(images(2, 8, 8), images(2, 8, 8)[:0])
