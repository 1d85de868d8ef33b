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
    roc_auc_score,
    roc_curve,
)
from torchmetrics.functional.classification import multiclass_calibration_error

from meddiff.metrics.probabilities import reliability, scores


def drawn(seed: int, k: int, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities with ties, and weights of which some are 0."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    said = rng.dirichlet(np.ones(k), n).round(1) + 1e-3
    weights = rng.integers(0, 3, (3, n)).astype(float)
    weights[:, :k] = 1
    return labels, said / said.sum(1, keepdims=True), weights


@given(seed=st.integers(0, 10_000), k=st.integers(2, 4))
def test_weighted_scores_are_scikit_learns(seed, k):
    labels, said, weights = drawn(seed, k)
    classes = [f"c{place}" for place in range(k)]
    found = scores(labels, said, classes, weights, specificity=0.8)
    about = "c1" if k == 2 else "mean"
    for row, w in enumerate(weights):
        predicted = said.argmax(1)
        assert found["accuracy", "all"][row] == pytest.approx(
            accuracy_score(labels, predicted, sample_weight=w)
        )
        by_class = precision_recall_fscore_support(
            labels, predicted, sample_weight=w, labels=range(k), zero_division=0.0
        )
        for name, values in zip(("precision", "recall", "f1"), by_class, strict=False):
            told = [found[name, one][row] for one in classes]
            assert told == pytest.approx(values)
            if k > 2:
                assert found[name, "mean"][row] == pytest.approx(np.mean(values))
        curves = []
        for place in [1] if k == 2 else range(k):
            one, p = labels == place, said[:, place]
            false, true, _ = roc_curve(one, p, sample_weight=w, drop_intermediate=False)
            curves.append(
                [
                    roc_auc_score(one, p, sample_weight=w),
                    average_precision_score(one, p, sample_weight=w),
                    true[false <= 0.2 + 1e-9].max(),
                ]
            )
        expected = np.mean(curves, axis=0)
        told = [found[name, about][row] for name in ("roc_auc", "pr_auc", "sensitivity")]
        assert told == pytest.approx(expected)


@pytest.mark.parametrize("k", [2, 3])
def test_calibration_error_is_that_of_torchmetrics(k):
    labels, _, _ = drawn(1, k)
    # Not on a bin's edge, which either side may claim.
    said = np.random.default_rng(2).dirichlet(np.ones(k), len(labels))
    expected = multiclass_calibration_error(
        torch.from_numpy(said), torch.from_numpy(labels), num_classes=k, n_bins=15, norm="l1"
    )
    found = scores(labels, said, [str(place) for place in range(k)])["ece", "all"]
    assert found[0] == pytest.approx(float(expected), abs=1e-6)


def test_reliability_is_scikit_learns():
    labels, _, _ = drawn(3, 2, 500)
    said = np.random.default_rng(4).dirichlet([1, 1], 500)
    observed, predicted = calibration_curve(labels, said[:, 1], n_bins=10)
    curve = reliability(labels, said, ["a", "b"])
    assert curve["observed"].to_numpy() == pytest.approx(observed)
    assert curve["predicted"].to_numpy() == pytest.approx(predicted)
    assert curve["images"].sum() == 500 and set(curve["class"]) == {"b"}


def test_a_class_without_images_has_no_curve():
    labels, said = np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    found = scores(labels, said, ["a", "b"], np.array([[1.0, 1.0, 0.0]]))
    assert np.isnan(found["roc_auc", "b"]).all() and np.isnan(found["sensitivity", "b"]).all()
    assert found["accuracy", "all"] == 1
