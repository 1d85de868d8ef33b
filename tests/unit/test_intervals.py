"""Intervals: do they hold the expected value as often as they say, and what they refuse."""

import numpy as np
import pytest

from meddiff.core.errors import MeddiffError
from meddiff.metrics import (
    cmmd,
    cmmd_interval,
    fid,
    fid_interval,
    kid,
    kid_interval,
    pairs_interval,
)
from meddiff.metrics.intervals import (
    covariance,
    estimate,
    half_samples,
    parts_variance,
    ratio_ends,
    thinned_variance,
)
from meddiff.metrics.pair_intervals import between_interval
from meddiff.metrics.parts import draw_parts

SIMULATIONS = 60


def draw(rng, n, d, shift):
    return rng.normal(size=(n, d)) + shift / np.sqrt(d)


def coverage_and_width(metric, interval, n, m, d, shift):
    """Share of intervals that hold the expected value, and mean standard error by its truth."""
    rng = np.random.default_rng(0)

    def sets():
        return draw(rng, n, d, 1), draw(rng, m, d, 1 + shift)

    values = [metric(*sets()) for _ in range(300)]
    estimates = [interval(*sets(), n_resamples=100, seed=seed) for seed in range(SIMULATIONS)]
    covered = np.mean([e.low <= np.mean(values) <= e.high for e in estimates])
    return covered, np.mean([e.error for e in estimates]) / np.std(values)


@pytest.mark.parametrize("shift", [0, 0.5, 2])
@pytest.mark.parametrize(("metric", "interval"), [(kid, kid_interval), (cmmd, cmmd_interval)])
@pytest.mark.parametrize(("n", "m", "d"), [(60, 60, 4), (50, 80, 100)])
def test_kid_and_cmmd_lie_in_their_intervals_as_often_as_promised(metric, interval, n, m, d, shift):
    covered, width = coverage_and_width(metric, interval, n, m, d, shift)
    assert covered >= 0.85
    assert 0.75 < width < 1.4


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize(("n", "m", "d"), [(80, 80, 4), (40, 60, 30), (30, 40, 100)])
def test_fid_lies_in_its_interval_as_often_as_promised(n, m, d, shift):
    covered, width = coverage_and_width(fid, fid_interval, n, m, d, shift)
    assert covered >= 0.85
    assert 0.75 < width < 1.5


def correlations(rng, n, likeness):
    """A stand-in for SSIM: correlations of pictures that share a pattern more or less."""
    pictures = rng.normal(size=(n, 40))
    pictures += likeness * rng.gamma(2, 0.5, (n, 1)) * np.linspace(-1, 1, 40)
    return np.corrcoef(pictures)[np.triu_indices(n, 1)]


@pytest.mark.parametrize("likeness", [0, 1.5])
def test_mean_over_pairs_lies_in_its_interval_as_often_as_promised(likeness):
    rng = np.random.default_rng(0)
    means = [correlations(rng, 30, likeness).mean() for _ in range(1000)]
    estimates = [
        pairs_interval(correlations(rng, 30, likeness), n_resamples=100, seed=seed)
        for seed in range(SIMULATIONS)
    ]
    assert np.mean([e.low <= np.mean(means) <= e.high for e in estimates]) >= 0.85
    assert 0.75 < np.mean([e.error for e in estimates]) / np.std(means) < 1.4


def test_error_of_a_plain_mean_is_the_textbook_standard_error():
    """Values a_i + a_j average to twice the mean of a, so that no product of images is left."""
    a = np.random.default_rng(0).normal(size=50)
    values = np.add.outer(a, a)[np.triu_indices(50, 1)]
    result = pairs_interval(values, n_resamples=20_000)
    expected = 2 * a.std(ddof=1) / np.sqrt(50)
    assert result.error == pytest.approx(expected, rel=0.02)
    assert result.value == pytest.approx(2 * a.mean())
    assert result.high - result.value == pytest.approx(1.959964 * result.error)
    assert result.value - result.low == pytest.approx(1.959964 * result.error)


def test_pairs_sharing_images_widen_the_interval():
    """Far wider than if the 1,225 values were independent."""
    a = np.random.default_rng(0).normal(size=50)
    values = np.add.outer(a, a)[np.triu_indices(50, 1)]
    naive = values.std() / np.sqrt(len(values))
    assert pairs_interval(values).error > 4 * naive


