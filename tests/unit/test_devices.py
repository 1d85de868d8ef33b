"""Every script computes on its device, as far as a CPU can tell."""

import contextlib
import runpy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning_fabric
import numpy as np
import pandas as pd
import pytest
import torch
from snakemake.iocontainers import Namedlist
from torch import nn
from torchvision.models import alexnet

import away
from conftest import ROOT
from meddiff.cas.settings import CasSettings
from meddiff.core import devices
from meddiff.core.arrays import save_array
from meddiff.core.checkpoints import save_checkpoint
from meddiff.diffusion.conditions import conditions_of
from meddiff.diffusion.latent.autoencoder import Autoencoder
from meddiff.diffusion.latent.settings import LatentSettings
from meddiff.diffusion.model import build_network
from meddiff.diffusion.sampling import ddpm, likelihood
from meddiff.diffusion.sampling import generate as generate_module
from meddiff.diffusion.sampling.generate import generate
from meddiff.diffusion.sampling.settings import SamplerSettings, SamplingSettings
from meddiff.diffusion.settings import DiffusionSettings
from meddiff.evaluation.evaluate import evaluate
from meddiff.extractors import resnet50
from meddiff.extractors.extractor import Extractor, read_extractor
from meddiff.extractors.names import module_of
from meddiff.extractors.settings import SkinLesNetSettings, TrainingSettings, UNetSettings
from meddiff.extractors.supervised import Examples, Objective, fit
from meddiff.metrics.settings import MetricsSettings
from meddiff.workflow import jobs
from meddiff.workflow.conventions import PAIRS
from nets import TINY

SCRIPTS = ROOT / "workflow/scripts"
SIDE, COUNT = 32, 9
CLASSES = ["benign", "malignant"]
KINDS = ["cuda", "mps"]
SLOW = ["dinov2", "clip"]
SHORT = {"steps": 3, "epochs": None, "batch_size": 4}
DDPM = {
    "network": TINY,
    "steps": 3,
    "batch_size": 4,
    "validation_every": 1,
    "augmentation": "isic2016",
    "min_snr": 5.0,
    "preview": {"images": 1, "steps": 2},
}

