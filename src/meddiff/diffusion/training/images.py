"""The images of a training, on its device and in the net's range."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from meddiff.core.batches import Batch
from meddiff.core.devices import to_device
from meddiff.diffusion.pixels import to_model_range, to_unit_range
from meddiff.diffusion.settings import AugmentationSettings, DiffusionSettings
from meddiff.diffusion.training.augmentation import augment, augment_once, resolve_augmentation


@dataclass(frozen=True)
class TrainingImages:
    """Images to train on and to validate with.

    Attributes:
        pixels: uint8 (N,H,W,C).
        held_out: uint8 (M,H,W,C), or None.
        augmentation: changes of every batch.
        settings: of the training.
        key: names the stream of the changes.
    """

    pixels: Tensor
    held_out: Tensor | None
    augmentation: AugmentationSettings
    settings: DiffusionSettings
    key: tuple[int | str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        height, width, channels = self.pixels.shape[1:]
        return channels, height, width

    def batch(self, batch: Batch) -> Tensor:
        """Return a batch in the net's range, augmented as its images and epoch say."""
        members = self.pixels[to_device(torch.from_numpy(batch.members), self.pixels.device)]
        unit = to_unit_range(members)
        unit = augment(unit, batch.members, self.augmentation, *self.key, batch.epoch)
        return to_model_range(unit, self.settings.schedule.pixel_range)

    def validation(self) -> Tensor:
        """Return the images of the validation loss, never changed while the net learns."""
        assert self.held_out is not None
        return to_model_range(to_unit_range(self.held_out), self.settings.schedule.pixel_range)


def load_training_images(
    images: np.ndarray,
    validation: np.ndarray | None,
    settings: DiffusionSettings,
    device: torch.device,
    key: tuple[int | str, ...],
) -> TrainingImages:
    """Put images on a device, changed once and for all where the settings ask for that.

    Args:
        images: uint8 (N,H,W,C).
        validation: uint8 (M,H,W,C), or None.
        settings: of the training.
        device: of the training.
        key: names the stream of the changes.
    """
    augmentation = resolve_augmentation(settings.augmentation)
    if settings.augment_once:
        images = augment_once(images, augmentation, *key)
        if validation is not None:
            validation = augment_once(validation, augmentation, *key, "validation")
        augmentation = AugmentationSettings()
    held_out = None if validation is None else torch.from_numpy(np.array(validation)).to(device)
    pixels = torch.from_numpy(np.array(images)).to(device)
    return TrainingImages(pixels, held_out, augmentation, settings, key)
