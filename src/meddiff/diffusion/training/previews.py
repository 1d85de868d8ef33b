"""Images drawn while a DDPM is trained.

They record that training, so that an edit of the samplers is no reason to train again: what a
training depends on stops short of this module (`meddiff.workflow.provenance.fingerprint`).
"""

from collections.abc import Callable, Sequence

import numpy as np
from torch import nn

from meddiff.diffusion.conditions import Conditions
from meddiff.diffusion.latent.autoencoder import Autoencoder
from meddiff.diffusion.process import Process
from meddiff.diffusion.sampling.ddpm import Ddpm
from meddiff.diffusion.sampling.sample import sample
from meddiff.diffusion.sampling.settings import PreviewSettings

AFFECTS_RESULTS = False


def previewer(
    network: nn.Module,
    schedule: Process,
    shape: tuple[int, int, int],
    settings: PreviewSettings,
    *,
    pixel_range: Sequence[int],
    conditions: Conditions,
    autoencoder: Autoencoder | None,
    seed: int,
    names: Sequence[str],
) -> Callable[[], np.ndarray]:
    """Return what draws previews of a net in training, uint8 (names x settings.images,H,W,C).

    They always come from the same noise, whatever the net's weights have become.

    Args:
        shape: (C, H, W) of an image.
        settings: number of images of a class, at least 1, and sampler.
    """
    model = Ddpm(network, schedule, shape, pixel_range, settings.images, conditions, autoencoder)

    def draw() -> np.ndarray:
        drawn = (
            sample(model, settings, range(settings.images), seed=seed, name=name) for name in names
        )
        return np.concatenate([next(images) for images in drawn])

    return draw
