"""The whole configuration, composed of each phase's settings.

Defaults are the demo's; overlays such as `config/thesis.yaml` change single values. An unknown key
or a value out of range is an error that names the key.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

from pydantic import (
    BaseModel,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from meddiff.audit.settings import Audit
from meddiff.cas.settings import Cas
from meddiff.core.errors import MeddiffError
from meddiff.core.settings import ClassName, Compute, Section
from meddiff.data.settings import Count, Data, Split, Undersample
from meddiff.diffusion.settings import DdpmSettings, DiffusionSettings, SamplingSettings
from meddiff.extractors.registry import PUBLISHED, TRAINED
from meddiff.extractors.settings import Extractors
from meddiff.metrics.settings import SMALLEST_WINDOW, Metrics, MsSsimWindow, SsimWindow

IMAGE_SETS = ("train", "validation", "test", "synthetic", "more", "noise", "shards")


class HandExperiment(Section):
    """The study's section 5.1: one DDPM of hand radiographs (`snakemake hand`)."""

    diffusion: DdpmSettings = DdpmSettings(steps=600, augmentation="hand")
    sampling: SamplingSettings = SamplingSettings(images=100)
    metrics: Metrics = Metrics(ssim=SsimWindow(kernel_size=2), ms_ssim=MsSsimWindow(kernel_size=2))


class Config(Section):
    """Everything that a run depends on."""

    scale: ClassName = "demo"
    """Name of this configuration's scale, stated in every table."""
    seed: int = Field(default=0, ge=0)
    """Fixes every table bit for bit on the same machine."""
    protocol: Literal["leak_free", "as_published"] = "leak_free"
    """`leak_free` splits by patient and lesion before any training and compares with held-out
    images; `as_published` does as the published study did: random split, DDPMs trained on all
    images and compared with their own training images."""
    compute: Compute = Compute()
    data: Data = Data()
    split: Split = Split()
    undersample: Undersample | Literal["none"] = Undersample()
    audit: Audit = Audit()
    diffusion: DiffusionSettings = DiffusionSettings()
    sampling: SamplingSettings = SamplingSettings()
    hand: HandExperiment = HandExperiment()
    extractors: Extractors = Extractors()
    metrics: Metrics = Metrics()
    cas: Cas = Cas()

    @field_validator("undersample", mode="before")
    @classmethod
    def _none_or_counts(cls, value: Any) -> Any:
        """Decide here: a union would tell a fault for each of its parts."""
        if isinstance(value, Mapping):
            return Undersample.model_validate(value)
        if value == "none" or isinstance(value, Undersample):
            return value
        raise ValueError("give none, or a mapping with counts")

    @model_validator(mode="after")
    def _sections_agree(self) -> "Config":
        named: dict[str, Mapping[str, object]] = {
            "diffusion.classes": self.diffusion.classes,
            "undersample.counts": self.kept,
        }
        for key, by_class in named.items():
            if unknown := set(by_class) - set(self.data.classes):
                raise ValueError(f"{key} names {sorted(unknown)}, not in {self.data.classes}")
        parts: dict[str, Config | HandExperiment] = {"": self, "hand.": self.hand}
        for where, part in parts.items():
            diffusion, timesteps = part.diffusion, part.diffusion.schedule.timesteps
            drawn = {"sampling": part.sampling, "diffusion.preview": diffusion.preview}
            for key, sampler in drawn.items():
                if sampler.steps > timesteps:
                    raise ValueError(
                        f"{where}{key}.steps {sampler.steps}: "
                        f"{where}diffusion.schedule.timesteps is {timesteps}"
                    )
        taken = {"hand": "section 5.1's DDPM", "all": "all classes", "mean": "a mean over classes"}
        # What is behind a cell of a table is told by the names of files and folders.
        taken |= dict.fromkeys(IMAGE_SETS, "an image set")
        taken |= dict.fromkeys([*TRAINED, *PUBLISHED], "an extractor")
        for name in sorted(taken.keys() & set(self.data.classes)):
            raise ValueError(f"data.classes: {name} is the name of {taken[name]}; take another")
        if self.data.source != "folder" and sorted(self.data.classes) != ["benign", "malignant"]:
            raise ValueError(
                f"data.classes {self.data.classes}: source {self.data.source} has benign and "
                "malignant images, no other classes"
            )
        self._check_sizes()
        return self

    def _check_sizes(self) -> None:
        """Refuse an image size that a net or a metric cannot work at."""
        nets = {
            "diffusion.network": 2 ** (len(self.diffusion.network.channels) - 1),
            "extractors.unet": 2 ** (len(self.extractors.unet.channels) - 1),
            "SkinLesNet": 16,
        }
        _check_size("data.size", self.data.size, nets, "metrics", self.metrics)
        if self.data.source != "folder":
            nets = {"hand.diffusion.network": 2 ** (len(self.hand.diffusion.network.channels) - 1)}
            size = self.data.hand.size
            _check_size("data.hand.size", size, nets, "hand.metrics", self.hand.metrics)

    @property
    def kept(self) -> dict[str, Count]:
        """Images that undersampling keeps of a class, where not the size of the smallest."""
        if isinstance(self.undersample, Undersample):
            return self.undersample.counts
        return dict.fromkeys(self.data.classes, "all")

    @property
    def data_name(self) -> str:
        """Name of the data set as tables state it."""
        names = {"kaggle": "isic", "isic": "isic-full", "folder": self.data.folder.name}
        return names.get(self.data.source, self.data.source)


