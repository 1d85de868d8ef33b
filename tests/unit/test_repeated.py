"""Intervals over test images and seeds hold what they promise."""

import numpy as np
import pytest

from meddiff.metrics.repeated import image_halves, repeated_estimate


def test_halves_take_groups_whole_and_half_of_each_class():
    labels = np.repeat([0, 1], [30, 24])
    groups = [f"a{n // 3}" for n in range(30)] + [f"b{n // 2}" for n in range(24)]
    weights = image_halves(labels, groups, n_resamples=20, seed=0)
    assert weights.shape == (20, 54) and set(np.unique(weights)) == {0, 1}
    by_group = {name: weights[:, np.array(groups) == name] for name in set(groups)}
    assert all((rows == rows[:, :1]).all() for rows in by_group.values())
    assert (weights[:, :30].sum(1) == 15).all() and (weights[:, 30:].sum(1) == 12).all()


def test_groups_of_several_classes_are_halved_too():
    """Patients with both classes, some with one alone, and too few of a kind."""
    labels = np.tile([0, 1], 40)
    groups = [f"p{n // 4}" for n in range(80)]
    weights = image_halves(labels, groups, n_resamples=20, seed=0)
    assert (weights.sum(1) == 40).all() and (weights[:, labels == 0].sum(1) == 20).all()
    more = np.concatenate([labels, np.ones(10, int), np.zeros(2, int)])
    named = [*groups, *(f"q{n}" for n in range(10)), "r0", "r1"]
    weights = image_halves(more, named, n_resamples=20, seed=0)
    assert (weights[:, 80:90].sum(1) == 5).all()
    assert (weights[::2] + weights[1::2] == 1).all()


def test_too_few_groups_have_no_interval():
    assert image_halves(np.repeat([0, 1], 9), [0] * 9 + [1] * 9, n_resamples=8, seed=0) is None
    result = repeated_estimate(np.array([0.5, 0.7]), None, groups=2, least=0)
    assert result.value == pytest.approx(0.6) and np.isnan([result.low, result.high]).all()


def test_no_error_on_few_images_is_no_proof_of_none():
    for n, reach in ((20, 0.08), (200, 0.008)):
        perfect = repeated_estimate(np.ones(5), np.ones((5, 20)), groups=n, least=0)
        assert perfect.high == 1 and reach < 1 - perfect.low < 1.5 * reach


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("shared", [False, True])
def test_intervals_cover_the_truth(k, shared):
    """Images differ in difficulty and trainings in skill; the truth is over all of both.

    `shared`: of the difference of two trainings whose images are the same.
    """
    chance = np.random.default_rng(k)
    n, trials, covered = 60, 300, 0
    labels = np.arange(n) % 2
    for trial in range(trials):
        weights = image_halves(labels, range(n), n_resamples=60, seed=trial)
        hard = chance.normal(0, 0.15, n)

        def right(level, hard=hard):
            skill = chance.normal(0, 0.03 if k > 1 else 0, (k, 1))
            return (chance.random((k, n)) < np.clip(level + skill + hard, 0, 1)).astype(float)

        ours, truth = right(0.7), 0.7
        if shared:
            ours, truth = ours - right(0.6), 0.1
        halves = ours @ weights.T / weights.sum(1)
        result = repeated_estimate(ours.mean(1), halves, groups=n, least=-1)
        covered += result.low <= truth <= result.high
    assert 0.92 <= covered / trials <= 1
