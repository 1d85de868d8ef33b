"""Snakemake is killed while a DDPM trains; the next run goes on and ends with the same bytes."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import ROOT, SMOKE
from meddiff.core.checkpoints import load_checkpoint

pytestmark = pytest.mark.slow

TARGET = "models/ddpm/benign.safetensors"
STATE = "models/ddpm/benign.state.safetensors"
LONGER = "diffusion: {steps: 150}\ncompute: {checkpoint_minutes: 0}\n"


def start(directory: Path, overlay: Path) -> subprocess.Popen:
    """Start Snakemake in a process group of its own."""
    program = Path(sys.executable).with_name("snakemake")
    arguments = [program, "--cores", "1", "--directory", directory, TARGET, "--configfile"]
    return subprocess.Popen(
        [*map(str, arguments), str(SMOKE), str(overlay)],
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_a_killed_run_goes_on(tmp_path: Path, snakemake) -> None:
    overlay = tmp_path / "longer.yaml"
    overlay.write_text(LONGER)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    running = start(killed, overlay)
    while running.poll() is None and not (killed / STATE).exists():
        time.sleep(0.05)
    assert running.poll() is None, "it ended before it could be killed"
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    done = load_checkpoint(killed / STATE)[1]["values"]["history"]["done"]
    assert 0 < done < 150 and not (killed / TARGET).exists()
    configs = [SMOKE, overlay]
    snakemake(killed, TARGET, "--unlock", configs=configs)
    snakemake(killed, TARGET, configs=configs)
    log = (killed / "logs/train_ddpm/benign.log").read_text()
    assert re.search(rf"resumed .*\b{done}/150\b", log)
    assert not list((killed / "models/ddpm").glob("*state*"))
    snakemake(whole, TARGET, configs=configs)
    for name in ("benign.safetensors", "benign_history.csv", "benign_previews.npy"):
        first, second = (folder / "models/ddpm" / name for folder in (killed, whole))
        assert first.read_bytes() == second.read_bytes(), name
