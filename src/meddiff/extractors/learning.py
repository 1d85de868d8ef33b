"""Supervised training: Adam, the rate halved when the training loss stalls."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from meddiff.batches import batches, check_finite, count_steps
from meddiff.extractors.settings import Training
from meddiff.progress import Progress
from meddiff.randomness import stream_seed

Net = TypeVar("Net", bound=nn.Module)
Loss = Callable[[Tensor, Tensor], Tensor]


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
        validation: examples for the validation loss, or None.
        device: torch device.

    Returns:
        One row an epoch: step, epoch, loss, validation_loss, lr.

    Raises:
        MeddiffError: the loss is no longer finite.
    """
    network.to(device)
    inputs, targets = training.inputs.to(device), training.targets.to(device)
    trainable = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trainable, lr=settings.lr)
    plateau = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    steps = count_steps(settings, len(training), settings.batch_size)
    torch.manual_seed(stream_seed(seed, "dropout", name))
    network.train()
    rows: list[dict[str, float]] = []
    losses: list[float] = []
    with Progress(steps, name) as progress:
        for batch in batches(len(training), settings.batch_size, steps, seed, "order", name):
            members = torch.from_numpy(batch.members).to(device)
            optimizer.zero_grad(set_to_none=True)
            value = loss(network(transform(inputs[members])), targets[members])
            value.backward()
            rate = optimizer.param_groups[0]["lr"]
            losses.append(value.item())
            check_finite(losses[-1], name, batch, steps, rate, "its lr")
            optimizer.step()
            progress.advance(loss=losses[-1], lr=rate)
            if not batch.ends_epoch:
                continue
            due = batch.epoch % settings.validation_every == 0 or batch.step == steps
            checked = math.nan
            if validation is not None and due:
                outputs = predict(network, network, transform, validation.inputs, device=device)
                checked = float(loss(outputs, validation.targets))
                network.train()
            rows.append(
                {
                    "step": batch.step,
                    "epoch": batch.epoch,
                    "loss": float(np.mean(losses)),
                    "validation_loss": checked,
                    "lr": rate,
                }
            )
            plateau.step(rows[-1]["loss"])
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
) -> Tensor:
    """Return `function(transform(inputs))` on the CPU, batch by batch.

    `function` is the net or one of its methods; the net is switched to evaluation mode.
    """
    network.eval()
    parts = [function(transform(part.to(device))).cpu() for part in inputs.split(batch_size)]
    return torch.cat(parts)
