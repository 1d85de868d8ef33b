"""SSIM and MS-SSIM of all pairs against MONAI, scikit-image, closed forms and properties."""

import tracemalloc
from itertools import combinations

import monai.metrics.regression as monai_regression
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import MultiScaleSSIMMetric, SSIMMetric
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity
from threadpoolctl import threadpool_limits

from meddiff.core.errors import MeddiffError
from meddiff.metrics import (
    ms_ssim_between,
    ms_ssim_pairs,
    ssim_between,
    ssim_pairs,
    structural_cpu,
)
from meddiff.metrics.settings import SsimSettings


def smooth_images(n, h, w, c, seed=0):
    """Variations on one picture with noise, saturated here and there."""
    rng = np.random.default_rng(seed)
    own, shared = rng.normal(size=(n, h, w, c)), rng.normal(size=(h, w, c))
    blobs = gaussian_filter(own + 2 * shared, (0, 3, 3, 0)) * 500
    return np.clip(blobs + rng.normal(scale=4, size=blobs.shape) + 128, 0, 255).astype(np.uint8)


@pytest.fixture
def monai_float64(monkeypatch):
    """MONAI casts to float32; here it keeps what it gets, and builds its window in float64."""
    original = monai_regression.convert_data_type
    monkeypatch.setattr(
        monai_regression,
        "convert_data_type",
        lambda data, output_type, dtype: original(data, output_type=output_type),
    )
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def monai_values(metric, images_a, images_b):
    def tensor(images):
        images = images if images.ndim == 4 else images[..., None]
        return torch.tensor(images.transpose(0, 3, 1, 2) / 255, dtype=torch.get_default_dtype())

    return metric(tensor(images_a), tensor(images_b))[:, 0].numpy()


def monai_pairs(metric, images):
    i, j = np.array(list(combinations(range(len(images)), 2))).T
    return monai_values(metric, images[i], images[j])


@pytest.mark.usefixtures("monai_float64")
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("height", "width", "kernel", "sigma"),
    [(64, 64, 11, 1.5), (32, 32, 2, 1.5), (33, 50, 7, 0.8), (40, 21, 21, 4.0), (16, 9, 2, 1.5)],
)
def test_ssim_equals_monai(height, width, channels, kernel, sigma):
    images = smooth_images(5, height, width, channels)
    expected = monai_pairs(SSIMMetric(2, win_size=kernel, kernel_sigma=sigma), images)
    values = ssim_pairs(images, kernel_size=kernel, sigma=sigma)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-10)


@pytest.mark.usefixtures("monai_float64")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("height", "width", "kernel"), [(64, 64, 4), (64, 64, 3), (32, 32, 2), (100, 71, 4)]
)
def test_ms_ssim_equals_monai(height, width, channels, kernel):
    images = smooth_images(6, height, width, channels)
    expected = monai_pairs(MultiScaleSSIMMetric(2, kernel_size=kernel), images)
    values = ms_ssim_pairs(images, kernel_size=kernel)
    assert 0 < np.median(expected) < 1
    # MONAI keeps the weights in float32.
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-7)


@pytest.mark.usefixtures("monai_float64")
def test_settings_reach_the_formula_as_in_monai():
    images = smooth_images(4, 48, 48, 1)
    window = {"kernel_size": 5, "kernel_sigma": 1.1, "k1": 0.05, "k2": 0.1}
    metric = MultiScaleSSIMMetric(2, weights=(0.2, 0.5, 0.3), **window)
    values = ms_ssim_pairs(
        images, kernel_size=5, sigma=1.1, k1=0.05, k2=0.1, weights=(0.2, 0.5, 0.3)
    )
    np.testing.assert_allclose(values, monai_pairs(metric, images), rtol=0, atol=1e-7)
    single = SSIMMetric(2, win_size=5, kernel_sigma=1.1, k1=0.05, k2=0.1)
    values = ssim_pairs(images, kernel_size=5, sigma=1.1, k1=0.05, k2=0.1)
    np.testing.assert_allclose(values, monai_pairs(single, images), rtol=0, atol=1e-10)


def test_equals_monai_as_shipped_within_its_float32():
    images = smooth_images(5, 64, 64, 3)
    ssim = monai_pairs(SSIMMetric(2, win_size=4), images)
    np.testing.assert_allclose(ssim_pairs(images, kernel_size=4), ssim, rtol=0, atol=1e-5)
    ms_ssim = monai_pairs(MultiScaleSSIMMetric(2, kernel_size=4), images)
    np.testing.assert_allclose(ms_ssim_pairs(images), ms_ssim, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("monai_float64")
def test_negative_contrast_is_raised_to_zero_as_in_monai():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 1), dtype=np.uint8)
    images = np.stack([noise, 255 - noise])
    assert ssim_pairs(images)[0] < -0.5
    assert ms_ssim_pairs(images)[0] == 0
    assert monai_pairs(MultiScaleSSIMMetric(2, kernel_size=4), images)[0] == 0


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sigma", [1.5, 1.0])
def test_ssim_equals_scikit_image_on_the_valid_interior(channels, sigma):
    images = smooth_images(4, 40, 52, channels)
    radius = int(3.5 * sigma + 0.5)

    def reference(x, y):
        _, ssim_map = structural_similarity(
            x / 255,
            y / 255,
            data_range=1,
            gaussian_weights=True,
            sigma=sigma,
            use_sample_covariance=False,
            channel_axis=-1,
            full=True,
        )
        return ssim_map[radius:-radius, radius:-radius].mean()

    expected = [reference(x, y) for x, y in combinations(images, 2)]
    values = ssim_pairs(images, kernel_size=2 * radius + 1, sigma=sigma)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-10)


