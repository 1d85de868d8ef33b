"""Noise of single images: a stream per image, whatever else is drawn beside it."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

MASK = 0xFFFFFFFF
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
INCREMENTS = 0x9E3779B9, 0xBB67AE85
ROUNDS = 10


def numpy_normal(
    streams: Sequence[np.random.Generator],
    places: Sequence[int],
    shape: tuple[int, ...],
    device: torch.device,
) -> Tensor:
    """Return a block of standard normal noise, drawn on the CPU.

    Args:
        places: place of each image in the block; the others are zeros.
        shape: (block, C, H, W).
    """
    noise = np.zeros(shape, dtype=np.float32)
    for place, source in zip(places, streams, strict=True):
        noise[place] = source.standard_normal(shape[1:], dtype=np.float32)
    return torch.from_numpy(noise).to(device)


def philox_normal(keys: Tensor, draw: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return standard normal noise that depends on (key, draw, element) alone.

    Philox 4x32-10 (Salmon et al. 2011) counts elements and draws, so that one call fills a block of
    any number of images on their device. Box and Muller (1958) turn its words into normal numbers.

    Args:
        keys: int64 (N,), the key of each image, not negative.
        draw: int64 (), number of the draw, or (D,) of several.
        shape: (C, H, W) of an image.

    Returns:
        float32 (N,C,H,W), or (D,N,C,H,W).
    """
    size = math.prod(shape)
    index = torch.arange(-(-size // 4), device=keys.device).reshape(1, -1)
    zero = torch.zeros_like(index)
    counter = (index, zero + draw.reshape(*draw.shape, 1, 1), zero, zero)
    words = philox(counter, (keys.reshape(-1, 1) & MASK, keys.reshape(-1, 1) >> 32))
    # Uniform in (0, 1]: no logarithm of zero.
    first, second, third, fourth = (word.float() * 2.0**-32 + 2.0**-33 for word in words)
    normal = []
    for radius, angle in ((first, second), (third, fourth)):
        length, turn = (-2 * radius.log()).sqrt(), 2 * math.pi * angle
        normal += [length * turn.cos(), length * turn.sin()]
    leading = (*draw.shape, len(keys))
    return torch.stack(normal, dim=-1).reshape(*leading, -1)[..., :size].reshape(*leading, *shape)


def philox(counter: Sequence[Tensor], key: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return four random words of 32 bits, as int64, of four words of a counter and two of a key.

    Args:
        counter: four int64 tensors of values below 2^32.
        key: two such tensors.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        # The product wraps at 2^64, where its bits are those of the unsigned one.
        low, high = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1 = (high >> 32 & MASK) ^ c1 ^ k0, high & MASK
        c2, c3 = (low >> 32 & MASK) ^ c3 ^ k1, low & MASK
        k0, k1 = k0 + INCREMENTS[0] & MASK, k1 + INCREMENTS[1] & MASK
    return c0, c1, c2, c3
