"""A trained extractor: a net, its preprocessing, and the features they give."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from meddiff.checkpoints import load_checkpoint, save_checkpoint
from meddiff.extractors.learning import predict
from meddiff.files import sha256_file


def _build(name: str, about: dict[str, Any]) -> nn.Module:
    """Build an extractor's net again; imports wait, since torchvision's takes seconds."""
    if name == "unet":
        from meddiff.extractors.unet import UNet

        return UNet(about["channels"], about["size"])
    if name == "skinlesnet":
        from meddiff.extractors.skinlesnet import SkinLesNet

        return SkinLesNet(about["classes"], about["size"])
    from meddiff.extractors.resnet50 import ResNet50

    return ResNet50(about["classes"])


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


def save_extractor(path: str | Path, name: str, network: nn.Module, about: dict[str, Any]) -> None:
    """Write an extractor; `about` holds what `load_extractor` builds it from."""
    save_checkpoint(path, network.state_dict(), {"extractor": name, **about})


def load_extractor(path: str | Path) -> Extractor:
    """Return the extractor that `save_extractor` wrote."""
    weights, about = load_checkpoint(path)
    network = _build(about["extractor"], about)
    network.load_state_dict(weights)
    return Extractor(about["extractor"], network, about["size"], sha256_file(path))
