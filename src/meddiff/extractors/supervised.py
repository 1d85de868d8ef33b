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

from meddiff.core.batches import batches, check_finite, count_steps
from meddiff.core.progress import Progress
from meddiff.core.randomness import stream_seed
from meddiff.extractors.settings import Training

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


def seeded(build: Callable[[], Net], seed: int, name: str) -> Net:
    """Build a net whose first weights depend only on (seed, name)."""
    torch.manual_seed(stream_seed(seed, "weights", name))
    return build()


def fit(
    network: nn.Module,
    transform: Callable[[Tensor], Tensor],
    loss: Loss,
    training: Examples,
    settings: Training,
    *,
    seed: int,
    name: str,
    validation: Examples | None = None,
    measure: Measure | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    plateau_every: int | None = None,
    device: str = "cpu",
) -> pd.DataFrame:
    """Train `network` in place and return its history.

    Args:
        network: maps transformed inputs to what `loss` compares with the targets.
        transform: maps a batch of stored inputs (uint8 images or features) to the net's input.
        loss: mean over a batch.
        training: inputs and targets; every epoch is a new permutation.
        settings: length, batch size and learning rate.
        seed: fixes order and dropout.
        name: what is trained, for progress and errors.
        validation: examples for the validation loss, or None; training never depends on them.
        measure: what else to tell of the validation examples, besides the loss.
        precision: arithmetic of the net while it learns; weights and losses stay float32.
        plateau_every: steps between looks at the training loss for a plateau; None: an epoch.
        device: torch device.

    Returns:
        One row an epoch: step, epoch, loss, validation_loss, lr, then what `measure` names. Every
        `validation_every` epochs and after the last the validation's numbers are there, else NaN.

    Raises:
        MeddiffError: the loss is no longer finite.
    """
    network.to(device)
    if precision == "bf16":
        # Twice as fast there; float32 gains nothing from it.
        network.to(memory_format=torch.channels_last)
    inputs, targets = training.inputs.to(device), training.targets.to(device)
    trainable = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trainable, lr=settings.lr)
    plateau = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    steps = count_steps(settings, len(training), settings.batch_size)
    torch.manual_seed(stream_seed(seed, "dropout", name))
    network.train()
    kind = torch.device(device).type
    rows: list[dict[str, float]] = []
    losses: list[float] = []
    recent: list[float] = []
    with Progress(steps, name) as progress:
        for batch in batches(len(training), settings.batch_size, steps, seed, "order", name):
            members = torch.from_numpy(batch.members).to(device)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(kind, torch.bfloat16, enabled=precision == "bf16"):
                outputs = network(transform(inputs[members]))
            value = loss(outputs.float(), targets[members])
            value.backward()
            rate = optimizer.param_groups[0]["lr"]
            losses.append(value.item())
            recent.append(losses[-1])
            check_finite(losses[-1], name, batch, steps, rate, "its lr")
            optimizer.step()
            progress.advance(loss=losses[-1], lr=rate)
            if batch.step % plateau_every == 0 if plateau_every else batch.ends_epoch:
                plateau.step(float(np.mean(recent)))
                recent = []
            if not batch.ends_epoch:
                continue
            due = batch.epoch % settings.validation_every == 0 or batch.step == steps
            checked: dict[str, float] = {}
            if validation is not None and due:
                outputs = predict(network, network, transform, validation.inputs, device=device)
                checked["validation_loss"] = float(loss(outputs, validation.targets))
                if measure is not None:
                    checked |= measure(outputs, validation.targets)
                network.train()
            rows.append(
                {
                    "step": batch.step,
                    "epoch": batch.epoch,
                    "loss": float(np.mean(losses)),
                    "validation_loss": math.nan,
                    "lr": rate,
                    **checked,
                }
            )
            losses = []
    network.eval()
    return pd.DataFrame(rows)


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
        network: switched to evaluation mode.
        function: the net or one of its methods.
        transform: maps a batch of inputs to those of `function`.
        inputs: (N, ...).
        device: torch device.
        batch_size: inputs that the net sees at once.
        padded: fill the last batch up with zeros. How many inputs a net sees at once changes its
            rounding; then no row depends on their number, which costs less than one batch more.
    """
    network.eval()
    parts = []
    for part in inputs.split(batch_size):
        lacking = batch_size - len(part) if padded else 0
        batch = torch.cat([part, part.new_zeros(lacking, *part.shape[1:])]) if lacking else part
        parts.append(function(transform(batch.to(device)))[: len(part)].cpu())
    return torch.cat(parts)
