"""The front door: what `import meddiff` offers, and that the examples of docs/api.md hold."""

import importlib
import re
import subprocess
import sys
from inspect import ismodule

import pytest
import torch

import meddiff
from conftest import ROOT
from meddiff.core.checkpoints import save_checkpoint
from meddiff.diffusion.model import build_network
from meddiff.diffusion.sampling.ddpm import load_ddpm
from meddiff.diffusion.sampling.sample import sample_images
from meddiff.diffusion.sampling.settings import SamplerSettings
from meddiff.diffusion.settings import DiffusionSettings
from meddiff.extractors.skinlesnet import SkinLesNet

PAGE = (ROOT / "docs/api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.S)
DDPM = "models/ddpm/malignant.safetensors"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Checkpoints of untrained nets, where a run has its own."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    (tmp_path / "models/ddpm").mkdir(parents=True)
    about = {"extractor": "skinlesnet", "classes": 2, "size": 32}
    save_checkpoint("models/skinlesnet.safetensors", SkinLesNet(2, 32).state_dict(), about)
    network = {"channels": [16, 16], "attention": [False, False], "head_channels": 16}
    settings = DiffusionSettings.model_validate({"network": network, "schedule": {"timesteps": 50}})
    net = build_network(3, **settings.network.model_dump())
    about = {"class": "malignant", "settings": settings.model_dump(), "size": 16, "channels": 3}
    save_checkpoint(DDPM, net.state_dict(), about)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_run(example, run):
    exec(compile(example, "docs/api.md", "exec"), {})


def test_every_name_is_on_the_page_and_can_be_had():
    for name in meddiff.__all__:
        assert f"meddiff.{name}" in PAGE or name == "Evaluation"
        assert getattr(meddiff, name).__doc__
    with pytest.raises(AttributeError, match="nothing"):
        meddiff.nothing  # noqa: B018


def test_images_are_those_of_a_run_with_the_same_seed_class_and_sampler(run):
    sampler = SamplerSettings(steps=4)
    expected = sample_images(load_ddpm(DDPM), sampler, range(3, 6), seed=7, name="malignant")
    assert (meddiff.generate(DDPM, 6, 7, sampler=sampler, device="cpu")[3:] == expected).all()
    assert meddiff.generate(DDPM, 0, sampler=sampler).shape == (0, 16, 16, 3)


def test_importing_the_package_imports_no_other():
    code = "import sys, meddiff, meddiff.metrics; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"numpy", "pandas", "torch", "sklearn"} & set(loaded.stdout.split())


def test_no_module_hides_a_function_of_its_name():
    """Importing `metrics.fid` would put the module in the place of the function."""
    modules = {path.stem for path in (ROOT / "src/meddiff/metrics").glob("*.py")}
    assert not modules & {*meddiff.metrics.__all__}
    for name in modules - {"__init__"}:
        importlib.import_module(f"meddiff.metrics.{name}")
    assert all(not ismodule(getattr(meddiff.metrics, name)) for name in meddiff.metrics.__all__)
