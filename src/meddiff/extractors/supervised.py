"""Supervised training: Adam, the rate halved when the training loss stalls."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from meddiff.core.batches import FLUSH_EVERY, Batch, batches, check_finite, count_steps
from meddiff.core.devices import arithmetic, to_device
from meddiff.core.graphs import Graphed, capturable_optimizer, changed_by_step, set_rate
from meddiff.core.progress import Progress
from meddiff.core.randomness import stream_seed
from meddiff.core.settings import Precision
from meddiff.extractors.settings import TrainingSettings

Net = TypeVar("Net", bound=nn.Module)
Loss = Callable[[Tensor, Tensor], Tensor]
Measure = Callable[[Tensor, Tensor], Mapping[str, float]]
"""From outputs and targets, (N, ...) on the CPU, to numbers by name."""


@dataclass(frozen=True)
class Examples:
    """Inputs and targets with as many rows."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


def to_unit_range(images: Tensor) -> Tensor:
    """Map uint8 (N,H,W,1 or 3) to float32 (N,3,H,W) in [0, 1]."""
    return images.expand(-1, -1, -1, 3).permute(0, 3, 1, 2).float() / 255


def seeded(build: Callable[[], Net], seed: int, name: str) -> Net:
    """Build a net whose first weights depend only on (seed, name)."""
    torch.manual_seed(stream_seed(seed, "weights", name))
    return build()


@dataclass(frozen=True)
class Objective:
    """What a net is trained for.

    Attributes:
        transform: maps a batch of stored inputs (uint8 images or features) to the net's input.
        loss: of outputs and targets, mean over a batch.
        measure: further scores of validation outputs, by name.
    """

    transform: Callable[[Tensor], Tensor]
    loss: Loss
    measure: Measure | None = None


def fit(
    network: nn.Module,
    objective: Objective,
    training: Examples,
    settings: TrainingSettings,
    *,
    seed: int,
    name: str,
    validation: Examples | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    plateau_every: int | None = None,
    device: str = "cpu",
) -> pd.DataFrame:
    """Train `network` in place and return its history.

    Args:
        training: every epoch is a new permutation.
        seed: fixes order and dropout.
        validation: examples for the validation loss, or None; training never depends on them.
        precision: arithmetic of the net in training; weights and losses stay float32.
        plateau_every: steps between checks of the training loss for a plateau; None: an epoch.

    Returns:
        One row per epoch: step, epoch, loss, validation_loss, lr, then the objective's scores.
        Every `validation_every` epochs and after the last the validation's numbers are there, else
        NaN.

    Raises:
        MeddiffError: the loss is no longer finite.
    """
    network.to(device)
    if precision == "bf16":
        # Twice as fast there; float32 gains nothing from it.
        network.to(memory_format=torch.channels_last)
    step = _stepper(network, objective, training, settings.lr, device=device, precision=precision)
    steps = count_steps(settings, len(training), settings.batch_size)
    torch.manual_seed(stream_seed(seed, "dropout", name))
    network.train()
    record = _Record(name, steps, _Plateau(settings.lr, plateau_every))
    with Progress(steps, name) as progress:
        for batch in batches(len(training), settings.batch_size, steps, seed, "order", name):
            record.add(batch, step(batch.members, record.lr))
            if not record.is_due(batch):
                continue
            taken, loss, lr = record.read_losses()
            progress.advance(taken, loss=loss, lr=lr)
            due = batch.epoch % settings.validation_every == 0 or batch.step == steps
            if validation is not None and batch.ends_epoch and due:
                record.rows[-1] |= _validate(network, objective, validation, device)
    network.eval()
    return pd.DataFrame(record.rows)


