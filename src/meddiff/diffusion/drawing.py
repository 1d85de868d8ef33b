"""Draw the images of one job: a share of a class, safe from interruptions."""

from pathlib import Path

import numpy as np

from meddiff.diffusion.sampling import load_ddpm, sample_images
from meddiff.diffusion.settings import Sampling
from meddiff.diffusion.state import Safety, StateFile
from meddiff.files import sha256_file
from meddiff.settings import Compute


def shard_members(images: int, shards: int, shard: int) -> range:
    """Return the numbers of the images of one of several shards of nearly the same size.

    Args:
        images: images in all.
        shards: number of shards.
        shard: which, from 0.
    """
    return range(shard * images // shards, (shard + 1) * images // shards)


def draw_shard(
    checkpoint: str | Path,
    settings: Sampling,
    compute: Compute,
    *,
    shard: int | None = None,
    seed: int,
    name: str,
    state: Path,
    device: str = "cpu",
) -> np.ndarray:
    """Draw a class or one shard of it, uint8 (n,H,W,C); a call that was stopped goes on.

    Args:
        checkpoint: of the DDPM.
        settings: what to draw, and in how many shards.
        compute: whether to compile the net, and how often to save.
        shard: which, from 0; None draws all.
        seed: seed of the run.
        name: class.
        state: where the images drawn so far are kept (.safetensors).
        device: torch device.

    Raises:
        MeddiffError: the checkpoint cannot be read, or as `sample_images`.
    """
    members = range(settings.images)
    if shard is not None:
        members = shard_members(settings.images, settings.shards, shard)
    key = {
        "the DDPM": sha256_file(checkpoint),
        "the settings": settings.model_dump_json(),
        "the seed": str(seed),
        "the shard": str(members),
    }
    with StateFile(state, key) as file:
        return sample_images(
            load_ddpm(checkpoint, device, compiled=compute.compile),
            settings,
            members,
            seed=seed,
            name=name,
            safety=Safety(file, 60 * compute.save_minutes),
        )
