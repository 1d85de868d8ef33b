"""Supervised training: Adam, the rate halved when the training loss stalls."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from meddiff.core.batches import Batch, batches, check_finite, count_steps
from meddiff.core.progress import Progress
from meddiff.core.randomness import stream_seed
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
        network: maps transformed inputs to what the loss compares with the targets.
        objective: transform, loss and validation scores.
        training: every epoch is a new permutation.
        seed: fixes order and dropout.
        name: what is trained, for progress and errors.
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
    inputs, targets = training.inputs.to(device), training.targets.to(device)
    optimizer = torch.optim.Adam(
        [p for p in network.parameters() if p.requires_grad], lr=settings.lr
    )
    plateau = _Plateau(optimizer, plateau_every)
    steps = count_steps(settings, len(training), settings.batch_size)
    torch.manual_seed(stream_seed(seed, "dropout", name))
    network.train()
    history = _History()
    with Progress(steps, name) as progress:
        for batch in batches(len(training), settings.batch_size, steps, seed, "order", name):
            members = torch.from_numpy(batch.members).to(device)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(inputs.device.type, torch.bfloat16, enabled=precision == "bf16"):
                outputs = network(objective.transform(inputs[members]))
            loss = objective.loss(outputs.float(), targets[members])
            loss.backward()
            rate = optimizer.param_groups[0]["lr"]
            value = loss.item()
            check_finite(value, name, batch, steps, rate, "its lr")
            optimizer.step()
            progress.advance(loss=value, lr=rate)
            plateau.after_step(value, batch)
            history.after_step(value, rate, batch)
            due = batch.epoch % settings.validation_every == 0 or batch.step == steps
            if validation is not None and batch.ends_epoch and due:
                history.rows[-1] |= _validate(network, objective, validation, device)
    network.eval()
    return pd.DataFrame(history.rows)


class _History:
    """One row per epoch."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self._losses: list[float] = []

    def after_step(self, loss: float, lr: float, batch: Batch) -> None:
        self._losses.append(loss)
        if batch.ends_epoch:
            row = {"step": batch.step, "epoch": batch.epoch, "loss": float(np.mean(self._losses))}
            self.rows.append(row | {"validation_loss": math.nan, "lr": lr})
            self._losses = []


class _Plateau:
    """Halves the rate when the mean training loss of `every` steps, or of an epoch, stalls."""

    def __init__(self, optimizer: torch.optim.Optimizer, every: int | None) -> None:
        self._scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
        self._every = every
        self._losses: list[float] = []

    def after_step(self, loss: float, batch: Batch) -> None:
        self._losses.append(loss)
        due = batch.ends_epoch if self._every is None else batch.step % self._every == 0
        if due:
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
        parts.append(function(transform(batch.to(device)))[: len(part)].cpu())
    return torch.cat(parts)
