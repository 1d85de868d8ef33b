"""Images drawn while a DDPM is trained.

They record that training, so that an edit of the samplers is no reason to train again: what a
training depends on stops short of this module (`meddiff.workflow.provenance.fingerprint`).
"""

from collections.abc import Callable, Sequence

import numpy as np
from torch import nn

from meddiff.diffusion.process import Process
from meddiff.diffusion.sampling.ddpm import Ddpm
from meddiff.diffusion.sampling.sample import sample
from meddiff.diffusion.settings import PreviewSettings

AFFECTS_RESULTS = False


def previewer(
    network: nn.Module,
    schedule: Process,
    shape: tuple[int, int, int],
    settings: PreviewSettings,
    *,
    pixel_range: Sequence[int],
    seed: int,
    name: str,
) -> Callable[[], np.ndarray]:
    """Return what draws previews of a net in training, uint8 (settings.images,H,W,C).

    They always come from the same noise, whatever the net's weights have become.

    Args:
        network: the denoising net.
        schedule: its forward process.
        shape: (C, H, W) of an image.
        settings: number of images, at least 1, and sampler.
        pixel_range: lowest and highest value that the net sees, (-1, 1) or (0, 1).
        seed: seed of the run.
        name: class.
    """
    model = Ddpm(network, schedule, shape, pixel_range, block=settings.images)

    def draw() -> np.ndarray:
        (images,) = sample(model, settings, range(settings.images), seed=seed, name=name)
        return images

    return draw
