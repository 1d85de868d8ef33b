"""Inception Score against torch-fidelity, closed forms and its properties."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

from meddiff.core.errors import MeddiffError
from meddiff.metrics import inception_score
from meddiff.metrics.inception import inception_interval


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_equals_torch_fidelity_on_the_full_set(scale):
    logits = np.random.default_rng(0).normal(size=(200, 7)) * scale
    expected = isc_features_to_metric(torch.tensor(logits), splits=1)[KEY_METRIC_ISC_MEAN]
    assert inception_score(softmax(logits, axis=1)) == pytest.approx(expected, rel=1e-10)


def test_sure_and_even_predictions_score_the_number_of_classes():
    assert inception_score(np.repeat(np.eye(5), 4, axis=0)) == pytest.approx(5)
    assert inception_score(np.eye(5)[[0, 0, 0]]) == 1


def test_two_classes_have_a_closed_form():
    """Shares p and 1 - p of sure predictions: exp of the entropy."""
    score = inception_score(np.eye(2)[[0] * 3 + [1] * 7])
    assert score == pytest.approx(np.exp(-0.3 * np.log(0.3) - 0.7 * np.log(0.7)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 30), st.integers(1, 9), st.floats(0, 1000))
def test_is_from_one_to_the_number_of_classes_whatever_the_order(seed, n, classes, scale):
    rng = np.random.default_rng(seed)
    conditional = softmax(rng.normal(size=(n, classes)) * scale, axis=1)
    score = inception_score(conditional)
    assert 1 <= score <= classes
    assert inception_score(conditional[::-1]) == pytest.approx(score)
    assert inception_score(conditional[:, ::-1]) == pytest.approx(score)
    assert inception_score(np.repeat(conditional[:1], n, axis=0)) == pytest.approx(1)


def test_half_precision_probabilities_are_made_sums_of_one():
    exact = softmax(np.random.default_rng(0).normal(size=(50, 8)), axis=1)
    assert inception_score(exact.astype(np.float16)) == pytest.approx(
        inception_score(exact), rel=1e-3
    )


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((4, 3), 0.5), "sum to 1: apply softmax"),
        (np.array([[1.5, -0.5], [0.5, 0.5]]), ">= 0"),
        (np.array([[np.nan, 1], [0.5, 0.5]]), "1 of 2 rows"),
        (np.array([[np.inf, 0], [0.5, 0.5]]), "1 of 2 rows"),
        (np.array([[0.5, 0.5]]), "at least 2 images"),
        (np.array([0.5, 0.5]), r"shape \(2,\)"),
        (np.ones((3, 0)), "1 dimension"),
    ],
)
def test_rows_that_are_no_distributions_are_refused(bad, message):
    with pytest.raises(MeddiffError, match=message):
        inception_score(bad)


def test_its_interval_holds_its_expected_value_and_knows_no_order():
    chance = np.random.default_rng(0)
    sets = [chance.dirichlet([0.3] * 5, 60) for _ in range(80)]
    values = [inception_score(probabilities) for probabilities in sets]
    scores = [
        inception_interval(probabilities, n_resamples=60, seed=seed)
        for seed, probabilities in enumerate(sets)
    ]
    assert [one.value for one in scores] == pytest.approx(values)
    assert np.mean([one.low <= np.mean(values) <= one.high for one in scores]) >= 0.88
    assert 0.8 < np.mean([one.error for one in scores]) / np.std(values) < 1.3
    other = inception_interval(sets[0][::-1], n_resamples=60, seed=0)
    assert (other.low, other.high) == pytest.approx((scores[0].low, scores[0].high))
