"""Nets as classifiers: SkinLesNet, and ResNet50's head on a frozen trunk or all of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from meddiff.cas.base import Learnt, Lesson
from meddiff.cas.settings import Cas
from meddiff.extractors.classification import examples, probabilities
from meddiff.extractors.resnet50 import ResNet50
from meddiff.extractors.settings import Training
from meddiff.extractors.skinlesnet import SkinLesNet
from meddiff.extractors.supervised import fit, predict, seeded


@dataclass(frozen=True)
class Net:
    """A net that learns by cross-entropy.

    Attributes:
        build: returns what learns, with random first weights.
        transform: from what it sees to its input.
        settings: batch size, learning rate, arithmetic.
        device: torch device.
        note: what a reader must know of it.
        trunk: frozen net from images to what is seen, and the transform of images to its input;
            None where the images themselves are seen.
    """

    build: Callable[[], nn.Module]
    transform: Callable[[Tensor], Tensor]
    settings: Cas
    device: str
    note: str = ""
    trunk: tuple[nn.Module, Callable[[Tensor], Tensor]] | None = None

    def represent(self, images: np.ndarray) -> np.ndarray:
        """Return the images, or float32 features (N, d) of the trunk."""
        if self.trunk is None:
            return images
        trunk, transform = self.trunk
        trunk.to(self.device)
        given = torch.from_numpy(np.array(images))
        return predict(trunk, trunk, transform, given, device=self.device, padded=True).numpy()

    def learn(self, lesson: Lesson) -> Learnt:
        """Train with Adam, the rate halved when the training loss stalls."""
        # Trainings of one seed begin alike, so that arms differ by their images alone.
        network = seeded(self.build, lesson.seed, "cas")
        fit(
            network,
            self.transform,
            nn.functional.cross_entropy,
            examples((lesson.inputs, lesson.labels)),
            Training(steps=lesson.steps, batch_size=self.settings.batch_size, lr=self.settings.lr),
            seed=lesson.seed,
            name=lesson.name,
            precision=self.settings.precision,
            plateau_every=lesson.plateau_every,
            device=self.device,
        )
        return Learnt(
            lambda x: probabilities(network, self.transform, x, device=self.device),
            self.note,
            lesson.steps,
        )


def skinlesnet(classes: int, size: int, settings: Cas, device: str) -> Net:
    """Return SkinLesNet for images of `size` px."""
    return Net(lambda: SkinLesNet(classes, size), SkinLesNet.transform, settings, device)


def resnet50(
    classes: int, imagenet: Mapping[str, Tensor] | None, settings: Cas, device: str
) -> Net:
    """Return ResNet50's head on ImageNet's frozen weights, or without them the whole net."""
    if not imagenet:
        note = "trained from scratch: no ImageNet weights"
        return Net(lambda: ResNet50(classes), ResNet50.transform, settings, device, note)
    trunk = ResNet50(classes, dict(imagenet)).eval().trunk
    seen = (trunk, ResNet50.transform)
    note = "head on frozen ImageNet weights"
    return Net(lambda: ResNet50(classes).head, nn.Identity(), settings, device, note, seen)
