"""Settings of DDPM training and sampling."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from meddiff.core.settings import (
    ClassName,
    DurationSettings,
    Fraction,
    Precision,
    Settings,
    SplitName,
    Text,
    without_repeats,
)
from meddiff.diffusion.latent.settings import LatentSettings
from meddiff.diffusion.sampling.settings import PreviewSettings

# Strict, since `true` would otherwise mean 1: every image flipped, none as it was.
Probability = Annotated[float, Field(ge=0, le=1, strict=True)]
PIXEL_RANGES = [[-1, 1], [0, 1]]
ProcessName = Literal["ddpm", "ncsn", "ve", "vp", "sub_vp"]
MOST_LOST = 80.0
"""Largest -ln(signal^2) of the last time: float32 has nothing between exp(-87) and 0."""
ALL = "all"
"""Name of the DDPM of all classes."""
AugmentationName = Literal["none", "hand", "isic2016"]


def _in_use(pixel_range: list[int]) -> list[int]:
    if pixel_range not in PIXEL_RANGES:
        raise ValueError("give [-1, 1] or [0, 1]")
    return pixel_range


PixelRange = Annotated[
    list[int], AfterValidator(_in_use), Field(json_schema_extra={"enum": PIXEL_RANGES})
]


class NetworkSettings(Settings):
    """MONAI's DiffusionModelUNet."""

    channels: list[PositiveInt] = Field(default=[16, 32, 64], min_length=1)
    """Channels of each level; each further level halves the resolution."""
    attention: list[bool] = [False, False, True]
    """Levels with self-attention."""
    residual_blocks: PositiveInt = 1
    """Residual blocks per level."""
    head_channels: PositiveInt = 64
    """Channels of an attention head."""
    norm_groups: PositiveInt = 16
    """Groups of the group normalisation; divides every entry of `channels`."""

    @model_validator(mode="after")
    def _levels_agree(self) -> "NetworkSettings":
        if len(self.attention) != len(self.channels):
            raise ValueError(f"attention needs one entry per level ({len(self.channels)})")
        if odd := [c for c in self.channels if c % self.norm_groups]:
            raise ValueError(f"channels {odd} are no multiples of norm_groups {self.norm_groups}")
        attended = [c for c, on in zip(self.channels, self.attention, strict=True) if on]
        if odd := [c for c in attended if c % self.head_channels]:
            raise ValueError(f"channels {odd} are no multiples of head_channels")
        return self


class ScheduleSettings(Settings):
    """The forward process: how images become noise."""

    process: ProcessName = "ddpm"
    """`ddpm` (Ho et al. 2020); `ncsn`, T noise levels from `sigma_min` to `sigma_max` (Song and
    Ermon 2019); and in continuous time (Song et al. 2021) `ve`, the same without levels, `vp`,
    the limit of `ddpm` with linear betas, and `sub_vp`, with less noise."""
    timesteps: PositiveInt = 1000
    """Steps T of `ddpm`, levels of `ncsn`; betas of `vp` and `sub_vp` are T times those below."""
    betas: Literal["linear", "cosine"] = "cosine"
    """Noise schedule: `linear` variances as in the study; `cosine` (Nichol and Dhariwal 2021)
    spends fewer steps on pure noise, better for small images. `vp` and `sub_vp` are linear."""
    beta_start: float = Field(default=1e-4, gt=0, lt=1)
    """First variance of the linear schedule."""
    beta_end: float = Field(default=2e-2, gt=0, lt=1)
    """Last variance of the linear schedule."""
    sigma_min: PositiveFloat = 0.01
    """Lowest noise level of `ncsn` and `ve`, in the range of the pixels."""
    sigma_max: PositiveFloat = 50.0
    """Highest noise level of `ncsn` and `ve`; best the largest distance between two images."""
    pixel_range: PixelRange = [-1, 1]
    """Pixel range of the network's input: [-1, 1], or [0, 1] as in the study."""
    prediction: Literal["epsilon", "v_prediction", "sample"] = "v_prediction"
    """What the network predicts: the noise as in the study, the velocity (Salimans and Ho 2022),
    which needs far fewer steps for good images, or the clean image. The score is -noise / sigma."""

    @property
    def levels(self) -> int | None:
        """Number of times where they are counted, else None."""
        return self.timesteps if self.process in ("ddpm", "ncsn") else None

    @model_validator(mode="after")
    def _noise_grows(self) -> "ScheduleSettings":
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min {self.sigma_min} is not below sigma_max {self.sigma_max}")
        if self.beta_start > self.beta_end:
            raise ValueError(f"beta_start {self.beta_start} is above beta_end {self.beta_end}")
        step = (self.beta_end - self.beta_start) / max(1, self.timesteps - 1)
        betas = (self.beta_start + step * number for number in range(self.timesteps))
        cosine = self.process == "ddpm" and self.betas == "cosine"
        linear = not cosine and self.process not in ("ncsn", "ve")
        if linear and -sum(math.log1p(-beta) for beta in betas) > MOST_LOST:
            raise ValueError(
                f"timesteps {self.timesteps} up to beta_end {self.beta_end} end in noise alone "
                "long before the last: lower one of them"
            )
        return self


