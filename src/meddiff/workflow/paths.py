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

    def cas_inputs(self, synthetic: list[str]) -> dict[str, Any]:
        """Return what classifiers are trained and judged on: real images with rows, synthetic.

        Beside them are the weights that a ResNet50 starts from.
        """
        splits = {"real": "train", "test": "test", "validation": "validation"}
        images = {name: self.image_sets([split]) for name, split in splits.items()}
        rows = {f"{name}_rows": self.rows_of(split) for name, split in splits.items()}
        return images | rows | {"synthetic": synthetic, "weights": self.imagenet}

    def features(self, sets: Iterable[str], of: str = "") -> list[str]:
        """Return an extractor's features of image sets, of every class.

        Args:
            of: whose images they are, `generators/<name>/`; by default the run's.
        """
        classes = self.cfg.data.classes
        return [f"features/{of}{{extractor}}/{part}/{cls}.npy" for part in sets for cls in classes]

    def copies(self, of: str = "") -> dict[str, list[str]]:
        """Return what copies are searched for in: images, features of nets that learnt from none.

        Args:
            of: whose synthetic images they are, as for `features`.
        """
        learnt = self.cfg.ddpm_sets
        drawn, unseen = self.features(["synthetic"], of), self.features(["test"])
        places, nets = [*self.features(learnt), *drawn, *unseen], self.cfg.extractors.pretrained
        return {
            "training": self.image_sets(learnt),
            "synthetic": self.image_sets([f"{of}synthetic"]),
            "unseen": self.image_sets(["test"]),
            "features": [path.replace("{extractor}", net) for path in places for net in nets],
        }

    def segmentation(self, kinds: Iterable[str], form: str) -> list[str]:
        """Return images or masks of the U-Net's training and test sets, or tables of their rows."""
        kinds = list(kinds)
        return [f"data/segmentation/{s}/{kind}.{form}" for s in ("train", "test") for kind in kinds]

    def ddpm(self, form: str) -> Callable[[Any], str]:
        """Return a file of the DDPM that draws a class."""
        return lambda wildcards: f"models/ddpm/{self.cfg.ddpms[wildcards.cls]}{form}"

    def ddpms(self) -> list[str]:
        """Return the DDPM of each class that one draws."""
        return [f"models/ddpm/{name}.safetensors" for name in self.cfg.ddpms.values()]

    def more(self) -> list[str]:
        """Return images beside the synthetic sets, if the dose-response needs any."""
        most = self.cfg.cas.dose.max_synthetic_per_class or 0
        return self.image_sets(["more"] if most > self.cfg.sampling.images else [])

    def alexnet(self) -> list[str]:
        """Return the weights of LPIPS, if the autoencoder learns by it."""
        latent = self.cfg.diffusion.latent
        perceptual = latent and latent.perceptual_weight
        return ["models/pretrained/alexnet.safetensors"] if perceptual else []

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
