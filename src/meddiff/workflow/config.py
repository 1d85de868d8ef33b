"""The whole configuration, composed of each phase's settings.

Defaults are the demo's; overlays such as `config/thesis.yaml` change single values. An unknown key
or a value out of range is an error that names the key.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, get_args

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from meddiff.audit.settings import AuditSettings
from meddiff.cas.settings import REAL_ARMS, ArmName, CasSettings
from meddiff.core.errors import MeddiffError
from meddiff.core.settings import ClassName, ComputeSettings, Settings, SplitName
from meddiff.data.catalogue import SOURCES, ImageSource
from meddiff.data.settings import Count, DataSettings, SplitSettings, UndersampleSettings
from meddiff.diffusion.sampling.settings import GuidanceSettings, SamplingSettings
from meddiff.diffusion.settings import ALL, DiffusionSettings
from meddiff.extractors.names import PRETRAINED, TRAINED
from meddiff.extractors.settings import ExtractorsSettings
from meddiff.metrics.settings import SMALLEST_WINDOW, MetricsSettings
from meddiff.workflow.config_errors import describe
from meddiff.workflow.generators import Generators, check_classes

SPLITS: tuple[SplitName, ...] = get_args(SplitName)
IMAGE_SETS = (
    *(f"{prefix}{split}" for prefix in ("", "augmented-") for split in SPLITS),
    *("real", "synthetic", "more", "noise", "shards"),
)
ALEXNET_SIDE = 32
"""Pixels that LPIPS's net needs along an image."""


