"""ResNet50 (He et al. 2016) with the study's small head on its 2,048 features."""

from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import resnet50

from meddiff.extractors.classification import Recipe

WIDTHS = (2048, 1024, 512, 256, 128, 64)
"""From the trunk's features to the last hidden layer of the head."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ResNet50(nn.Module):
    """ResNet50 whose last layer is replaced by linear layers 1024-512-256-128-64-classes.

    Args:
        imagenet: torchvision's weights of the whole net; they are frozen then, and only the head is
            trained. None trains all of it from scratch.
    """

    dimension = WIDTHS[-1]

    def __init__(self, classes: int, imagenet: dict[str, Tensor] | None = None) -> None:
        super().__init__()
        self.trunk = resnet50(weights=None)
        if imagenet:
            self.trunk.load_state_dict(imagenet)
            self.trunk.requires_grad_(False)
        self.trunk.fc = nn.Identity()
        self.frozen = bool(imagenet)
        self.head = build_head(classes)

    @staticmethod
    def transform(images: Tensor) -> Tensor:
        """Map uint8 (N,H,W,1 or 3) to float32 (N,3,H,W), normalised as ImageNet was."""
        mean, std = _imagenet_colours(images.device)
        colours = images.expand(-1, -1, -1, 3).float() / 255
        return ((colours - mean) / std).permute(0, 3, 1, 2)

    def train(self, mode: bool = True) -> "ResNet50":
        """Switch modes; a frozen trunk keeps ImageNet's batch statistics."""
        super().train(mode)
        if self.frozen:
            self.trunk.eval()
        return self

    def features(self, batch: Tensor) -> Tensor:
        """Return the output before the last layer, (N, 64)."""
        return self.head[:-1](self.trunk(batch))

    def forward(self, batch: Tensor) -> Tensor:
        """Return logits, (N, classes)."""
        return self.head(self.trunk(batch))


@cache
def _imagenet_colours(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation; a step that is captured may not copy them each time."""
    mean, std = (torch.tensor(v, device=device) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return mean, std


def build_head(classes: int) -> nn.Sequential:
    """Return the head with random weights: from the trunk's features, (N, 2048), to logits."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(WIDTHS):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(WIDTHS[-1], classes))


def recipe(classes: int, size: int, imagenet: Mapping[str, Tensor] | None = None) -> Recipe:
    """Return how ResNet50's head is trained on frozen ImageNet weights, or without them the net.

    The weights are torchvision's, of the whole net; images may be of any size.
    """
    if not imagenet:
        note = "trained from scratch: no ImageNet weights"
        return Recipe(lambda: ResNet50(classes), ResNet50.transform, note)
    return Recipe(
        lambda: ResNet50(classes, dict(imagenet)),
        ResNet50.transform,
        "head on frozen ImageNet weights",
        lambda: build_head(classes),
    )


def build(metadata: Mapping[str, Any], weights: Mapping[str, Tensor]) -> ResNet50:
    """Return a trained net; `metadata` holds the number of classes."""
    network = ResNet50(metadata["classes"])
    network.load_state_dict(weights)
    return network
