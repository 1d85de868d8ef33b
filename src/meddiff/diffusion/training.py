"""Training of one DDPM (Ho et al. 2020, algorithm 1)."""

import logging
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from meddiff.core.devices import memory_errors
from meddiff.core.errors import MeddiffError
from meddiff.core.progress import Progress
from meddiff.diffusion.checkpointing import Checkpointer
from meddiff.diffusion.distributed import Runtime, setup_runtime
from meddiff.diffusion.settings import DiffusionSettings
from meddiff.diffusion.trainer import DdpmTrainer, Diverged, TrainedDdpm

log = logging.getLogger(__name__)

SETTLED = 20
"""Steps after which losses are read at the latest: each reading makes a GPU wait."""
LACKS_MEMORY = (
    "lower diffusion.batch_size and raise diffusion.gradient_accumulation as much, which changes "
    "results by rounding only, or lower diffusion.network.channels"
)


class Callback(Protocol):
    """Whoever wants to be told of a training's progress; what it does changes no result."""

    def on_epoch_end(
        self, row: Mapping[str, float], images_per_second: float, previews: np.ndarray | None
    ) -> None:
        """Take note of the history's latest row, and of the images drawn after that epoch."""


def train_ddpm(
    images: np.ndarray,
    settings: DiffusionSettings,
    *,
    seed: int,
    name: str,
    validation: np.ndarray | None = None,
    runtime: Runtime | None = None,
    checkpointer: Checkpointer | None = None,
    compiled: bool = False,
    callbacks: tuple[Callback, ...] = (),
) -> TrainedDdpm:
    """Train a DDPM on the images of one class.

    A training that was stopped goes on from its saved state and ends with the same bits, on the
    same machine with the same number of threads. Several processes share each batch and get the
    losses of one process, but for rounding.

    Args:
        images: uint8 (N,H,W,C).
        settings: settings of this class.
        seed: fixes initial weights, image order, augmentation, time steps and noise.
        name: what is trained, for progress and errors.
        validation: uint8 (M,H,W,C) for the validation loss, or None. They are never augmented, so
            that their losses compare; the study's were, once (section 5.1).
        runtime: device, processes and arithmetic; one process on the CPU unless given.
        checkpointer: the state to go on from and to save; without it nothing is saved.
        compiled: compile the net.
        callbacks: told of every epoch, by the first process.

    Raises:
        MeddiffError: the loss is no longer finite or explodes, memory does not suffice, or the
            process is told to end (SIGTERM). The saved state is kept.
    """
    runtime = runtime or setup_runtime("cpu", settings.precision)
    with memory_errors(LACKS_MEMORY), _keeping(checkpointer, runtime), _termination() as ending:
        training = DdpmTrainer(images, settings, seed, name, runtime, validation, compiled)
        saved = checkpointer.load() if checkpointer else None
        if saved:
            training.restore(saved)
            log.info("%s: goes on after step %d", training.name, training.done)
        pace = _Pace()
        with Progress(training.steps, training.name, done=training.done) as progress:
            for batch in training.batches():
                training.step(batch)
                asked = runtime.processes == 1 or batch.ends_epoch or training.unsettled == SETTLED
                stopped = asked and training.agree(ending.is_set())
                waited = runtime.rank == 0 and checkpointer is not None and checkpointer.is_due()
                due = stopped or (asked and training.agree(waited))
                if batch.ends_epoch or due or training.unsettled == SETTLED:
                    steps, seen = training.unsettled, training.unsettled_images
                    loss = training.settle(batch)
                    pace.count(seen)
                    progress.advance(steps, loss=loss, lr=training.lr)
                if batch.ends_epoch:
                    rate = pace.images_per_second()
                    row, previews = training.end_epoch(batch)
                    for callback in callbacks if runtime.rank == 0 else ():
                        callback.on_epoch_end(row, rate, previews)
                    pace = _Pace()
                if checkpointer and due and runtime.rank == 0:
                    checkpointer.save(training.state())
                if stopped:
                    raise MeddiffError(
                        f"{training.name}: told to end at step {batch.step} of {training.steps}; "
                        "run the same command again to go on from there"
                    )
        return training.result()


@contextmanager
def _keeping(checkpointer: Checkpointer | None, runtime: Runtime) -> Iterator[None]:
    """Put the last state of a training that diverges where the next one does not replace it."""
    try:
        yield
    except Diverged as error:
        kept = checkpointer.keep_last_good() if checkpointer and runtime.rank == 0 else None
        told = f"; the last state is kept as {kept}" if kept else ""
        raise MeddiffError(f"{error}{told}") from error


class _Pace:
    """Tells how fast images go by."""

    def __init__(self) -> None:
        self._images, self._started = 0, time.monotonic()

    def count(self, images: int) -> None:
        self._images += images

    def images_per_second(self) -> float:
        return self._images / (time.monotonic() - self._started)


@contextmanager
def _termination() -> Iterator[threading.Event]:
    """Yield what SIGTERM sets, so that a training told to end can save its state."""
    ending = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return
    before = signal.signal(signal.SIGTERM, lambda *_: ending.set())
    try:
        yield ending
    finally:
        signal.signal(signal.SIGTERM, before)
