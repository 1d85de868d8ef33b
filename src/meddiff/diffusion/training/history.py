"""What happened in a training so far."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from meddiff.core.batches import Batch

COLUMNS = ["step", "epoch", "loss", "validation_loss", "lr"]


@dataclass
class History:
    """What happened so far."""

    done: int = 0
    lr: float = math.nan
    losses: list[float] = field(default_factory=list)
    rows: list[dict[str, float]] = field(default_factory=list)
    previews: list[np.ndarray] = field(default_factory=list)

    def values(self) -> dict[str, Any]:
        """Return all but the previews as JSON holds it."""
        return {name: value for name, value in vars(self).items() if name != "previews"}

    def add(self, losses: list[float], lr: float) -> None:
        """Record the losses of the latest steps, and the last one's rate."""
        self.done += len(losses)
        self.losses += losses
        self.lr = lr

    def end_epoch(self, batch: Batch, validation_loss: float) -> dict[str, float]:
        """Add and return the row of the epoch that ends with this batch."""
        row = {
            "step": batch.step,
            "epoch": batch.epoch,
            "loss": float(np.mean(self.losses)),
            "validation_loss": validation_loss,
            "lr": self.lr,
        }
        self.rows.append(row)
        self.losses = []
        return row


def preview_epochs(history: pd.DataFrame, every: int) -> list[int]:
    """Return the epochs after which previews were drawn: every so many, and the last."""
    epochs = history["epoch"]
    return epochs[(epochs % every == 0) | (epochs == epochs.max())].tolist()
