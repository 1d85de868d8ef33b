"""Time a DDPM's training steps, its sampling and its start against MONAI's tutorial loop.

    python benchmarks/diffusion.py --size 32     # the demo's net, batch 16
    python benchmarks/diffusion.py --size 64     # the study's net, batch 4 x 8

Both sides have the same net, images, optimiser and effective batch. The peer is the loop of
MONAI's tutorials in float32: DiffusionInferer draws times and noise and calls the net, gradients
add up over `gradient_accumulation` batches; it samples with DiffusionInferer and DDIMScheduler at
as many steps as ours. Ours is a step of `meddiff.diffusion.training.trainer` with all that belongs
to it (order, streams of noise, rates), and `sample`; `diffusion.precision` and `compute.compile`
are what a user can choose. A start is a new process that imports, builds the net, takes one step
and ends.

Every repeat runs all contenders in turn, so that a busy machine slows all alike; ratios are medians
of the repeats' own. One untimed run each comes first, and tells what compiling takes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from monai.inferers import DiffusionInferer
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler
from torch.nn.functional import mse_loss

from meddiff.core.devices import arithmetic, compile_network
from meddiff.diffusion.launch import DdpmJob
from meddiff.diffusion.model import build_network
from meddiff.diffusion.pixels import to_model_range, to_unit_range
from meddiff.diffusion.process import build_process
from meddiff.diffusion.sampling.ddpm import Ddpm
from meddiff.diffusion.sampling.sample import sample
from meddiff.diffusion.sampling.settings import SamplerSettings
from meddiff.diffusion.settings import DiffusionSettings
from meddiff.diffusion.training.distributed import setup_runtime
from meddiff.diffusion.training.images import load_training_images
from meddiff.diffusion.training.trainer import DdpmTrainer

NETS = {
    32: {"channels": [16, 32, 64], "attention": [False, False, True], "head_channels": 64},
    64: {"channels": [64, 128, 256, 256], "attention": [False, False, True, True],
         "head_channels": 256, "norm_groups": 32},
}  # fmt: skip
BATCHES = {32: (16, 1), 64: (4, 8)}
LINEAR = {"schedule": "linear_beta", "beta_start": 1e-4, "beta_end": 2e-2}
BLOCK = 32
PEER = "MONAI"
OURS = {
    "fp32": ("fp32", False),
    "fp32, compiled": ("fp32", True),
    "bf16": ("bf16", False),
    "bf16, compiled": ("bf16", True),
}
Contender = Callable[[], object]


def settings_of(
    size: int, precision: str = "fp32", batch: tuple[int, int] | None = None
) -> DiffusionSettings:
    batch_size, gradient_accumulation = batch or BATCHES[size]
    return DiffusionSettings.model_validate(
        {
            "steps": 10_000,
            "network": NETS[size],
            "schedule": {"betas": "linear", "prediction": "epsilon"},
            "batch_size": batch_size,
            "gradient_accumulation": gradient_accumulation,
            "optimizer": "adam",
            "lr": 1e-4,
            "lr_schedule": "constant",
            "ema": None,
            "precision": precision,
            "preview": {"images": 0},
        }
    )


def our_steps(
    images: np.ndarray, settings: DiffusionSettings, compiled: bool, device: str = "cpu"
) -> Contender:
    runtime = setup_runtime(device, settings.precision)
    loaded = load_training_images(images, None, settings, runtime.fabric.device, seed=0, name="x")
    trainer = DdpmTrainer(loaded, settings, 0, "x", runtime, compiled)
    batches = trainer.batches()

    def step() -> None:
        batch = next(batches)
        trainer.step(batch)
        if device == "cpu" or trainer.flush_due(batch):
            trainer.flush_losses(batch)

    return step


def tutorial_steps(
    images: np.ndarray, settings: DiffusionSettings, device: str = "cpu"
) -> Contender:
    torch.manual_seed(0)
    network = build_network(3, **settings.network.model_dump()).to(device)
    inferer = DiffusionInferer(DDPMScheduler(num_train_timesteps=1000, **LINEAR))
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.lr)
    pixels = to_model_range(to_unit_range(torch.from_numpy(images)), pixel_range=(-1, 1))
    loader = torch.utils.data.DataLoader(pixels, settings.batch_size, shuffle=True, drop_last=True)

    def batches() -> object:
        while True:
            yield from loader

    source = batches()

    def step() -> None:
        network.train()
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for _ in range(settings.gradient_accumulation):
            clean = next(source).to(device)
            noise = torch.randn_like(clean)
            times = torch.randint(0, 1000, (len(clean),), device=device)
            with arithmetic(device, settings.precision):
                predicted = inferer(
                    inputs=clean, diffusion_model=network, noise=noise, timesteps=times
                )
            loss = mse_loss(predicted.float(), noise) / settings.gradient_accumulation
            loss.backward()
            total += loss.item()
        optimizer.step()

    return step


def our_samples(
    size: int,
    steps: int,
    precision: str,
    compiled: bool,
    device: str = "cpu",
    block: int = BLOCK,
    sampler: str = "ddim",
) -> Contender:
    settings = settings_of(size)
    network = build_network(3, **settings.network.model_dump()).to(device)
    network.to(memory_format=torch.channels_last).eval()
    if compiled:
        compile_network(network, device)
    schedule = build_process(settings.schedule)
    model = Ddpm(network, schedule, (3, size, size), (-1, 1), block)
    values = {"sampler": sampler, "steps": steps, "precision": precision}
    wanted = SamplerSettings.model_validate(values)
    return lambda: list(sample(model, wanted, range(block), seed=0, name="x"))


def monais_samples(size: int, steps: int, device: str = "cpu", block: int = BLOCK) -> Contender:
    network = build_network(3, **settings_of(size).network.model_dump()).eval().to(device)
    scheduler = DDIMScheduler(num_train_timesteps=1000, **LINEAR)
    scheduler.set_timesteps(steps)
    inferer = DiffusionInferer(scheduler)

    def run() -> torch.Tensor:
        with torch.no_grad():
            return inferer.sample(
                input_noise=torch.randn(block, 3, size, size, device=device),
                diffusion_model=network,
                scheduler=scheduler,
                verbose=False,
            )

    return run


FIRST_STEP = """
import numpy, torch
from monai.inferers import DiffusionInferer
from monai.networks.nets import DiffusionModelUNet
from monai.networks.schedulers import DDPMScheduler
network = DiffusionModelUNet(spatial_dims=2, in_channels=3, out_channels=3, num_res_blocks=1,
    channels=[16, 32, 64], attention_levels=[False, False, True], num_head_channels=64,
    norm_num_groups=16, include_fc=False)
