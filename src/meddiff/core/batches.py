"""The order in which a training sees its images."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from meddiff.core.errors import MeddiffError
from meddiff.core.randomness import stream
from meddiff.core.settings import DurationSettings

FLUSH_EVERY = 20
"""Steps after which losses are read at the latest: each reading makes a GPU wait."""


@dataclass(frozen=True)
class Batch:
    """The images (rows, int64) of one optimiser step; steps and epochs count from 1.

    `ends_epoch` holds for the last step of a training, too.
    """

    step: int
    epoch: int
    members: np.ndarray
    ends_epoch: bool


def count_steps(duration: DurationSettings, images: int, batch_size: int) -> int:
    """Return the number of optimiser steps of a training on `images` images."""
    return duration.steps or (duration.epochs or 0) * steps_per_epoch(images, batch_size)


def batches(
    images: int, batch_size: int, steps: int, *key: int | str, start: int = 0
) -> Iterator[Batch]:
    """Yield the batches after step `start` up to `steps`.

    Every epoch is a new permutation that depends on (key, epoch) only.
    """
    per_epoch = steps_per_epoch(images, batch_size)
    for step in range(start, steps):
        epoch, within = divmod(step, per_epoch)
        if within == 0 or step == start:
            order = stream(*key, epoch).permutation(images)
        end = (within + 1) * batch_size if within + 1 < per_epoch else images
        yield Batch(
            step=step + 1,
            epoch=epoch + 1,
            members=order[within * batch_size : end],
            ends_epoch=within + 1 == per_epoch or step + 1 == steps,
        )


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Return the batches of an epoch.

    A last image alone joins the batch before, as batch norm needs two.
    """
    alone = batch_size > 1 and images > batch_size and images % batch_size == 1
    return math.ceil(images / batch_size) - alone


def check_finite(loss: float, name: str, batch: Batch, steps: int, lr: float, key: str) -> None:
    """Stop a training whose loss is no longer finite; `key` is the setting to lower."""
    if not math.isfinite(loss):
        raise MeddiffError(
            f"{name}: the loss is {loss} at step {batch.step} of {steps} (epoch {batch.epoch}, "
            f"learning rate {lr:.3g}): lower {key} and run again; finished files are kept"
        )