def _check_size(
    key: str, size: int, divisors: Mapping[str, int], where: str, metrics: Metrics
) -> None:
    for name, divisor in divisors.items():
        if size % divisor:
            raise ValueError(f"{key} {size} is no multiple of {divisor}, as {name} needs")
    scales = 5
    largest = {"ssim": size, "ms_ssim": size // 2 ** (scales - 1)}
    for name, limit in largest.items():
        # Where no window fits, tables say so in place of a value.
        if (kernel := getattr(metrics, name).kernel_size) > limit >= SMALLEST_WINDOW:
            raise ValueError(
                f"{where}.{name}.kernel_size {kernel} does not fit images of {size} px: "
                f"at most {limit}"
            )


def take_rebuild(values: MutableMapping[str, Any]) -> bool:
    """Take `rebuild` out of a merged configuration: whether a run may make again what is shared.

    Raises:
        MeddiffError: it is neither yes nor no.
    """
    given = values.pop("rebuild", False)
    try:
        return TypeAdapter(bool).validate_python(given)
    except ValidationError:
        raise MeddiffError(
            f"configuration: rebuild = {given!r}: say yes, true or 1, or no, false or 0"
        ) from None


def load_config(values: Mapping[str, Any]) -> Config:
    """Validate a merged configuration.

    Raises:
        MeddiffError: one line a fault, with its key, the value, and what is allowed.
    """
    try:
        return Config.model_validate(dict(values))
    except ValidationError as error:
        raise MeddiffError("\n".join(_describe(fault) for fault in error.errors())) from None


def _describe(fault: Any) -> str:
    location = fault["loc"]
    if location and location[-1] == "[key]":
        # The key itself is at fault: pydantic tells it in its own way, and as the value.
        location = location[:-2]
    key = ".".join(map(str, location))
    if fault["type"] == "extra_forbidden":
        fields = _fields_at(location[:-1])
        # No part of the configuration, but of what Snakemake is given as such.
        allowed = ", ".join(fields if len(location) > 1 else [*fields, "rebuild"])
        return f"configuration: unknown key {key}; allowed there: {allowed}"
    message = fault["msg"].removeprefix("Value error, ")
    value = fault["input"]
    shown = "" if isinstance(value, dict | BaseModel) else f" = {value!r}"
    return f"configuration: {key}{shown}: {message}" if key else f"configuration: {message}"


def _fields_at(location: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = Config
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        nested = [
            a
            for a in (field.annotation, *getattr(field.annotation, "__args__", ()))
            if isinstance(a, type) and issubclass(a, BaseModel)
        ]
        model = nested[0] if nested else model
    return list(model.model_fields)
