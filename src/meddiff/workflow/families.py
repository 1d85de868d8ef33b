"""Families of models that a run trains beside its DDPMs, to compare them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from meddiff.core.errors import MeddiffError
from meddiff.core.settings import ClassName, Settings
from meddiff.diffusion.sampling.settings import SamplingSettings
from meddiff.diffusion.settings import ALL, DiffusionSettings, ScheduleSettings
from meddiff.workflow.config import Config
from meddiff.workflow.sections import imported_ddpms

AFFECTS_RESULTS = False

TARGETS = {"families", "results/families.csv",
           "results/figures/families.png", "results/figures/families_samples.png"}  # fmt: skip
IMAGES = 64
"""Images per class and sampler: whole blocks of 32."""
LIKELIHOOD_IMAGES = 16
"""Images of a set whose likelihood is measured."""


class FamilyEntry(Settings):
    """A family as its file has it: what differs in `diffusion`, and samplers by name."""

    diffusion: dict[str, Any] = {}
    samplers: dict[ClassName, dict[str, Any]]


@dataclass(frozen=True)
class Family:
    """A family of models with its samplers.

    Attributes:
        name: of the family.
        diffusion: settings of the training.
        samplers: settings of the samplers by name.
        shared: names of nets that are DDPMs of the run, since they differ in nothing.
    """

    name: str
    diffusion: DiffusionSettings
    samplers: Mapping[str, SamplingSettings]
    shared: Collection[str] = ()

    def net(self, name: str) -> str:
        """Return the name of the net that draws a class."""
        return ALL if self.diffusion.conditional else name

    def checkpoint(self, name: str) -> str:
        """Return the path of the net that draws a class."""
        net = self.net(name)
        folder = "ddpm" if net in self.shared else f"families/{self.name}"
        return f"models/{folder}/{net}.safetensors"

    def job(self, name: str) -> str:
        """Return the job that trains the net of a class, as the path of its log says it."""
        net = self.net(name)
        return f"train_ddpm/{net}" if net in self.shared else f"train_family/{self.name}-{net}"

    def taught(self, net: str, classes: Sequence[str]) -> list[str]:
        """Return the classes that a net learns from."""
        return [name for name in classes if self.net(name) == net]

    def training(self, net: str) -> dict[str, Any]:
        """Return the settings of a net's training."""
        return self.diffusion.for_class(net).model_dump()


def read_families(path: str | Path, cfg: Config) -> dict[str, Family]:
    """Read the families of a file such as `config/families.yaml`.

    Args:
        path: the file.
        cfg: the run's configuration, from which families differ.

    Raises:
        MeddiffError: a family is not valid, or no classifier is trained that judges them.
    """
    try:
        if not judge(cfg):
            raise ValueError("families are judged by a classifier, and this run trains none")
        content = yaml.safe_load(Path(path).read_text())
        entries = TypeAdapter(dict[ClassName, FamilyEntry]).validate_python(content)
        return {name: _family(name, entry, cfg) for name, entry in entries.items()}
    except (OSError, yaml.YAMLError, ValidationError, ValueError) as error:
        raise MeddiffError(f"{path}: {' '.join(str(error).split())}") from error


def families_for(targets: Collection[str], path: str | Path, cfg: Config) -> dict[str, Family]:
    """Return the families of a file; none of a run that they cannot differ from.

    Raises:
        MeddiffError: they are among the targets, and `read_families` refuses them. Without such a
            target a run goes on without them.
    """
    try:
        return read_families(path, cfg)
    except MeddiffError as error:
        if TARGETS & {str(target) for target in targets}:
            # Snakemake has a copy of the file.
            raise MeddiffError(str(error).replace(str(path), "config/families.yaml")) from None
        return {}


def judge(cfg: Config) -> str | None:
    """Return the one net of a run that judges all families: FIDs of several cannot be compared."""
    nets = [name for name in ("skinlesnet", "resnet50") if name in cfg.trained_extractors]
    return next(iter(nets), None)


def compared(families: Mapping[str, Family], classes: Sequence[str]) -> dict[str, Any]:
    """Return what the table of families is of: drawings, their steps, and jobs that train."""
    samplers = {
        f"{name}/{key}": sampler
        for name, family in families.items()
        for key, sampler in family.samplers.items()
    }
    return {
        "drawings": list(samplers),
        "trainings": {n: sorted({each.job(c) for c in classes}) for n, each in families.items()},
        "steps": {drawing: sampler.steps for drawing, sampler in samplers.items()},
    }


def _family(name: str, entry: FamilyEntry, cfg: Config) -> Family:
    if "latent" in entry.diffusion:
        raise ValueError(f"{name}.diffusion.latent: families are of pixels; leave it out")
    # Nets that were trained elsewhere are no families, and a class has no steps of its own here. A
    # family's process is its own, so that its name is true in a run of any other.
    base = cfg.diffusion.model_dump(exclude={"classes", "train_on"})
    own = {"conditional": False, "latent": None, "schedule": ScheduleSettings().model_dump()}
    values = merged(base | own, entry.diffusion)
    if values["conditional"]:
        for length in ("steps", "epochs"):
            values[length] = values[length] and values[length] * len(cfg.data.classes)
    diffusion = DiffusionSettings.model_validate(values)
    drawn = cfg.sampling.model_dump() | {"shards": 1, "images": min(IMAGES, cfg.sampling.images)}
    if not diffusion.conditional:
        drawn["guidance"] = 0.0  # the run's own net may be guided
    samplers = {
        key: SamplingSettings.model_validate(merged(drawn, changes))
        for key, changes in entry.samplers.items()
    }
    schedule = diffusion.schedule
    for key, sampler in {"preview": diffusion.preview, **samplers}.items():
        if reason := sampler.misfit(schedule.process, schedule.levels):
            raise ValueError(f"{name}.{key}: {reason}")
        if sampler.guidance and not diffusion.conditional:
            raise ValueError(f"{name}.{key}: guidance needs `conditional: true`")
    return Family(name, diffusion, samplers, _shared(diffusion, cfg))


def _shared(diffusion: DiffusionSettings, cfg: Config) -> list[str]:
    """Return the run's DDPMs of one class each that are trained just so."""
    own = cfg.diffusion
    trained = set() if diffusion.conditional else set(cfg.ddpms.values()) - set(imported_ddpms(cfg))
    return sorted(n for n in trained if own.for_class(n) == diffusion.for_class(n))


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values with some changed."""
    inner = {
        key: merged(values[key], change)
        for key, change in changes.items()
        if isinstance(change, Mapping) and isinstance(values.get(key), Mapping)
    }
    return {**values, **changes, **inner}