class AugmentationSettings(Settings):
    """Random augmentation of training images; omitted changes are off."""

    flip_horizontal: Probability = 0.0
    """Probability of a left-right flip."""
    flip_vertical: Probability = 0.0
    """Probability of a top-bottom flip."""
    invert: Probability = 0.0
    """Probability of inverting grey levels."""
    rotation: float = Field(default=0.0, ge=0, le=180)
    """Largest angle in degrees, drawn uniformly in both directions."""
    zoom: Fraction = 0.0
    """Largest relative change of size: 0.1 draws a factor between 0.9 and 1.1."""
    brightness: Fraction = 0.0
    """Largest relative change of brightness, drawn like `zoom`."""
    contrast: Fraction = 0.0
    """Largest relative change of contrast, drawn like `zoom`."""
    hue: float = Field(default=0.0, ge=0, le=0.5)
    """Largest shift along the colour circle as a share of its length; grey images have no hue."""


class ClassSettings(Settings):
    """Overrides for the DDPM of one class."""

    images: Text | None = None
    """Synthetic images of this class made elsewhere, instead of a DDPM: a folder, a file of any
    readable image format, or an .npy. Relative paths start at the project's root."""
    epochs: PositiveInt | None = None
    """Epochs of this class's DDPM."""
    checkpoint: str | None = None
    """A DDPM trained elsewhere, to import instead of training one: weights of `monai-generative` or
    MONAI (.pt, .safetensors). Needs `network` and `schedule`."""
    network: NetworkSettings | None = None
    """The network of this class's DDPM."""
    schedule: ScheduleSettings | None = None
    """The forward process of this class's DDPM, which weights do not contain."""

    @model_validator(mode="after")
    def _imports_are_whole(self) -> "ClassSettings":
        if self.checkpoint and not (self.network and self.schedule):
            raise ValueError("checkpoint needs network and schedule: those it was trained with")
        if self.checkpoint and self.epochs:
            raise ValueError("epochs beside checkpoint: an imported DDPM is not trained; drop one")
        others = [name for name in ("checkpoint", "epochs", "network", "schedule")
                  if getattr(self, name) is not None]  # fmt: skip
        if self.images is not None and others:
            raise ValueError(
                f"{', '.join(others)} beside images: with images there is no DDPM; drop one"
            )
        return self