LATENT = {"steps": 4, "channels": [8, 16], "norm_groups": 4, "batch_size": 4}


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all that the scripts read."""
    folder = tmp_path_factory.mktemp("run")
    with contextlib.chdir(folder):
        make_files()
    return folder


def make_files() -> None:
    masks = (drawn(COUNT, SIDE, SIDE, 1) > 127).astype(np.uint8) * 255
    save_array(masks, "masks.npy")
    save_array(drawn(2, 3, SIDE, SIDE, 3), "previews.npy")
    history = {"step": [1, 2], "epoch": [1, 2], "loss": 1.0, "validation_loss": 1.0, "lr": 0.1}
    pd.DataFrame(history).to_csv("history.csv", index=False)
    rows = pd.DataFrame({"id": map(str, range(COUNT)), "group": map(str, range(COUNT))})
    for name in CLASSES:
        save_array(drawn(COUNT, SIDE, SIDE, 3), f"{name}.npy")
        rows.to_csv(f"{name}.csv", index=False)
    for path in images():
        save_array(255 - drawn(COUNT, SIDE, SIDE, 3), f"unseen/{path}")
    torch.manual_seed(0)
    network = build_network(3, **TINY)
    settings = DiffusionSettings.model_validate(DDPM).model_dump()
    about = {"settings": settings, "size": SIDE, "channels": 3, "class": "benign"}
    save_checkpoint("ddpm.safetensors", network.state_dict(), about)
    conditional = DiffusionSettings.model_validate(DDPM | {"conditional": True})
    network = build_network(3, **TINY, conditions=conditions_of(conditional, CLASSES))
    about |= {"class": "all", "classes": CLASSES, "settings": conditional.model_dump()}
    save_checkpoint("all.safetensors", network.state_dict(), about)
    autoencoder = Autoencoder(3, LatentSettings.model_validate(LATENT)).state_dict()
    save_checkpoint("autoencoder.safetensors", autoencoder, {"latent": LATENT, "channels": 3})
    weights = build_network(3, **TINY).state_dict()
    weights |= {f"autoencoder.{key}": weight for key, weight in autoencoder.items()}
    latent = DDPM | {"augmentation": "none", "latent": LATENT}
    about |= {"settings": DiffusionSettings.model_validate(latent).model_dump(), "classes": []}
    save_checkpoint("latent.safetensors", weights, about)
    unet = module_of("unet").UNet([8, 16], SIDE)
    about = {"extractor": "unet", "channels": [8, 16], "size": SIDE}
    save_checkpoint("unet.safetensors", unet.state_dict(), about)
    imagenet = {"weights": "random"}
    save_checkpoint("alexnet.safetensors", alexnet(weights=None).state_dict(), imagenet)
    save_checkpoint("resnet50.safetensors", resnet50.resnet50(weights=None).state_dict(), imagenet)


def images(form: str = "npy") -> list[str]:
    return [f"{name}.{form}" for name in CLASSES]


def trained(*kinds: str) -> dict[str, str]:
    forms = {"checkpoint": "out.safetensors", "previews": "out.npy"}
    return {kind: forms.get(kind, f"{kind}.csv") for kind in kinds}


FILES = {"real": images(), "synthetic": images(), "test": images(), "validation": images()}
FILES |= {f"{name}_rows": images("csv") for name in ("real", "test", "validation")}
MASKED = {"images": "benign.npy", "masks": "masks.npy"}
CAS = CasSettings.model_validate({"arms": ["real", "augmented"], **SHORT, "batch_size": 4})
SIMILARITY = {"ssim": {"kernel_size": 11}, "ms_ssim": {"kernel_size": 2}, "n_resamples": 4}
SAMPLING = SamplingSettings(images=3, steps=2, precision="bf16")
OF_CLASSIFIER = {"train": images(), "validation": images(), "test": images()}

CASES: dict[str, list[dict[str, Any]]] = {
    "train_ddpm": [
        {
            "input": {"images": sets, "validation": validation, "autoencoder": autoencoder},
            "output": trained("checkpoint", "history", "previews"),
            "settings": DDPM
            | {"conditional": bool(classes), "latent": latent}
            | ({"augmentation": "none"} if latent else {}),
            "code": "",
            "classes": classes,
        }
        for classes, sets, validation, autoencoder, latent in (
            ([], ["benign.npy"], ["malignant.npy"], [], None),
            (CLASSES, images(), images(), [], None),
            (CLASSES, images(), images(), ["autoencoder.safetensors"], LATENT),
        )
    ],
    "sample": [
        {
            "input": {"checkpoint": checkpoint},
            "output": ["out.npy"],
            "settings": SAMPLING.model_dump(exclude={"shards"}) | {"guidance": guidance},
            "code": "",
        }
        for checkpoint, guidance in (
            ("ddpm.safetensors", 0.0),
            ("all.safetensors", 1.0),
            ("latent.safetensors", 0.0),
        )
    ],
    "train_autoencoder": [
        {
            "input": {"images": images(), "validation": images(), "alexnet": alexnet},
            "output": trained("checkpoint", "history"),
            "settings": LATENT,
            "code": "",
        }
        for alexnet in ([], ["alexnet.safetensors"])
    ],
    "reconstruction": [
        {
            "input": {
                "checkpoint": "autoencoder.safetensors",
                "images": images(),
                "alexnet": alexnet,
            },
            "output": ["out.csv"],
            "window": {"kernel_size": 11, "sigma": 1.5},
            "stamp": {"seed": 0},
        }
        for alexnet in ([], ["alexnet.safetensors"])
    ],
    "ddpm_figures": [
        {
            "input": {
                "checkpoint": "ddpm.safetensors",
                "history": "history.csv",
                "previews": "previews.npy",
                "samples": "benign.npy",
            },
            "output": {
                name: f"{name}.png" for name in ("curves", "previews", "denoising", "samples")
            },
            "settings": SamplerSettings(steps=3).model_dump(),
            "drawn": [],
            "every": 1,
        }
    ],
    "features": [
        {"input": {"checkpoint": "unet.safetensors", "images": images()}, "output": ["a", "b"]}
    ],
    "segmentation_figures": [
        {
            "input": {
                "checkpoint": "unet.safetensors",
                **{name: [path] for name, path in MASKED.items()},
            },
            "output": {"masks": "masks.png", "examples": "out.png"},
        }
    ],
    "audit_halves": [
        {
            "input": {"images": images(), "checkpoints": ["unet.safetensors"]},
            "output": ["out.csv"],
            "extractors": ["unet"],
            "images": 4,
            "n_resamples": 4,
            "stamp": {"seed": 0},
        }
    ],
    "audit_trainings": [
        {
            "input": {"images": "benign.npy", "validation": "malignant.npy"},
            "output": ["out.csv"],
            "cls": "benign",
            "settings": DiffusionSettings.model_validate(DDPM).model_dump(),
            "trainings": {"epochs": 1, "seeds": 1},
            "stamp": {"seed": 0},
        }
    ],
    "train_unet": [
        {
            "input": {name: [path, path] for name, path in MASKED.items()},
            "output": trained("checkpoint", "history", "predictions"),
            "settings": UNetSettings.model_validate(SHORT | {"channels": [8, 16]}).model_dump(),
        }
    ],
    "train_classifier": [
        {
            "input": OF_CLASSIFIER | {"weights": weights},
            "output": trained("checkpoint", "history", "predictions"),
            "settings": SkinLesNetSettings.model_validate(SHORT).model_dump(),
            "wildcards": {"extractor": name},
        }
        for name, weights in (
            ("skinlesnet", []),
            ("resnet50", "resnet50.safetensors"),
            ("resnet50", []),
        )
    ],
    "cas_arms": [
        {
            "input": FILES | {"weights": weights},
            "output": ["out.csv"],
            "settings": CAS.model_dump(),
            "wildcards": {"classifier": name},
            "equal_steps": True,
            "repetitions": 1,
        }
        for name, weights in (("skinlesnet", []), ("resnet50", "resnet50.safetensors"))
    ],
    "likelihood": [
        {
            "input": {
                "training": images(),
                "unseen": [f"unseen/{path}" for path in images()],
                "ddpms": ["ddpm.safetensors", "all.safetensors"],
            },
            "output": ["out.csv"],
            "images": 2,
            "stamp": {"seed": 0},
        }
    ],
    "memorisation": [
        {
            "input": {
                **dict.fromkeys(["training", "synthetic"], images()),
                "unseen": [f"unseen/{path}" for path in images()],
                "ddpms": ["ddpm.safetensors", "all.safetensors"],
                "features": [],
            },
            "output": {"table": "out.csv", "figure": "out.png"},
            "drawn": CLASSES,
            "n_resamples": 4,
            "stamp": {"seed": 0},
        }
    ],
    "family_scores": [
        {
            "input": {
                **dict.fromkeys(["training", "synthetic"], images()),
                "unseen": [f"unseen/{path}" for path in images()],
                "extractor": "unet.safetensors",
            },
            "output": ["out.csv"],
            "judge": "unet",
            "n_resamples": 4,
        }
    ],
    "similarity": [
        {
            "input": images(),
            "output": ["out.csv"],
            "settings": MetricsSettings.model_validate(SIMILARITY).model_dump(),
            "wildcards": {"images": "real"},
        }
    ],
    "similarity_matrix": [
        {
            "input": images(),
            "output": {"ssim": "ssim.csv", "ms_ssim": "ms_ssim.csv"},
            "settings": SIMILARITY,
            "images": 4,
            "n_resamples": 4,
            "stamp": {"seed": 0},
        }
    ],
    "cas_doses": [
        {
            "input": FILES | {"more": []},
            "output": ["out.csv"],
            "settings": CAS.model_dump(),
            "repetitions": 1,
        }
    ],
}
"""How each script that computes with nets is run."""


def nets() -> list[str]:
    return [path.stem for path in SCRIPTS.glob("*.py") if "as device" in path.read_text()]


def named(files: Any) -> Namedlist:
    return Namedlist(fromdict=files) if isinstance(files, dict) else Namedlist(files)


class Alone:
    """Stands for Lightning's Fabric of one process."""

    global_rank, world_size = 0, 1

    def __init__(self, accelerator: str, **options: object) -> None:
        self.device = torch.device(accelerator)

    def setup(self, *parts: object) -> tuple[object, ...]:
        return parts

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def no_backward_sync(self, module: object, enabled: bool) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()


