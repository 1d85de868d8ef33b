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

from meddiff.extractors.weights import Published

WEIGHTS = Published(
    name="Inception weights of FID",
    file="weights-inception-2015-12-05-6726825d.pth",
    otherwise="leave inception out of extractors.published",
)


class Inception(nn.Module):
    """InceptionV3; features are its last pooled maps, classes the 1,008 outputs of its graph."""

    dimension = 2048
    block = 16

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        # Its constructor fetches weights, or unpickles a file: it gets one that we made ourselves.
        held = io.BytesIO()
        torch.save(dict(weights), held)
        held.seek(0)
        self.trunk = FeatureExtractorInceptionV3("inception", ["2048"], held)

    @staticmethod
    def transform(images: Tensor) -> Tensor:
        """Map uint8 (N,H,W,1 or 3) of any size to uint8 (N,3,H,W), which the net itself resizes."""
        return images.expand(-1, -1, -1, 3).permute(0, 3, 1, 2)

    def features(self, batch: Tensor) -> Tensor:
        """Return (N, 2048)."""
        [found] = self.trunk(batch)
        return found

    def classify(self, features: Tensor) -> Tensor:
        """Return logits, (N, 1008), without bias as in the published Inception Scores."""
        return features @ self.trunk.fc.weight.T


def build(about: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Inception:
    """Return the net with its published weights."""
    return Inception(weights)
