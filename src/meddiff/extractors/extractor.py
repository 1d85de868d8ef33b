"""A trained extractor: a net, its preprocessing, and the features they give."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from meddiff.checkpoints import load_checkpoint
from meddiff.extractors.learning import predict
from meddiff.files import sha256_file


def _unet(about: dict[str, Any]) -> nn.Module:
    from meddiff.extractors.unet import UNet

    return UNet(about["channels"], about["size"])


def _skinlesnet(about: dict[str, Any]) -> nn.Module:
    from meddiff.extractors.skinlesnet import SkinLesNet

    return SkinLesNet(about["classes"], about["size"])


def _resnet50(about: dict[str, Any]) -> nn.Module:
    from meddiff.extractors.resnet50 import ResNet50

    return ResNet50(about["classes"])


# Imports wait until a net is built, since torchvision's takes seconds.
BUILDERS = {"unet": _unet, "skinlesnet": _skinlesnet, "resnet50": _resnet50}


@dataclass(frozen=True)
class Extractor:
    """Features of images.

    Attributes:
        name: name of the extractor.
        network: net with `transform`, `features` and `dimension`.
        size: side of the images in px that it was trained on.
        digest: SHA-256 of its checkpoint.
    """

    name: str
    network: nn.Module
    size: int
    digest: str

    def features(self, images: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        """Return float32 (N, dimension) of uint8 images (N, size, size, 3)."""
        network: Any = self.network.to(device)
        inputs = torch.from_numpy(np.array(images))
        return predict(network, network.features, network.transform, inputs, device=device).numpy()


def load_extractor(path: str | Path) -> Extractor:
    """Return a trained extractor; its checkpoint's note says which, and what it is built from."""
    weights, about = load_checkpoint(path)
    network = BUILDERS[about["extractor"]](about)
    network.load_state_dict(weights)
    return Extractor(about["extractor"], network, about["size"], sha256_file(path))
