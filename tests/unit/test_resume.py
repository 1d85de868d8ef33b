"""A training that is killed goes on from its saved state and ends with the same bits."""

import multiprocessing
import os
import random
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from meddiff.core.checkpoints import load_checkpoint
from meddiff.core.errors import MeddiffError
from meddiff.diffusion.checkpointing import CheckpointFile, TrainState
from meddiff.diffusion.settings import DiffusionSettings
from meddiff.diffusion.training.loop import train_ddpm
from meddiff.diffusion.training.trainer import TrainedDdpm
from nets import OTHERS, TINY

KEY = {"the settings": "1"}
IMAGES = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), dtype=np.uint8)


def settings_of(**changes: object) -> DiffusionSettings:
    fixed = {"steps": 40, "batch_size": 4, "network": TINY, "lr": 1e-3, "ema": 0.9}
    previews = {"validation_every": 2, "preview": {"images": 2, "steps": 3}}
    return DiffusionSettings.model_validate(fixed | previews | changes)


def train(settings: DiffusionSettings, **options: object) -> TrainedDdpm:
    return train_ddpm(IMAGES, settings, seed=0, name="x", validation=IMAGES[:5], **options)


def train_safely(settings: DiffusionSettings, path: Path, **options: object) -> TrainedDdpm:
    with CheckpointFile(path, KEY) as file:
        return train(settings, checkpointer=file, **options)


def assert_same(result: TrainedDdpm, expected: TrainedDdpm) -> None:
    assert result.weights.keys() == expected.weights.keys()
    assert all(torch.equal(result.weights[key], w) for key, w in expected.weights.items())
    assert result.history.equals(expected.history)
    assert np.array_equal(result.previews, expected.previews)


@pytest.fixture(scope="module")
def uninterrupted() -> TrainedDdpm:
    """What the training of `settings_of()` makes in one go."""
    return train(settings_of())


def steps_done(path: Path) -> int:
    return load_checkpoint(path)[1]["values"]["history"]["done"] if path.exists() else 0


class Ends(Exception):
    """Stands for whatever ends a process."""


class EndsAfter:
    """A callback that ends a training after an epoch, before its state is saved."""

    def __init__(self, epoch: int) -> None:
        self.last = epoch

    def on_epoch_end(
        self, row: dict, images_per_second: float, previews: np.ndarray | None
    ) -> None:
        if row["epoch"] == self.last:
            raise Ends


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lr_schedule": "plateau", "ema": None, "optimizer": "adam"},
        {
            "lr_schedule": "linear",
            "gradient_accumulation": 2,
            "min_snr": 5.0,
            "precision": "bf16",
            "augmentation": "isic2016",
        },
        {"precision": "fp16", "schedule": {"prediction": "epsilon", "betas": "linear"}},
        *(pytest.param({"schedule": {"process": p}}, marks=pytest.mark.slow) for p in OTHERS),
    ],
    ids=["warm-up", "plateau", "bf16", "fp16", *OTHERS],
)
def test_every_part_of_a_training_goes_on(
    tmp_path: Path, uninterrupted: TrainedDdpm, changes: dict
) -> None:
    settings = settings_of(**changes)
    expected = train(settings) if changes else uninterrupted
    for epoch in (1, 3):
        with pytest.raises(Ends):
            train_safely(settings, tmp_path / "x.safetensors", callbacks=(EndsAfter(epoch),))
    assert 0 < steps_done(tmp_path / "x.safetensors") < 40
    assert_same(train_safely(settings, tmp_path / "x.safetensors"), expected)


@pytest.mark.timeout(2400)  # a cold compiler takes minutes on two cores
@pytest.mark.slow
def test_a_compiled_training_goes_on_and_draws(tmp_path: Path) -> None:
    """It learns as the plain one does, but for rounding, and ends with the same bits twice."""
    path, settings = tmp_path / "x.safetensors", settings_of(steps=12, ema=None)
    expected = train(settings, compiled=True)
    with pytest.raises(Ends):
        train_safely(settings, path, compiled=True, callbacks=(EndsAfter(1),))
    assert 0 < steps_done(path) < 12
    assert_same(train_safely(settings, path, compiled=True), expected)
    plain = train(settings)
    assert not all(torch.equal(plain.weights[key], w) for key, w in expected.weights.items())
    assert np.allclose(plain.history["loss"], expected.history["loss"], rtol=1e-4)
    assert np.abs(plain.previews.astype(int) - expected.previews).max() <= 3


