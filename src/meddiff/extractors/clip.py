"""CLIP ViT-L/14 at 336 px (Radford et al. 2021), whose embeddings CMMD compares."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from meddiff.extractors.encoder import Encoder
from meddiff.extractors.weights import PretrainedWeights

# OpenAI trained with an activation of their own; timm's name without `quickgelu` has another.
MODEL = "vit_large_patch14_clip_quickgelu_336.openai"
WEIGHTS = PretrainedWeights(
    name="CLIP weights of ViT-L/14 at 336 px",
    file="vit_large_patch14_clip_336.openai.safetensors",
    remedy="leave clip out of extractors.published",
)


def build(metadata: Mapping[str, Any], weights: Mapping[str, Tensor] | None) -> Encoder:
    """Return the encoder; features are the projected embeddings, (N, 768)."""
    return Encoder(MODEL, weights, block=8)
