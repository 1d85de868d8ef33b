"""Jobs leave out what MONAI and Lightning import beside what is used of them."""

import subprocess
import sys

import pytest

from meddiff.core import imports
from meddiff.core.imports import OPTIONAL, lean_imports

JOB = """
import sys
from meddiff.core.imports import leave_out_optional

leave_out_optional()
import numpy as np
from meddiff.diffusion.launch import train_ddpm
from meddiff.diffusion.settings import DiffusionSettings

network = dict(channels=[16, 32], attention=[False, True], head_channels=32, norm_groups=16)
settings = dict(steps=1, batch_size=2, network=network, preview=dict(images=1, steps=1))
settings = DiffusionSettings.model_validate(settings)
train_ddpm(np.zeros((4, 16, 16, 3), np.uint8), settings, seed=0, name="x")
print(*(name for name in sys.argv[1:] if name in sys.modules))
import torchvision
"""


def test_a_job_imports_little_and_can_import_the_rest_later() -> None:
    program = [sys.executable, "-c", JOB, *OPTIONAL]
    job = subprocess.run(program, capture_output=True, text=True, check=True)
    assert job.stdout.split() == []


def test_only_our_own_programs_leave_anything_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "OPTIONAL", ["this", "json"])
    monkeypatch.setattr(imports, "_alone", False)
    with lean_imports():
        assert "this" not in sys.modules
    monkeypatch.setattr(imports, "_alone", True)
    with lean_imports(), pytest.raises(ModuleNotFoundError):
        import this  # noqa: F401
    assert "this" not in sys.modules
    assert sys.modules["json"]
