"""Settings of the feature extractors."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from meddiff.core.settings import DurationSettings, Settings

TrainedName = Literal["unet", "skinlesnet", "resnet50"]
"""Nets that rules of the workflow train; each is a module of this package."""
PretrainedName = Literal[
    "inception", "radimagenet", "swav", "dinov2", "clip", "panderm", "efficientnet_lite0"
]
"""Nets with published weights, which `extractors.pretrained` may name; each is a module, too."""
InceptionResize = Literal["clean-fid", "pytorch-fid", "torch-fidelity"]
"""How images are resized to the 299 px of InceptionV3: as in that program."""
WeightsPolicy = Literal["required", "auto", "none"]
"""Published weights: a run stops without them, takes them if they are available, or never does."""


class OptimisationSettings(DurationSettings):
    """Length, batches and rate of a training with Adam."""

    steps: PositiveInt | None = 300
    batch_size: PositiveInt = 32
    """Images per optimiser step."""
    lr: PositiveFloat = 1e-3
    """Initial learning rate of Adam; halved when the training loss stalls for over one epoch."""


class TrainingSettings(OptimisationSettings):
    """Training of a feature extractor or classifier."""

    validation_every: PositiveInt = 5
    """Epochs between validations."""


class UNetSettings(TrainingSettings):
    """U-Net for segmentation of ISIC 2016, whose encoder gives features."""

    channels: list[PositiveInt] = Field(default=[32, 64, 128, 256], min_length=2)
    """Channels of each level."""
    steps: PositiveInt | None = 100


class SkinLesNetSettings(TrainingSettings):
    """SkinLesNet (Azeem et al. 2024), classifier and extractor."""

    steps: PositiveInt | None = 600


class ResNet50Settings(TrainingSettings):
    """ResNet50 with ImageNet weights and a small head."""

    steps: PositiveInt | None = 150
    weights: Literal["auto", "imagenet", "none"] = "auto"
    """`auto` uses torchvision's ImageNet weights if available and otherwise trains from
    scratch; `imagenet` stops without them; `none` always trains from scratch."""


class ExtractorsSettings(Settings):
    """The networks whose features FID compares."""

    trained: list[TrainedName] | None = Field(default=None, json_schema_extra={"uniqueItems": True})
    """Extractors to train here; null: all that the images allow, the U-Net if there are masks,
    SkinLesNet and ResNet50 if there are two classes or more."""
    unet: UNetSettings = UNetSettings()
    skinlesnet: SkinLesNetSettings = SkinLesNetSettings()
    resnet50: ResNet50Settings = ResNet50Settings()
    pretrained: list[PretrainedName] = []
    """Further extractors, with published weights: `inception` (InceptionV3, of FID and the
    Inception Score), `radimagenet`, `swav` (ResNet50), `dinov2` (ViT-S/14), `clip` (ViT-L/14 at
    336 px, of CMMD), `panderm` (ViT-B/16 of skin images), `efficientnet_lite0` (of ImageNet, in a
    package). Weights come from `files`, an installed package, torch's hub folder or their
    publisher."""
    weights: Literal["required", "auto"] = "required"
    """If weights of `pretrained` are unavailable, a run stops (`required`), or uses random ones
    with a note in the tables (`auto`)."""
    files: dict[PretrainedName, str] = {}
    """Your own files of these weights, by name: .safetensors, or torch's format, read without
    running code."""

    @field_validator("trained", "pretrained")
    @classmethod
    def _once(cls, names: list[str] | None) -> list[str] | None:
        if names and len(set(names)) < len(names):
            raise ValueError("names an extractor twice")
        return names

    @model_validator(mode="after")
    def _files_are_used(self) -> "ExtractorsSettings":
        for name in self.files:
            if name not in self.pretrained:
                raise ValueError(f"files.{name}: name {name} in pretrained, too, or leave it out")
        return self

    def weights_policy(self, name: str) -> WeightsPolicy:
        """Return what a run does without the published weights of a net."""
        if name == "alexnet":  # of LPIPS, which a user has to ask for
            return "required"
        if name != "resnet50":
            return self.weights
        return "required" if self.resnet50.weights == "imagenet" else self.resnet50.weights
