"""Time what computes on one GPU against MONAI's loops and metrics: tables, and one JSON.

    python benchmarks/gpu.py [--quick] [--tables pairs] [--only compiled] [--json gpu.json]

Both sides have the same nets and images, 64 px, on the same card in one run; every repeat runs all
in turn, and ratios are medians of the repeats' own. MONAI's side of DDPMs is as in
`benchmarks/diffusion.py`; the classifier's other side is a plain loop of PyTorch. Starts are
processes of their own that import, compile and take a step: cold without any compiled kernels,
warm with those of the cold one.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from diffusion import (
    BLOCK,
    Contender,
    monais_samples,
    one_step,
    our_samples,
    our_steps,
    settings_of,
    tutorial_steps,
)
from monai.metrics import SSIMMetric

from meddiff.core.devices import limit_threads
from meddiff.extractors.resnet50 import build_head
from meddiff.extractors.settings import TrainingSettings
from meddiff.extractors.skinlesnet import SkinLesNet
from meddiff.extractors.supervised import Examples, Objective, fit
from meddiff.metrics import ms_ssim_between, ssim_between

STARTED = perf_counter()
SIZE, CARD = 64, "cuda"
MATRIX = 8192
UNITS = {"training": "images", "sampling": "image-steps", "classifiers": "images", "pairs": "pairs"}
FAILED: list[str] = []


def images_of(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def seconds(run: Contender, times: int) -> float:
    """Return the seconds of one call."""
    torch.cuda.synchronize()
    start = perf_counter()
    for _ in range(times):
        run()
    torch.cuda.synchronize()
    return (perf_counter() - start) / times


def training(images: np.ndarray, quick: bool) -> dict[str, tuple[Contender, int, int]]:
    """Return contenders by name, with images per call and calls per repeat."""

    def ours(precision: str, batch: tuple[int, int], compiled: bool = True) -> Contender:
        return our_steps(images, settings_of(SIZE, precision, batch), compiled, CARD)

    def monai(precision: str, batch: tuple[int, int]) -> Contender:
        return tutorial_steps(images, settings_of(SIZE, precision, batch), CARD)

    rows = {
        "MONAI fp32 4x8": (monai("fp32", (4, 8)), 32, 3),
        "MONAI bf16 32x1": (monai("bf16", (32, 1)), 32, 10),
        "ours bf16 4x8 compiled": (ours("bf16", (4, 8)), 32, 40),
        "ours bf16 32x1": (ours("bf16", (32, 1), False), 32, 40),
        "ours fp32 4x8": (ours("fp32", (4, 8), False), 32, 20),
    }
    if not quick:
        rows |= {
            "ours bf16 32x1 compiled": (ours("bf16", (32, 1)), 32, 40),
            "ours tf32 32x1 compiled": (ours("tf32", (32, 1)), 32, 40),
            "MONAI bf16 256x1": (monai("bf16", (256, 1)), 256, 5),
            "ours bf16 256x1 compiled": (ours("bf16", (256, 1)), 256, 10),
        }
    return rows


def sampling(quick: bool) -> dict[str, tuple[Contender, int, int]]:
    """Return contenders by name; the unit is an image and a step."""

    def ours(
        count: int, precision: str, block: int, compiled: bool = False
    ) -> tuple[Contender, int, int]:
        run = our_samples(SIZE, count, precision, compiled, CARD, block, "ddpm")
        return run, count * block, 1

    rows = {
        "MONAI fp32 block 32": (monais_samples(SIZE, 3, CARD), 3 * BLOCK, 1),
        "ours bf16 block 512 compiled": ours(50, "bf16", 512, compiled=True),
        "ours bf16 block 512": ours(20, "bf16", 512),
        "MONAI fp32 one image": (monais_samples(SIZE, 50, CARD, 1), 50, 1),
        "ours fp32 one image": ours(250, "fp32", 1),
        "ours fp32 one image compiled": ours(250, "fp32", 1, compiled=True),
        "ours bf16 one image compiled": ours(250, "bf16", 1, compiled=True),
    }
    if not quick:
        rows["ours fp32 block 512"] = ours(20, "fp32", 512)
    return rows


def classifier() -> dict[str, tuple[Contender, int, int]]:
    """Return trainings of SkinLesNet, and of ResNet50's head, as for one arm of the CAS."""
    steps, batch, device = 400, 32, torch.device(CARD)
    images = torch.from_numpy(images_of(2048))
    features = torch.rand(2048, 2048)
    labels = torch.arange(2048) % 2
    kinds = {
        "SkinLesNet": (lambda: SkinLesNet(2, SIZE), SkinLesNet.transform, images),
        "ResNet50's head": (lambda: build_head(2), torch.nn.Identity(), features),
    }

    def plain(build: Callable, transform: Callable, inputs: torch.Tensor) -> Contender:
        def run() -> None:
            network, own, targets = build().to(device), inputs.to(device), labels.to(device)
            optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
            for _ in range(steps):
                members = torch.randint(len(own), (batch,), device=device)
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(
                    network(transform(own[members])), targets[members]
                )
                loss.backward()
                optimizer.step()
                loss.item()

        return run

    def ours(build: Callable, transform: Callable, inputs: torch.Tensor) -> Contender:
        objective = Objective(transform, torch.nn.functional.cross_entropy)
        settings = TrainingSettings(steps=steps, batch_size=batch)
        examples = Examples(inputs, labels)
        return lambda: fit(build(), objective, examples, settings, seed=0, name="x", device=CARD)

    return {
        f"{side} {name}": (make(*kind), steps * batch, 1)
        for name, kind in kinds.items()
        for side, make in (("plain", plain), ("ours", ours))
    }