def attempt(path: Path, result: Path, settings: DiffusionSettings) -> None:
    """What a child process does: train, and tell the digest of what came out."""
    torch.set_num_threads(1)
    trained = train_safely(settings, path)
    partial = result.with_suffix(".part")
    torch.save({**trained.weights, "previews": torch.from_numpy(trained.previews)}, partial)
    trained.history.to_json(result.with_suffix(".json"), double_precision=15)
    partial.rename(result)


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """SIGKILL, whatever the process is doing: also while it saves."""
    most = 20
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["meddiff.diffusion.training.loop"])
    path, result = tmp_path / "x.safetensors", tmp_path / "result.pt"
    chance, kills, seen = random.Random(0), 0, []
    settings = settings_of(steps=20 * most + 20, validation_every=4)
    while not result.exists():
        child = context.Process(target=attempt, args=(path, result, settings))
        child.start()
        begun = steps_done(path)
        while child.is_alive() and kills < most and steps_done(path) <= begun:
            time.sleep(0.05)
        if kills < most:
            time.sleep(chance.uniform(0, 0.15))
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.join()
        seen.append(steps_done(path))
        print(f"kill {kills}: {seen[-1]} steps are saved")
    assert kills == most and seen == sorted(seen)
    assert len(set(seen)) > most / 2, "most kills came before any progress"
    expected = train(settings)
    state = torch.load(result, weights_only=True)
    assert np.array_equal(state.pop("previews").numpy(), expected.previews)
    assert all(torch.equal(state[key], w) for key, w in expected.weights.items())
    history = expected.history.to_json(double_precision=15)
    assert result.with_suffix(".json").read_text() == history


def test_sigterm_saves_and_ends_in_one_line(tmp_path: Path, uninterrupted: TrainedDdpm) -> None:
    class Terminates:
        def on_epoch_end(self, row: dict, images_per_second: float, previews: object) -> None:
            if row["epoch"] == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    path = tmp_path / "x.safetensors"
    with (
        pytest.raises(MeddiffError, match=r"SIGTERM.* 17/40"),
        CheckpointFile(path, KEY, 9999) as file,
    ):
        train(settings_of(), checkpointer=file, callbacks=(Terminates(),))
    assert signal.getsignal(signal.SIGTERM) == before
    assert steps_done(path) == 17
    assert_same(train_safely(settings_of(), path), uninterrupted)


def test_a_loss_that_explodes_keeps_the_last_good_state(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(Ends):
        train_safely(settings_of(), path, callbacks=(EndsAfter(2),))
    good = path.read_bytes()
    monkeypatch.setattr(
        "meddiff.diffusion.training.steps.denoising_loss",
        lambda network, *_, **__: next(network.parameters()).sum() * float("nan"),
    )
    with pytest.raises(MeddiffError, match=r"nan .*x\.last_good\.safetensors"):
        train_safely(settings_of(), path)
    assert (tmp_path / "x.last_good.safetensors").read_bytes() == good
    assert not path.exists()


@pytest.mark.parametrize("saved", [True, False])
def test_a_training_that_diverged_is_not_repeated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, saved: bool
) -> None:
    """As Slurm and `--retries` would: the same line at once. With anything changed it trains."""
    path, steps = tmp_path / "x.state.safetensors", []
    bad = settings_of(lr=1e6, lr_schedule="constant", optimizer="adam", ema=None)
    before = CheckpointFile(path, KEY, 0 if saved else 9999)

    class Counts:
        def on_epoch_end(self, row: dict, images_per_second: float, previews: object) -> None:
            steps.append(row["step"])

    with pytest.raises(MeddiffError, match=r"x: .*diffusion\.lr") as first, before as file:
        train(bad, checkpointer=file, callbacks=(Counts(),))
    assert ("x.last_good.safetensors" in str(first.value)) == saved
    steps.clear()
    for _ in range(2):
        with pytest.raises(MeddiffError) as again, CheckpointFile(path, KEY) as file:
            train(bad, checkpointer=file, callbacks=(Counts(),))
        assert str(again.value) == str(first.value) and not steps
    assert "x.diverged.json" in caplog.text
    with CheckpointFile(path, {"the settings": "2"}, 9999) as file:
        train(settings_of(steps=1), checkpointer=file)
    file.remove()
    assert not (tmp_path / "x.diverged.json").exists()


