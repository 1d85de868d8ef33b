"""Run a training in this process, or in several that torchrun starts.

    python -m meddiff.diffusion.launch JOB

is what each of several processes runs, with the job as JSON.
"""

import hashlib
import json
import logging
import os
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from meddiff.core.arrays import load_by_class, load_images, load_sets, save_array
from meddiff.core.checkpoints import save_checkpoint
from meddiff.core.devices import limit_threads
from meddiff.core.errors import MeddiffError
from meddiff.core.files import sha256_file, write_csv
from meddiff.core.imports import leave_out_optional
from meddiff.core.settings import ComputeSettings
from meddiff.diffusion.checkpointing import CheckpointFile
from meddiff.diffusion.latent.autoencoder import PREFIX, Autoencoder, load_autoencoder
from meddiff.diffusion.settings import DiffusionSettings
from meddiff.diffusion.torchrun import run_processes
from meddiff.diffusion.training.callbacks import SpeedLog, TensorBoard
from meddiff.diffusion.training.distributed import setup_runtime
from meddiff.diffusion.training.images import Images
from meddiff.diffusion.training.loop import Callback, train_ddpm
from meddiff.diffusion.training.trainer import TrainedDdpm


@dataclass(frozen=True)
class DdpmJob:
    """All that a process needs to know of a training; paths are relative to where it runs.

    Attributes:
        name: class, or `all`.
        validation: image sets of the validation loss; none for no such loss.
        settings: `DiffusionSettings` of this class.
        code: digest of the code that the result depends on.
        classes: of a net for all classes, in the order of their labels; names of the files of
            their images.
        autoencoder: checkpoint of the autoencoder whose latents the net learns, or None.
    """

    name: str
    images: list[str]
    validation: list[str]
    settings: dict[str, Any]
    seed: int
    code: str
    compute: dict[str, Any]
    device: str
    checkpoint: str
    history: str
    previews: str
    speed: str
    classes: list[str] = field(default_factory=list)
    autoencoder: str | None = None

    @property
    def state(self) -> Path:
        """Where the resumable state lies."""
        return Path(self.checkpoint).with_suffix(".state.safetensors")

    @property
    def board(self) -> Path:
        """Folder for TensorBoard, as the checkpoint is named below `models/` or `models/ddpm/`."""
        _, *parts = Path(self.checkpoint).with_suffix("").parts
        return Path("logs/tensorboard", *(parts[1:] if parts[:1] == ["ddpm"] else parts))

    def key(self) -> dict[str, str]:
        """Return what the result depends on, by name."""
        sets = [*self.images, *self.validation, *filter(None, [self.autoencoder])]
        return {
            "the settings": _digest(self.settings),
            "the classes": _digest(self.classes),
            "the seed": str(self.seed),
            "the images": _digest([sha256_file(path) for path in sets]),
            "the code": self.code,
        }


def launch(job: DdpmJob) -> None:
    """Train and write what the job names; its state stays until `discard_checkpoint`.

    Raises:
        MeddiffError: as `train_ddpm`; the state is kept.
    """
    compute = ComputeSettings.model_validate(job.compute)
    if compute.processes * compute.nodes == 1:
        run_worker(job)
    else:
        arguments = ["-m", "meddiff.diffusion.launch", json.dumps(asdict(job))]
        run_processes(arguments, compute, f"ddpm {job.name}")


def discard_checkpoint(job: DdpmJob) -> None:
    """Delete the state of a training whose outputs are safe."""
    CheckpointFile(job.state, {}).remove()


def run_worker(job: DdpmJob) -> None:
    """Take part in a training as one process; the first writes what the job names."""
    compute = ComputeSettings.model_validate(job.compute)
    settings = DiffusionSettings.model_validate(job.settings)
    runtime = setup_runtime(
        job.device, settings.precision, processes=compute.processes, nodes=compute.nodes
    )
    images = _read(job.images, job.classes)
    autoencoder = None
    if job.autoencoder:
        autoencoder = load_autoencoder(job.autoencoder, runtime.fabric.device)
    callbacks: list[Callback] = []
    with ExitStack() as stack:
        file = CheckpointFile(job.state, job.key(), 60 * compute.checkpoint_minutes)
        if runtime.rank == 0:
            stack.enter_context(file)
            callbacks.append(SpeedLog(job.speed))
            if compute.tensorboard:
                callbacks.append(stack.enter_context(TensorBoard(job.board)))
        trained = train_ddpm(
            images,
            settings,
            seed=job.seed,
            name=job.name,
            validation=_read(job.validation, job.classes) if job.validation else None,
            runtime=runtime,
            checkpointer=file,
            compiled=compute.compile,
            callbacks=tuple(callbacks),
            autoencoder=autoencoder,
        )
    if runtime.rank == 0:
        _write(job, trained, autoencoder)


def _write(job: DdpmJob, trained: TrainedDdpm, autoencoder: Autoencoder | None) -> None:
    write_csv(trained.history, job.history)
    save_array(trained.previews, job.previews)
    size, _, channels = load_images(job.images[0]).shape[1:]
    about = {"class": job.name, "classes": job.classes, "settings": job.settings}
    about |= {"size": size, "channels": channels}
    weights = dict(trained.weights)
    if autoencoder:
        # Beside the net, so that one file is all that sampling needs.
        weights |= {PREFIX + key: each for key, each in autoencoder.state_dict().items()}
    save_checkpoint(job.checkpoint, weights, about)


def _read(paths: list[str], classes: list[str]) -> Images:
    return load_by_class(paths, classes) if classes else load_sets(paths)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _main() -> None:
    leave_out_optional()
    job = DdpmJob(**json.loads(sys.argv[1]))
    first = os.environ.get("RANK", "0") == "0"
    logging.basicConfig(level=logging.INFO if first else logging.ERROR, format="%(message)s")
    limit_threads(ComputeSettings.model_validate(job.compute).threads)
    try:
        run_worker(job)
    except MeddiffError as error:
        print(f"error: {error}", flush=True)
        sys.exit(1)


if __name__ == "__main__":
    _main()
