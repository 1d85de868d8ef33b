"""DDPMs of the study's library, and of MONAI, are taken over; nothing else is."""

import pickle
from pathlib import Path

import monai.config
import monai.utils.enums
import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError
from safetensors.torch import save_file

from conftest import ROOT
from meddiff.core.errors import MeddiffError
from meddiff.diffusion.importing import import_ddpm
from meddiff.diffusion.model import build_network
from meddiff.diffusion.settings import ClassSettings, DiffusionSettings
from nets import process

monai.config.IgniteInfo = monai.utils.enums.IgniteInfo

NETWORK = {
    "channels": [8, 16, 16],
    "attention": [False, True, True],
    "residual_blocks": 1,
    "head_channels": 8,
    "norm_groups": 4,
}
SETTINGS = DiffusionSettings.model_validate({"network": NETWORK})
NETWORK_KEY = r"diffusion\.classes\.<class>\.network"


def shaken(network: torch.nn.Module) -> torch.nn.Module:
    """Give every weight a value: the last convolution starts at zero and would hide faults."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


@pytest.fixture(scope="module")
def studys() -> torch.nn.Module:
    from generative.networks.nets import DiffusionModelUNet

    return shaken(
        DiffusionModelUNet(
            spatial_dims=2,
            in_channels=3,
            out_channels=3,
            num_channels=NETWORK["channels"],
            attention_levels=NETWORK["attention"],
            num_res_blocks=1,
            num_head_channels=8,
            norm_num_groups=4,
        )
    )


def assert_same_net(weights: dict, reference: torch.nn.Module) -> None:
    ours = build_network(3, **NETWORK)
    ours.load_state_dict(weights)
    noisy, times = torch.randn(2, 3, 16, 16), torch.tensor([3, 700])
    with torch.no_grad():
        expected = reference(noisy, timesteps=times)
        assert expected.std() > 0.01
        assert (ours.eval()(noisy, timesteps=times) - expected).abs().max() < 1e-5


WRAPPED = {
    "alone": lambda state: state,
    "a trainer's": lambda state: {"epoch": 3, "model_state_dict": state, "loss": 0.5},
    "nested": lambda state: {"epoch": 3, "state_dict": {"network": state}},
    "parallel": lambda state: {f"module.{k}": v for k, v in state.items()},
    "Lightning": lambda state: {"state_dict": {f"model.{k}": v for k, v in state.items()}},
    "compiled, parallel": lambda state: {f"_orig_mod.module.{k}": v for k, v in state.items()},
    "parallel, compiled": lambda state: {f"module._orig_mod.{k}": v for k, v in state.items()},
}


@pytest.mark.parametrize("wrapped", WRAPPED.values(), ids=WRAPPED)
def test_the_studys_checkpoint(studys: torch.nn.Module, tmp_path: Path, wrapped) -> None:
    torch.save(wrapped(studys.state_dict()), tmp_path / "old.pt")
    assert_same_net(import_ddpm(tmp_path / "old.pt", SETTINGS, 3), studys)


@pytest.mark.parametrize(("name", "size", "channels"), [("thesis", 64, 3), ("thesis-hand", 32, 1)])
def test_the_studys_own_nets(tmp_path: Path, name: str, size: int, channels: int) -> None:
    """As its configuration describes them, those of its library give the same outputs."""
    from generative.networks.nets import DiffusionModelUNet

    values = yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())["diffusion"]
    settings = DiffusionSettings.model_validate({"network": values["network"]})
    network = settings.network
    theirs = DiffusionModelUNet(
        spatial_dims=2,
        in_channels=channels,
        out_channels=channels,
        num_channels=network.channels,
        attention_levels=network.attention,
        num_res_blocks=network.residual_blocks,
        num_head_channels=network.head_channels,
        norm_num_groups=network.norm_groups,
    ).eval()
    torch.manual_seed(0)
    for parameter in theirs.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    torch.save(theirs.state_dict(), tmp_path / "old.pt")
    ours = build_network(channels, **network.model_dump()).eval()
    ours.load_state_dict(import_ddpm(tmp_path / "old.pt", settings, channels))
    noisy, times = torch.randn(1, channels, size, size), torch.tensor([700])
    with torch.no_grad():
        expected = theirs(noisy, timesteps=times)
        assert expected.std() > 0.01
        assert (ours(noisy, timesteps=times) - expected).abs().max() < 1e-5


def test_an_import_needs_what_weights_do_not_tell() -> None:
    with pytest.raises(ValidationError, match=r"Value error, checkpoint .*network .*schedule"):
        ClassSettings.model_validate({"checkpoint": "old.pt", "network": NETWORK})
    metadata = {"checkpoint": "old.pt", "network": NETWORK, "schedule": {"prediction": "epsilon"}}
    with pytest.raises(ValidationError, match=r"Value error, epochs .*checkpoint"):
        ClassSettings.model_validate({**metadata, "epochs": 3})
    settings = DiffusionSettings.model_validate({"classes": {"a": metadata}})
    assert settings.for_class("a").network.channels == NETWORK["channels"]
    assert settings.for_class("a").schedule.prediction == "epsilon"
    assert settings.for_class("b").network == DiffusionSettings().network


def test_monais_checkpoint(tmp_path: Path) -> None:
    network = shaken(build_network(3, **NETWORK))
    save_file(network.state_dict(), tmp_path / "new.safetensors")
    assert_same_net(import_ddpm(tmp_path / "new.safetensors", SETTINGS, 3), network)


def test_the_studys_schedule_is_ours() -> None:
    from generative.networks.schedulers import DDPMScheduler

    theirs = DDPMScheduler(1000, schedule="linear_beta", beta_start=1e-4, beta_end=2e-2)
    ours = process(
        timesteps=1000, betas="linear", beta_start=1e-4, beta_end=2e-2, prediction="epsilon"
    )
    assert torch.equal(ours.alphas_cumprod, theirs.alphas_cumprod)
    clean, noise = torch.rand(4, 3, 8, 8), torch.randn(4, 3, 8, 8)
    times = torch.tensor([0, 10, 500, 999])
    noisy = {"original_samples": clean, "noise": noise, "timesteps": times}
    signal, spread = ours.mix(times)
    assert torch.equal(signal * clean + spread * noise, theirs.add_noise(**noisy))
    velocity = theirs.get_velocity(sample=clean, noise=noise, timesteps=times)
    assert torch.equal(signal * noise - spread * clean, velocity)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": [8, 16, 32]}, "size mismatch"),
        ({"attention": [False, False, True]}, r"\bfit: .*attention|attn"),
        ({"residual_blocks": 2}, r"\bfit: |lacks "),
    ],
)
def test_another_net_is_refused(
    studys: torch.nn.Module, tmp_path: Path, changes: dict, message: str
) -> None:
    torch.save(studys.state_dict(), tmp_path / "old.pt")
    other = DiffusionSettings.model_validate({"network": NETWORK | changes})
    with pytest.raises(MeddiffError, match=rf"old\.pt .*({message}).*{NETWORK_KEY}"):
        import_ddpm(tmp_path / "old.pt", other, 3)


def test_grey_and_colour_are_told_apart(studys: torch.nn.Module, tmp_path: Path) -> None:
    torch.save(studys.state_dict(), tmp_path / "old.pt")
    with pytest.raises(MeddiffError, match=rf"old\.pt .*{NETWORK_KEY}"):
        import_ddpm(tmp_path / "old.pt", SETTINGS, 1)


@pytest.mark.parametrize("content", [b"", b"text", pickle.dumps({"a": np.ones(2)})])
def test_what_is_no_weights_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(MeddiffError, match=r"x\.pt .*\bweights\b"):
        import_ddpm(tmp_path / "x.pt", SETTINGS, 3)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": Runs()}, tmp_path / "x.pt")
    with pytest.raises(MeddiffError, match=r"x\.pt .*state_dict\(\)"):
        import_ddpm(tmp_path / "x.pt", SETTINGS, 3)
    assert not (tmp_path / "ran").exists()


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "x.pt")
    with pytest.raises(MeddiffError, match=rf"x\.pt .*{NETWORK_KEY}"):
        import_ddpm(tmp_path / "x.pt", SETTINGS, 3)