def test_halves_complement_each_other_and_are_fixed_by_the_seed():
    a, b = half_samples(7, 10, n_resamples=9, seed=1)
    assert a.shape == (10, 7) and b.shape == (10, 10)
    np.testing.assert_array_equal(a[::2] + a[1::2], 1)
    np.testing.assert_array_equal(a.sum(1), [3, 4] * 5)
    np.testing.assert_array_equal(b.sum(1), 5)
    np.testing.assert_array_equal(a, half_samples(7, 10, n_resamples=9, seed=1)[0])
    assert (a != half_samples(7, 10, n_resamples=9, seed=2)[0]).any()
    same_size = half_samples(20, 20, n_resamples=40)
    assert (same_size[0] != same_size[1]).any()


def test_every_image_is_drawn_equally_often():
    (weights,) = half_samples(9, n_resamples=20_000)
    np.testing.assert_allclose(weights[::2].mean(0), 4 / 9, atol=0.025)


def test_constant_values_have_an_interval_of_no_width():
    result = pairs_interval(np.full(10, 0.25), n_resamples=20)
    assert (result.low, result.value, result.high, result.error) == (0.25, 0.25, 0.25, 0)
    constant = np.full((6, 4), 2.0)
    for interval in (fid_interval, kid_interval, cmmd_interval):
        result = interval(constant, constant, n_resamples=20)
        assert (result.value, result.error) == (pytest.approx(0, abs=1e-9),) * 2


def test_an_interval_ends_where_the_metric_does():
    result = estimate(0.1, np.array([0.0, 5.0, 5.0, 0.0]), least=0)
    assert result.low == 0
    assert result.high > 0.1


def test_wider_level_wider_interval():
    values = np.random.default_rng(0).normal(size=45)
    widths = [
        (lambda e: e.high - e.low)(pairs_interval(values, level=level))
        for level in (0.5, 0.9, 0.99)
    ]
    assert widths == sorted(widths)
    assert len(set(widths)) == 3


@pytest.mark.parametrize("interval", [fid_interval, kid_interval, cmmd_interval])
def test_the_smallest_sets_have_finite_intervals_and_smaller_ones_are_refused(interval):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    result = interval(a, b, n_resamples=50)
    assert np.isfinite([result.low, result.value, result.high, result.error]).all()
    assert result.low <= result.value <= result.high
    for one, two in ((a[:3], b), (b, a[:3])):
        with pytest.raises(MeddiffError, match=r"\(3, 3\).*\b4 images"):
            interval(one, two, n_resamples=50)


def test_progress_counts_the_replicates():
    counts = []
    fid_interval(np.eye(6), np.eye(6)[::-1] + 1, n_resamples=12, progress=counts.append)
    assert counts == list(range(1, 13))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(3), r"\(3,\).*\b4 "),
        (np.zeros(7), "pairs"),
        (np.zeros(0), "pairs"),
        (np.zeros((2, 3)), r"shape \(2, 3\)"),
        (np.array([1, 2, np.inf, 4, 5, 6]), "1 of 6 values"),
        (np.full(6, np.nan), "6 of 6 values"),
    ],
)
def test_values_of_no_pairs_are_refused(values, message):
    with pytest.raises(MeddiffError, match=message):
        pairs_interval(values)


def test_a_list_of_values_will_do():
    assert pairs_interval([1, 2, 3, 4, 5, 6]).value == 3.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_resamples": 1}, "n_resamples"),
        ({"n_resamples": 20.5}, r"n_resamples = 20\.5"),
        ({"level": 1.0}, "level"),
        ({"level": -0.1}, "level"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(MeddiffError, match=message):
        pairs_interval(np.zeros(6), **options)
    with pytest.raises(MeddiffError, match=message):
        fid_interval(np.eye(6), np.eye(6), **options)


@pytest.mark.parametrize("interval", [fid_interval, kid_interval, cmmd_interval])
def test_the_order_of_images_changes_no_interval(interval):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(25, 6)), rng.normal(size=(18, 6)) + 0.5
    one, other = (interval(x, y, n_resamples=40) for x, y in ((a, b), (a[::-1], np.roll(b, 5, 0))))
    assert (other.low, other.high) == pytest.approx((one.low, one.high))


def test_the_order_of_images_changes_no_interval_of_pairs():
    square = np.random.default_rng(0).normal(size=(20, 20))
    square, order = square + square.T, np.random.default_rng(1).permutation(20)
    one, other = (
        pairs_interval(values[np.triu_indices(20, 1)], n_resamples=40)
        for values in (square, square[np.ix_(order, order)])
    )
    assert (other.low, other.high) == pytest.approx((one.low, one.high))
    across = square[:8]
    one = between_interval(across, n_resamples=40)
    other = between_interval(across[::-1][:, order], n_resamples=40)
    assert (other.low, other.high) == pytest.approx((one.low, one.high))


