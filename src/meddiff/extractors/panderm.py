"""PanDerm's base net (Yan et al. 2025, doi:10.1038/s41591-025-03747-y), a ViT-B/16 of skin images.

It learnt two million of them without labels. Its layers are BEiT's, with fixed positions in place
of relative ones, and so timm has it.
"""

from collections.abc import Mapping

from torch import Tensor, nn
from torchvision.transforms import InterpolationMode

from meddiff.extractors.encoder import Encoder

MODEL = "beit_base_patch16_224"
MEAN, STD = (0.485, 0.456, 0.406), (0.228, 0.224, 0.225)
"""As its authors prepare images; ImageNet's red has a deviation of 0.229."""


def build(weights: Mapping[str, Tensor] | None) -> Encoder:
    """Return the encoder; features are the class token's, (N, 768), of images at 224 px."""
    encoder = Encoder(
        MODEL,
        weights,
        block=32,
        convert=_without_head,
        num_classes=0,
        global_pool="token",
        use_abs_pos_emb=True,
        use_rel_pos_bias=False,
    )
    encoder.mean, encoder.std = MEAN, STD
    encoder.interpolation = InterpolationMode.BILINEAR
    return encoder


def _without_head(weights: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    return {name: each for name, each in weights.items() if not name.startswith("head.")}
