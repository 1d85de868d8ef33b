"""The training of an autoencoder as a job: files in, files out, safe from interruptions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meddiff.core.arrays import load_sets
from meddiff.core.checkpoints import save_checkpoint
from meddiff.core.files import sha256_file, write_csv
from meddiff.core.settings import ComputeSettings
from meddiff.diffusion.checkpointing import CheckpointFile
from meddiff.diffusion.latent.lpips import load_lpips
from meddiff.diffusion.latent.settings import LatentSettings
from meddiff.diffusion.latent.training import train_autoencoder


def run_training(
    images: Sequence[str],
    validation: Sequence[str],
    settings: Mapping[str, Any],
    compute: ComputeSettings,
    *,
    alexnet: str | None,
    seed: int,
    code: str,
    checkpoint: str,
    history: str,
    state: Path,
    device: str,
) -> None:
    """Train an autoencoder and write its checkpoint and history; a call that was stopped goes on.

    Args:
        settings: `LatentSettings`.
        alexnet: checkpoint of AlexNet for LPIPS, or None without.
        code: digest of the code that the result depends on.
        state: where the resumable state lies (.safetensors).

    Raises:
        MeddiffError: as `train_autoencoder` and `load_lpips`.
    """
    key = {
        "the settings": json.dumps(dict(settings), sort_keys=True),
        "the seed": str(seed),
        "the images": str(
            [sha256_file(path) for path in [*images, *validation, *([alexnet] if alexnet else [])]]
        ),
        "the code": code,
    }
    with CheckpointFile(state, key, 60 * compute.checkpoint_minutes) as file:
        trained = train_autoencoder(
            load_sets(images),
            LatentSettings.model_validate(settings),
            seed=seed,
            validation=load_sets(validation) if validation else None,
            lpips=load_lpips(alexnet, device) if alexnet else None,
            checkpointer=file,
            device=device,
        )
    write_csv(trained.history, history)
    about = {"latent": dict(settings), "channels": trained.model.channels}
    save_checkpoint(checkpoint, trained.model.state_dict(), about)
