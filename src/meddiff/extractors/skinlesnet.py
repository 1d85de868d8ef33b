"""SkinLesNet (Azeem et al. 2024): a small convolutional classifier of skin lesions."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from torch import Tensor, nn

from meddiff.extractors.classification import Labelled, accuracy, examples
from meddiff.extractors.settings import TrainingSettings
from meddiff.extractors.supervised import Objective, fit, seeded


class SkinLesNet(nn.Module):
    """Four 3x3 convolutions, each with 2x2 max-pooling, and two linear layers.

    Args:
        classes: number of classes.
        size: side of the images in px, a multiple of 16.
    """

    def __init__(self, classes: int, size: int) -> None:
        super().__init__()
        self.dimension = 128 * (size // 16) ** 2
        self.convolutions = nn.Sequential(
            *_block(3, 32), *_block(32, 64), *_block(64, 64), *_block(64, 128), nn.Flatten()
        )
        self.classifier = nn.Sequential(
            nn.Dropout(0.5), nn.Linear(self.dimension, 64), nn.ReLU(),
            nn.Dropout(0.3), nn.Linear(64, classes),
        )  # fmt: skip

    @staticmethod
    def transform(images: Tensor) -> Tensor:
        """Map uint8 (N,H,W,1 or 3) to float32 (N,3,H,W) in [0, 1]."""
        return images.expand(-1, -1, -1, 3).permute(0, 3, 1, 2).float() / 255

    def features(self, batch: Tensor) -> Tensor:
        """Return the flattened last convolution, (N, dimension): 2,048-d at 64 px."""
        return self.convolutions(batch)

    def forward(self, batch: Tensor) -> Tensor:
        """Return logits, (N, classes)."""
        return self.classifier(self.features(batch))


def train_classifier(
    training: Labelled,
    validation: Labelled,
    classes: int,
    settings: TrainingSettings,
    *,
    seed: int,
    pretrained: None = None,
    name: str = "skinlesnet",
    device: str = "cpu",
) -> tuple[SkinLesNet, pd.DataFrame]:
    """Train SkinLesNet with cross-entropy; return the net and its history.

    Args:
        training: images uint8 (N,H,W,3) and labels int64 (N,).
        validation: the same, for the loss and the accuracy in the history.
        classes: number of classes.
        settings: length, batch size, learning rate.
        seed: fixes weights, order and dropout.
        pretrained: no weights of this net are published.
        name: name of this training.
        device: torch device.
    """
    size = training[0].shape[1]
    network = seeded(lambda: SkinLesNet(classes, size), seed, name)
    history = fit(
        network,
        Objective(SkinLesNet.transform, nn.functional.cross_entropy, accuracy),
        examples(training),
        settings,
        seed=seed,
        name=name,
        validation=examples(validation),
        device=device,
    )
    return network, history


def build(metadata: Mapping[str, Any], weights: Mapping[str, Tensor]) -> SkinLesNet:
    """Return a trained net; `metadata` holds the number of classes and the size of its images."""
    network = SkinLesNet(metadata["classes"], metadata["size"])
    network.load_state_dict(weights)
    return network


def _block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    # As ReLU before the pooling, to the bit, on a quarter of the pixels.
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()
