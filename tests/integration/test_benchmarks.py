"""Benchmarks that start a training as a job do."""

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import diffusion


@pytest.mark.slow
@pytest.mark.parametrize("size", diffusion.NETS)
def test_a_timed_start_takes_a_step(size: int, tmp_path: Path) -> None:
    command = diffusion.one_step(tmp_path, diffusion.settings_of(size), {}, "cpu")
    subprocess.run([sys.executable, *command], cwd=tmp_path, check=True, timeout=300)
    assert (tmp_path / "x.safetensors").is_file()
