"""Several processes train one DDPM: torchrun and gloo on the CPU."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from meddiff.core.arrays import load_array, save_array
from meddiff.core.checkpoints import load_checkpoint
from meddiff.core.errors import MeddiffError
from meddiff.diffusion.launch import DdpmJob, discard_checkpoint, launch
from meddiff.diffusion.settings import DiffusionSettings
from meddiff.diffusion.training.distributed import setup_runtime
from nets import OTHERS, TINY


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DdpmJob:
    """Seven images in batches of two times two: epochs end with three, which two cannot halve."""
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)
    save_array(images, "train.npy")
    save_array(images[:3], "validation.npy")
    settings = {
        "steps": 8,
        "batch_size": 2,
        "gradient_accumulation": 2,
        "network": TINY,
        "lr": 1e-3,
        "ema": 0.9,
    }
    settings |= {"validation_every": 2, "preview": {"images": 2, "steps": 3}}
    return DdpmJob(
        name="x",
        images=["train.npy"],
        validation=["validation.npy"],
        settings=DiffusionSettings.model_validate(settings).model_dump(),
        seed=0,
        code="1",
        compute={"threads": 1, "checkpoint_minutes": 0},
        device="cpu",
        checkpoint="x.safetensors",
        history="x_history.csv",
        previews="x_previews.npy",
        speed="x_speed.csv",
    )


def several(job: DdpmJob, **compute: object) -> DdpmJob:
    """Return the same job for two processes, with outputs of its own."""
    outputs = {key: f"two_{getattr(job, key)}" for key in ("checkpoint", "history", "previews")}
    return replace(job, compute=job.compute | {"processes": 2} | compute, **outputs)


def assert_same_curve(job: DdpmJob, expected: DdpmJob, rtol: float) -> None:
    ours, theirs = (pd.read_csv(each.history) for each in (job, expected))
    pd.testing.assert_frame_equal(ours, theirs, rtol=rtol)


def assert_alike(job: DdpmJob, expected: DdpmJob) -> None:
    """The same curves and weights but for rounding."""
    assert_same_curve(job, expected, 1e-4)
    weights, reference = (load_checkpoint(each.checkpoint)[0] for each in (job, expected))
    for key, weight in reference.items():
        np.testing.assert_allclose(weights[key], weight, atol=2e-4)
    previews = [load_array(each.previews) for each in (job, expected)]
    assert previews[0].shape == previews[1].shape == (2, 2, 16, 16, 3)
    assert np.abs(previews[0].astype(int) - previews[1]).mean() < 1


@pytest.mark.parametrize(
    "kind", ["ddpm", *(pytest.param(kind, marks=pytest.mark.slow) for kind in OTHERS)]
)
def test_two_processes_have_the_curve_of_one(job: DdpmJob, kind: str) -> None:
    schedule = job.settings["schedule"] | {"process": kind}
    job = replace(job, settings=job.settings | {"schedule": schedule})
    launch(job)
    two = several(job)
    launch(two)
    assert_alike(two, job)


@pytest.mark.slow
def test_two_processes_train_one_net_for_all_classes(job: DdpmJob) -> None:
    """Each is given the labels of its own share."""
    classes = ["train", "validation"]
    paths = [f"{name}.npy" for name in classes]
    settings = job.settings | {"conditional": True}
    job = replace(job, images=paths, validation=paths, classes=classes, settings=settings)
    launch(job)
    two = several(job)
    launch(two)
    assert_same_curve(two, job, 1e-4)
    weights, reference = (load_checkpoint(each.checkpoint)[0] for each in (two, job))
    labels = "class_embedding.weight"
    np.testing.assert_allclose(weights[labels], reference[labels], atol=2e-4)


@pytest.mark.slow
def test_two_processes_in_mixed_precision(job: DdpmJob) -> None:
    job = replace(job, settings=job.settings | {"precision": "bf16"})
    launch(job)
    two = several(job)
    launch(two)
    assert_same_curve(two, job, 5e-3)


@pytest.mark.slow
def test_two_processes_that_are_killed_go_on(job: DdpmJob) -> None:
    """The one that started them is killed: they end too, and the next run goes on."""
    long = replace(job, settings=job.settings | {"steps": 120, "validation_every": 99})
    launch(long)
    discard_checkpoint(long)
    two = several(long)
    Path("two.json").write_text(json.dumps(asdict(two)))
    program = (
        "import json; from meddiff.diffusion.launch import *;"
        "launch(DdpmJob(**json.load(open('two.json'))))"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    while process.poll() is None and not two.state.exists():
        time.sleep(0.05)
    assert process.poll() is None, "it ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = load_checkpoint(two.state)[1]["values"]["history"]["done"]
    assert 0 < done < 120
    launch(two)
    assert_same_curve(two, long, 2e-3)
    speed = pd.read_csv(job.speed)
    assert speed["epoch"].tolist() == sorted(set(speed["epoch"])), "an epoch stands there twice"
    discard_checkpoint(two)
    assert not list(Path().glob("*state*")) and not list(Path().glob(".ddpm*"))


@pytest.mark.slow
def test_two_machines_meet_through_srun(
    job: DdpmJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for srun starts the command once for each node, here both on this machine."""
    srun = tmp_path / "bin/srun"
    srun.parent.mkdir()
    srun.write_text(
        "#!/bin/sh\n"
        'echo "$@" | grep -q -- "--overlap --nodes=2 --ntasks=2 --cpus-per-task=1 " || exit 9\n'
        "shift 5\n"
        '"$@" & "$@"; first=$?; wait $! && exit $first\n'
    )
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{srun.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr("socket.gethostname", lambda: "127.0.0.1")
    launch(job)
    two = several(job, processes=1, nodes=2)
    launch(two)
    assert_alike(two, job)


def test_several_machines_need_slurm(job: DdpmJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(MeddiffError, match=r"compute\.nodes is 2"):
        launch(several(job, nodes=2))


@pytest.mark.slow
def test_a_fault_in_a_process_is_one_line(job: DdpmJob) -> None:
    bad = several(replace(job, settings=job.settings | {"lr": 1e18, "lr_schedule": "constant"}))
    with pytest.raises(MeddiffError, match=r"^ddpm x: .*diffusion\.lr") as caught:
        launch(bad)
    assert "\n" not in str(caught.value)


def test_arithmetic_that_a_device_lacks() -> None:
    with pytest.raises(MeddiffError, match="tf32"):
        setup_runtime("cpu", "tf32")
