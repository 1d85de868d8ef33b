"""SkinLesNet (Azeem et al. 2024): a small convolutional classifier of skin lesions."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from meddiff.extractors.classification import Recipe
from meddiff.extractors.supervised import to_unit_range


class SkinLesNet(nn.Module):
    """Four 3x3 convolutions with 2x2 max-pooling and two linear layers; 16 divides `size` px."""

    transform = staticmethod(to_unit_range)

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

    def features(self, batch: Tensor) -> Tensor:
        """Return the flattened last convolution, (N, dimension): 2,048-d at 64 px."""
        return self.convolutions(batch)

    def forward(self, batch: Tensor) -> Tensor:
        """Return logits, (N, classes)."""
        return self.classifier(self.features(batch))


def recipe(classes: int, size: int, imagenet: Mapping[str, Tensor] | None = None) -> Recipe:
    """Return how SkinLesNet is trained; it takes no ImageNet weights."""
    return Recipe(lambda: SkinLesNet(classes, size), SkinLesNet.transform)


def build(metadata: Mapping[str, Any], weights: Mapping[str, Tensor]) -> SkinLesNet:
    """Return a trained net; `metadata` holds the number of classes and the size of its images."""
    network = SkinLesNet(metadata["classes"], metadata["size"])
    network.load_state_dict(weights)
    return network


def _block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    # As ReLU before the pooling, to the bit, on a quarter of the pixels.
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()