def pairs() -> dict[str, tuple[Contender, int, int]]:
    """Return SSIM and MS-SSIM between two sets; the unit is a pair."""
    few, many = images_of(48), images_of(1182)
    one, other = (
        torch.from_numpy(few).permute(0, 3, 1, 2).float().div(255).to(CARD)[index]
        for index in torch.cartesian_prod(torch.arange(48), torch.arange(48)).T
    )
    metric = SSIMMetric(spatial_dims=2)
    both = {"SSIM": ssim_between, "MS-SSIM": ms_ssim_between}
    return {"MONAI SSIM": (lambda: metric(one, other), len(one), 5)} | {
        f"ours {name} pairs": (
            lambda measure=measure: measure(many, many, device=CARD),
            len(many) ** 2,
            1,
        )
        for name, measure in both.items()
    }


def compare(
    title: str, rows: Mapping[str, tuple[Contender, int, int]], repeats: int, only: str
) -> dict[str, dict[str, float]]:
    """Print and return images per second of each contender, and ratios to the first.

    Args:
        title: of the table.
        rows: contenders by name, with units per call and calls per repeat.
        repeats: times that each is measured.
        only: what a name must match, but the first's.
    """
    first = next(iter(rows))
    rows = {name: row for name, row in rows.items() if name == first or re.search(only, name)}
    ready = {}
    for name, (run, _, _) in rows.items():
        try:
            ready[name] = seconds(run, 2)
        except Exception:
            traceback.print_exc()
            FAILED.append(name)
    rows = {name: row for name, row in rows.items() if name in ready}
    times: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(repeats):
        for name, (run, _, calls) in rows.items():
            times[name].append(seconds(run, calls))
    peer, units = next((times[name], units) for name, (_, units, _) in rows.items())
    print(f"\n{title:32}{'ms':>9}{'per s':>9}{'ratio':>8}{'least':>8}{'most':>8}{'ready, s':>10}")
    table = {}
    for name, (_, count, _) in rows.items():
        ratios = sorted(
            (count / own) / (units / other) for own, other in zip(times[name], peer, strict=True)
        )
        rate = count / median(times[name])
        print(
            f"{name:32}{1000 * median(times[name]):9.2f}{rate:9.0f}{median(ratios):8.2f}"
            f"{ratios[0]:8.2f}{ratios[-1]:8.2f}{2 * ready[name]:10.1f}",
            flush=True,
        )
        table[name] = {"per_second": rate, "ratio": median(ratios)}
    return table