@pytest.fixture
def start(run: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[bool, int]]:
    """Return a function that runs a script on a device and counts layers there and on the CPU."""
    monkeypatch.chdir(run)
    monkeypatch.setattr(ddpm, "block_of", lambda *_: 4)
    short = partial(likelihood.log_density, steps=2)
    monkeypatch.setattr(likelihood, "log_density", short)
    monkeypatch.setattr(likelihood, "BLOCK", 2)
    monkeypatch.setattr(lightning_fabric, "Fabric", Alone)
    monkeypatch.setattr(jobs, "record_outputs", lambda *_: None)
    monkeypatch.setattr(jobs, "job_metadata", lambda *_, **__: {})
    monkeypatch.setattr(jobs, "leave_out_optional", lambda: None)
    monkeypatch.setattr(devices, "choose_device", lambda wanted: wanted)

    def script(name: str, case: dict[str, Any], kind: str) -> dict[bool, int]:
        params = {"seed": 0, "classes": CLASSES} | case
        files = {key: named(params.pop(key)) for key in ("input", "output")}
        wildcards = {"cls": "benign"} | params.pop("wildcards", {})
        snakemake = SimpleNamespace(
            rule=name,
            **files,
            log=Namedlist(fromdict={"main": "x.log", "speed": "speed.csv"}),
            config={"compute": {"device": kind, "threads": 1}},
            resources=SimpleNamespace(gpu=1),
            wildcards=Namedlist(fromdict=wildcards),
            params=Namedlist(fromdict=params),
        )
        with away.device(kind) as device:
            runpy.run_path(str(SCRIPTS / f"{name}.py"), {"snakemake": snakemake})
        return device.layers

    return script


