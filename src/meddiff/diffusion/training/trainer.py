"""The training of a DDPM, step by step: net, optimiser, learning rate, average and history."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from meddiff.core.batches import FLUSH_EVERY, Batch, batches, count_steps
from meddiff.core.errors import MeddiffError
from meddiff.core.graphs import Graphed
from meddiff.core.randomness import stream_seed
from meddiff.diffusion.checkpointing import TrainState, named_moments, numbered_moments, prefixed
from meddiff.diffusion.model import build_network
from meddiff.diffusion.process import build_process
from meddiff.diffusion.settings import DiffusionSettings
from meddiff.diffusion.training.distributed import Runtime
from meddiff.diffusion.training.history import COLUMNS, History
from meddiff.diffusion.training.images import TrainingImages
from meddiff.diffusion.training.objective import draw_times_and_noise, largest_loss
from meddiff.diffusion.training.previews import previewer
from meddiff.diffusion.training.rates import LearningRate
from meddiff.diffusion.training.steps import build_model, build_step, shares

log = logging.getLogger(__name__)

EXPLODED = 10
"""A training has gone wrong when its loss is so many times the largest of an untrained net."""
VALIDATION_PIXELS = 2**21
"""Pixels of validation images that go through the net at once on a GPU."""


class Diverged(MeddiffError):
    """A loss is not finite, or has exploded."""


@dataclass(frozen=True)
class TrainedDdpm:
    """The result of a training.

    Attributes:
        weights: those to sample from.
        history: one row per epoch: step, epoch, loss, validation_loss, lr.
        previews: uint8 (validations, images, H, W, C), drawn from the same noise every time.
    """

    weights: dict[str, Tensor]
    history: pd.DataFrame
    previews: np.ndarray


class PendingLoss(NamedTuple):
    """A step whose loss was not read yet."""

    loss: Tensor
    lr: float
    images: int


class DdpmTrainer:
    """One training, step by step; arguments as for `meddiff.diffusion.training.loop.train_ddpm`,
    which loads the images."""

    def __init__(
        self,
        images: TrainingImages,
        settings: DiffusionSettings,
        seed: int,
        name: str,
        runtime: Runtime,
        compiled: bool,
    ) -> None:
        self.name, self._class, self._images = images.name, name, images
        self._settings, self._seed, self._runtime = settings, seed, runtime
        self._device = runtime.fabric.device
        torch.manual_seed(stream_seed(seed, "weights", self.name))
        network = build_network(
            images.shape[0], **settings.network.model_dump(), conditions=images.conditions
        )
        schedule = build_process(settings.schedule)
        self._model = build_model(network, schedule, settings, self._device, compiled=compiled)
        self._step = build_step(self._model, settings, runtime, self.name)
        self._limit = EXPLODED * largest_loss(schedule, settings.min_snr)
        self._group = settings.batch_size * settings.gradient_accumulation
        self.steps = count_steps(settings, images.learnt.places, self._group)
        self._rate = LearningRate(settings, self.steps)
        self._history = History()
        self._pending: list[PendingLoss] = []
        self._validate = Graphed(self._evaluate)
        self._log_plan()

    @property
    def _drawn(self) -> Sequence[str]:
        """Classes that the net draws."""
        return self._images.conditions.classes or (self._class,)

    @property
    def lr(self) -> float:
        """Learning rate of the next step."""
        return self._rate.value

    @property
    def done(self) -> int:
        """Steps taken whose losses were read."""
        return self._history.done

    def batches(self) -> Iterator[Batch]:
        """Yield the batches that are left."""
        key = (self._seed, "order", self.name)
        places = self._images.learnt.places
        return batches(places, self._group, self.steps, *key, start=self.done)

    def step(self, batch: Batch) -> None:
        """Take one optimiser step."""
        clean, *conditions = self._images.batch(batch)
        # Drawn for the whole batch, so that neither processes nor parts of it matter.
        drawn = self._draw(clean, "noise", self.name, batch.step)
        loss = self._step((clean, *drawn, *conditions), self.lr)
        self._pending.append(PendingLoss(loss, self.lr, len(batch.members)))
        self._rate.after_step()

    def is_sync_point(self, batch: Batch) -> bool:
        """Return whether the processes may agree on something after this batch."""
        alone = self._runtime.processes == 1
        return alone or self.flush_due(batch)

    def flush_due(self, batch: Batch) -> bool:
        """Return whether the pending losses have to be read after this batch."""
        return batch.ends_epoch or len(self._pending) == FLUSH_EVERY

    def flush_losses(self, batch: Batch) -> tuple[int, int, float]:
        """Read the losses up to this batch; return how many steps and images, and the last loss.

        Raises:
            Diverged: one is not finite, or far above that of the untrained net.
        """
        losses = self._sum(torch.stack([step.loss for step in self._pending])).tolist()
        first = batch.step - len(losses) + 1
        for step, (loss, pending) in enumerate(zip(losses, self._pending, strict=True), first):
            if not -self._limit <= loss <= self._limit:
                raise Diverged(
                    f"{self.name}: loss {loss:.4g} at step {step}/{self.steps} (epoch "
                    f"{batch.epoch}, learning rate {pending.lr:.3g}); lower diffusion.lr and rerun"
                )
        self._history.add(losses, self._pending[-1].lr)
        images = sum(step.images for step in self._pending)
        self._pending = []
        return len(losses), images, float(losses[-1])

    def end_epoch(self, batch: Batch) -> tuple[Mapping[str, float], np.ndarray | None]:
        """Add a row to the history; return it, and previews where they are due."""
        due = batch.epoch % self._settings.validation_every == 0 or batch.step == self.steps
        validate = due and self._images.held_out is not None
        row = self._history.end_epoch(batch, self._validation_loss() if validate else math.nan)
        self._rate.after_epoch(row["loss"])
        draws = due and self._settings.preview.images and self._runtime.rank == 0
        previews = self._previews() if draws else None
        if previews is not None:
            self._history.previews.append(previews)
        return row, previews

    def state(self) -> TrainState:
        """Return all that the following steps depend on.

        Raises:
            Diverged: weights are not finite.
        """
        network, average = self._model.network, self._model.average
        if not all(torch.isfinite(weight).all() for weight in network.parameters()):
            raise Diverged(
                f"{self.name}: weights not finite after step {self.done}/{self.steps}; lower "
                "diffusion.lr and rerun"
            )
        tensors = prefixed("network", network.state_dict())
        if average:
            tensors |= prefixed("average", average.state_dict())
        tensors |= prefixed("optimizer", named_moments(self._step.optimizer_state()))
        previews = enumerate(map(torch.from_numpy, self._history.previews))
        tensors |= prefixed("preview", {str(number): images for number, images in previews})
        values = {key: part.state_dict() for key, part in self._stateful()}
        return TrainState(tensors, {"history": self._history.values(), **values})

    def restore(self, state: TrainState) -> None:
        """Restore a state."""
        parts = state.parts()
        self._model.network.load_state_dict(parts["network"])
        if self._model.average:
            self._model.average.load_state_dict(parts["average"])
        moments = {key: _as_computed(each) for key, each in parts.get("optimizer", {}).items()}
        optimizer = self._step.optimizer_state()
        self._step.load_optimizer_state(optimizer | {"state": numbered_moments(moments)})
        for key, part in self._stateful():
            part.load_state_dict(part.state_dict() | state.values[key])
        previews = parts.get("preview", {})
        images = [previews[str(number)].numpy() for number in range(len(previews))]
        self._history = History(**state.values["history"], previews=images)

    def result(self) -> TrainedDdpm:
        """Return the weights, history and previews so far."""
        channels, height, width = self._images.shape
        images = self._settings.preview.images * len(self._drawn)
        shape = (0, images, height, width, channels)
        previews = self._history.previews
        return TrainedDdpm(
            dict(self._model.sampled.state_dict()),
            pd.DataFrame(self._history.rows, columns=COLUMNS),
            np.stack(previews) if previews else np.empty(shape, np.uint8),
        )

    def any_rank(self, flag: bool) -> bool:
        """Return whether the flag is set in any process, so that all do the same."""
        if self._runtime.processes == 1:
            return flag
        return bool(self._sum(torch.tensor(float(flag), device=self._device)).item())

    def _log_plan(self) -> None:
        size = sum(p.numel() for p in self._model.network.parameters()) / 1e6
        images, side = len(self._images.learnt.pixels), self._images.shape[1]
        plan = "%s: %d images of %d px, %.2f M parameters, %d steps of %d images on %s"
        where = self._runtime.describe()
        log.info(plan, self.name, images, side, size, self.steps, self._group, where)

    def _stateful(self) -> list[tuple[str, Any]]:
        scaler = self._runtime.scaler
        return [("rate", self._rate), *([("scaler", scaler)] if scaler else [])]

    def _draw(self, clean: Tensor, *key: int | str) -> tuple[Tensor, Tensor]:
        seed = stream_seed(self._seed, *key)
        return draw_times_and_noise(tuple(clean.shape), self._model.schedule, seed, self._device)

    def _validation_loss(self) -> float:
        """Loss of the weights that are sampled from, with the same times and noise every time."""
        clean, *conditions = self._images.validation()
        batch = (clean, *self._draw(clean, "validation", self.name), *conditions)
        size = self._settings.batch_size
        if self._device.type == "cuda":
            size = max(size, VALIDATION_PIXELS // clean[0, 0].numel())
        parts = shares(batch, size, self._runtime)
        losses = [(self._validate(*part).clone(), weight) for weight, part in parts]
        own = sum(loss.item() * weight for loss, weight in losses)
        return float(self._sum(torch.tensor(own, device=self._device)).item())

    @torch.no_grad()
    def _evaluate(self, *batch: Tensor) -> Tensor:
        return self._model.loss(self._model.sampled.eval(), batch)

    @cached_property
    def _previews(self) -> Callable[[], np.ndarray]:
        # Not compiled: for one image that would take longer than it saves in a whole training.
        return previewer(
            self._model.sampled,
            self._model.schedule,
            self._images.shape,
            self._settings.preview,
            pixel_range=self._settings.schedule.pixel_range,
            conditions=self._images.conditions,
            autoencoder=self._images.autoencoder,
            seed=self._seed,
            names=self._drawn,
        )

    def _sum(self, own: Tensor) -> Tensor:
        """Add up what the processes have."""
        if self._runtime.processes == 1:
            return own
        return cast(Tensor, self._runtime.fabric.all_reduce(own, reduce_op="sum"))


def _as_computed(tensor: Tensor) -> Tensor:
    """Lay moments out in memory as the weights are."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