def matrix_rate() -> float:
    """Return the FLOP/s of a bf16 matrix product."""
    left, right = (torch.randn(MATRIX, MATRIX, device=CARD).bfloat16() for _ in range(2))
    seconds(lambda: left @ right, 3)
    return 2 * MATRIX**3 / seconds(lambda: left @ right, 20)


def flop_per_image() -> float:
    """Return the FLOP of a training step, per image: products and convolutions."""
    from torch.utils.flop_counter import FlopCounterMode

    from meddiff.diffusion.model import build_network

    network = build_network(3, **settings_of(SIZE).network.model_dump())
    with FlopCounterMode(display=False) as counter:
        network(
            torch.zeros(1, 3, SIZE, SIZE), timesteps=torch.zeros(1, dtype=torch.long)
        ).sum().backward()
    return float(counter.get_total_flops())


def first_step(cache: str) -> float:
    """Return the seconds from start to end of a process that takes one step of a training."""
    # The process has another working directory.
    path = os.pathsep.join(str(Path(each).absolute()) for each in sys.path)
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache, "PYTHONPATH": path}
    with tempfile.TemporaryDirectory() as folder:
        program = one_step(Path(folder), settings_of(SIZE, "bf16"), {"compile": True}, CARD)
        start = perf_counter()
        subprocess.run([sys.executable, *program], env=environment, cwd=folder, check=True)
        return perf_counter() - start


def take_first(what: str) -> None:
    """Take the first step of a compiled training, or draw with a compiled net."""
    if what == "sample":
        our_samples(SIZE, 1, "bf16", True, CARD, 512, "ddpm")()
    elif what == "preview":
        our_samples(SIZE, 1, "fp32", True, CARD, 1, "ddpm")()
    else:
        step = our_steps(images_of(64), settings_of(SIZE, "bf16"), True, CARD)
        step()
    torch.cuda.synchronize()
    phases = torch._dynamo.utils.calculate_time_spent()
    spent = ", ".join(f"{name} {time:.1f}" for name, time in phases.items() if time > 1)
    print(f"{what}: first after {perf_counter() - STARTED:.1f} s without imports; {spent}")
    if what == "step":
        print(f"{what}: {1000 * seconds(step, 40):.2f} ms a step", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time DDPMs on one GPU against MONAI's loops.")
    parser.add_argument("--quick", action="store_true", help="fewer contenders and repeats")
    parser.add_argument("--tables", nargs="+", choices=UNITS, default=list(UNITS))
    parser.add_argument("--only", default="", help="contenders whose names match")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    parser.add_argument("--cache", help="a folder of compiled kernels, for starts that are warm")
    parser.add_argument("--first", choices=["step", "sample", "preview"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    limit_threads(2)
    if options.first:
        take_first(options.first)
        return
    repeats = 3 if options.quick else 5
    with tempfile.TemporaryDirectory() as folder:
        cache = options.cache or folder
        names = ["warm"] if options.cache else ["cold", "warm"]
        quick = options.quick or "training" not in options.tables
        starts = {} if quick else {name: first_step(cache) for name in names}
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        matrix = matrix_rate()
        contenders = {
            "training": lambda: training(images_of(2048), options.quick),
            "sampling": lambda: sampling(options.quick),
            "classifiers": classifier,
            "pairs": pairs,
        }
        tables = {
            name: compare(f"{name}, {UNITS[name]}", contenders[name](), repeats, options.only)
            for name in options.tables
        }
    fastest = max((row["per_second"] for row in tables.get("training", {}).values()), default=0.0)
    summary = {
        "card": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "first_step_s": starts,
        "matrix_tflops": matrix / 1e12,
        "share_of_matrix_rate": fastest * flop_per_image() / matrix,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
    }
    for key, value in summary.items():
        print(f"{key:24}{value}")
    if options.json:
        options.json.write_text(json.dumps(summary | tables, indent=2))
    if FAILED:
        sys.exit(f"failed: {', '.join(FAILED)}")


if __name__ == "__main__":
    main()