def test_every_script_with_nets_is_run_here() -> None:
    assert sorted(nets()) == sorted(CASES)


SCRIPT = pytest.mark.parametrize(
    ("name", "case"),
    [(name, case) for name, cases in CASES.items() for case in cases],
    ids=[f"{name}-{number}" for name, cases in CASES.items() for number, _ in enumerate(cases)],
)


@SCRIPT
def test_a_scripts_nets_and_tensors_are_on_its_device(
    name: str, case: dict[str, Any], start: Callable[..., dict[bool, int]]
) -> None:
    for kind in KINDS if name in ("train_ddpm", "sample") else KINDS[:1]:
        try:
            layers = start(name, case, kind)
        except SystemExit:
            pytest.fail(Path("x.log").read_text())
        assert layers[True] > 0
        assert layers[False] == 0


@SCRIPT
def test_a_net_that_stays_on_the_cpu_is_found_in_every_script(
    name: str,
    case: dict[str, Any],
    start: Callable[..., dict[bool, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sampling follows its net there."""
    if f"{name}.py" in PAIRS:
        pytest.skip("has no net")
    monkeypatch.setattr(nn.Module, "to", lambda network, *_, **__: network)
    try:
        assert start(name, case, "cuda")[True] == 0
    except SystemExit:
        assert "tensors on cuda and on the CPU" in Path("x.log").read_text()


def test_a_constant_that_stays_on_the_cpu_is_found(
    start: Callable[..., dict[bool, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = resnet50._imagenet_colours.__wrapped__
    monkeypatch.setattr(resnet50, "_imagenet_colours", lambda _: real(torch.device("cpu")))
    with pytest.raises(SystemExit):
        start("train_classifier", CASES["train_classifier"][1], "cuda")
    assert "tensors on cuda and on the CPU" in Path("x.log").read_text()


READING = {
    "item": lambda images: images.float() / images.max().item(),
    "copy": lambda images: images.float() / torch.tensor([255.0], device="cuda"),
    "to the CPU": lambda images: images.cpu().to("cuda").float(),
    "choice": lambda images: images.float() if images.any() else images.float() / 255,
}


@pytest.mark.parametrize("transform", READING.values(), ids=READING)
def test_a_step_that_no_graph_can_hold_is_found(transform: Callable) -> None:
    """Steps of the scripts above pass the same check."""
    objective = Objective(transform, nn.functional.cross_entropy)
    examples = Examples(torch.ones(8, 4, dtype=torch.uint8), torch.zeros(8, dtype=torch.long))
    settings = TrainingSettings(steps=2, batch_size=4)
    with away.device("cuda"), pytest.raises(RuntimeError, match="graph"):
        fit(nn.Linear(4, 2), objective, examples, settings, seed=0, name="x", device="cuda")


@pytest.mark.parametrize(
    "name",
    ["inception", "radimagenet", *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)],
)
def test_features_of_published_nets(name: str) -> None:
    network: Any = module_of(name).build(None).eval()
    network.block = 2
    with away.device("cuda") as device:
        published = Extractor(name, network, None, "", "")
        features = published.features(drawn(2, 16, 16, 3), device="cuda")
    assert np.isfinite(features).all()
    assert device.layers[True] > 0


def test_images_of_a_checkpoint(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate_module, "choose_device", lambda wanted: wanted)
    monkeypatch.setattr(ddpm, "block_of", lambda *_: 4)
    settings = SamplerSettings(steps=2)
    with away.device("cuda"):
        images = generate(run / "ddpm.safetensors", 3, sampler=settings, device="cuda")
    assert images.shape == (3, SIDE, SIDE, 3)


def test_scores_of_image_sets(run: Path) -> None:
    def scores(kind: str) -> pd.DataFrame:
        extractors = {"unet": read_extractor(run / "unet.safetensors")}
        sets = (drawn(12, SIDE, SIDE, 3), 255 - drawn(12, SIDE, SIDE, 3))
        return evaluate(*sets, extractors, n_resamples=4, device=kind).scores

    with away.device("cuda") as device:
        ours = scores("cuda")
    assert device.layers[True] > device.layers[False] == 0
    expected = scores("cpu")
    np.testing.assert_allclose(ours["value"], expected["value"], rtol=1e-4, atol=1e-5)
    [note] = set(ours["note"].dropna()) - set(expected["note"].dropna())
    assert "float32" in note and "GPU" in note


def test_tensors_of_two_devices_do_not_meet() -> None:
    with away.device("mps"):
        there = torch.ones(2).to("mps")
        with pytest.raises(RuntimeError, match="mps"):
            there + torch.ones(2)
        with pytest.raises(RuntimeError, match="mps"):
            nn.Linear(2, 2)(there)
        assert (there + 1).cpu().tolist() == [2, 2]
