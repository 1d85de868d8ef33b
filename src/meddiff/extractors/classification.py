"""What classifiers share: labelled examples, training, and predictions of test images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from meddiff.extractors.settings import TrainingSettings
from meddiff.extractors.supervised import Examples, Objective, fit, predict, seeded

Labelled = tuple[np.ndarray, np.ndarray]
"""Images uint8 (N,H,W,1 or 3) and labels int64 (N,)."""


@dataclass(frozen=True)
class Recipe:
    """How a net is trained as a classifier, with cross-entropy.

    Attributes:
        build: returns the net, its weights random where none are published.
        transform: from uint8 images to the net's input.
        note: weights that it starts from, in words.
        build_head: returns the net's `head` with random weights, which alone is trained, on the
            features of the frozen `trunk`; None where the whole net is trained.
    """

    build: Callable[[], nn.Module]
    transform: Callable[[Tensor], Tensor]
    note: str = ""
    build_head: Callable[[], nn.Module] | None = None

    @property
    def trained_transform(self) -> Callable[[Tensor], Tensor]:
        """The transform of what is trained: none for features of a trunk."""
        return nn.Identity() if self.build_head else self.transform


def train_classifier(
    recipe: Recipe,
    training: Labelled,
    validation: Labelled,
    settings: TrainingSettings,
    *,
    seed: int,
    name: str,
    device: str = "cpu",
) -> tuple[nn.Module, pd.DataFrame]:
    """Train a classifier; return the net and its history.

    A frozen trunk gives the same features in every epoch, so they are computed once. The seed fixes
    weights, order and dropout, in streams whose names contain `name`.
    """
    network: Any = seeded(recipe.build, seed, name).to(device)
    sets, trained = [examples(training), examples(validation)], network
    if recipe.build_head:
        trained = network.head
        sets = [
            Examples(
                predict(network, network.trunk, recipe.transform, each.inputs, device=device),
                each.targets,
            )
            for each in sets
        ]
    objective = Objective(recipe.trained_transform, nn.functional.cross_entropy, accuracy)
    history = fit(
        trained, objective, sets[0], settings, seed=seed, name=name, validation=sets[1],
        device=device,
    )  # fmt: skip
    return network, history


def examples(labelled: Labelled) -> Examples:
    """Return labelled images as tensors."""
    images, labels = labelled
    return Examples(torch.from_numpy(images), torch.from_numpy(labels))


def accuracy(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Return the share of images whose largest of the logits (N, classes) is their label's."""
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

    Probabilities are float64 (N, classes), labels the number of the true class, int64 (N,).
    """
    names = np.array(classes)
    table = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in classes])
    table.insert(0, "label", names[labels])
    table.insert(1, "predicted", names[probabilities.argmax(axis=1)])
    return table