class DdpmSettings(DurationSettings):
    """Training of a DDPM."""

    steps: PositiveInt | None = 900
    network: NetworkSettings = NetworkSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    augmentation: AugmentationName | AugmentationSettings = "none"
    """Random augmentation of training images, anew each epoch; see `augment_once` for validation
    images. `hand` is the study's for MedNIST Hand (5.1): both flips with probability 0.5,
    inversion 0.25. `isic2016` has the changes of the study's experiment on ISIC 2016 (5.2.2), with
    our amounts: both flips 0.5, rotation 180, zoom 0.1, brightness 0.1, contrast 0.1, hue
    0.02."""
    augment_once: bool = False
    """Augment every image once, validation images too, as the study did for MedNIST Hand."""
    condition_on_augmentation: bool = False
    """Condition the network on each image's augmentation, and sample without any: samples do not
    look flipped or inverted (non-leaky augmentation, Karras et al. 2022, appendix F.2)."""
    batch_size: PositiveInt = 16
    """Images per forward pass."""
    gradient_accumulation: PositiveInt = 1
    """Forward passes per optimiser step; the effective batch is the product."""
    optimizer: Literal["adam", "adamw"] = "adamw"
    """Optimiser, with torch's defaults except for the learning rate."""
    lr: PositiveFloat = 3e-3
    """Learning rate."""
    lr_schedule: Literal["constant", "linear", "warmup_linear", "plateau"] = "warmup_linear"
    """`linear` falls to `lr_end`; `warmup_linear` first rises over 5 % of the steps; `plateau`
    halves the rate when an epoch's training loss has not fallen for more than one epoch."""
    lr_end: float = Field(default=1e-5, ge=0)
    """Last learning rate of the linear schedules."""
    min_snr: PositiveFloat | None = None
    """Limit of the signal-to-noise ratio that weights the loss at each time (Hang et al. 2023: 5);
    null: equal weights, as in the study."""
    precision: Precision = "fp32"
    """Arithmetic of the network; the last two are mixed precision. `tf32` needs a GPU, `bf16` a GPU
    or a CPU with AVX512-BF16 or AMX."""
    ema: float | None = Field(default=0.995, gt=0, lt=1)
    """Decay of the moving average of the weights, which is used for sampling; null: no average."""
    validation_every: PositiveInt = 5
    """Epochs between validation losses and previews."""
    preview: PreviewSettings = PreviewSettings()

    @model_validator(mode="after")
    def _changes_are_drawn_anew(self) -> "DdpmSettings":
        if self.condition_on_augmentation and (self.augment_once or self.augmentation == "none"):
            other = "augment_once" if self.augment_once else "augmentation: none"
            raise ValueError(f"condition_on_augmentation beside {other}: drop one of them")
        return self

    @field_validator("augmentation", mode="before")
    @classmethod
    def _named_or_own(cls, value: Any) -> Any:
        """Decide between name and mapping here: a union would report each alternative's error."""
        if isinstance(value, Mapping):
            return AugmentationSettings.model_validate(value)
        names = get_args(AugmentationName)
        if value in names or isinstance(value, AugmentationSettings):
            return value
        keys = ", ".join(AugmentationSettings.model_fields)
        raise ValueError(f"give one of {', '.join(names)}, or a mapping of {keys}")


class DiffusionSettings(DdpmSettings):
    """Training of one DDPM per class, or of one for all."""

    conditional: bool = False
    """Train one class-conditional network, `all`, instead of one network per class. An epoch has as
    many images of each class as the largest class has, so that batches are class-balanced; `steps`
    are those of the one network."""
    label_dropout: float = Field(default=0.1, ge=0, lt=1, strict=True)
    """Share of training images without their class, of a `conditional` network; `sampling.guidance`
    needs it above 0."""
    latent: LatentSettings | None = None
    """Latent diffusion: DDPMs work in the latent space of an autoencoder, for images of 128 px and
    more; null: on pixels."""
    classes: dict[ClassName, ClassSettings] = {}
    """Overrides for single classes; for `all` if the network is `conditional`."""
    train_on: list[SplitName] | None = Field(default=None, min_length=1)
    """Image sets that the DDPMs are trained on; null: by protocol, the training set under
    `leak_free`, all under `as_published`."""

    _differ = field_validator("train_on")(without_repeats)

    @model_validator(mode="after")
    def _latents_are_made_once(self) -> "DiffusionSettings":
        if self.latent and self.augmentation != "none" and not self.augment_once:
            raise ValueError(
                "augmentation: diffusion.latent encodes images once and for all; set "
                "diffusion.augment_once to true, or augmentation to none"
            )
        for name, override in self.classes.items() if self.latent else ():
            if override.checkpoint:
                raise ValueError(
                    f"classes.{name}.checkpoint: diffusion.latent takes over no DDPM, whose "
                    "autoencoder it would need; drop one"
                )
        return self

    @model_validator(mode="after")
    def _one_net_has_one_override(self) -> "DiffusionSettings":
        for name, override in self.classes.items() if self.conditional else ():
            for key, value in override:
                # Images of a class that were made elsewhere leave it out of the net.
                if value is not None and (name == ALL) == (key == "images"):
                    raise ValueError(
                        f"classes.{name}.{key}: diffusion.conditional trains one net for all "
                        "classes; set it to null" + f", or classes.{ALL}.{key}" * (name != ALL)
                    )
        return self

    def for_class(self, name: str) -> "DiffusionSettings":
        """Return the settings of one class's DDPM, overrides applied."""
        override = self.classes.get(name, ClassSettings())
        values = self.model_dump(exclude={"classes", "train_on"})
        if override.epochs is not None:
            values |= {"epochs": override.epochs, "steps": None}
        for key in ("network", "schedule"):
            if own := getattr(override, key):
                values[key] = own.model_dump()
        return DiffusionSettings.model_validate(values)
