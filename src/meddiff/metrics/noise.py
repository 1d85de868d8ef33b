"""Images without structure: the far end of the scale that distances are read on."""

import numpy as np

from meddiff.core.randomness import stream
from meddiff.metrics.images import Images

_BLOCK_VALUES = 2**22
"""Values of one block in float64: the whole set of 10,000 images of 299 px would take 21 GB."""


def noise_like(images: Images, count: int, *, seed: int, name: str) -> Images:
    """Return uint8 noise, normal with the mean and variance of each channel of (N,H,W,C)."""
    shape = images.shape[1:]
    block = max(1, _BLOCK_VALUES // int(np.prod(shape)))
    mean, deviation = _moments(images, block)
    source = stream(seed, "noise images", name)
    noise = np.empty((count, *shape), np.uint8)
    for start in range(0, count, block):
        part = noise[start : start + block]
        part[:] = source.normal(mean, deviation, part.shape).round().clip(0, 255)
    return noise


def _moments(images: Images, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel, (C,), from exact sums of integers."""
    n = images[..., 0].size
    sums, squares = (np.zeros(images.shape[-1], np.int64) for _ in range(2))
    for start in range(0, len(images), block):
        values = images[start : start + block].astype(np.int64)
        sums += values.sum(axis=(0, 1, 2))
        squares += (values**2).sum(axis=(0, 1, 2))
    variances = [(n * int(q) - int(s) ** 2) / n**2 for s, q in zip(sums, squares, strict=True)]
    return sums / n, np.sqrt(variances)