def test_constant_images_have_a_closed_form():
    """No contrast anywhere: only the luminance term is left, on every pair of grey levels."""
    levels = np.array([0, 1, 80, 254, 255])
    images = np.repeat(levels, 32 * 32).reshape(5, 32, 32).astype(np.uint8)
    x, y = np.array(list(combinations(levels / 255, 2))).T
    luminance = (2 * x * y + 1e-4) / (x**2 + y**2 + 1e-4)
    np.testing.assert_allclose(ssim_pairs(images), luminance, rtol=0, atol=1e-10)
    values = ms_ssim_pairs(images, kernel_size=2)
    np.testing.assert_allclose(values, luminance**0.1333, rtol=0, atol=1e-10)


ALL_PAIRS = [
    (ssim_pairs, ssim_between, {"kernel_size": 5}),
    (ms_ssim_pairs, ms_ssim_between, {"kernel_size": 2}),
]


@pytest.mark.parametrize(("pairs", "between", "options"), ALL_PAIRS)
def test_pairs_are_in_the_order_of_combinations(pairs, between, options):
    images = smooth_images(7, 32, 36, 3)
    values = pairs(images, **options)
    alone = [pairs(np.stack(pair), **options)[0] for pair in combinations(images, 2)]
    assert values.shape == (21,)
    assert values.dtype == np.float64
    assert len(set(alone)) == 21
    np.testing.assert_array_equal(values, alone)
    matrix = between(images, images, **options)
    np.testing.assert_array_equal(values, matrix[np.triu_indices(7, 1)])


@pytest.mark.parametrize(("pairs", "between", "options"), ALL_PAIRS)
def test_between_sets_of_different_size(pairs, between, options):
    a, b = smooth_images(3, 32, 32, 1, seed=1), smooth_images(5, 32, 32, 1, seed=2)
    matrix = between(a, b, **options)
    expected = [[pairs(np.stack([x, y]), **options)[0] for y in b] for x in a]
    np.testing.assert_array_equal(matrix, expected)
    np.testing.assert_array_equal(between(a[:1], b, **options), matrix[:1])


@pytest.mark.parametrize(("pairs", "between", "options"), ALL_PAIRS)
@pytest.mark.parametrize(("images_a_block", "images_a_chunk"), [(1, 1), (2, 3), (4, 2), (5, 9)])
def test_blocks_and_chunks_change_nothing(
    monkeypatch, pairs, between, options, images_a_block, images_a_chunk
):
    images, others = smooth_images(11, 32, 32, 3), smooth_images(6, 32, 32, 3, seed=1)
    whole, across = pairs(images, **options), between(images, others, **options)
    image_bytes = images[0].size * 8
    monkeypatch.setattr(structural_cpu, "_BLOCK_BYTES", images_a_block * 4 * image_bytes)
    monkeypatch.setattr(structural_cpu, "_CHUNK_BYTES", images_a_chunk * image_bytes)
    np.testing.assert_array_equal(pairs(images, **options), whole)
    np.testing.assert_array_equal(between(images, others, **options), across)


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, (2, 18, 16, 2)), st.integers(2, 8))
def test_range_symmetries_and_identity_on_any_images(images, kernel):
    multiscale = {"kernel_size": kernel, "weights": (0.4, 0.6)}
    for pairs, options in ((ssim_pairs, {"kernel_size": kernel}), (ms_ssim_pairs, multiscale)):
        value = pairs(images, **options)[0]
        assert -1 - 1e-9 <= value <= 1 + 1e-9
        assert pairs(images[::-1], **options)[0] == pytest.approx(value, abs=1e-12)
        assert pairs(images[[0, 0]], **options)[0] == pytest.approx(1, abs=1e-10)
        # A root of a contrast that cancels to zero turns rounding into 1e-6.
        assert pairs(images[:, ::-1], **options)[0] == pytest.approx(value, abs=1e-5)
        assert pairs(images.transpose(0, 2, 1, 3), **options)[0] == pytest.approx(value, abs=1e-5)


def test_grey_images_need_no_channel_axis():
    images = smooth_images(4, 32, 32, 1)
    np.testing.assert_array_equal(ssim_pairs(images[..., 0]), ssim_pairs(images))


