"""Fréchet distance against the textbook formula, closed forms and its invariances."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.stats import ortho_group, wasserstein_distance
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

from meddiff.core.errors import MeddiffError
from meddiff.metrics import cafd, fid, fid_infinity, fid_interval
from meddiff.metrics.frechet import _Weighted


def textbook(a, b):
    """Heusel et al. 2017, section 3, with an explicit matrix square root."""
    cov_a, cov_b = np.atleast_2d(np.cov(a.T)), np.atleast_2d(np.cov(b.T))
    root = sqrtm(cov_a @ cov_b).real
    return np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a + cov_b - 2 * root)


def features(seed, n, d, scale=1.0):
    """Correlated features with a mean of their own."""
    rng = np.random.default_rng(seed)
    return scale * (rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d))


@pytest.mark.parametrize(
    ("n", "m", "d"), [(200, 300, 5), (50, 40, 20), (64, 500, 64), (500, 12, 8), (33, 34, 32)]
)
def test_equals_textbook_formula_at_full_rank(n, m, d):
    a, b = features(1, n, d), features(2, m, d)
    assert fid(a, b) == pytest.approx(textbook(a, b), rel=1e-9)


@pytest.mark.parametrize(("n", "m", "d"), [(10, 12, 40), (5, 200, 30), (2, 2, 3)])
def test_equals_regularised_textbook_formula_below_full_rank(n, m, d):
    """sqrtm needs full rank: a small ridge on both covariances, taken to zero, gives the value."""
    a, b = features(1, n, d), features(2, m, d)
    ridge = 1e-8 * np.eye(d)
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    root = np.trace(sqrtm((cov_a + ridge) @ (cov_b + ridge)).real)
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a + cov_b) - 2 * root
    assert fid(a, b) == pytest.approx(expected, rel=1e-4)


def test_approaches_distance_of_the_true_gaussians():
    """For diagonal covariances: |m1 - m2|² + sum (s1 - s2)²."""
    rng = np.random.default_rng(0)
    mean, sd_a, sd_b = np.array([1.0, 0, -2]), np.array([1.0, 2, 3]), np.array([2.0, 2, 0.5])
    a = rng.normal(size=(200_000, 3)) * sd_a
    b = rng.normal(size=(200_000, 3)) * sd_b + mean
    assert fid(a, b) == pytest.approx(np.sum(mean**2) + np.sum((sd_a - sd_b) ** 2), rel=0.02)


def test_one_dimension_has_a_closed_form():
    a, b = features(3, 40, 1), features(4, 70, 1)
    expected = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert fid(a, b) == pytest.approx(expected)


def test_is_squared_wasserstein_distance_of_shifted_copies():
    a = features(5, 100, 1)
    expected = wasserstein_distance(a[:, 0], a[:, 0] + 3) ** 2
    assert fid(a, a + 3) == pytest.approx(expected)


shapes = st.tuples(st.integers(2, 30), st.integers(2, 30), st.integers(1, 20))
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=50, deadline=None)
@given(seeds, shapes)
def test_is_a_distance_invariant_under_rotation(seed, shape):
    n, m, d = shape
    a, b = features(seed, n, d), features(seed + 1, m, d, scale=3)
    value = fid(a, b)
    size = np.var(a) * d + np.var(b) * d
    assert min(value, fid(a, a)) >= 0
    assert fid(b, a) == pytest.approx(value, abs=1e-9 * size)
    assert fid(a, a) == pytest.approx(0, abs=1e-9 * size)
    rotation = ortho_group.rvs(d, random_state=seed % 1000) if d > 1 else -np.eye(1)
    assert fid(a @ rotation, b @ rotation) == pytest.approx(value, abs=1e-9 * size)
    assert fid(a + 7, b + 7) == pytest.approx(value, abs=1e-9 * size + 1e-9)
    assert fid(2 * a, 2 * b) == pytest.approx(4 * value, abs=1e-9 * size)


def test_order_of_images_does_not_matter():
    a, b = features(1, 30, 10), features(2, 30, 10)
    assert fid(a[::-1], b) == pytest.approx(fid(a, b))


def test_constant_features_leave_the_distance_of_means():
    a, b = np.full((10, 4), 2.0), np.full((7, 4), 5.0)
    assert fid(a, b) == pytest.approx(4 * 9)
    assert fid(a, a) == 0


def test_constant_against_varying_adds_the_trace():
    a, b = np.zeros((10, 4)), features(1, 50, 4)
    assert fid(a, b) == pytest.approx(np.sum(b.mean(0) ** 2) + np.trace(np.cov(b.T)))


def test_float32_features_are_reduced_in_float64():
    a, b = features(1, 100, 16).astype(np.float32), features(2, 100, 16).astype(np.float32)
    offset = np.float32(2**10)
    expected = textbook((a + offset).astype(np.float64), (b + offset).astype(np.float64))
    assert fid(a + offset, b + offset) == pytest.approx(expected, rel=1e-8)


def test_sixteen_thousand_dimensions():
    """An isometry from 20 into 16,384 dimensions keeps the distance, far below full rank."""
    isometry = np.linalg.qr(np.random.default_rng(0).normal(size=(16_384, 20)))[0].T
    a, b = features(1, 300, 20), features(2, 200, 20)
    assert fid(a @ isometry, b @ isometry) == pytest.approx(textbook(a, b), rel=1e-6)


def test_few_images_warn_every_time_and_many_do_not(caplog):
    """Nothing is remembered from call to call: a second extractor of one size is told as well."""
    for _ in range(2):
        with caplog.at_level(logging.WARNING):
            fid(features(1, 10, 20), features(2, 12, 20))
        assert [record.args for record in caplog.records] == [(10, 20)]
        caplog.clear()
    fid(features(1, 100, 20), features(2, 90, 20))
    assert not caplog.records


def test_input_is_left_alone():
    a, b = features(1, 30, 5), features(2, 30, 5)
    copies = a.copy(), b.copy()
    fid(a, b)
    np.testing.assert_array_equal(a, copies[0])
    np.testing.assert_array_equal(b, copies[1])


GOOD = np.eye(6)


def with_bad_rows(*values):
    bad = np.ones((9, 6))
    for row, value in enumerate(values):
        bad[2 * row, row] = value
    return bad


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.ones(6), r"shape \(6,\)"),
        (np.ones((2, 3, 6)), r"shape \(2, 3, 6\)"),
        (np.ones((5, 7)), "features_a has 6.*7|7.*6"),
        (np.ones((1, 6)), r"\(1, 6\).* 2 "),
        (np.ones((0, 6)), r"\(0, 6\).* 2 "),
        (np.ones((6, 0)), r"\(6, 0\)"),
        (np.array([["a"] * 6] * 3), "<U1"),
        (np.ones((5, 6), complex), "complex128"),
        (with_bad_rows(np.nan), "1 of 9 rows"),
        (with_bad_rows(np.nan, np.inf, -np.inf), "3 of 9 rows"),
        (with_bad_rows(1e200), "1 of 9 rows"),
    ],
)
def test_bad_features_are_named(bad, message):
    with pytest.raises(MeddiffError, match=message):
        fid(GOOD, bad)
    with pytest.raises(MeddiffError, match=message):
        fid(bad, GOOD)


def test_equals_torch_fidelity():
    a, b = features(1, 300, 24), features(2, 200, 24)
    statistics = [{"mu": x.mean(0), "sigma": np.cov(x.T)} for x in (a, b)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
    assert fid(torch.tensor(a), torch.tensor(b)) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("d", [3, 15, 60])
def test_weighted_distances_equal_those_of_rows_drawn_again(d):
    """On either side of the branch between covariances and the product of features."""
    a, b = features(1, 30, d), features(2, 20, d)
    rng = np.random.default_rng(0)
    rows_a, rows_b = rng.integers(0, 30, (6, 30)), rng.integers(0, 20, (6, 20))
    weights_a = np.stack([np.bincount(rows, minlength=30) for rows in rows_a]).astype(float)
    weights_b = np.stack([np.bincount(rows, minlength=20) for rows in rows_b]).astype(float)
    values = _Weighted.of(a, b).distances(weights_a, weights_b)
    expected = [fid(a[i], b[j]) for i, j in zip(rows_a, rows_b, strict=True)]
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_weighted_distances_keep_their_digits_far_from_zero():
    a, b = features(1, 30, 40) + 1e4, features(2, 20, 40) + 1e4
    values = _Weighted.of(a, b).distances(np.ones((1, 30)), np.ones((1, 20)))
    assert values[0] == pytest.approx(fid(a, b), rel=1e-6)


def test_cafd_is_the_mean_over_classes():
    a = {"benign": features(1, 30, 4), "malignant": features(2, 20, 4)}
    b = {"malignant": features(3, 25, 4), "benign": features(4, 15, 4)}
    expected = (fid(a["benign"], b["benign"]) + fid(a["malignant"], b["malignant"])) / 2
    assert cafd(a, b) == pytest.approx(expected)
    assert cafd(a, a) == pytest.approx(0, abs=1e-9)


def test_cafd_sees_swapped_classes_that_fid_cannot():
    one, two = features(1, 50, 4), features(2, 50, 4) + 9
    real, swapped = {"a": one, "b": two}, {"a": two, "b": one}
    pooled = np.concatenate([one, two])
    assert fid(pooled, pooled[::-1]) == pytest.approx(0, abs=1e-9)
    assert cafd(real, swapped) > 100


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ({}, {}, "features_a"),
        ({"x": np.eye(4)}, {"y": np.eye(4)}, r"\['x'\].*\['y'\]"),
        ({"x": np.eye(4)}, {"x": np.eye(4)[:1]}, r"features_b\['x'\].*\(1, 4\)"),
        ({"x": np.eye(4)}, {"x": np.full((4, 4), np.nan)}, r"features_b\['x'\]"),
    ],
)
def test_cafd_names_the_class_that_is_wrong(a, b, message):
    with pytest.raises(MeddiffError, match=message):
        cafd(a, b)


@pytest.mark.parametrize(("n", "m"), [(150, 150), (200, 120)])
def test_fid_infinity_is_nearer_to_the_true_distance_on_average(n, m):
    """N(0, I) against N(0.5, 2.25 I) in 12 dimensions: 12 (0.5² + (1.5 - 1)²) = 6."""
    rng = np.random.default_rng(0)
    draws = [(rng.normal(size=(n, 12)), 1.5 * rng.normal(size=(m, 12)) + 0.5) for _ in range(25)]
    bias = np.mean([fid(a, b) for a, b in draws]) - 6
    assert abs(np.mean([fid_infinity(a, b) for a, b in draws]) - 6) < bias / 2


def test_fid_infinity_takes_most_of_the_bias_between_draws_of_one_distribution():
    rng = np.random.default_rng(0)
    draws = [(rng.normal(size=(80, 6)), rng.normal(size=(80, 6))) for _ in range(20)]
    plain = np.mean([fid(a, b) for a, b in draws])
    assert abs(np.mean([fid_infinity(a, b) for a, b in draws])) < plain / 4


def test_fid_infinity_is_fixed_by_its_seed_and_needs_eight_images(caplog):
    a, b = features(1, 40, 4), features(2, 9, 4)
    assert fid_infinity(a, b, seed=1) == fid_infinity(a, b, seed=1)
    assert fid_infinity(a, b, seed=1) != fid_infinity(a, b, seed=2)
    assert {record.args for record in caplog.records} == {(2, 4)} and len(caplog.records) == 4
    assert fid_infinity(a[::-1], b, seed=1) == pytest.approx(fid_infinity(a, b, seed=1))
    assert np.isfinite(fid_infinity(a[:8], b[:8]))
    assert fid_infinity(np.ones((8, 3)), np.zeros((9, 3))) == pytest.approx(3)
    with pytest.raises(MeddiffError, match=" 8 images"):
        fid_infinity(a, b[:7])


@pytest.mark.parametrize("d", [5, 100])
def test_interval_holds_the_value_and_is_fixed_by_the_seed(d):
    a, b = features(1, 40, d), features(2, 30, d)
    one = fid_interval(a, b, n_resamples=60, seed=3)
    assert one.value == fid(a, b)
    assert 0 <= one.low < one.value < one.high
    assert one == fid_interval(a, b, n_resamples=60, seed=3)
    assert one != fid_interval(a, b, n_resamples=60, seed=4)
    other = fid_interval(a[::-1], b[::-1], n_resamples=60, seed=3)
    assert (other.value, other.error) == pytest.approx((one.value, one.error))


def test_the_largest_float32_values_do_not_overflow():
    huge = np.float32(1e38) * np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    result = fid_interval(huge, -huge, n_resamples=20)
    assert np.isfinite([result.value, result.high]).all()
    assert result.value == pytest.approx(1e76 * fid(huge / 1e38, -huge / 1e38), rel=1e-5)
