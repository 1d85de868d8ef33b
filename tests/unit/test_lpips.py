"""LPIPS between images and reconstructions."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchmetrics.functional.image.lpips import _LPIPS
from torchvision.models import alexnet

from meddiff.core.checkpoints import save_checkpoint
from meddiff.core.errors import MeddiffError
from meddiff.diffusion.latent.lpips import Lpips, load_lpips
from meddiff.diffusion.latent.settings import LatentSettings
from meddiff.diffusion.latent.training import TrainedAutoencoder, train_autoencoder
from meddiff.evaluation.reconstruction import reconstruction_table
from meddiff.workflow.config import load_config

SMALL = {"steps": 40, "channels": [8, 16], "norm_groups": 4, "batch_size": 4, "lr": 5e-3,
         "adversarial_weight": 0}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AlexNet's features with random weights, as the rule `pretrained_weights` keeps them."""
    torch.manual_seed(0)
    weights = alexnet(weights=None).state_dict()
    path = tmp_path_factory.mktemp("weights") / "alexnet.safetensors"
    save_checkpoint(path, {k: w for k, w in weights.items() if k.startswith("features.")}, {})
    return path


@pytest.fixture(scope="module")
def lpips(checkpoint: Path) -> Lpips:
    return load_lpips(checkpoint)


def photographs(count: int, size: int = 32) -> np.ndarray:
    """Smooth colours with a disc."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:size, :size] / size
    images = rng.uniform(0.4, 0.8, (count, 1, 1, 3)) + 0.2 * (x * y)[None, :, :, None]
    for image in images:
        image[(y - rng.uniform(0.3, 0.7)) ** 2 + (x - rng.uniform(0.3, 0.7)) ** 2 < 0.05] *= 0.5
    return (255 * images).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_equals_torchmetrics(checkpoint: Path, lpips: Lpips, channels: int) -> None:
    theirs = _LPIPS(pretrained=True, net="alex", pnet_rand=True).eval()
    torch.manual_seed(0)
    for name, module in alexnet(weights=None).features.named_children():
        for stage in (theirs.net.slice1, theirs.net.slice2, theirs.net.slice3,
                      theirs.net.slice4, theirs.net.slice5):  # fmt: skip
            if name in dict(stage.named_children()):
                stage.get_submodule(name).load_state_dict(module.state_dict())
    one, other = torch.rand(2, 3, channels, 40, 33) * 2 - 1
    with torch.no_grad():
        expected = theirs(one.expand(-1, 3, -1, -1), other.expand(-1, 3, -1, -1)).flatten()
    assert torch.allclose(lpips(one, other), expected, rtol=1e-5)
    assert (expected > 1e-4).all() and (lpips(one, one) == 0).all()


def test_its_weight_lowers_it(lpips: Lpips) -> None:
    images = photographs(12)

    def trained(weight: float) -> TrainedAutoencoder:
        settings = LatentSettings.model_validate(SMALL | {"perceptual_weight": weight})
        return train_autoencoder(images, settings, seed=0, lpips=lpips if weight else None)

    tables = [
        reconstruction_table(trained(weight).model, {"train": {"x": images}}, lpips,
                             kernel_size=7, sigma=1.5).set_index("metric")
        for weight in (0.0, 50.0)
    ]  # fmt: skip
    assert tables[1].loc["lpips", "value"] < 0.9 * tables[0].loc["lpips", "value"]
    assert (tables[0]["n_images"] == 12).all() and (tables[0]["ci_low"] < tables[0]["value"]).all()


def test_faults_are_one_line(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / "other.safetensors", {"features.0.bias": torch.zeros(3)}, {})
    with pytest.raises(MeddiffError, match=r"other\.safetensors .*AlexNet"):
        load_lpips(tmp_path / "other.safetensors")
    settings = {"diffusion": {"latent": {"perceptual_weight": 1}}, "data": {"size": 16}}
    with pytest.raises(MeddiffError, match=r"diffusion\.latent\.perceptual_weight"):
        load_config(settings)
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(MeddiffError, match=r"meddiff\[lpips\]"):
        load_lpips(checkpoint)
