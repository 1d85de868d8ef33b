"""Nets as classifiers of the experiment."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from meddiff.cas.base import FittedClassifier, TrainingSet
from meddiff.cas.settings import CasSettings
from meddiff.extractors.classification import Recipe, examples, probabilities
from meddiff.extractors.settings import TrainingSettings
from meddiff.extractors.supervised import Objective, fit, predict, seeded


@dataclass(frozen=True)
class Net:
    """A net, or the head of one with a frozen trunk."""

    recipe: Recipe
    settings: CasSettings
    device: str

    @cached_property
    def _trunk(self) -> nn.Module:
        network: Any = self.recipe.build()
        trunk: nn.Module = network.trunk
        return trunk

    def transform(self, images: np.ndarray) -> np.ndarray:
        """Return the images, or float32 features (N, d) of the frozen trunk."""
        if self.recipe.build_head is None:
            return images
        inputs, trunk = torch.from_numpy(np.array(images)), self._trunk
        return predict(
            trunk, trunk, self.recipe.transform, inputs, device=self.device, padded=True
        ).numpy()

    def fit(self, training: TrainingSet) -> FittedClassifier:
        """Train with Adam, the rate halved when the training loss stalls."""
        # Trainings of one seed begin alike, so that arms differ by their images alone.
        network = seeded(self.recipe.build_head or self.recipe.build, training.seed, "cas")
        transform = self.recipe.trained_transform
        fit(
            network,
            Objective(transform, nn.functional.cross_entropy),
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
            lambda inputs: probabilities(network, transform, inputs, device=self.device),
            self.recipe.note,
            training.steps,
        )
