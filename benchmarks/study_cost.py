"""What the study would cost on a GPU: its passes through the nets times the counted work of each.

    python benchmarks/study_cost.py

The passes follow from config/thesis*.yaml and the study's numbers of images. The work of each is
counted on the very nets: floating-point operations of convolutions and matrix products by torch's
FlopCounterMode (a multiplication with its addition counts as two), and operators, each of which a
GPU has to be told to start. A pass takes the longer of two: its work by the maker's peak rate times
`--utilisation`, or its operators times `--launch`. Trainings, previews and sampling are counted;
validation losses, optimiser and extractors, which are little beside them, are not. No GPU was timed
for this table; this machine's rate is measured.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
import yaml
from snakemake.utils import update_config
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from meddiff.diffusion.model import build_network
from meddiff.diffusion.sampling import block_of
from meddiff.diffusion.settings import DiffusionSettings, SamplingSettings
from meddiff.workflow.config import Config, load_config

IMAGES = {"malignant": 5768, "benign": 6834, "hand": 7999}
"""Images that the study trained each DDPM on (sections 5.1 and 5.2)."""
PEAKS = {
    "T4, fp16": 65,
    "RTX 4090, bf16": 165,
    "A100, tf32": 156,
    "A100, bf16": 312,
    "H100 SXM, bf16": 989,
}
"""Dense peak rates in TFLOP/s from the makers' data sheets."""


@dataclass(frozen=True)
class Pass:
    """So many times the same images through a net, forth or forth and back."""

    times: float
    work: float
    operators: int

    def hours(self, rate: float, launch: float) -> float:
        """At `rate` floating-point operations and one operator in `launch` seconds."""
        return self.times * max(self.work / rate, self.operators * launch) / 3600


class Operators(TorchDispatchMode):
    """Counts what torch is told to do."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def passes(
    settings: DiffusionSettings, sampling: SamplingSettings, images: int, size: int, channels: int
) -> Iterator[Pass]:
    """Yield a DDPM's training, previews and sampling."""
    network = build_network(channels, **settings.network.model_dump())
    epochs = settings.epochs or 0
    forth, launched = work_of(network, size, channels, back=False)
    both, told = work_of(network, size, channels, back=True)
    yield Pass(
        epochs * images / settings.batch_size,
        settings.batch_size * both,
        told,
    )
    shown = settings.preview
    times = epochs // settings.validation_every * shown.steps
    yield Pass(times, shown.images * forth, launched)
    block = block_of(size)
    yield Pass(-(-sampling.images // block) * sampling.steps, block * forth, launched)


def work_of(network: nn.Module, size: int, channels: int, *, back: bool) -> tuple[float, int]:
    """Return floating-point operations of a pass of one image, and its operators."""
    images, times = torch.zeros(1, channels, size, size), torch.zeros(1)
    with FlopCounterMode(display=False) as work, Operators() as operators:
        output = network(images, timesteps=times)
        if back:
            output.sum().backward()
    return float(work.get_total_flops()), operators.count


def rate_here(settings: DiffusionSettings, size: int, repeats: int) -> float:
    """Return the floating-point operations a second of a training's passes on this machine."""
    network = build_network(3, **settings.network.model_dump())
    network.to(memory_format=torch.channels_last)
    images, times = torch.zeros(settings.batch_size, 3, size, size), torch.zeros(1)
    taken = []
    for _ in range(repeats + 1):
        start = perf_counter()
        network(images, timesteps=times.expand(len(images))).sum().backward()
        taken.append(perf_counter() - start)
    work, _ = work_of(network, size, 3, back=True)
    return work * len(images) / median(taken[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description="Estimate the study's cost on GPUs.")
    parser.add_argument("--utilisation", type=float, default=0.3, help="share of the peak rate")
    parser.add_argument("--launch", type=float, default=8e-6, help="seconds an operator")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    configs = [configured("thesis"), configured("hand", "thesis-hand")]
    here = rate_here(configs[0].diffusion, configs[0].data.size, options.repeats)
    rates = {f"this CPU, {options.threads} threads, fp32": (here, 0.0)}
    rates |= {
        name: (peak * 1e12 * options.utilisation, options.launch) for name, peak in PEAKS.items()
    }
    as_written, at_once = costs(configs, at_once=False), costs(configs, at_once=True)
    print("| DDPM | passes of its training | GFLOP, operators of one | PFLOP in all |")
    print("|---|---|---|---|")
    for name, kinds in as_written.items():
        total = sum(kind.times * kind.work for kind in kinds) / 1e15
        one = kinds[0]
        print(
            f"| {name} | {one.times:,.0f} | {one.work / 1e9:.0f}, {one.operators} | {total:.0f} |"
        )
    print(f"\n| hours | {' | '.join(as_written)} | all | all, batches at once |")
    print("|---" * (len(as_written) + 3) + "|")
    for name, rate in rates.items():
        hours = [sum(kind.hours(*rate) for kind in kinds) for kinds in as_written.values()]
        whole = sum(kind.hours(*rate) for kinds in at_once.values() for kind in kinds)
        cells = " | ".join(f"{value:,.1f}" for value in [*hours, sum(hours), whole])
        print(f"| {name} | {cells} |")


def configured(*overlays: str) -> Config:
    """Merge files of config/ as Snakemake does."""
    values: dict[str, Any] = {}
    for name in ("config", *overlays):
        update_config(values, yaml.safe_load(Path(f"config/{name}.yaml").read_text()))
    return load_config(values)


def costs(configs: Sequence[Config], *, at_once: bool) -> dict[str, list[Pass]]:
    """Return the passes of each DDPM, with whole batches in one if `at_once`."""

    def settled(settings: DiffusionSettings) -> DiffusionSettings:
        if not at_once:
            return settings
        batch = settings.batch_size * settings.gradient_accumulation
        return settings.model_copy(update={"batch_size": batch, "gradient_accumulation": 1})

    return {
        name: list(
            passes(
                settled(config.diffusion.for_class(name)),
                config.sampling,
                IMAGES[name],
                config.data.size,
                1 if config.data.is_grey else 3,
            )
        )
        for config in configs
        for name in config.data.classes
    }


if __name__ == "__main__":
    main()
