"""Scores of probabilities against scikit-learn and torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    precision_recall_fscore_support,
    recall_score,
    roc_auc_score,
)
from torchmetrics.functional.classification import multiclass_calibration_error

from meddiff.metrics.classification import operating_thresholds, reliability, scores


def drawn(seed: int, k: int, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities with ties, and weights of which some are 0."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    probabilities = rng.dirichlet(np.ones(k), n).round(1) + 1e-3
    weights = rng.integers(0, 3, (3, n)).astype(float)
    weights[:, :k] = 1
    return labels, probabilities / probabilities.sum(1, keepdims=True), weights


@given(seed=st.integers(0, 10_000), k=st.integers(2, 4))
def test_weighted_scores_are_scikit_learns(seed, k):
    labels, probabilities, weights = drawn(seed, k)
    classes = [f"c{place}" for place in range(k)]
    thresholds = np.linspace(0.2, 0.6, 1 if k == 2 else k)
    result = scores(labels, probabilities, classes, weights, thresholds=thresholds)
    about = "c1" if k == 2 else "mean"
    for row, w in enumerate(weights):
        predicted = probabilities.argmax(1)
        assert result["accuracy", "all"][row] == pytest.approx(
            accuracy_score(labels, predicted, sample_weight=w)
        )
        by_class = precision_recall_fscore_support(
            labels, predicted, sample_weight=w, labels=range(k), zero_division=0.0
        )
        for name, values in zip(("precision", "recall", "f1"), by_class, strict=False):
            actual = [result[name, one][row] for one in classes]
            assert actual == pytest.approx(values)
            if k > 2:
                assert result[name, "mean"][row] == pytest.approx(np.mean(values))
        curves = []
        for place in [1] if k == 2 else range(k):
            one, p = labels == place, probabilities[:, place]
            at = thresholds[place % len(thresholds)]
            curves.append(
                [
                    roc_auc_score(one, p, sample_weight=w),
                    average_precision_score(one, p, sample_weight=w),
                    recall_score(one, p > at, sample_weight=w),
                    recall_score(~one, p <= at, sample_weight=w),
                ]
            )
        expected = np.mean(curves, axis=0)
        actual = [
            result[name, about][row] for name in ("roc_auc", "pr_auc", "sensitivity", "specificity")
        ]
        assert actual == pytest.approx(expected)


@pytest.mark.parametrize("k", [2, 3])
def test_calibration_error_is_that_of_torchmetrics(k):
    labels, _, _ = drawn(1, k)
    # Not on a bin's edge, which either side may claim.
    probabilities = np.random.default_rng(2).dirichlet(np.ones(k), len(labels))
    expected = multiclass_calibration_error(
        torch.from_numpy(probabilities),
        torch.from_numpy(labels),
        num_classes=k,
        n_bins=15,
        norm="l1",
    )
    result = scores(labels, probabilities, [str(place) for place in range(k)])["ece", "all"]
    assert result[0] == pytest.approx(float(expected), abs=1e-6)


def test_reliability_is_scikit_learns():
    labels, _, _ = drawn(3, 2, 500)
    probabilities = np.random.default_rng(4).dirichlet([1, 1], 500)
    observed, predicted = calibration_curve(labels, probabilities[:, 1], n_bins=10)
    curve = reliability(labels, probabilities, ["a", "b"])
    assert curve["observed"].to_numpy() == pytest.approx(observed)
    assert curve["predicted"].to_numpy() == pytest.approx(predicted)
    assert curve["n_images"].sum() == 500 and set(curve["class"]) == {"b"}


def test_a_class_without_images_has_no_curve():
    labels, probabilities = np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    at = np.array([0.5])
    result = scores(labels, probabilities, ["a", "b"], np.array([[1.0, 1.0, 0.0]]), thresholds=at)
    assert np.isnan(result["roc_auc", "b"]).all() and np.isnan(result["sensitivity", "b"]).all()
    assert result["accuracy", "all"] == 1


@given(seed=st.integers(0, 10_000), specificity=st.sampled_from([0.05, 0.3, 0.7, 0.9, 0.999]))
def test_the_threshold_is_the_smallest_that_reaches_the_specificity(seed, specificity):
    labels, probabilities, _ = drawn(seed, 2)
    [at] = operating_thresholds(labels, probabilities, specificity)
    others = probabilities[labels == 0, 1]
    assert (others <= at).mean() >= specificity - 1e-9
    assert (others < at).mean() < specificity
    [lower] = operating_thresholds(labels, probabilities, specificity / 2)
    assert lower <= at


def test_without_other_classes_there_is_no_threshold():
    probabilities = np.array([[0.2, 0.8], [0.4, 0.6]])
    at = operating_thresholds(np.array([1, 1]), probabilities, 0.9)
    assert np.isnan(at).all()
    assert np.isnan(
        scores(np.array([0, 1]), probabilities, ["a", "b"], thresholds=at)["sensitivity", "b"]
    )


def test_sensitivity_is_not_the_best_that_chance_offers():
    """Probabilities that know nothing: on the test images' own threshold it would pass 0.1."""
    result = []
    for seed in range(300):
        chance = np.random.default_rng(seed)
        labels, probabilities = np.repeat([0, 1], 10), chance.random((2, 20))
        probabilities = np.stack([1 - probabilities, probabilities], axis=2)
        at = operating_thresholds(labels, probabilities[0], 0.9)
        result.append(
            scores(labels, probabilities[1], ["a", "b"], thresholds=at)["sensitivity", "b"][0]
        )
    # The ninth of ten leaves two elevenths above it.
    assert np.mean(result) == pytest.approx(2 / 11, abs=0.03)
