"""What classifiers share: labelled examples, and predictions of test images."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from meddiff.extractors.supervised import Examples, predict

Labelled = tuple[np.ndarray, np.ndarray]
"""Images uint8 (N,H,W,3) and labels int64 (N,)."""


def examples(labelled: Labelled) -> Examples:
    """Return labelled images as tensors."""
    images, labels = labelled
    return Examples(torch.from_numpy(images), torch.from_numpy(labels))


def accuracy(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Return the share of validation images, in [0, 1], whose largest logit is their label's.

    Args:
        logits: (N, classes).
        labels: int64 (N,).
    """
    return {"validation_accuracy": float((logits.argmax(dim=1) == labels).double().mean())}


def probabilities(
    network: nn.Module,
    transform: Callable[[Tensor], Tensor],
    inputs: np.ndarray,
    *,
    device: str = "cpu",
) -> np.ndarray:
    """Return the softmax of a net's logits, float64 (N, classes): rows sum to 1."""
    tensor = torch.from_numpy(np.array(inputs))
    logits = predict(network, network, transform, tensor, device=device, padded=True)
    softmax: np.ndarray = logits.double().softmax(dim=1).numpy()
    return softmax


def predictions(
    network: Any, test: Labelled, classes: Sequence[str], *, device: str = "cpu"
) -> pd.DataFrame:
    """Return one row per test image: label, predicted, and the probability of each class."""
    images, labels = test
    rows = probabilities(network, network.transform, images, device=device)
    return predictions_table(rows, labels, classes)


def predictions_table(
    probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> pd.DataFrame:
    """Return columns label, predicted (the likeliest class) and p_<class>.

    Args:
        probabilities: float64 (N, classes).
        labels: number of the true class, int64 (N,).
        classes: class names.
    """
    names = np.array(classes)
    table = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in classes])
    table.insert(0, "label", names[labels])
    table.insert(1, "predicted", names[probabilities.argmax(axis=1)])
    return table