def test_a_note_of_a_divergence_that_cannot_be_read_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for note in ("[", "[]", "{}"):
        (tmp_path / "x.diverged.json").write_text(note)
        assert CheckpointFile(tmp_path / "x.state.safetensors", KEY).load() is None
        assert "x.diverged.json" in caplog.text
        caplog.clear()


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    """A rate without measure breaks the weights in a step whose own loss was still good."""
    path = tmp_path / "x.safetensors"
    settings = settings_of(lr=3e38, lr_schedule="constant", optimizer="adam")
    with pytest.raises(MeddiffError, match=r"\d+/40.*diffusion\.lr"):
        train_safely(settings, path)
    assert not path.exists()


class TestStateFile:
    def test_another_key_is_told_and_not_used(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = tmp_path / "x.safetensors"
        with CheckpointFile(path, {"the code": "1", "the seed": "1"}) as file:
            file.save(TrainState({"a": torch.zeros(2)}, {"b": 1.5}))
        with (
            CheckpointFile(path, {"the code": "2", "the seed": "1"}) as file,
            caplog.at_level("INFO"),
        ):
            assert file.load() is None
        assert re.search(r"the code .*x\.safetensors", caplog.text)
        assert "the seed" not in caplog.text

    def test_values_and_tensors_come_back(self, tmp_path: Path) -> None:
        values = {
            "lr": 0.1 + 0.2,
            "rows": [{"loss": float("nan"), "step": 3}],
            "best": float("inf"),
        }
        with CheckpointFile(tmp_path / "x.safetensors", KEY) as file:
            file.save(TrainState({"a": torch.arange(6.0).reshape(2, 3)}, values))
            state = file.load()
        assert torch.equal(state.tensors["a"], torch.arange(6.0).reshape(2, 3))
        assert state.values["lr"] == 0.1 + 0.2 and state.values["best"] == float("inf")
        assert np.isnan(state.values["rows"][0]["loss"])

    @pytest.mark.parametrize("damage", [b"", b"x" * 100])
    def test_a_damaged_state_is_left_behind(
        self,
        tmp_path: Path,
        damage: bytes,
        uninterrupted: TrainedDdpm,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        (tmp_path / "x.safetensors").write_bytes(damage)
        result = train_safely(settings_of(), tmp_path / "x.safetensors")
        assert "cannot read" in caplog.text
        assert_same(result, uninterrupted)

    def test_half_written_files_are_cleared_and_others_are_not(self, tmp_path: Path) -> None:
        left, other = (
            tmp_path / ".x.state-ab12cd34.safetensors",
            tmp_path / ".y.state-1.safetensors",
        )
        for file in (left, other):
            file.write_bytes(b"half")
        with CheckpointFile(tmp_path / "x.state.safetensors", KEY):
            assert not left.exists() and other.exists()

    def test_two_trainings_do_not_share_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("meddiff.diffusion.checkpointing.WAIT", 0.1)
        path = tmp_path / "x.safetensors"
        with (
            CheckpointFile(path, KEY),
            pytest.raises(MeddiffError, match=r"x\.safetensors"),
            CheckpointFile(path, KEY),
        ):
            pass

    def test_nothing_is_left(self, tmp_path: Path) -> None:
        with CheckpointFile(tmp_path / "x.safetensors", KEY) as file:
            file.save(TrainState({}, {}))
        file.remove()
        assert list(tmp_path.iterdir()) == []
