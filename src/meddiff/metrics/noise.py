"""Images without structure: what an FID has to beat."""

import numpy as np

from meddiff.core.randomness import stream


def noise_like(images: np.ndarray, count: int, *, seed: int, name: str) -> np.ndarray:
    """Return normal noise with the mean and variance of each channel of `images`.

    Args:
        images: uint8 (N,H,W,C).
        count: number of noise images.
        seed: seed of the run.
        name: class, part of the stream's name.

    Returns:
        uint8 (count,H,W,C), clipped to [0, 255].
    """
    mean, deviation = images.mean(axis=(0, 1, 2)), images.std(axis=(0, 1, 2))
    drawn = stream(seed, "noise images", name).normal(mean, deviation, (count, *images.shape[1:]))
    return drawn.round().clip(0, 255).astype(np.uint8)
