"""Callbacks of a training: its speed, TensorBoard."""

import struct
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from meddiff.core.errors import MeddiffError
from meddiff.diffusion.launch import DdpmJob
from meddiff.diffusion.training.callbacks import SpeedLog, TensorBoard


def row(epoch: int, **changes: float) -> dict[str, float]:
    values = {"step": 10 * epoch, "epoch": epoch, "loss": 1 / epoch, "lr": 1e-3}
    return values | {"validation_loss": float("nan")} | changes


class TestSpeedLog:
    def test_a_row_an_epoch(self, tmp_path: Path) -> None:
        log = SpeedLog(tmp_path / "new/speed.csv")
        for epoch in (1, 2):
            log.on_epoch_end(row(epoch), 12.3456, None)
        table = pd.read_csv(tmp_path / "new/speed.csv")
        assert table["epoch"].tolist() == [1, 2] and table["step"].tolist() == [10, 20]
        assert table["images_per_second"].tolist() == [12.35, 12.35]

    @pytest.mark.parametrize(("start", "kept"), [(3, [1, 2]), (2, [1]), (1, [])])
    def test_a_training_that_goes_on_adds(self, tmp_path: Path, start: int, kept: list) -> None:
        first = SpeedLog(tmp_path / "speed.csv")
        for epoch in (1, 2):
            first.on_epoch_end(row(epoch), 10.0, None)
        again = SpeedLog(tmp_path / "speed.csv")
        again.on_epoch_end(row(start), 20.0, None)
        assert pd.read_csv(tmp_path / "speed.csv")["epoch"].tolist() == [*kept, start]


def events(folder: Path) -> dict[tuple[str, int], object]:
    """Read TensorBoard's records: length, its checksum, a protocol buffer, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    [file] = folder.iterdir()
    data, values = file.read_bytes(), {}
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        event = Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]
        for value in event.summary.value:
            shown = value.image if value.HasField("image") else value.simple_value
            values[value.tag, event.step] = shown
    return values


class TestTensorBoard:
    def test_curves_and_previews_by_step(self, tmp_path: Path) -> None:
        with TensorBoard(tmp_path) as board:
            board.on_epoch_end(row(1), 50.0, None)
            board.on_epoch_end(row(2, validation_loss=0.25), 60.0, np.zeros((3, 8, 8, 1), np.uint8))
        values = events(tmp_path)
        assert values["loss", 10] == 1 and values["loss", 20] == 0.5
        assert ("validation_loss", 10) not in values and values["validation_loss", 20] == 0.25
        assert values["images_per_second", 20] == 60
        assert values["lr", 10] == pytest.approx(1e-3)
        image = values["previews", 20]
        assert (image.height, image.width) == (8, 24)

    def test_without_the_package_the_error_names_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "tensorboardX", None)
        with pytest.raises(MeddiffError, match=r"meddiff\[tensorboard\]"):
            TensorBoard(tmp_path)

    def test_a_training_writes_where_no_other_does(self) -> None:
        fixed = {field.name: None for field in fields(DdpmJob)}
        names = ["ddpm/a", "ddpm/b.c", "ddpm/ddpm", "families/ve/a", "families/ddpm/a"]
        jobs = [DdpmJob(**fixed | {"checkpoint": f"models/{n}.safetensors"}) for n in names]
        below = ["a", "b.c", "ddpm", "families/ve/a", "families/ddpm/a"]
        assert [job.board for job in jobs] == [Path("logs/tensorboard", name) for name in below]
