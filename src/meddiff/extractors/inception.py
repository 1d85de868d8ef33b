"""InceptionV3 (Szegedy et al. 2016) with the weights of FID and of the Inception Score.

Net, weights and resizing are torch-fidelity's (Obukhov et al. 2020), which reproduce those of the
published scores: TensorFlow's graph of 5 December 2015, and its bilinear resizing to 299 px.
"""

import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3


class _Unloaded(FeatureExtractorInceptionV3):
    """The net as torch draws its first weights."""

    def load_state_dict(self, *_: Any, **__: Any) -> None:
        """Load nothing: the constructor loads the published weights otherwise."""


class Inception(nn.Module):
    """InceptionV3; features are its last pooled maps, classes the 1,008 outputs of its graph."""

    dimension = 2048
    block = 16

    def __init__(self, weights: Mapping[str, Tensor] | None) -> None:
        super().__init__()
        # Its constructor fetches weights, or unpickles a file: it gets one that we made ourselves.
        file = io.BytesIO()
        torch.save({}, file)
        file.seek(0)
        self.trunk = _Unloaded("inception", ["2048"], file)
        if weights is not None:
            nn.Module.load_state_dict(self.trunk, weights)

    @staticmethod
    def transform(images: Tensor) -> Tensor:
        """Map uint8 (N,H,W,1 or 3) of any size to uint8 (N,3,H,W), which the net itself resizes."""
        return images.expand(-1, -1, -1, 3).permute(0, 3, 1, 2)

    def features(self, batch: Tensor) -> Tensor:
        """Return (N, 2048)."""
        [pooled] = self.trunk(batch)
        return pooled

    def classify(self, features: Tensor) -> Tensor:
        """Return logits, (N, 1008), without bias as in the published Inception Scores."""
        return features @ self.trunk.fc.weight.T


def build(weights: Mapping[str, Tensor] | None) -> Inception:
    """Return the net with its published weights, or with random ones."""
    return Inception(weights)
