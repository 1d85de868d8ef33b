"""Paths of a run's files, below the run directory; docs/architecture.md lists them."""

from collections.abc import Callable, Iterable
from typing import Any

from meddiff.workflow.config import Config

AFFECTS_RESULTS = False

AUTOENCODER = "models/autoencoder.safetensors"
RESNET50 = "models/pretrained/resnet50.safetensors"


class Paths:
    """Paths of a configuration's files; functions of a job's wildcards where they depend on it."""

    def __init__(self, cfg: Config) -> None:
        self.cfg = cfg

    def image_sets(self, sets: Iterable[str], classes: Iterable[str] | None = None) -> list[str]:
        """Return image sets of these classes, by default of all."""
        named = list(self.cfg.data.classes if classes is None else classes)
        return [f"data/images/{part}/{cls}.npy" for part in sets for cls in named]

    def rows_of(self, *sets: str) -> list[str]:
        """Return tables of the rows of image sets, of every class."""
        return [f"{path.removesuffix('.npy')}.csv" for path in self.image_sets(sets)]

    def cas_images(self, synthetic: list[str]) -> dict[str, list[str]]:
        """Return what classifiers are trained and judged on: real images with rows, synthetic."""
        splits = {"real": "train", "test": "test", "validation": "validation"}
        images = {name: self.image_sets([split]) for name, split in splits.items()}
        rows = {f"{name}_rows": self.rows_of(split) for name, split in splits.items()}
        return images | rows | {"synthetic": synthetic}

    def features(self, sets: Iterable[str], of: str = "") -> list[str]:
        """Return an extractor's features of image sets, of every class.

        Args:
            of: whose images they are, `generators/<name>/`; by default the run's.
        """
        classes = self.cfg.data.classes
        return [f"features/{of}{{extractor}}/{part}/{cls}.npy" for part in sets for cls in classes]

    def segmentation(self, kinds: Iterable[str], form: str) -> list[str]:
        """Return images or masks of the U-Net's training and test sets, or tables of their rows."""
        kinds = list(kinds)
        return [f"data/segmentation/{s}/{kind}.{form}" for s in ("train", "test") for kind in kinds]

    def ddpm(self, form: str) -> Callable[[Any], str]:
        """Return a file of the DDPM that draws a class."""
        return lambda wildcards: f"models/ddpm/{self.cfg.ddpms[wildcards.cls]}{form}"

    def learnt(self, sets: Iterable[str]) -> Callable[[Any], list[str]]:
        """Return image sets that a DDPM learns from: of its class, or of all."""
        together = list(self.cfg.ddpms) if self.cfg.diffusion.conditional else None
        return lambda wildcards: self.image_sets(sets, together or [wildcards.cls])

    def extractor(self, wildcards: Any) -> str:
        """Return an extractor's weights."""
        published = wildcards.extractor in self.cfg.extractors.pretrained
        return f"models/{'pretrained/' * published}{wildcards.extractor}.safetensors"

    def imagenet(self, wildcards: Any) -> str | list[str]:
        """Return the weights that the training of a ResNet50 starts from, of another net none."""
        name = wildcards.get("classifier") or wildcards.get("extractor")
        return RESNET50 if name == "resnet50" else []

    def compared(self, sets: Iterable[str]) -> list[str]:
        """Return image sets that features are computed of.

        Real ones may be changed as training images are.
        """
        changed = ("train", "validation", "test") if self.cfg.metrics.augment_real else ()
        return [f"augmented-{name}" if name in changed else name for name in sets]
