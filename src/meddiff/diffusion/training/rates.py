"""Learning rates of a DDPM's training."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from meddiff.diffusion.settings import DiffusionSettings


class LearningRate:
    """The learning rate of each step, a Python number whatever the device."""

    def __init__(self, settings: DiffusionSettings, steps: int) -> None:
        self._settings, self._steps, self._done = settings, steps, 0
        # torch's schedules belong to an optimiser: this one has nothing to optimise.
        self._placeholder = torch.optim.SGD([torch.zeros(1)], lr=settings.lr)
        self._plateau = ReduceLROnPlateau(self._placeholder, factor=0.5, patience=1)

    @property
    def value(self) -> float:
        """Learning rate of the next step."""
        if self._settings.lr_schedule == "plateau":
            return float(self._placeholder.param_groups[0]["lr"])
        return self._settings.lr * self._factor()

    def after_step(self) -> None:
        """Count a step."""
        self._done += 1

    def after_epoch(self, loss: float) -> None:
        """Take the epoch's training loss into account."""
        if self._settings.lr_schedule == "plateau":
            self._plateau.step(loss)

    def state_dict(self) -> dict[str, Any]:
        """Return what the following rates depend on, as JSON holds it."""
        return {"done": self._done, "value": self.value, "plateau": self._plateau.state_dict()}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._done = values["done"]
        self._placeholder.param_groups[0]["lr"] = values["value"]
        self._plateau.load_state_dict(values["plateau"])

    def _factor(self) -> float:
        if self._settings.lr_schedule == "constant":
            return 1.0
        warm = max(1, self._steps // 20) if self._settings.lr_schedule == "warmup_linear" else 0
        if self._done < warm:
            return (self._done + 1) / warm
        end = self._settings.lr_end / self._settings.lr
        return 1 + (end - 1) * (self._done - warm) / max(1, self._steps - warm)
