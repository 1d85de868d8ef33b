"""Nets as classifiers: SkinLesNet, and ResNet50's head on a frozen trunk or all of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from meddiff.cas.base import FittedClassifier, TrainingSet
from meddiff.cas.settings import CasSettings
from meddiff.extractors.classification import examples, probabilities
from meddiff.extractors.resnet50 import ResNet50, build_head
from meddiff.extractors.settings import TrainingSettings
from meddiff.extractors.skinlesnet import SkinLesNet
from meddiff.extractors.supervised import Objective, fit, predict, seeded


@dataclass(frozen=True)
class Net:
    """A net trained by cross-entropy.

    Attributes:
        build: returns the net to train, with random first weights.
        preprocess: from a batch of transformed images to the net's input.
        settings: batch size, learning rate, arithmetic.
        device: torch device.
        note: what a reader must know of it.
        trunk: frozen net that transforms images, and the preprocessing of its input; None where
            the images themselves are the input.
    """

    build: Callable[[], nn.Module]
    preprocess: Callable[[Tensor], Tensor]
    settings: CasSettings
    device: str
    note: str = ""
    trunk: tuple[nn.Module, Callable[[Tensor], Tensor]] | None = None

    def transform(self, images: np.ndarray) -> np.ndarray:
        """Return the images, or float32 features (N, d) of the trunk."""
        if self.trunk is None:
            return images
        trunk, preprocess = self.trunk
        trunk.to(self.device)
        inputs = torch.from_numpy(np.array(images))
        return predict(trunk, trunk, preprocess, inputs, device=self.device, padded=True).numpy()

    def fit(self, training: TrainingSet) -> FittedClassifier:
        """Train with Adam, the rate halved when the training loss stalls."""
        # Trainings of one seed begin alike, so that arms differ by their images alone.
        network = seeded(self.build, training.seed, "cas")
        fit(
            network,
            Objective(self.preprocess, nn.functional.cross_entropy),
            examples((training.inputs, training.labels)),
            TrainingSettings(
                steps=training.steps, batch_size=self.settings.batch_size, lr=self.settings.lr
            ),
            seed=training.seed,
            name=training.name,
            precision=self.settings.precision,
            plateau_every=training.plateau_every,
            device=self.device,
        )
        return FittedClassifier(
            lambda x: probabilities(network, self.preprocess, x, device=self.device),
            self.note,
            training.steps,
        )


def skinlesnet(classes: int, size: int, settings: CasSettings, device: str) -> Net:
    """Return SkinLesNet for images of `size` px."""
    return Net(lambda: SkinLesNet(classes, size), SkinLesNet.transform, settings, device)


def resnet50(
    classes: int, imagenet: Mapping[str, Tensor] | None, settings: CasSettings, device: str
) -> Net:
    """Return ResNet50's head on ImageNet's frozen weights, or without them the whole net."""
    if not imagenet:
        note = "trained from scratch: no ImageNet weights"
        return Net(lambda: ResNet50(classes), ResNet50.transform, settings, device, note)
    trunk = ResNet50(classes, dict(imagenet)).eval().trunk
    note = "head on frozen ImageNet weights"
    return Net(
        lambda: build_head(classes),
        nn.Identity(),
        settings,
        device,
        note,
        (trunk, ResNet50.transform),
    )