class Config(Settings):
    """Everything that a run depends on."""

    scale: ClassName = "demo"
    """Name of this configuration's scale, stated in every table."""
    seed: int = Field(default=0, ge=0)
    """Random seed; fixes every table bit for bit on the same machine."""
    protocol: Literal["leak_free", "as_published"] = "leak_free"
    """`leak_free` splits by patient and lesion before any training and compares with held-out
    images; `as_published` follows the published study: random split, DDPMs trained on all images
    and compared with their own training images."""
    real_only: bool = False
    """Make only what needs no synthetic images: networks and their scores, floors, ceilings and
    similarity of real images, arms without synthetic ones. No DDPM is trained."""
    compute: ComputeSettings = ComputeSettings()
    data: DataSettings = DataSettings()
    split: SplitSettings = SplitSettings()
    undersample: UndersampleSettings | Literal["none"] = UndersampleSettings()
    audit: AuditSettings = AuditSettings()
    diffusion: DiffusionSettings = DiffusionSettings()
    sampling: SamplingSettings = SamplingSettings()
    guidance: GuidanceSettings = GuidanceSettings()
    extractors: ExtractorsSettings = ExtractorsSettings()
    metrics: MetricsSettings = MetricsSettings()
    cas: CasSettings = CasSettings()
    generators: Generators = {}
    """Synthetic images of other generators, compared with this run's in `results/generators.csv`:
    per name a path with a folder per class, or a path per class, as in
    `diffusion.classes.<class>.images`. `this_run` instead of a path stands for this run's own."""

    @field_validator("undersample", mode="before")
    @classmethod
    def _none_or_counts(cls, value: Any) -> Any:
        """Validate here: a union would report each alternative's error."""
        if isinstance(value, Mapping):
            return UndersampleSettings.model_validate(value)
        if value == "none" or isinstance(value, UndersampleSettings):
            return value
        raise ValueError("give none, or a mapping with counts")

    @model_validator(mode="after")
    def _sections_agree(self) -> "Config":
        own = self.source.classes
        others = {name for source in SOURCES.values() for name in source.classes or ()}
        for key, absent in self.absent_classes.items():
            # Under a profile config.yaml may hold settings of another source's classes.
            unused = own and (self.data.folder.images or others.issuperset(absent))
            if not unused:
                raise ValueError(f"{key} names {absent}, not in {self.data.classes}")
        check_classes(self.generators, self.data.classes)
        self._check_samplers()
        taken = {ALL: "all classes", "mean": "a mean over classes"}
        # Names of files and folders say what is behind a cell of a table.
        taken |= dict.fromkeys(
            ["index", "duplicates", "archives", "split"], "a table of all images"
        )
        taken |= {f"shard-{n}": "a shard" for n in range(self.sampling.shards)}
        taken |= dict.fromkeys(IMAGE_SETS, "an image set")
        taken |= dict.fromkeys([*TRAINED, *PRETRAINED], "an extractor")
        for name in sorted(taken.keys() & set(self.data.classes)):
            raise ValueError(f"data.classes: {name} is the name of {taken[name]}; take another")
        if own and sorted(self.data.classes) != sorted(own):
            raise ValueError(
                f"data.classes {self.data.classes}: source {self.data.source} has "
                f"{' and '.join(own)} images, no other classes; set data.classes to them"
            )
        if not self.arms:
            raise ValueError(f"real_only: cas.arms names none of {', '.join(REAL_ARMS)}; add one")
        self._check_sizes()
        if self.metrics.augment_real and self.diffusion.condition_on_augmentation:
            raise ValueError(
                "metrics.augment_real: under diffusion.condition_on_augmentation images are drawn "
                "as they were before augmentation; set it to false"
            )
        return self

    def _check_samplers(self) -> None:
        """Refuse samplers that do not fit the nets."""
        guided = self.diffusion.conditional and self.diffusion.label_dropout
        own = [each.schedule for each in self.diffusion.classes.values() if each.schedule]
        drawn = {"sampling": self.sampling, "diffusion.preview": self.diffusion.preview}
        for key, sampler in drawn.items():
            if sampler.guidance and not guided:
                raise ValueError(
                    f"{key}.guidance {sampler.guidance:g}: needs diffusion.conditional: true and a "
                    "diffusion.label_dropout above 0"
                )
            for schedule in (self.diffusion.schedule, *own):
                if reason := sampler.misfit(schedule.process, schedule.levels):
                    raise ValueError(f"{key}.{reason}")

    def _check_sizes(self) -> None:
        """Refuse an image size that a net or a metric cannot work at."""
        latent = self.diffusion.latent
        factor = latent.factor if latent else 1
        nets = {"diffusion.network": factor * 2 ** (len(self.diffusion.network.channels) - 1)}
        if "unet" in self.trained_extractors:
            nets["extractors.unet"] = 2 ** (len(self.extractors.unet.channels) - 1)
        if "skinlesnet" in self.trained_extractors:
            nets["SkinLesNet"] = 16
        _check_size(self.data.size, nets, self.metrics)
        if latent and latent.perceptual_weight and self.data.size < ALEXNET_SIDE:
            raise ValueError(
                f"data.size {self.data.size} is less than {ALEXNET_SIDE}, as "
                "diffusion.latent.perceptual_weight needs for LPIPS"
            )

    @property
    def source(self) -> ImageSource:
        """What the images of `data.source` come with."""
        return SOURCES[self.data.source]

    @property
    def trained_extractors(self) -> list[str]:
        """Extractors trained here, of `extractors.trained` or of all that the images allow."""
        chosen = self.extractors.trained
        return [name for name in self._trainable if chosen is None or name in chosen]

    @property
    def _trainable(self) -> list[str]:
        """The U-Net where there are masks, classifiers where there are two classes."""
        folder = self.data.folder if self.data.source == "folder" else None
        has_masks = self.source.isic2016 or bool(folder and folder.masks)
        trained = {"unet"} if has_masks else set()
        if len(self.data.classes) > 1:
            trained |= set(TRAINED) - {"unet"}
        return [name for name in TRAINED if name in trained]

    @property
    def synthetic_sets(self) -> list[str]:
        """Image sets that DDPMs draw."""
        return [] if self.real_only else ["synthetic"]

    @property
    def ddpms(self) -> dict[str, str]:
        """Name of the DDPM that draws each class, its own or that of all; none has its images."""
        drawn = set(self.data.classes) - {
            n for n, own in self.diffusion.classes.items() if own.images
        }
        names = [name for name in self.data.classes if name in drawn]
        return {name: ALL if self.diffusion.conditional else name for name in names}

    @property
    def arms(self) -> list[ArmName]:
        """Training sets of classifiers."""
        return [name for name in self.cas.arms if name in REAL_ARMS or not self.real_only]

    @property
    def ddpm_sets(self) -> list[SplitName]:
        """Image sets that the DDPMs learn from."""
        return self.diffusion.train_on or self._by_protocol("train")

    @property
    def reference_sets(self) -> list[SplitName]:
        """Image sets that distances compare with."""
        return self.metrics.reference or self._by_protocol("test")

    @property
    def unseen_set(self) -> SplitName | None:
        """Real images to set beside synthetic ones: no DDPM learns from them, no distance compares
        with them; None where there are none."""
        taken = {*self.ddpm_sets, *self.reference_sets}
        return next((name for name in ("validation", "test") if name not in taken), None)

    def _by_protocol(self, leak_free: SplitName) -> list[SplitName]:
        return list(SPLITS) if self.protocol == "as_published" else [leak_free]

    @property
    def kept(self) -> dict[str, Count]:
        """Images that undersampling keeps of a class, where not the size of the smallest."""
        if self.undersample == "none":
            return dict.fromkeys(self.data.classes, "all")
        counts = self.undersample.counts
        return {name: count for name, count in counts.items() if name in self.data.classes}

    @property
    def absent_classes(self) -> dict[str, list[str]]:
        """Names that are not in `data.classes`, by the key that names them."""
        counts = {} if self.undersample == "none" else self.undersample.counts
        overridden = {*self.diffusion.classes} - ({ALL} if self.diffusion.conditional else set())
        named = {"diffusion.classes": overridden, "undersample.counts": {*counts}}
        absent = {key: sorted(names - {*self.data.classes}) for key, names in named.items()}
        return {key: names for key, names in absent.items() if names}

    @property
    def data_name(self) -> str:
        """Name of the data set as tables state it."""
        names = {"kaggle": "isic", "isic": "isic-full", "folder": self.data.folder.name}
        return names.get(self.data.source, self.data.source)


def _check_size(size: int, divisors: Mapping[str, int], metrics: MetricsSettings) -> None:
    for name, divisor in divisors.items():
        if size % divisor:
            raise ValueError(f"data.size {size} is no multiple of {divisor}, as {name} needs")
    scales = 5
    largest = {"ssim": size, "ms_ssim": size // 2 ** (scales - 1)}
    for name, limit in largest.items():
        # Where no window fits, tables say so in place of a value.
        if (kernel := getattr(metrics, name).kernel_size) > limit >= SMALLEST_WINDOW:
            raise ValueError(
                f"metrics.{name}.kernel_size {kernel} does not fit images of {size} px: "
                f"at most {limit}"
            )


def take_rebuild(values: MutableMapping[str, Any]) -> bool:
    """Take `rebuild` out of a merged configuration: whether a run may make again what is shared."""
    rebuild = values.pop("rebuild", False)
    try:
        return TypeAdapter(bool).validate_python(rebuild)
    except ValidationError:
        raise MeddiffError(
            f"configuration: rebuild = {rebuild!r}: set it to true or false"
        ) from None


def load_config(values: Mapping[str, Any]) -> Config:
    """Validate a merged configuration; a MeddiffError has one line per invalid key."""
    try:
        return Config.model_validate(dict(values))
    except ValidationError as error:
        raise MeddiffError("\n".join(describe(fault, Config) for fault in error.errors())) from None