inferer = DiffusionInferer(DDPMScheduler(num_train_timesteps=1000))
optimizer = torch.optim.Adam(network.parameters())
clean = torch.from_numpy(numpy.load("images.npy")).permute(0, 3, 1, 2) / 255
noise, times = torch.randn_like(clean), torch.randint(0, 1000, (16,))
predicted = inferer(inputs=clean, diffusion_model=network, noise=noise, timesteps=times)
torch.nn.functional.mse_loss(predicted, noise).backward()
optimizer.step()
torch.save(network.state_dict(), "x.pt")
"""


def one_step(
    folder: Path, settings: DiffusionSettings, compute: Mapping[str, object], device: str
) -> list[str]:
    """Return the arguments of a Python that takes one step of a training, in this folder."""
    side = next(size for size, net in NETS.items() if net["channels"] == settings.network.channels)
    group = settings.batch_size * settings.gradient_accumulation
    np.save(folder / "images.npy", np.zeros((group, side, side, 3), np.uint8))
    job = DdpmJob(
        name="x",
        images=["images.npy"],
        validation=[],
        settings=settings.model_dump() | {"steps": 1},
        seed=0,
        code="",
        compute=dict(compute),
        device=device,
        checkpoint="x.safetensors",
        history="x.csv",
        previews="x_previews.npy",
        speed="x_speed.csv",
    )
    return ["-m", "meddiff.diffusion.launch", json.dumps(asdict(job))]


def starts(folder: Path) -> dict[str, Contender]:
    """Return a training of one step as a process of its own, ours and the peer's."""
    commands = {PEER: ["-c", FIRST_STEP], "meddiff": one_step(folder, settings_of(32), {}, "cpu")}

    def starting(command: list[str]) -> Contender:
        def start() -> None:
            done = [sys.executable, *command]
            subprocess.run(done, cwd=folder, check=True, capture_output=True)

        return start

    return {name: starting(command) for name, command in commands.items()}


def compare(title: str, images: int, contenders: Mapping[str, Contender], repeats: int) -> None:
    print(f"\n{title}")
    print(f"{'':18}{'first, s':>10}{'s':>10}{'images/s':>10}{'ratio':>8}{'least':>8}{'most':>8}")
    first = {name: seconds(run) for name, run in contenders.items()}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            times[name].append(seconds(run))
    for name, taken in times.items():
        ratios = sorted(peer / ours for peer, ours in zip(times[PEER], taken, strict=True))
        print(
            f"{name:18}{first[name]:10.1f}{median(taken):10.3f}{images / median(taken):10.2f}"
            f"{median(ratios):8.2f}{ratios[0]:8.2f}{ratios[-1]:8.2f}",
            flush=True,
        )


def seconds(run: Contender) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a DDPM against MONAI's own loops.")
    parser.add_argument("--size", type=int, choices=sorted(NETS), default=32, help="px")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--steps", type=int, default=10, help="denoising steps of the samplers")
    parser.add_argument("--ours", nargs="+", choices=OURS, default=list(OURS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size, repeats = options.size, options.repeats
    batch = np.prod(BATCHES[size])
    images = np.random.default_rng(0).integers(0, 256, (8 * batch, size, size, 3), dtype=np.uint8)
    ours = {name: OURS[name] for name in options.ours}
    training = {PEER: tutorial_steps(images, settings_of(size))}
    training |= {
        name: our_steps(images, settings_of(size, precision), compiled)
        for name, (precision, compiled) in ours.items()
    }
    compare(f"training step, {size} px, batch {BATCHES[size]}", batch, training, repeats)
    sampling = {PEER: monais_samples(size, options.steps)}
    sampling |= {name: our_samples(size, options.steps, *how) for name, how in ours.items()}
    title = f"{BLOCK} samples, {size} px, {options.steps} steps of DDIM"
    compare(title, BLOCK, sampling, repeats)
    with tempfile.TemporaryDirectory() as folder:
        compare("start to end of a training of one step, 32 px", 16, starts(Path(folder)), repeats)


if __name__ == "__main__":
    main()
