"""The images of a training, on its device and in the net's range, with their conditions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from meddiff.core.batches import Batch
from meddiff.core.devices import to_device
from meddiff.core.randomness import stream
from meddiff.diffusion.conditions import Conditions, conditions_of
from meddiff.diffusion.latent.autoencoder import Autoencoder
from meddiff.diffusion.pixels import to_model_range, to_unit_range
from meddiff.diffusion.settings import AugmentationSettings, DiffusionSettings
from meddiff.diffusion.training.augmentation import (
    augment,
    augment_once,
    describe,
    draw_changes,
    resolve_augmentation,
)

Images = np.ndarray | Mapping[str, np.ndarray]
"""Images of one class, uint8 (N,H,W,C), or those of several by name."""


@dataclass(frozen=True)
class LabelledImages:
    """Images of one class or more, class by class.

    Attributes:
        pixels: uint8 (N,H,W,C), or latents.
        sizes: images of each class.
    """

    pixels: Tensor
    sizes: tuple[int, ...]

    @property
    def places(self) -> int:
        """Images of an epoch: of every class as many as the largest has."""
        return len(self.sizes) * max(self.sizes)

    def rows(self, places: np.ndarray, epoch: int) -> np.ndarray:
        """Return the rows of the images at places of an epoch, from 1.

        A smaller class goes on from one epoch to the next where it stopped, so that all of its
        images come equally often.
        """
        label, within = np.divmod(places, max(self.sizes))
        size = np.array(self.sizes)
        first = np.cumsum(size) - size
        return first[label] + (within + (epoch - 1) * max(self.sizes)) % size[label]

    def labels(self) -> Tensor:
        """Return the number of each image's class, int64 (N,), on the CPU."""
        return torch.arange(len(self.sizes)).repeat_interleave(torch.tensor(self.sizes))


@dataclass(frozen=True)
class TrainingImages:
    """Images to train on and to validate with.

    Attributes:
        held_out: images of the validation loss, or None.
        conditions: what the net is given beside them.
        augmentation: changes of every batch.
        name: of the training, part of the names of its streams.
        autoencoder: whose latents the images are, float32 (N,h,w,c), or None.
    """

    learnt: LabelledImages
    held_out: LabelledImages | None
    conditions: Conditions
    augmentation: AugmentationSettings
    settings: DiffusionSettings
    seed: int
    name: str
    autoencoder: Autoencoder | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        height, width, channels = self.learnt.pixels.shape[1:]
        return channels, height, width

    def batch(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return a batch in the net's range, augmented as its places and epoch say.

        The conditions of a net that takes any come second.
        """
        pixels = self.learnt.pixels
        rows = self.learnt.rows(batch.members, batch.epoch)
        key = (self.seed, "augmentation", self.name, batch.epoch)
        clean = self._clean(
            pixels[to_device(torch.from_numpy(rows), pixels.device)],
            lambda unit: augment(unit, batch.members, self.augmentation, *key),
        )
        if not self.conditions:
            return (clean,)
        labels = self._withheld(self.learnt.labels()[torch.from_numpy(rows)], batch.step)
        changes = None
        if self.conditions.changes:
            drawn = draw_changes(batch.members, self.augmentation, *key)
            changes = describe(drawn, self.augmentation)
        return clean, to_device(self.conditions.rows(labels, changes), pixels.device)

    def _clean(
        self, pixels: Tensor, change: Callable[[Tensor], Tensor] = lambda unit: unit
    ) -> Tensor:
        """Return images (N,C,H,W) as the net sees them; latents are there as they are."""
        if self.autoencoder:
            return pixels.permute(0, 3, 1, 2)
        return to_model_range(change(to_unit_range(pixels)), self.settings.schedule.pixel_range)

    def _withheld(self, labels: Tensor, step: int) -> Tensor:
        """Replace labels at random by the one that stands for any class."""
        if not self.conditions.with_null:
            return labels
        chance = stream(self.seed, "labels", self.name, step).random(len(labels))
        withheld = torch.from_numpy(chance < self.settings.label_dropout)
        return torch.where(withheld, self.conditions.null, labels)

    def validation(self) -> tuple[Tensor, ...]:
        """Return the images of the validation loss, never changed while the net learns.

        The conditions of a net that takes any come second.
        """
        assert self.held_out is not None
        clean = self._clean(self.held_out.pixels)
        if not self.conditions:
            return (clean,)
        return clean, to_device(self.conditions.rows(self.held_out.labels()), clean.device)


def load_training_images(
    images: Images,
    validation: Images | None,
    settings: DiffusionSettings,
    device: torch.device,
    *,
    seed: int,
    name: str,
    autoencoder: Autoencoder | None = None,
) -> TrainingImages:
    """Put images on a device, changed once and for all where the settings ask for that."""
    augmentation = resolve_augmentation(settings.augmentation)
    key = (seed, "augmentation", name)

    def load(images: Images, *key: int | str) -> LabelledImages:
        parts = list(images.values()) if isinstance(images, Mapping) else [images]
        pixels = np.concatenate(parts)
        if settings.augment_once:
            pixels = augment_once(pixels, augmentation, *key)
        tensor = torch.from_numpy(pixels)
        if autoencoder:
            tensor = autoencoder.encode(tensor).permute(0, 2, 3, 1)
        return LabelledImages(tensor.to(device), tuple(map(len, parts)))

    classes = list(images) if isinstance(images, Mapping) else []
    return TrainingImages(
        load(images, *key),
        None if validation is None else load(validation, *key, "validation"),
        conditions_of(settings, classes),
        AugmentationSettings() if settings.augment_once else augmentation,
        settings,
        seed,
        name,
        autoencoder,
    )
