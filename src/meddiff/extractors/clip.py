"""CLIP ViT-L/14 at 336 px (Radford et al. 2021), whose embeddings CMMD compares."""

from collections.abc import Mapping

from torch import Tensor

from meddiff.extractors.encoder import Encoder

# OpenAI trained with an activation of their own; timm's name without `quickgelu` has another.
MODEL = "vit_large_patch14_clip_quickgelu_336.openai"


def build(weights: Mapping[str, Tensor] | None) -> Encoder:
    """Return the encoder; features are the projected embeddings, (N, 768)."""
    return Encoder(MODEL, weights, block=8)
