"""SwAV (Caron et al. 2020): ResNet50 that learnt ImageNet's images without their labels.

One of the nets of ImageNet with which Woodland et al., "Feature extraction for generative medical
imaging evaluation" (MICCAI 2024), compare those of RadImageNet.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from meddiff.extractors.encoder import Encoder

MODEL = "resnet50.tv_in1k"
"""timm's name of the net with SwAV's preprocessing; its layers are called as SwAV's."""
TRAINING_ALONE = ("projection_head.", "prototypes.")


def build(weights: Mapping[str, Tensor] | None) -> Encoder:
    """Return the encoder; features are the pooled last maps, (N, 2048), of images at 224 px."""
    return Encoder(MODEL, weights, block=32, convert=_as_timm, num_classes=0)


def _as_timm(weights: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    named = {name.removeprefix("module."): each for name, each in weights.items()}
    return {name: each for name, each in named.items() if not name.startswith(TRAINING_ALONE)}
