"""Training of a DDPM (Ho et al. 2020, algorithm 1)."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from meddiff.core.batches import Batch
from meddiff.core.devices import memory_errors
from meddiff.core.errors import MeddiffError
from meddiff.core.progress import Progress
from meddiff.diffusion.checkpointing import CheckpointFile, interrupted_at, interruption
from meddiff.diffusion.latent.autoencoder import Autoencoder
from meddiff.diffusion.settings import DiffusionSettings
from meddiff.diffusion.training.callbacks import Callback
from meddiff.diffusion.training.distributed import Runtime, setup_runtime
from meddiff.diffusion.training.images import Images, load_training_images
from meddiff.diffusion.training.trainer import DdpmTrainer, Diverged, TrainedDdpm

log = logging.getLogger(__name__)

LACKS_MEMORY = (
    "lower diffusion.batch_size and raise diffusion.gradient_accumulation as much, which changes "
    "results by rounding only, or lower diffusion.network.channels"
)


def train_ddpm(
    images: Images,
    settings: DiffusionSettings,
    *,
    seed: int,
    name: str,
    validation: Images | None = None,
    runtime: Runtime | None = None,
    checkpointer: CheckpointFile | None = None,
    compiled: bool = False,
    callbacks: Sequence[Callback] = (),
    autoencoder: Autoencoder | None = None,
) -> TrainedDdpm:
    """Train a DDPM on the images of one class, or of all where the settings are `conditional`.

    An interrupted training resumes from its checkpoint and ends with the same bits, on the same
    machine with the same number of threads. Several processes share each batch and get the losses
    of one process, but for rounding.

    Args:
        images: uint8 (N,H,W,C), or those of each class by its name, in the order of the labels.
        seed: fixes initial weights, image order, augmentation, time steps and noise.
        name: class, or `all`, for progress and errors.
        validation: such images for the validation loss, or None. They are
            augmented once, at load, under `augment_once`, as the study's were (section 5.1), and
            never otherwise, so that their losses compare.
        runtime: device, processes and arithmetic; default: one process on the CPU.
        checkpointer: where to resume from and save to; default: nothing is saved.
        autoencoder: on the runtime's device; the net learns its latents of the images.

    Raises:
        MeddiffError: the loss is no longer finite or explodes, as it did in a training that the
            checkpointer knows of, memory does not suffice, or the process is interrupted
            (SIGTERM). The checkpoint is kept.
    """
    runtime = runtime or setup_runtime("cpu", settings.precision)
    saver = checkpointer if runtime.rank == 0 else None
    with memory_errors(LACKS_MEMORY), _keep_last_good(saver), interruption() as interrupted:
        loaded = load_training_images(
            images,
            validation,
            settings,
            runtime.fabric.device,
            seed=seed,
            name=f"ddpm {name}",
            autoencoder=autoencoder,
        )
        trainer = DdpmTrainer(loaded, settings, seed, name, runtime, compiled)
        if state := checkpointer and checkpointer.load():
            trainer.restore(state)
            log.info("%s: resumed at step %d/%d", trainer.name, trainer.done, trainer.steps)
        with Progress(trainer.steps, trainer.name, done=trainer.done) as progress:
            monitor = _Monitor(trainer, callbacks if runtime.rank == 0 else (), progress)
            for batch in trainer.batches():
                trainer.step(batch)
                sync = trainer.is_sync_point(batch)
                stop = sync and trainer.any_rank(interrupted.is_set())
                save = stop or (sync and trainer.any_rank(saver is not None and saver.is_due()))
                if save or trainer.flush_due(batch):
                    monitor.flush(batch)
                if batch.ends_epoch:
                    monitor.end_epoch(batch)
                if save and saver:
                    saver.save(trainer.state())
                if stop:
                    raise interrupted_at(trainer.name, batch.step, trainer.steps)
        return trainer.result()


class _Monitor:
    """Shows the progress of a training and calls its callbacks."""

    def __init__(
        self, trainer: DdpmTrainer, callbacks: Sequence[Callback], progress: Progress
    ) -> None:
        self._trainer, self._callbacks, self._progress = trainer, callbacks, progress
        self._images, self._started = 0, time.monotonic()

    def flush(self, batch: Batch) -> None:
        """Read the pending losses and show the last."""
        steps, images, loss = self._trainer.flush_losses(batch)
        self._images += images
        self._progress.advance(steps, loss=loss, lr=self._trainer.lr)

    def end_epoch(self, batch: Batch) -> None:
        """End the epoch and call the callbacks."""
        images_per_second = self._images / (time.monotonic() - self._started)
        row, previews = self._trainer.end_epoch(batch)
        for callback in self._callbacks:
            callback.on_epoch_end(row, images_per_second, previews)
        self._images, self._started = 0, time.monotonic()


@contextmanager
def _keep_last_good(checkpointer: CheckpointFile | None) -> Iterator[None]:
    """Rename the last checkpoint of a training that diverges, and keep why it did."""
    try:
        yield
    except Diverged as error:
        reason = str(error)
        raise MeddiffError(
            checkpointer.keep_last_good(reason) if checkpointer else reason
        ) from error
