"""EfficientNet-Lite0 (Tan and Le 2019): ImageNet features whose weights a package brings."""

from collections.abc import Mapping

from torch import Tensor, nn

from meddiff.extractors.encoder import Encoder

MODEL = "tf_efficientnet_lite0.in1k"
_FIRST = "_conv_stem.weight"
"""The first name in the package; its layers are timm's, in timm's order, by other names."""


def build(weights: Mapping[str, Tensor] | None) -> Encoder:
    """Return the encoder; features are the pooled last maps, (N, 1280), of images at 224 px."""
    return Encoder(MODEL, weights, block=32, convert=_as_timm, num_classes=0)


def _as_timm(weights: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    if next(iter(weights)) != _FIRST:
        return dict(weights)
    layers = {name: each for name, each in weights.items() if not name.startswith("_fc.")}
    return dict(zip(net.state_dict(), layers.values(), strict=True))
