"""Settings of the feature extractors."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from meddiff.settings import Duration, Section


class Training(Duration):
    """Training of a feature extractor or classifier."""

    steps: PositiveInt | None = 300
    batch_size: PositiveInt = 32
    """Images an optimiser step."""
    lr: PositiveFloat = 1e-3
    """Adam's first learning rate; halved when the training loss stalls for more than one epoch."""
    validation_every: PositiveInt = 5
    """Epochs between validations."""


class UNet(Training):
    """U-Net for segmentation of ISIC 2016; its encoder gives features."""

    channels: list[PositiveInt] = Field(default=[32, 64, 128, 256], min_length=2)
    """Channels of each level."""
    steps: PositiveInt | None = 100


class SkinLesNet(Training):
    """SkinLesNet (Azeem et al. 2024), classifier and extractor."""

    steps: PositiveInt | None = 600


class ResNet50(Training):
    """ResNet50 with ImageNet weights and a small head."""

    steps: PositiveInt | None = 150
    weights: Literal["auto", "imagenet", "none"] = "auto"
    """`auto` takes torchvision's ImageNet weights where they can be fetched or found and trains
    from scratch otherwise; `imagenet` stops without them; `none` always trains from scratch."""


class Extractors(Section):
    """The nets whose features FID compares."""

    unet: UNet = UNet()
    skinlesnet: SkinLesNet = SkinLesNet()
    resnet50: ResNet50 = ResNet50()
