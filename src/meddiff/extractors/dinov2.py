"""DINOv2 ViT-S/14 (Oquab et al. 2024): features learnt without labels."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from meddiff.extractors.encoder import Encoder
from meddiff.extractors.weights import PretrainedWeights

MODEL = "vit_small_patch14_dinov2.lvd142m"
WEIGHTS = PretrainedWeights(
    name="DINOv2 weights of ViT-S/14",
    file="dinov2_vits14_pretrain.pth",
    remedy="leave dinov2 out of extractors.published",
)


def build(metadata: Mapping[str, Any], weights: Mapping[str, Tensor] | None) -> Encoder:
    """Return the encoder; features are the class token, (N, 384), of images at 518 px."""
    return Encoder(MODEL, weights, block=16)
