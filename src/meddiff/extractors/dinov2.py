"""DINOv2 ViT-S/14 (Oquab et al. 2024): features learnt without labels."""

from collections.abc import Mapping

from torch import Tensor

from meddiff.extractors.encoder import Encoder

MODEL = "vit_small_patch14_dinov2.lvd142m"


def build(weights: Mapping[str, Tensor] | None) -> Encoder:
    """Return the encoder; features are the class token, (N, 384), of images at 518 px."""
    return Encoder(MODEL, weights, block=16)