def test_a_ratio_lies_in_its_interval_as_often_as_promised():
    """Also where its denominator is hardly told from 0; elsewhere there is none."""
    rng = np.random.default_rng(0)
    spread = np.array([[1.0, 0.6], [0.6, 0.8]])
    for below, least in ((2.5, 0.5), (10.0, 0.999)):
        truth = np.array([0.8 * below, below])
        estimates = [
            ratio_ends(*rng.multivariate_normal(truth, spread), spread) for _ in range(4000)
        ]
        ends = [pair for pair in estimates if pair is not None]
        assert len(ends) / len(estimates) >= least
        covered = np.mean([low <= 0.8 <= high for low, high in ends])
        assert covered >= 0.94
    assert ratio_ends(1.0, 1.9, np.eye(2)) is None and ratio_ends(1.0, 2.0, np.eye(2)) is not None
    assert ratio_ends(1.0, -5.0, np.eye(2)) is None
    low, high = ratio_ends(8.0, 1000.0, np.diag([1.0, 0.0]))
    assert (low, high) == pytest.approx(((8 - 1.959964) / 1000, (8 + 1.959964) / 1000))


def test_covariances_of_means_are_the_textbooks():
    values = np.random.default_rng(0).normal(size=(2, 60)) + np.linspace(0, 2, 60)
    (weights,) = half_samples(60, n_resamples=8000)
    halves = values @ weights.T / weights.sum(axis=1)
    assert covariance(halves) == pytest.approx(np.cov(values) / 60, rel=0.05)


def test_the_luck_of_parts_is_no_part_of_the_covariance_of_images():
    """Means of 10 of the 30 images of a half, once and again: as if of all 60 images at last."""
    values = np.random.default_rng(0).normal(size=(1, 60))
    (weights,) = half_samples(60, n_resamples=8000)
    chance = np.random.default_rng(1)
    parts = np.empty((1, 8000, 2))
    for row, covered in enumerate(weights):
        members = values[0, covered > 0]
        parts[0, row] = [chance.permutation(members)[:10].mean() for _ in range(2)]
    assert covariance(parts)[0, 0] == pytest.approx(values.var(ddof=1) / 60, rel=0.15)
    assert parts_variance(parts)[0, 0] == pytest.approx(
        values.var(ddof=1) / 10 * (2 / 3) / 2, rel=0.05
    )


def test_thinner_sets_give_the_variance_of_a_mean():
    values = np.random.default_rng(0).normal(size=80)
    chance = np.random.default_rng(1)
    thinned = [chance.permutation(values)[:60].mean() for _ in range(4000)]
    estimates = thinned_variance(np.array(thinned)[:, None], 0.75)
    assert estimates == pytest.approx(values.var(ddof=1) / 80, rel=0.1)


@pytest.mark.parametrize("rest", [None, "rest"])
def test_parts_are_of_the_sizes_asked_and_fixed_by_the_seed(rest):
    sizes = {"a": (11, 5), "b": (9, 5)}
    parts = draw_parts(sizes, rest=rest, n_resamples=9, seed=0)
    assert parts.sizes == {"a": 5, "b": 5, **({"rest": 4} if rest else {})}
    assert all((w.sum(axis=1) == 5).all() for w in (parts.whole["a"], parts.whole["b"]))
    for weights in (parts.whole, parts.halves, parts.thinned):
        assert all(np.isin(w, (0, 1)).all() for w in weights.values())
    sums = parts.halves["a"].sum(axis=1).reshape(-1, 2 * parts.again)
    assert (sums == [2] * parts.again + [3] * parts.again).all()
    assert (parts.thinned["b"].sum(axis=1) == 4).all()
    if rest:
        assert (parts.whole["b"] + parts.whole["rest"] == 1).all()
        assert (parts.halves["b"] * parts.halves["rest"] == 0).all()
    again = draw_parts(sizes, rest=rest, n_resamples=9, seed=0)
    assert all((parts.halves[key] == again.halves[key]).all() for key in parts.halves)
    other = draw_parts(sizes, rest=rest, n_resamples=9, seed=1)
    assert any((parts.whole[key] != other.whole[key]).any() for key in parts.whole)


def test_whole_sets_have_one_part():
    parts = draw_parts({"a": (7, 7), "b": (8, 8)}, n_resamples=8, seed=0)
    assert {key: w.tolist() for key, w in parts.whole.items()} == {"a": [[1] * 7], "b": [[1] * 8]}
    assert parts.again == 1 and len(parts.halves["a"]) == 8
    few = draw_parts({"a": (7, 3), "b": (8, 8)}, n_resamples=8, seed=0)
    assert not few.halves and not few.thinned
