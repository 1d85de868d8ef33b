"""KID and CMMD against torch-fidelity, torchmetrics, loops, closed forms and their properties."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric
from torchmetrics.image.kid import poly_mmd

from meddiff.core.errors import MeddiffError
from meddiff.metrics import cmmd, cmmd_interval, kernel, kid, kid_interval


def features(seed, n, d, shift=0.0):
    return np.random.default_rng(seed).normal(size=(n, d)) + shift


def looped_mmd(function, a, b):
    """Gretton et al. 2012, eq. 3, pair by pair."""

    def within(x):
        n = len(x)
        values = [function(x[i], x[j]) for i in range(n) for j in range(n) if i != j]
        return sum(values) / (n * (n - 1))

    across = sum(function(x, y) for x in a for y in b) / (len(a) * len(b))
    return within(a) + within(b) - 2 * across


def looped_cmmd(a, b, sigma=10.0):
    def unit(rows):
        return [row / np.sqrt(sum(row**2)) for row in rows]

    def gaussian(x, y):
        return np.exp(-sum((x - y) ** 2) / (2 * sigma**2))

    return 1000 * looped_mmd(gaussian, unit(a), unit(b))


@pytest.mark.parametrize("d", [1, 16, 300])
def test_kid_equals_torch_fidelity_on_the_full_sets(d):
    a, b = features(1, 60, d), features(2, 60, d, 0.3)
    reference = kid_features_to_metric(
        torch.tensor(a), torch.tensor(b), kid_subsets=1, kid_subset_size=60, verbose=False
    )[KEY_METRIC_KID_MEAN]
    assert kid(a, b) == pytest.approx(reference, rel=1e-10, abs=1e-12)


def test_kid_equals_torchmetrics():
    a, b = features(1, 50, 20), features(2, 50, 20, 0.3)
    expected = poly_mmd(torch.tensor(a), torch.tensor(b)).item()
    assert kid(a, b) == pytest.approx(expected, rel=1e-10)


def test_kid_and_cmmd_equal_loops_on_sets_of_different_size():
    a, b = features(1, 9, 4), features(2, 14, 4, 0.5)
    assert kid(a, b) == pytest.approx(looped_mmd(lambda x, y: (x @ y / 4 + 1) ** 3, a, b))
    assert cmmd(a, b) == pytest.approx(looped_cmmd(a, b), rel=1e-8)
    assert cmmd(a, b, sigma=0.5) == pytest.approx(looped_cmmd(a, b, sigma=0.5))


def test_kid_is_expected_at_its_closed_form():
    """For x ~ N(u, 1) and y ~ N(v, 1) in one dimension, E (xy + 1)³ = sum of binomial moments."""

    def expected_kernel(u, v):
        moments = [(1, u, u**2 + 1, u**3 + 3 * u), (1, v, v**2 + 1, v**3 + 3 * v)]
        return sum(c * p * q for c, p, q in zip((1, 3, 3, 1), *moments, strict=True))

    u, v = 0.3, 0.8
    truth = expected_kernel(u, u) + expected_kernel(v, v) - 2 * expected_kernel(u, v)
    values = [kid(features(2 * s, 20, 1, u), features(2 * s + 1, 30, 1, v)) for s in range(2000)]
    assert abs(np.mean(values) - truth) < 4 * np.std(values) / np.sqrt(2000)


@pytest.mark.parametrize("metric", [kid, cmmd])
def test_has_no_bias_between_draws_of_one_distribution(metric):
    values = [metric(features(2 * s, 5, 8), features(2 * s + 1, 7, 8)) for s in range(2000)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(2000)
    assert min(values) < 0 < max(values)


def test_cmmd_of_two_directions_has_a_closed_form():
    """Points on two axes are sqrt(2) apart, and lengths do not matter."""
    a, b = np.array([[1.0, 0], [3, 0], [0.1, 0]]), np.array([[0, 2.0], [0, 5]])
    assert cmmd(a, b, sigma=1) == pytest.approx(2000 * (1 - np.exp(-1)))
    assert cmmd(a, b) == pytest.approx(2000 * (1 - np.exp(-0.01)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(2, 12), st.integers(1, 9))
def test_is_symmetric_and_blind_to_order(seed, n, m, d):
    a, b = features(seed, n, d), features(seed + 1, m, d, 0.5)
    order = np.random.default_rng(seed)
    for metric in (kid, cmmd):
        value = metric(a, b)
        assert np.isfinite(value)
        close = pytest.approx(value, rel=1e-6, abs=1e-8)
        assert metric(b, a) == close
        assert metric(order.permutation(a), order.permutation(b)) == close


@pytest.mark.parametrize("metric", [kid, cmmd])
def test_identical_sets_fall_below_zero_and_constant_ones_to_it(metric):
    a = features(1, 30, 5)
    assert metric(a, a) < 0
    constant = np.full((6, 5), 3.0)
    assert metric(constant, constant[:3]) == pytest.approx(0, abs=1e-9)
    assert np.isfinite(metric(np.zeros((4, 5)), constant))


@pytest.mark.parametrize("metric", [kid, cmmd])
@pytest.mark.parametrize("block", [1, 50, 64, 10**6])
def test_blocks_change_nothing(monkeypatch, metric, block):
    a, b = features(1, 40, 6), features(2, 33, 6, 0.4)
    whole = metric(a, b)
    monkeypatch.setattr(kernel, "_BLOCK", block)
    assert metric(a, b) == pytest.approx(whole, rel=1e-9)


def test_weights_equal_rows_left_out():
    a, b = features(1, 30, 6), features(2, 24, 6, 0.4)
    rng = np.random.default_rng(0)
    weights_a, weights_b = rng.integers(0, 2, (5, 30)) * 1.0, rng.integers(0, 2, (5, 24)) * 1.0
    values = kernel._mmds(kernel._cubic, a, b, weights_a, weights_b)
    expected = [kid(a[w > 0], b[v > 0]) for w, v in zip(weights_a, weights_b, strict=True)]
    np.testing.assert_allclose(values, expected, rtol=1e-9)


@pytest.mark.parametrize("interval", [kid_interval, cmmd_interval])
def test_interval_holds_the_value_and_is_fixed_by_the_seed(interval):
    a, b = features(1, 40, 6), features(2, 50, 6, 0.4)
    metric = {kid_interval: kid, cmmd_interval: cmmd}[interval]
    one = interval(a, b, n_resamples=100, seed=3)
    assert one.value == metric(a, b)
    assert one.low < one.value < one.high
    assert one == interval(a, b, n_resamples=100, seed=3)
    assert one != interval(a, b, n_resamples=100, seed=4)
    assert interval(a, b, n_resamples=100, level=0.5).high < one.high


def test_float32_features_are_taken_in_float64():
    a, b = features(1, 30, 6).astype(np.float32) + 100, features(2, 30, 6).astype(np.float32) + 100
    assert kid(a, b) == kid(a.astype(np.float64), b.astype(np.float64))


def test_the_largest_float32_values_do_not_overflow():
    huge = np.full((5, 7), np.finfo(np.float32).max, np.float32)
    for metric in (kid, cmmd):
        assert np.isfinite(metric(huge, huge * np.float32(0.5)))


@pytest.mark.parametrize("metric", [kid, cmmd, kid_interval, cmmd_interval])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((5, 6), np.nan), "5 of 5 rows"),
        (np.full((5, 6), np.inf), "5 of 5 rows"),
        (np.full((5, 6), 1e60), "5 of 5 rows"),
        (np.ones((1, 6)), r"\(1, 6\).* [24] images"),
        (np.ones((5, 7)), "6 dimensions.* 7"),
        (np.ones(6), r"shape \(6,\)"),
    ],
)
def test_bad_features_are_named(metric, bad, message):
    good = np.eye(6)
    with pytest.raises(MeddiffError, match=message):
        metric(good, bad)


@pytest.mark.parametrize("sigma", [0, -1, float("nan"), float("inf")])
def test_a_kernel_without_width_is_refused(sigma):
    with pytest.raises(MeddiffError, match="sigma"):
        cmmd(np.eye(5), np.eye(5), sigma=sigma)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_resamples": 1}, "n_resamples"),
        ({"n_resamples": 0}, "n_resamples"),
        ({"level": 0}, "level"),
        ({"level": 1.0}, "level"),
        ({"level": 95}, "level"),
        ({"level": float("nan")}, "level"),
    ],
)
@pytest.mark.parametrize("interval", [kid_interval, cmmd_interval])
def test_bad_options_of_an_interval_are_named(interval, options, message):
    with pytest.raises(MeddiffError, match=message):
        interval(np.eye(5), np.eye(5), **options)
