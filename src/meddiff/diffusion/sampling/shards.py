"""The images of a class spread over several jobs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from meddiff.core.arrays import load_sets
from meddiff.core.errors import MeddiffError

PIXELS = 32 * 64**2
"""Pixels that a CPU's net sees at once, 32 images of 64 px; shards begin at multiples of these."""


def cpu_block(side: int) -> int:
    """Return how many images of side x side px a net sees at once on a CPU, 1 to 32."""
    return max(1, min(32, PIXELS // side**2))


def shard_members(images: int, shards: int, shard: int, side: int) -> range:
    """Return the numbers of the images of one of several shards, on any device the same.

    Args:
        shards: number of shards, of nearly as many blocks of a CPU each; some are empty where
            there are fewer blocks.
        shard: which, from 0.
    """
    block = cpu_block(side)
    blocks = -(-images // block)
    first, end = (blocks * number // shards * block for number in (shard, shard + 1))
    return range(min(first, images), min(end, images))


def gather_shards(paths: Sequence[str | Path], images: int) -> np.ndarray:
    """Return the images of all shards, uint8 (images,H,W,C).

    Raises:
        MeddiffError: the shards hold more or fewer images.
    """
    gathered = load_sets(paths)
    if len(gathered) != images:
        folder = Path(paths[0]).parent
        raise MeddiffError(
            f"{folder} holds {len(gathered)} images in {len(paths)} shards, not {images}: "
            "rerun with --forcerun sample_shard"
        )
    return gathered
