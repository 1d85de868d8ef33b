"""Classifiers: SkinLesNet and ResNet50 trained on labelled images, and their predictions."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from meddiff.extractors.learning import Examples, fit, predict, seeded
from meddiff.extractors.resnet50 import ResNet50
from meddiff.extractors.settings import Training
from meddiff.extractors.skinlesnet import SkinLesNet

Classifier = SkinLesNet | ResNet50
Labelled = tuple[np.ndarray, np.ndarray]


def train_skinlesnet(
    training: Labelled,
    validation: Labelled,
    classes: int,
    settings: Training,
    *,
    seed: int,
    name: str = "skinlesnet",
    device: str = "cpu",
) -> tuple[SkinLesNet, pd.DataFrame]:
    """Train SkinLesNet with cross-entropy; return the net and its history.

    Args:
        training: images uint8 (N,H,W,3) and labels int64 (N,).
        validation: the same, for the validation loss.
        classes: number of classes.
        settings: length, batch size, learning rate.
        seed: fixes weights, order and dropout.
        name: name of this training.
        device: torch device.
    """
    size = training[0].shape[1]
    network = seeded(lambda: SkinLesNet(classes, size), seed, name)
    history = fit(
        network,
        SkinLesNet.transform,
        nn.functional.cross_entropy,
        _examples(training),
        settings,
        seed=seed,
        name=name,
        validation=_examples(validation),
        device=device,
    )
    return network, history


def train_resnet50(
    training: Labelled,
    validation: Labelled,
    classes: int,
    settings: Training,
    *,
    imagenet: dict[str, Tensor] | None,
    seed: int,
    name: str = "resnet50",
    device: str = "cpu",
) -> tuple[ResNet50, pd.DataFrame]:
    """Train ResNet50's head on frozen ImageNet weights, or all of it where there are none.

    A frozen trunk gives the same features in every epoch, so they are computed once.
    """
    network = seeded(lambda: ResNet50(classes, imagenet), seed, name)
    sets = [_examples(training), _examples(validation)]
    trained: nn.Module = network
    transform: Callable[[Tensor], Tensor] = ResNet50.transform
    if network.frozen:
        network.to(device)
        sets = [
            Examples(predict(network, network.trunk, transform, s.inputs, device=device), s.targets)
            for s in sets
        ]
        trained, transform = network.head, _unchanged
    history = fit(
        trained,
        transform,
        nn.functional.cross_entropy,
        sets[0],
        settings,
        seed=seed,
        name=name,
        validation=sets[1],
        device=device,
    )
    return network, history


def predictions(
    network: Classifier, test: Labelled, classes: Sequence[str], *, device: str = "cpu"
) -> pd.DataFrame:
    """Return one row a test image: label, predicted, and the probability of each class."""
    images, labels = test
    logits = predict(network, network, network.transform, torch.from_numpy(images), device=device)
    probabilities = logits.double().softmax(dim=1).numpy()
    names = np.array(classes)
    table = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in classes])
    table.insert(0, "label", names[labels])
    table.insert(1, "predicted", names[probabilities.argmax(axis=1)])
    return table


def _examples(labelled: Labelled) -> Examples:
    images, labels = labelled
    return Examples(torch.from_numpy(images), torch.from_numpy(labels))


def _unchanged(features: Tensor) -> Tensor:
    return features
