"""Synthetic images that were made elsewhere: where they lie, and what of them is a parameter."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meddiff.core.errors import MeddiffError
from meddiff.data.origins import Origin, Selection
from meddiff.workflow.config import Config, load_config
from meddiff.workflow.generators import THIS_RUN
from meddiff.workflow.provenance.digests import folder_digest
from meddiff.workflow.provenance.store import recorded_params

AFFECTS_RESULTS = False

PROJECT = "MEDDIFF_PROJECT"
"""Variable that tells jobs where the paths of the configuration start."""


@dataclass(frozen=True)
class Imported:
    """An image set of one class that is made of somebody's images.

    Attributes:
        image_set: `<set>/<class>`, as below `data/images/`.
        origin: where they lie, seen from the run directory.
        selection: which of them are taken.
    """

    image_set: str
    origin: Origin
    selection: Selection

    @property
    def place(self) -> Origin:
        """What is read: where a folder of several classes has one of this class, that folder."""
        folder = f"{self.origin.path}/{self.origin.label}"
        if self.origin.label and Path(folder).is_dir():
            return Origin(self.origin.key, folder, None)
        return self.origin

    def params(self) -> dict[str, Any]:
        """Return what the image set depends on: digests of the files, wherever they lie.

        Where they are not here, the record's digest stands for them.

        Raises:
            MeddiffError: there is neither.
            OSError: a file cannot be read.
        """
        # A shared run without a dose-response has no `more` images, which are of the same files.
        sets = (self.image_set, re.sub("^more/", "synthetic/", self.image_set))
        sources = [recorded_params(f"data/images/{each}.npy").get("source", {}) for each in sets]
        recorded = next(filter(None, (each.get("contents") for each in sources)), None)
        contents = folder_digest(self.place.path) or recorded
        if contents is None:
            raise MeddiffError(
                f"{self.origin.key}: no such file or folder: {Path(self.origin.path).resolve()}; "
                "check the path (relative ones start at the project's root)"
            )
        return {"contents": contents, "label": self.origin.label, **asdict(self.selection)}


def imported_sets(cfg: Config, root: Path) -> dict[str, Imported]:
    """Return the image sets that are made of somebody's images, by `<set>/<class>`."""
    return {each.image_set: each for each in (*_of_classes(cfg, root), *_of_others(cfg, root))}


def params_of_sets(cfg: Config, root: Path) -> dict[str, dict[str, Any]]:
    """Return what these image sets depend on, by `<set>/<class>`; see `Imported.params`."""
    return {name: each.params() for name, each in imported_sets(cfg, root).items()}


def place_of(config: Mapping[str, Any], image_set: str) -> Origin:
    """Return where a job's images lie, by the merged configuration."""
    return imported_sets(load_config(config), Path(os.environ[PROJECT]))[image_set].place


def other_generators(cfg: Config) -> list[str]:
    """Return the names of generators but this run's, in an order of their own."""
    return sorted(name for name, paths in cfg.generators.items() if paths != THIS_RUN)


def own_generator(cfg: Config) -> str:
    """Return the name of this run's images among `generators`."""
    return next((name for name, paths in cfg.generators.items() if paths == THIS_RUN), THIS_RUN)


def compared_files(
    cfg: Config, quality: Iterable[str], predictions: Iterable[str]
) -> dict[str, list[str]]:
    """Return what the images of all generators are compared by, first this run's.

    Args:
        cfg: configuration.
        quality: distances and similarity of this run's images.
        predictions: of classifiers that are trained on this run's images.
    """
    quality, predictions = list(quality), list(predictions)
    others = [f"generators/{name}" for name in other_generators(cfg)]
    for other in others:
        nets = cfg.trained_extractors + cfg.extractors.pretrained
        quality += [f"metrics/{other}/distances/{net}.csv" for net in nets]
    quality += [f"metrics/{other}/similarity/synthetic.csv" for other in others]
    taught = [f"cas/{other}/{Path(file).name}" for other in others for file in predictions]
    copies = ["results/memorisation.csv"] if cfg.synthetic_sets else []
    copies += [f"metrics/{other}/memorisation.csv" for other in others]
    return {
        "quality": quality,
        # Without images that no DDPM has learnt from there is nothing to compare copies with.
        "copies": [] if "test" in cfg.ddpm_sets else copies,
        "predictions": [*predictions, *taught] if len(cfg.data.classes) > 1 else [],
    }


def _of_classes(cfg: Config, root: Path) -> Iterator[Imported]:
    """Yield what stands in place of DDPMs' images, and more of it for the dose-response."""
    drawn, most = cfg.sampling.images, cfg.cas.dose.max_synthetic_per_class or 0
    parts = {"synthetic": Selection(0, drawn, False, cfg.seed),
             "more": Selection(drawn, max(most, drawn), False, cfg.seed)}  # fmt: skip
    for cls in [name for name in cfg.data.classes if name not in cfg.ddpms]:
        key, path = f"diffusion.classes.{cls}.images", cfg.diffusion.classes[cls].images or ""
        for part, selection in parts.items():
            yield Imported(f"{part}/{cls}", Origin(key, _from_here(path, root), None), selection)


def _of_others(cfg: Config, root: Path) -> Iterator[Imported]:
    selection = Selection(0, cfg.sampling.images, True, cfg.seed)
    for name in other_generators(cfg):
        paths = cfg.generators[name]
        for cls in cfg.data.classes:
            origin = (
                Origin(f"generators.{name}", _from_here(paths, root), cls)
                if isinstance(paths, str)
                else Origin(f"generators.{name}.{cls}", _from_here(paths[cls], root), None)
            )
            yield Imported(f"generators/{name}/synthetic/{cls}", origin, selection)


def _from_here(path: str, root: Path) -> str:
    return os.path.relpath(root / Path(os.path.expandvars(path)).expanduser())