def _stepper(
    network: nn.Module,
    objective: Objective,
    training: Examples,
    lr: float,
    *,
    device: str,
    precision: Precision,
) -> Callable[[np.ndarray, float], Tensor]:
    """Return what takes a step with Adam, from places of examples and a rate to the loss ().

    The examples stay on the device; on CUDA each step is one replayed graph.
    """
    inputs, targets = training.inputs.to(device), training.targets.to(device)
    optimizer = capturable_optimizer(torch.optim.Adam, network, lr)

    def body(members: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with arithmetic(members.device.type, precision):
            outputs = network(objective.transform(inputs[members]))
        loss = objective.loss(outputs.float(), targets[members])
        loss.backward()
        optimizer.step()
        return loss.detach()

    # No object holds itself here: a graph's memory is free as soon as its training ends.
    run = Graphed(body, partial(changed_by_step, network, optimizer))

    def step(members: np.ndarray, lr: float) -> Tensor:
        set_rate(optimizer, lr)
        return run(to_device(torch.from_numpy(members), inputs.device)).clone()

    return step


class _Record:
    """Losses, of which some are still to be read, and one row per epoch."""

    def __init__(self, name: str, steps: int, plateau: "_Plateau") -> None:
        self._name, self._steps, self._plateau = name, steps, plateau
        self._pending: list[tuple[Batch, Tensor]] = []
        self._losses: list[float] = []
        self.rows: list[dict[str, float]] = []

    @property
    def lr(self) -> float:
        """Learning rate of the next step."""
        return self._plateau.lr

    def add(self, batch: Batch, loss: Tensor) -> None:
        """Take up a step."""
        self._pending.append((batch, loss))

    def is_due(self, batch: Batch) -> bool:
        """Return whether the losses have to be read after this batch."""
        return batch.ends_epoch or self._plateau.is_due(batch) or len(self._pending) == FLUSH_EVERY

    def read_losses(self) -> tuple[int, float, float]:
        """Return the number of steps that were pending, the last one's loss and its rate.

        Raises:
            MeddiffError: a loss is not finite.
        """
        lr, taken = self.lr, [batch for batch, _ in self._pending]
        losses = torch.stack([loss for _, loss in self._pending]).tolist()
        for batch, loss in zip(taken, losses, strict=True):
            check_finite(loss, self._name, batch, self._steps, lr, "its lr")
            self._plateau.after_step(loss, batch)
            self._losses.append(loss)
            if batch.ends_epoch:
                row: dict[str, float] = {"step": batch.step, "epoch": batch.epoch}
                row |= {"loss": float(np.mean(self._losses)), "validation_loss": math.nan, "lr": lr}
                self.rows.append(row)
                self._losses = []
        self._pending = []
        return len(taken), losses[-1], lr


class _Plateau:
    """Halves the rate when the mean training loss of `every` steps, or of an epoch, stalls."""

    def __init__(self, lr: float, every: int | None) -> None:
        # torch's schedules belong to an optimiser: this one has nothing to optimise.
        self._placeholder = torch.optim.SGD([torch.zeros(1)], lr=lr)
        self._scheduler = ReduceLROnPlateau(self._placeholder, factor=0.5, patience=1)
        self._every = every
        self._losses: list[float] = []

    @property
    def lr(self) -> float:
        """Learning rate of the next step, a Python number whatever the device."""
        return float(self._placeholder.param_groups[0]["lr"])

    def is_due(self, batch: Batch) -> bool:
        """Return whether the rate may change after this batch."""
        return batch.ends_epoch if self._every is None else batch.step % self._every == 0

    def after_step(self, loss: float, batch: Batch) -> None:
        self._losses.append(loss)
        if self.is_due(batch):
            self._scheduler.step(float(np.mean(self._losses)))
            self._losses = []


def _validate(
    network: nn.Module, objective: Objective, validation: Examples, device: str
) -> dict[str, float]:
    outputs = predict(network, network, objective.transform, validation.inputs, device=device)
    network.train()
    scores = {"validation_loss": float(objective.loss(outputs, validation.targets))}
    if objective.measure is not None:
        scores |= objective.measure(outputs, validation.targets)
    return scores


@torch.no_grad()
def predict(
    network: nn.Module,
    function: Callable[[Tensor], Tensor],
    transform: Callable[[Tensor], Tensor],
    inputs: Tensor,
    *,
    device: str = "cpu",
    batch_size: int = 64,
    padded: bool = False,
) -> Tensor:
    """Return `function(transform(inputs))` on the CPU, batch by batch.

    Args:
        network: moved to the device, switched to evaluation mode.
        function: the net or one of its methods.
        transform: maps a batch of inputs to those of `function`.
        inputs: (N, ...).
        batch_size: rounding depends on it.
        padded: fill the last batch up with zeros, so that no row depends on the number of inputs.
    """
    network.to(device).eval()
    parts = []
    for part in inputs.split(batch_size):
        lacking = batch_size - len(part) if padded else 0
        batch = torch.cat([part, part.new_zeros(lacking, *part.shape[1:])]) if lacking else part
        with arithmetic(torch.device(device).type, "fp32"):
            parts.append(function(transform(batch.to(device)))[: len(part)].cpu())
    return torch.cat(parts)
