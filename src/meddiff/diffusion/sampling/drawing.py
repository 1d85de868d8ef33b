"""Draw the images of one job: a share of a class, safe from interruptions."""

from pathlib import Path

import numpy as np

from meddiff.core.files import sha256_file
from meddiff.core.settings import ComputeSettings
from meddiff.diffusion.checkpointing import CheckpointFile
from meddiff.diffusion.sampling.ddpm import load_ddpm
from meddiff.diffusion.sampling.sample import sample_images
from meddiff.diffusion.sampling.settings import SamplingSettings
from meddiff.diffusion.sampling.shards import shard_members


def draw_shard(
    checkpoint: str | Path,
    settings: SamplingSettings,
    compute: ComputeSettings,
    *,
    shard: int | None = None,
    first: int = 0,
    seed: int,
    name: str,
    code: str,
    state: Path,
    device: str = "cpu",
) -> np.ndarray:
    """Draw a class or one shard of it, uint8 (n,H,W,C); a call that was stopped goes on.

    Args:
        shard: which, from 0; None draws all.
        first: number of the first image where all are drawn.
        state: where the images drawn so far are kept (.safetensors).

    Raises:
        MeddiffError: the checkpoint cannot be read, or as `sample_images`.
    """
    model = load_ddpm(checkpoint, device, compiled=compute.compile)
    members = range(first, settings.images)
    if shard is not None:
        members = shard_members(settings.images, settings.shards, shard, model.image_shape[-1])
    key = {
        "the DDPM": sha256_file(checkpoint),
        "the settings": settings.model_dump_json(),
        "the seed": str(seed),
        "the shard": str(members),
        "the code": code,
        # Its noise is of another kind.
        "the device": device,
    }
    with CheckpointFile(state, key, 60 * compute.checkpoint_minutes) as file:
        return sample_images(model, settings, members, seed=seed, name=name, checkpointer=file)
