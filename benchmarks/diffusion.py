"""Time a DDPM's training steps and its sampling against MONAI's tutorial loop and DiffusionInferer.

    python benchmarks/diffusion.py --size 32 --threads 2          # the demo's net
    python benchmarks/diffusion.py --size 64 --threads 2          # the study's net, batch 4 x 8

Both sides have the same net, images, optimiser and effective batch. The peer is the loop of
MONAI's tutorials: DiffusionInferer draws times and noise and calls the net, gradients add up over
`accumulate` batches; it samples with DiffusionInferer and DDIMScheduler at as many steps as ours.
Ours is a step of `meddiff.diffusion.engine` with all that belongs to it (order, streams of noise,
average of weights, rates), and `sample`. Every repeat runs both in turn, so that a busy machine
slows both alike; ratios are medians of the repeats' own. One untimed run each comes first.
"""

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import torch
from monai.inferers import DiffusionInferer
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler
from torch.nn.functional import mse_loss

from meddiff.diffusion.engine import Training
from meddiff.diffusion.model import build_network, to_model_range, to_unit_range
from meddiff.diffusion.processes import connect
from meddiff.diffusion.sampling import Ddpm, sample
from meddiff.diffusion.settings import Diffusion, Sampler

NETS = {
    32: {"channels": [16, 32, 64], "attention": [False, False, True], "head_channels": 64},
    64: {"channels": [64, 128, 256, 256], "attention": [False, False, True, True],
         "head_channels": 256, "norm_groups": 32},
}  # fmt: skip
BATCHES = {32: (16, 1), 64: (4, 8)}
LINEAR = {"schedule": "linear_beta", "beta_start": 1e-4, "beta_end": 2e-2}
Contender = Callable[[], object]


def settings_of(size: int) -> Diffusion:
    batch_size, accumulate = BATCHES[size]
    return Diffusion.model_validate(
        {
            "steps": 10_000,
            "network": NETS[size],
            "noise": {"schedule": "linear", "prediction": "epsilon"},
            "batch_size": batch_size,
            "accumulate": accumulate,
            "optimizer": "adam",
            "lr": 1e-4,
            "lr_schedule": "constant",
        }
    )


def our_steps(images: np.ndarray, settings: Diffusion) -> tuple[Contender, Training]:
    place = connect("cpu", "fp32")
    training = Training(images, settings, 0, "x", place, None, False)
    batches = training.batches()

    def step() -> float:
        batch = next(batches)
        training.step(batch)
        return training.settle(batch)

    return step, training


def tutorial_steps(images: np.ndarray, settings: Diffusion) -> Contender:
    torch.manual_seed(0)
    network = build_network(3, **settings.network.model_dump())
    inferer = DiffusionInferer(DDPMScheduler(num_train_timesteps=1000, **LINEAR))
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.lr)
    pixels = to_model_range(to_unit_range(torch.from_numpy(images)), zero_centred=True)
    loader = torch.utils.data.DataLoader(pixels, settings.batch_size, shuffle=True, drop_last=True)

    def batches() -> object:
        while True:
            yield from loader

    source = batches()

    def step() -> float:
        network.train()
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for _ in range(settings.accumulate):
            clean = next(source)
            noise = torch.randn_like(clean)
            times = torch.randint(0, 1000, (len(clean),))
            predicted = inferer(inputs=clean, diffusion_model=network, noise=noise, timesteps=times)
            loss = mse_loss(predicted, noise) / settings.accumulate
            loss.backward()
            total += loss.item()
        optimizer.step()
        return total

    return step


def our_samples(training: Training, settings: Diffusion, size: int, steps: int) -> Contender:
    model = Ddpm(training._network, training._schedule, (3, size, size), True)
    wanted = Sampler(sampler="ddim", steps=steps)
    return lambda: list(sample(model, wanted, range(16), batch_size=16, seed=0, name="x"))


def monais_samples(settings: Diffusion, size: int, steps: int) -> Contender:
    network = build_network(3, **settings.network.model_dump()).eval()
    scheduler = DDIMScheduler(num_train_timesteps=1000, **LINEAR)
    scheduler.set_timesteps(steps)
    inferer = DiffusionInferer(scheduler)

    def run() -> torch.Tensor:
        with torch.no_grad():
            return inferer.sample(
                input_noise=torch.randn(16, 3, size, size),
                diffusion_model=network,
                scheduler=scheduler,
                verbose=False,
            )

    return run


def compare(title: str, images: int, peer: Contender, ours: Contender, repeats: int) -> None:
    times: dict[str, list[float]] = {"MONAI": [], "meddiff": []}
    contenders = {"MONAI": peer, "meddiff": ours}
    for run in contenders.values():
        run()
    for _ in range(repeats):
        for name, run in contenders.items():
            start = perf_counter()
            run()
            times[name].append(perf_counter() - start)
    ratios = sorted(a / b for a, b in zip(*times.values(), strict=True))
    rates = {name: images / median(seconds) for name, seconds in times.items()}
    print(
        f"{title:34}{rates['MONAI']:10.2f}{rates['meddiff']:10.2f}{median(ratios):8.2f}"
        f"{ratios[0]:8.2f}{ratios[-1]:8.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a DDPM against MONAI's own loops.")
    parser.add_argument("--size", type=int, choices=sorted(NETS), default=32, help="px")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--steps", type=int, default=10, help="denoising steps of the samplers")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size, settings = options.size, settings_of(options.size)
    batch = settings.batch_size * settings.accumulate
    images = np.random.default_rng(0).integers(0, 256, (8 * batch, size, size, 3), dtype=np.uint8)
    step, training = our_steps(images, settings)
    print(f"{'images a second':34}{'MONAI':>10}{'meddiff':>10}{'ratio':>8}{'least':>8}{'most':>8}")
    compare(
        f"training step of {batch}, {size} px",
        batch,
        tutorial_steps(images, settings),
        step,
        options.repeats,
    )
    compare(
        f"16 samples, {options.steps} steps of DDIM",
        16,
        monais_samples(settings, size, options.steps),
        our_samples(training, settings, size, options.steps),
        options.repeats,
    )


if __name__ == "__main__":
    main()
