"""DDPMs on a GPU: graphs against eager steps, bit for bit, and all against the CPU."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from card import card  # noqa: F401

from meddiff.core.checkpoints import save_checkpoint
from meddiff.core.graphs import Graphed
from meddiff.diffusion.checkpointing import CheckpointFile
from meddiff.diffusion.model import build_network
from meddiff.diffusion.process import Process
from meddiff.diffusion.sampling import ddpm, sample
from meddiff.diffusion.sampling.ddpm import load_ddpm
from meddiff.diffusion.sampling.noise import philox, philox_normal
from meddiff.diffusion.sampling.sample import sample_images
from meddiff.diffusion.sampling.settings import SamplerSettings
from meddiff.diffusion.settings import DiffusionSettings
from meddiff.diffusion.training import steps, trainer
from meddiff.diffusion.training.distributed import setup_runtime
from meddiff.diffusion.training.loop import train_ddpm
from meddiff.diffusion.training.objective import draw_times_and_noise
from meddiff.diffusion.training.trainer import TrainedDdpm

pytestmark = pytest.mark.gpu

DEMO = {"channels": [16, 32, 64], "attention": [False, False, True], "head_channels": 64}
STUDY = {
    "channels": [64, 128, 256, 256],
    "attention": [False, False, True, True],
    "head_channels": 256,
    "norm_groups": 32,
}
EPSILON = {"betas": "linear", "prediction": "epsilon", "pixel_range": [0, 1]}
CHANGES = {
    "velocity": {},
    "epsilon": {"schedule": EPSILON, "optimizer": "adam", "lr_schedule": "plateau", "ema": None},
    "clean": {"schedule": {"prediction": "sample"}, "lr_schedule": "linear"},
    "min-snr": {"min_snr": 5.0, "lr_schedule": "constant"},
    "augmented": {"augmentation": "isic2016"},
    "accumulated": {"batch_size": 2, "gradient_accumulation": 4},
    "tf32": {"precision": "tf32"},
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16"},
    **{name: {"schedule": {"process": name}} for name in ("ncsn", "ve", "vp", "sub_vp")},
}
LOSS_RTOL = {"fp32": 1e-3, "tf32": 5e-3, "bf16": 2e-2, "fp16": 2e-2}
"""Largest difference of a loss from the CPU's float32, as a share."""