def test_memory_maps_and_strided_views_are_read_as_they_are(tmp_path):
    images = smooth_images(6, 32, 32, 3)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    np.testing.assert_array_equal(ssim_pairs(mapped), ssim_pairs(images))
    view = images[::2, :, ::-1]
    np.testing.assert_array_equal(ssim_pairs(view), ssim_pairs(view.copy()))


def test_memory_is_bounded_whatever_the_number_of_images():
    """The moments of 4,000 such images would take 520 MB."""
    many = np.broadcast_to(smooth_images(1, 64, 64, 1), (4000, 64, 64, 1))
    tracemalloc.start()
    values = ssim_between(many[:1], many, kernel_size=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(values, 1)
    assert peak < 250e6


@pytest.mark.parametrize(("pairs", "between", "options"), ALL_PAIRS)
def test_progress_counts_up_to_the_number_of_pairs(pairs, between, options):
    images, counts = smooth_images(9, 32, 32, 1), []
    pairs(images, progress=counts.append, **options)
    assert counts == sorted(set(counts))
    assert counts[-1] == 36
    counts.clear()
    between(images, images[:4], progress=counts.append, **options)
    assert counts[-1] == 36


IMAGES = np.zeros((3, 64, 64, 3), np.uint8)


@pytest.mark.parametrize("pairs", [ssim_pairs, ms_ssim_pairs])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (IMAGES.astype(np.float32), "uint8 .*float32"),
        (IMAGES.astype(np.int64), "uint8 .*int64"),
        (IMAGES.tolist(), r"uint8 .*\blist\b"),
        (IMAGES[0, 0], r"uint8 \(64, 3\)"),
        (IMAGES[None], r"\(1, 3, 64, 64, 3\)"),
        (IMAGES[:, :0], r"\(3, 0, 64, 3\)"),
        (IMAGES[..., :0], r"\(3, 64, 64, 0\)"),
        (IMAGES[:1], r"images .*\b1 .*\b2\b"),
    ],
)
def test_bad_images_are_named(pairs, bad, message):
    with pytest.raises(MeddiffError, match=message):
        pairs(bad)


@pytest.mark.parametrize(
    ("size", "kernel", "message"),
    [
        (64, 5, "64x64 .*kernel_size <= 4.* 80 px"),
        (32, 4, "32x32 .*kernel_size <= 2.* 64 px"),
        (31, 2, "31x31 .*weights.* 32 px"),
    ],
)
def test_too_small_images_say_which_kernel_fits(size, kernel, message):
    images = IMAGES[:, :size, :size]
    with pytest.raises(MeddiffError, match=message):
        ms_ssim_pairs(images, kernel_size=kernel)
    if (fits := size // 16) > 1:
        assert np.isfinite(ms_ssim_pairs(images, kernel_size=fits)).all()


@pytest.mark.parametrize("kernel", [1, 0, -3, 2.5, None])
@pytest.mark.parametrize("function", [ssim_pairs, ms_ssim_pairs])
def test_a_window_is_a_whole_number_of_two_pixels_or_more(function, kernel):
    """Of one pixel, which has no variance, all photographs would be alike."""
    with pytest.raises(MeddiffError, match="kernel_size"):
        function(IMAGES, kernel_size=kernel)
    with pytest.raises(ValidationError, match="kernel_size"):
        SsimSettings(kernel_size=kernel)


def test_window_larger_than_the_image_is_refused_on_either_side():
    for images in (IMAGES[:, :10], IMAGES[:, :, :10]):
        with pytest.raises(MeddiffError, match="kernel_size <= 10"):
            ssim_pairs(images)
        assert ssim_pairs(images, kernel_size=10) == pytest.approx(1)


def test_between_refuses_different_shapes_and_empty_sets():
    with pytest.raises(MeddiffError, match=r"\(64, 64, 3\).*\(32, 64, 3\)"):
        ssim_between(IMAGES, IMAGES[:, :32])
    with pytest.raises(MeddiffError, match="images_b"):
        ssim_between(IMAGES, IMAGES[:0])


@pytest.mark.parametrize(
    "options",
    [{"kernel_size": 0}, {"sigma": 0.0}, {"sigma": float("nan")}, {"k1": 0.0}, {"k2": -1.0}],
)
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(MeddiffError, match=rf": .*\b{next(iter(options))}\b.*\b(above 0|or more)"):
        ssim_pairs(IMAGES, **options)


@pytest.mark.parametrize("weights", [(), (0.5, -0.5), (float("nan"),)])
def test_bad_weights_are_refused(weights):
    with pytest.raises(MeddiffError, match="weights"):
        ms_ssim_pairs(IMAGES, weights=weights)


@pytest.mark.parametrize("measure", [ssim_pairs, ms_ssim_pairs])
def test_threads_change_no_bit(measure):
    images = np.random.default_rng(0).integers(0, 256, (70, 64, 64, 3), dtype=np.uint8)
    with threadpool_limits(1):
        alone = measure(images)
    with threadpool_limits(3):
        assert np.array_equal(measure(images), alone)
