"""Callbacks of a training: a table of its speed, TensorBoard."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from meddiff.core.imports import needing

AFFECTS_RESULTS = False


class Callback(Protocol):
    """Called after each epoch; must not affect the training."""

    def on_epoch_end(
        self, row: Mapping[str, float], images_per_second: float, previews: np.ndarray | None
    ) -> None:
        """Receive the latest row of the history, the speed, and the images drawn, if any."""


class SpeedLog:
    """A table of images per second: epoch, step, images_per_second.

    It stands apart from the history, which comes out the same twice. A training that resumes adds
    to the rows that are there.
    """

    def __init__(self, path: str | Path) -> None:
        self._path, self._started = Path(path), False

    def on_epoch_end(
        self, row: Mapping[str, float], images_per_second: float, previews: np.ndarray | None
    ) -> None:
        """Add a row."""
        added = [row["epoch"], row["step"], f"{images_per_second:.4g}"]
        if not self._started:
            self._start(row["epoch"])
        with self._path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(added)

    def _start(self, epoch: float) -> None:
        """Keep the rows before this epoch of a training that resumes."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        kept: list[list[str]] = []
        if epoch > 1 and self._path.exists():
            with self._path.open(newline="") as file:
                kept = [row for row in csv.reader(file) if row[0].isdigit() and int(row[0]) < epoch]
        with self._path.open("w", newline="") as file:
            rows = [["epoch", "step", "images_per_second"], *kept]
            csv.writer(file, lineterminator="\n").writerows(rows)
        self._started = True


class TensorBoard:
    """Curves and previews for TensorBoard; a context manager.

    Raises:
        MeddiffError: tensorboardX is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        with needing("tensorboard", "compute.tensorboard"):
            from tensorboardX import SummaryWriter
        self._writer: Any = SummaryWriter(str(folder))

    def __enter__(self) -> "TensorBoard":
        return self

    def __exit__(self, *failure: object) -> None:
        self._writer.close()

    def on_epoch_end(
        self, row: Mapping[str, float], images_per_second: float, previews: np.ndarray | None
    ) -> None:
        """Add a point to each curve, by step, and the previews as a row of images."""
        step = int(row["step"])
        for name in ("loss", "validation_loss", "lr"):
            if np.isfinite(row[name]):
                self._writer.add_scalar(name, row[name], step)
        self._writer.add_scalar("images_per_second", images_per_second, step)
        if previews is not None:
            self._writer.add_images("previews", previews, step, dataformats="NHWC")
        self._writer.flush()