def images(side: int = 32, count: int = 20) -> np.ndarray:
    smooth = np.random.default_rng(0).random((count, 4, 4, 3)).repeat(side // 4, 1)
    return (255 * smooth.repeat(side // 4, 2)).astype(np.uint8)


def settings_of(**changes: object) -> DiffusionSettings:
    fixed = {"steps": 12, "batch_size": 8, "network": DEMO, "lr": 1e-3, "ema": 0.9}
    fixed |= {"validation_every": 2, "preview": {"images": 2, "steps": 4}}
    return DiffusionSettings.model_validate(fixed | changes)


def train(settings: DiffusionSettings, device: str = "cuda", **options: object) -> TrainedDdpm:
    pixels = images(64 if settings.network.channels[0] == 64 else 32)
    runtime = setup_runtime(device, settings.precision)
    options = {"validation": pixels[:5], "runtime": runtime} | options
    return train_ddpm(pixels, settings, seed=0, name="x", **options)


def assert_same(first: TrainedDdpm, second: TrainedDdpm) -> None:
    assert first.history.equals(second.history)
    for key, weight in second.weights.items():
        assert torch.equal(first.weights[key], weight), key
    assert np.array_equal(first.previews, second.previews)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function after which nothing is captured."""

    def stop() -> None:
        for module in (steps, trainer, ddpm):
            monkeypatch.setattr(module, "Graphed", partial(Graphed, enabled=False))

    return stop


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_a_replayed_graph_has_the_bits_of_eager_steps(
    changes: dict, eager: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    replayed = train(settings_of(**changes))
    assert not [each for each in caplog.records if "not captured" in each.message]
    assert_same(replayed, train(settings_of(**changes)))
    eager()
    assert_same(replayed, train(settings_of(**changes)))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_studys_net_has_the_bits_of_eager_steps(
    precision: str, eager: Callable[[], None]
) -> None:
    settings = settings_of(network=STUDY, precision=precision, steps=6)
    replayed = train(settings)
    assert_same(replayed, train(settings))
    eager()
    assert_same(replayed, train(settings))


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_losses_are_those_of_the_cpu(changes: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same times and noise for both: each draws its own otherwise."""

    def drawn_on_the_cpu(shape: tuple, process: Process, key: int, device: object) -> tuple:
        return tuple(each.to(device) for each in draw_times_and_noise(shape, process, key))

    monkeypatch.setattr(trainer, "draw_times_and_noise", drawn_on_the_cpu)
    ours = train(settings_of(**changes)).history
    cpu = train(settings_of(**changes | {"precision": "fp32"}), "cpu").history
    rtol = LOSS_RTOL[settings_of(**changes).precision]
    for column in ("loss", "validation_loss"):
        np.testing.assert_allclose(ours[column], cpu[column], rtol=rtol)
    np.testing.assert_allclose(ours["lr"], cpu["lr"])


class Ends(Exception):
    """Stands for whatever ends a process."""


class EndsAfter:
    def __init__(self, epoch: int) -> None:
        self.last = epoch

    def on_epoch_end(self, row: dict, images_per_second: float, previews: object) -> None:
        if row["epoch"] == self.last:
            raise Ends


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_a_killed_training_ends_with_the_same_bits(changes: dict, tmp_path: Path) -> None:
    def safely(**options: object) -> TrainedDdpm:
        with CheckpointFile(tmp_path / "x.safetensors", {}) as file:
            return train(settings_of(**changes), checkpointer=file, **options)

    with pytest.raises(Ends):
        safely(callbacks=[EndsAfter(2)])
    assert_same(safely(), train(settings_of(**changes)))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, process: str) -> Path:
    torch.manual_seed(0)
    network = build_network(3, **DEMO, residual_blocks=1, norm_groups=16)
    for parameter in network.parameters():
        if parameter.abs().max() == 0:
            torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path_factory.mktemp("ddpm") / "x.safetensors"
    schedule = {"process": process}
    settings = DiffusionSettings.model_validate(
        {"network": DEMO, "schedule": schedule}
    ).model_dump()
    about = {"settings": settings, "size": 32, "channels": 3}
    save_checkpoint(path, network.state_dict(), about)
    return path


SAMPLERS = [
    *(("ddpm", each) for each in ("ddpm", "ddim", "dpm_solver", "sde_dpm_solver", "pf_ode")),
    ("ncsn", "langevin"),
    ("ve", "reverse_sde"),
    ("vp", "predictor_corrector"),
    ("sub_vp", "reverse_sde"),
]
"""Every sampler, and every process."""


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
@pytest.mark.parametrize(("process", "sampler"), SAMPLERS, scope="module")
def test_samples_are_those_of_the_cpu(
    sampler: str, precision: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same noise for both: each draws its own otherwise."""

    def keyed(model: object, members: list, key: tuple, device: torch.device) -> Callable:
        return sample._device_draw(model, torch.arange(model.block).to(device))

    monkeypatch.setattr(sample, "noise_source", keyed)
    values = {"sampler": sampler, "steps": 5, "eta": 0.5}
    drawn = []
    for device, arithmetic in (("cuda", precision), ("cpu", "fp32")):
        settings = SamplerSettings.model_validate(values | {"precision": arithmetic})
        model = load_ddpm(checkpoint, device)
        drawn.append(sample_images(model, settings, range(8), seed=0, name="x").astype(int))
    assert np.abs(drawn[0] - drawn[1]).mean() < {"fp32": 0.05, "tf32": 0.5}.get(precision, 2)


@pytest.mark.parametrize(("process", "sampler"), SAMPLERS, scope="module")
def test_an_image_is_the_same_whatever_is_drawn_beside_it(
    sampler: str, checkpoint: Path, eager: Callable[[], None]
) -> None:
    settings = SamplerSettings.model_validate({"sampler": sampler, "steps": 4, "eta": 0.5})
    draw = partial(sample_images, settings=settings, seed=0, name="x")
    model = load_ddpm(checkpoint, "cuda")
    whole = draw(model, members=range(520))
    for members in ([3], [519, 2, 511]):
        assert np.array_equal(draw(load_ddpm(checkpoint, "cuda"), members=members), whole[members])
    eager()
    assert np.array_equal(draw(load_ddpm(checkpoint, "cuda"), members=range(520)), whole)


def test_noise_is_that_of_the_cpu() -> None:
    counter = [torch.arange(1000) * factor for factor in (1, 7, 11, 13)]
    key = [torch.arange(1000) * 3, torch.arange(1000) * 5]
    for ours, cpu in zip(
        philox([each.cuda() for each in counter], [each.cuda() for each in key]),
        philox(counter, key),
        strict=True,
    ):
        assert torch.equal(ours.cpu(), cpu)
    keys, number = torch.arange(5) * 2**40, torch.tensor(3)
    ours = philox_normal(keys.cuda(), number.cuda(), (3, 8, 8)).cpu()
    assert torch.allclose(ours, philox_normal(keys, number, (3, 8, 8)), atol=1e-5)


def test_what_no_graph_can_hold_goes_on_without_one(caplog: pytest.LogCaptureFixture) -> None:
    """Dropout draws from the generator that took part in the capture that failed."""
    dropout = torch.nn.Dropout(0.5)

    def body(images: torch.Tensor) -> torch.Tensor:
        dropped = dropout(images)
        assert dropped.sum().item() > 0  # copied to the host
        return dropped

    graphed, images = Graphed(body), torch.ones(256, device="cuda")
    drawn = [graphed(images).clone() for _ in range(3)]
    assert "not captured" in caplog.text
    assert not torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[1], drawn[2])


def test_parts_are_halved_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of 8 in parts of 2 learns as one of 8 does, but for rounding."""
    real = steps.denoising_loss

    def short(network: object, schedule: object, clean: torch.Tensor, *rest: object, **options):
        if len(clean) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(network, schedule, clean, *rest, **options)

    changes = {"batch_size": 2, "gradient_accumulation": 4, "validation_every": 99}
    whole = train(settings_of(**changes), validation=None)
    monkeypatch.setattr(steps, "denoising_loss", short)
    parts = train(settings_of(**changes), validation=None)
    np.testing.assert_allclose(parts.history["loss"], whole.history["loss"], rtol=1e-3)


PROGRAM = """
import sys, torch
sys.path.insert(0, {folder!r})
from meddiff.core.devices import limit_threads
from test_gpu import settings_of, train
limit_threads(2)
torch.save(train(settings_of(steps=60, precision="bf16")).weights, sys.argv[1])
"""


def test_two_trainings_at_once_have_the_bits_of_one(tmp_path: Path) -> None:
    program = PROGRAM.format(folder=str(Path(__file__).parent))
    command = [sys.executable, "-c", program]
    paths = [tmp_path / f"{number}.pt" for number in range(2)]
    running = [subprocess.Popen([*command, path], env=dict(os.environ)) for path in paths]
    assert [process.wait() for process in running] == [0, 0]
    alone = train(settings_of(steps=60, precision="bf16")).weights
    for path in paths:
        weights = torch.load(path, weights_only=True)
        assert all(torch.equal(weights[key], weight) for key, weight in alone.items())
