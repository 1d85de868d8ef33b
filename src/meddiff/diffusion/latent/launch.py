"""The training of an autoencoder as a job: files in, files out, safe from interruptions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from meddiff.core.arrays import load_images
from meddiff.core.checkpoints import save_checkpoint
from meddiff.core.files import sha256_file, write_csv
from meddiff.core.settings import ComputeSettings
from meddiff.diffusion.checkpointing import Checkpointer, CheckpointFile
from meddiff.diffusion.latent.settings import LatentSettings
from meddiff.diffusion.latent.training import train_autoencoder


def run_training(
    images: Sequence[str],
    validation: Sequence[str],
    settings: Mapping[str, Any],
    compute: ComputeSettings,
    *,
    seed: int,
    code: str,
    checkpoint: str,
    history: str,
    state: Path,
    device: str,
) -> None:
    """Train an autoencoder and write its checkpoint and history; a call that was stopped goes on.

    Args:
        images: image sets to learn from.
        validation: image sets of the validation loss.
        settings: `LatentSettings`.
        compute: how often to save.
        seed: seed of the run.
        code: digest of the code that the result depends on.
        checkpoint: where the weights go.
        history: where the losses go, one row per epoch.
        state: where the resumable state lies (.safetensors).
        device: torch device.

    Raises:
        MeddiffError: as `train_autoencoder`.
    """
    key = {
        "the settings": json.dumps(dict(settings), sort_keys=True),
        "the seed": str(seed),
        "the images": str([sha256_file(path) for path in [*images, *validation]]),
        "the code": code,
    }
    with CheckpointFile(state, key) as file:
        trained = train_autoencoder(
            _read(images),
            LatentSettings.model_validate(settings),
            seed=seed,
            validation=_read(validation) if validation else None,
            checkpointer=Checkpointer(file, 60 * compute.checkpoint_minutes),
            device=device,
        )
    write_csv(trained.history, history)
    about = {"latent": dict(settings), "channels": trained.model.channels}
    save_checkpoint(checkpoint, trained.model.state_dict(), about)


def _read(paths: Sequence[str]) -> np.ndarray:
    return np.concatenate([load_images(path) for path in paths])
