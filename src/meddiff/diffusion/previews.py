"""Images drawn while a DDPM is trained.

They record that training, so that an edit of the samplers is no reason to train again: what a
training depends on stops short of this module (`meddiff.workflow.provenance.fingerprint`).
"""

from collections.abc import Sequence

import numpy as np
from monai.networks.schedulers import DDPMScheduler
from torch import nn

from meddiff.diffusion.sampling import Ddpm, sample
from meddiff.diffusion.settings import PreviewSettings

AFFECTS_RESULTS = False


def preview_model(
    network: nn.Module,
    schedule: DDPMScheduler,
    shape: tuple[int, int, int],
    settings: PreviewSettings,
    *,
    pixel_range: Sequence[int],
) -> Ddpm:
    """Return the net in training as one to draw previews from, whatever its weights become.

    Args:
        network: the denoising net.
        schedule: its forward process.
        shape: (C, H, W) of an image.
        settings: number of images.
        pixel_range: lowest and highest value that the net sees, (-1, 1) or (0, 1).
    """
    return Ddpm(network, schedule, shape, pixel_range, block=settings.images)


def draw_previews(model: Ddpm, settings: PreviewSettings, *, seed: int, name: str) -> np.ndarray:
    """Return uint8 (settings.images,H,W,C), always from the same noise.

    Args:
        model: the net, switched to evaluation.
        settings: how many, and how.
        seed: seed of the run.
        name: class.
    """
    (images,) = sample(model, settings, range(settings.images), seed=seed, name=name)
    return images
