"""Images without structure: the far end of the scale that distances are read on."""

from collections.abc import Iterator

import numpy as np

from meddiff.core.randomness import stream
from meddiff.metrics.images import Images

_BLOCK_VALUES = 2**22
"""Values of one block in float64: the whole set of 10,000 images of 299 px would take 21 GB."""


def noise_like(images: Images, count: int, *, seed: int, name: str) -> Images:
    """Return uint8 noise, normal with the mean and variance of each channel of (N,H,W,C)."""
    noise = np.empty((count, *images.shape[1:]), np.uint8)
    start = 0
    for part in noise_blocks(images, count, images.shape[1:3], seed=seed, name=name):
        noise[start : start + len(part)] = part
        start += len(part)
    return noise


def noise_blocks(
    images: Images, count: int, sides: tuple[int, ...], *, seed: int, name: str
) -> Iterator[Images]:
    """Yield that noise, of another height and width if so wanted, in blocks (k,h,w,C)."""
    shape = (*sides, images.shape[-1])
    block = max(1, _BLOCK_VALUES // int(np.prod(shape)))
    mean, deviation = _moments(images)
    source = stream(seed, "noise images", name)
    for start in range(0, count, block):
        values = source.normal(mean, deviation, (min(block, count - start), *shape))
        yield values.round().clip(0, 255).astype(np.uint8)


def _moments(images: Images) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel, (C,), from exact sums of integers."""
    n = images[..., 0].size
    block = max(1, _BLOCK_VALUES // int(np.prod(images.shape[1:])))
    sums, squares = (np.zeros(images.shape[-1], np.int64) for _ in range(2))
    for start in range(0, len(images), block):
        values = images[start : start + block].astype(np.int64)
        sums += values.sum(axis=(0, 1, 2))
        squares += (values**2).sum(axis=(0, 1, 2))
    variances = [(n * int(q) - int(s) ** 2) / n**2 for s, q in zip(sums, squares, strict=True)]
    return sums / n, np.sqrt(variances)
