"""What the metrics cost on this machine at other sizes, and at the study's.

    python benchmarks/metric_costs.py                                      # the full run
    python benchmarks/metric_costs.py --repeats 1 --wide 40 100 512 --n-resamples 8 \\
        --interval-images 40 100 --interval-dimensions 64 --fid-n 20 40 --fid-d 8 64 \\
        --ssim-n 4 8 --ssim-side 32 64 --slice 12                          # a quick trial
    python benchmarks/metric_costs.py --sections pairs

Sections: `wide`, FID in as many dimensions as no covariance matrix would bear, with the peak memory
of a fresh process; `intervals`, the resamples behind an interval of FID; `growth`, tables over
numbers of images, dimensions and pixels; `pairs`, SSIM of all pairs of the study's images: measured
on a slice, and on paper for a GPU. Times are medians; every repeat runs a table's cases in turn.
OMP_NUM_THREADS sets the cores. metrics.py beside this file times other libraries.

The paper. Matrix products of a pair are counted while the code runs them (a multiplication with its
addition counts as two). Memory traffic is counted from `_Measure.ssim` in float32, for images whose
moments are in the GPU's memory already, in two ways: *fused*, one kernel reads the second image and
its three moments once and keeps the rest on the chip; *operator by operator*, as plain torch would,
each result goes to memory and back. The first image's moments serve many pairs in a row and are not
counted. A pair takes the longer of its work at `--utilisation` of the maker's float32 peak rate and
its traffic at `--bandwidth` of the maker's memory bandwidth. No GPU was timed for this table.
"""

import argparse
import logging
import os
import resource
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from statistics import median
from time import perf_counter
from typing import Any, TypeVar
from unittest import mock

import numpy as np

from meddiff.metrics import fid, fid_interval, ms_ssim_between, ssim_between, ssim_pairs

IMAGES, SIDE, CHANNELS, TAPS = 5768, 64, 3, 11
"""Malignant images of the study, and the window."""
ALL_PAIRS = IMAGES * (IMAGES - 1) // 2
REPLICATES = 1000
GPUS = {
    "T4": (8.1, 0.32),
    "RTX 4090": (82.6, 1.01),
    "A100 80 GB": (19.5, 2.04),
    "H100 SXM": (67.0, 3.35),
}
"""Peak float32 rates without tensor cores in TFLOP/s, and TB/s, from the makers' data sheets."""
Key = TypeVar("Key", bound=Hashable)


def seconds(run: Callable[[], object]) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start


def timed(cases: Mapping[Key, Callable[[], object]], repeats: int) -> dict[Key, float]:
    """Return the median seconds of each case."""
    times: dict[Key, list[float]] = {key: [] for key in cases}
    for _ in range(repeats):
        for key, run in cases.items():
            times[key].append(seconds(run))
    return {key: median(taken) for key, taken in times.items()}


def pictures(n: int, side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, CHANNELS), dtype=np.uint8)


def features(n: int, dimensions: int, seed: int = 0) -> np.ndarray:
    """In float32, as extractors give them."""
    return np.random.default_rng(seed).standard_normal((n, dimensions), np.float32)


def wide_fid(n: int, m: int, dimensions: int) -> tuple[float, float, float]:
    """Return seconds, and the process's peak GiB before and after."""
    logging.disable(logging.WARNING)
    a, b = features(n, dimensions), features(m, dimensions, seed=1)
    before = peak_memory()
    return seconds(lambda: fid(a, b)), before, peak_memory()


def peak_memory() -> float:
    """Return GiB; Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def show_wide(sizes: tuple[int, int, int], repeats: int) -> None:
    n, m, dimensions = sizes
    print(f"\nFID {dimensions}-d, {n} vs {m} images, a fresh process each")
    runs = []
    for _ in range(repeats):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            runs.append(fresh.submit(wide_fid, n, m, dimensions).result())
    taken, before, after = (median(values) for values in zip(*runs, strict=True))
    print(
        f"meddiff: {taken:.2f} s, peak {after:.2f} GiB, of which {before:.2f} GiB before the call"
    )
    matrix = dimensions**2 * 8 / 2**30
    print(
        f"scipy.linalg.sqrtm, torch-fidelity, torchmetrics: not run: two covariances of "
        f"{matrix:.2g} GiB each, their product of as much, and its square root or eigenvalues, at "
        f"some 10 d^3 = {10 * dimensions**3:.0e} FLOP or more"
    )


def show_intervals(few: int, many: int, dimensions: int, n_resamples: int, repeats: int) -> None:
    print(f"\nfid_interval {dimensions}-d, {n_resamples} resamples measured")
    a = features(few, dimensions)
    for size in (few, many):
        b = features(size, dimensions, seed=1)
        runs = [interval_seconds(a, b, n_resamples) for _ in range(repeats)]
        each, total = (median(values) for values in zip(*runs, strict=True))
        scaled = total + (REPLICATES - n_resamples) * each
        print(
            f"{few} vs {size}: {each * 1e3:.2f} ms a replicate, {total:.2f} s in all; "
            f"{REPLICATES} resamples {scaled:.1f} s" + " (scaled)" * (n_resamples != REPLICATES),
            flush=True,
        )


def interval_seconds(a: np.ndarray, b: np.ndarray, n_resamples: int) -> tuple[float, float]:
    """Return seconds of a replicate, and of the whole interval."""
    ticks: list[float] = []
    total = seconds(
        lambda: fid_interval(
            a, b, n_resamples=n_resamples, progress=lambda _: ticks.append(perf_counter())
        )
    )
    return (ticks[-1] - ticks[0]) / (len(ticks) - 1), total


def show_growth(options: argparse.Namespace) -> None:
    sets = {
        (n, d): (features(n, d), features(n, d, seed=1))
        for n in options.fid_n
        for d in options.fid_d
    }
    cases = {key: lambda pair=pair: fid(*pair) for key, pair in sets.items()}
    title = "FID in ms: images a set (down), dimensions (across)"
    show_table(title, options.fid_n, options.fid_d, timed(cases, options.repeats), 1e3)
    images = {(n, side): pictures(n, side) for n in options.ssim_n for side in options.ssim_side}
    runs = {key: lambda some=some: ssim_pairs(some) for key, some in images.items()}
    taken = timed(runs, options.repeats)
    each = {(n, side): value / (n * (n - 1) / 2) for (n, side), value in taken.items()}
    title = "SSIM of all pairs in us a pair: images (down), side in px (across)"
    show_table(title, options.ssim_n, options.ssim_side, each, 1e6)


def show_table(
    title: str,
    rows: Sequence[int],
    columns: Sequence[int],
    cells: Mapping[tuple[int, int], float],
    scale: float,
) -> None:
    print(f"\n{title}\n{'':8}" + "".join(f"{column:>10}" for column in columns))
    for row in rows:
        line = "".join(f"{cells[row, column] * scale:10.1f}" for column in columns)
        print(f"{row:<8}{line}", flush=True)


@contextmanager
def counted_products() -> Iterator[list[int]]:
    """Collect floating-point operations of every matrix product made by `np.matmul`."""
    work: list[int] = []
    multiply = np.matmul

    def counting(one: np.ndarray, two: np.ndarray, **options: Any) -> np.ndarray:
        product = multiply(one, two, **options)
        work.append(2 * product.size * one.shape[-1])
        return product

    with mock.patch.object(np, "matmul", counting):
        yield work


def products_of_a_pair(between: Callable[..., np.ndarray]) -> float:
    """Work of a pair's products: n x n pairs cost n² times it, and 2n images' moments."""

    def work(n: int) -> int:
        with counted_products() as counted:
            between(pictures(n, SIDE), pictures(n, SIDE))
        return sum(counted)

    return (work(2) - 2 * work(1)) / 2


@dataclass(frozen=True)
class Traffic:
    """Numbers that SSIM of a pair moves and computes beside its products (`Measure.ssim`)."""

    pixels: int
    between: int
    """After the blur of the first direction."""
    positions: int

    @classmethod
    def of_study(cls) -> "Traffic":
        """Count one image of the study's."""
        fitting = SIDE - TAPS + 1
        return cls(SIDE**2 * CHANNELS, fitting * SIDE * CHANNELS, fitting**2 * CHANNELS)

    @property
    def fused(self) -> int:
        """Bytes: the second image, its mean, power and variance."""
        return 4 * (self.pixels + 3 * self.positions)

    @property
    def apart(self) -> int:
        """Bytes: product of images 3, result of the first blur 2; at positions the result of the
        second 1, the mean product 2, its subtraction 3, k2 2, variances 2, division 3, k1 2,
        multiplication 3, powers 2, division 3, mean 1."""
        return 4 * (3 * self.pixels + 2 * self.between + 24 * self.positions)

    @property
    def elementwise(self) -> int:
        """FLOP: the product of the images; ten operators at every position."""
        return self.pixels + 10 * self.positions


def show_pairs(block: int, repeats: int) -> None:
    print(f"\nAll {ALL_PAIRS / 1e6:.1f} million pairs of {IMAGES} images, {SIDE}x{SIDE}x{CHANNELS}")
    one, other = np.split(pictures(2 * block, SIDE), 2)
    measures = {"SSIM": ssim_between, "MS-SSIM": ms_ssim_between}
    cases = {name: lambda run=run: run(one, other) for name, run in measures.items()}
    for name, taken in timed(cases, repeats).items():
        each = taken / block**2
        work = products_of_a_pair(measures[name])
        print(
            f"{name} on this CPU, {block} x {block} images measured: {each * 1e6:.1f} us a pair, "
            f"{work / 1e6:.2f} MFLOP of products a pair, {each * ALL_PAIRS / 60:.1f} min in all",
            flush=True,
        )


def show_gpus(utilisation: float, bandwidth: float) -> None:
    traffic = Traffic.of_study()
    work = products_of_a_pair(ssim_between) + traffic.elementwise
    ways = {"fused": traffic.fused, "operator by operator": traffic.apart}
    print(
        f"\nSSIM on paper, float32: {work / 1e6:.2f} MFLOP a pair; "
        + ", ".join(f"{moved / 1e3:.0f} kB {way}" for way, moved in ways.items())
        + f"\n{utilisation:.0%} of the peak rate, {bandwidth:.0%} of the bandwidth; "
        f"all moments take {IMAGES * traffic.fused / 1e9:.1f} GB"
    )
    print(f"{'seconds for all pairs':24}{'arithmetic':>12}" + "".join(f"{w:>24}" for w in ways))
    for name, (rate, speed) in GPUS.items():
        computing = ALL_PAIRS * work / (rate * 1e12 * utilisation)
        line = f"{name:24}{computing:12.1f}"
        for moved in ways.values():
            moving = ALL_PAIRS * moved / (speed * 1e12 * bandwidth)
            bound = "memory" if moving > computing else "arithmetic"
            line += f"{max(moving, computing):10.1f} {f'({bound})':>13}"
        print(line)


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Tell what the metrics cost at other sizes.")
    sections = ("wide", "intervals", "growth", "pairs")
    parser.add_argument("--sections", nargs="+", choices=sections, default=sections)
    parser.add_argument("--repeats", type=int, default=3)
    sizes: dict[str, Any] = {"type": int, "nargs": "+"}
    wide = parser.add_argument("--wide", type=int, nargs=3, default=(500, 5768, 16384))
    wide.metavar = ("N", "M", "D")
    parser.add_argument("--interval-images", type=int, nargs=2, default=(500, 5768))
    parser.add_argument("--interval-dimensions", type=int, default=2048)
    parser.add_argument("--n-resamples", type=int, default=REPLICATES, help="measured")
    parser.add_argument("--fid-n", **sizes, default=(125, 250, 500, 1000, 2000))
    parser.add_argument("--fid-d", **sizes, default=(64, 256, 1024, 4096, 16384))
    parser.add_argument("--ssim-n", **sizes, default=(25, 50, 100, 200))
    parser.add_argument("--ssim-side", **sizes, default=(32, 64, 128, 256))
    parser.add_argument("--slice", type=int, default=300, help="images a side of the block")
    parser.add_argument("--utilisation", type=float, default=0.3, help="share of the peak rate")
    parser.add_argument("--bandwidth", type=float, default=0.3, help="share of the bandwidth")
    return parser.parse_args()


def main() -> None:
    options = parsed_arguments()
    # FID's warning of few images.
    logging.disable(logging.WARNING)
    print(f"{os.cpu_count()} cores, OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}")
    # First: a process's peak counts that of the one that started it.
    if "wide" in options.sections:
        show_wide(tuple(options.wide), options.repeats)
    if "intervals" in options.sections:
        few, many = options.interval_images
        size = options.interval_dimensions
        show_intervals(few, many, size, options.n_resamples, options.repeats)
    if "growth" in options.sections:
        show_growth(options)
    if "pairs" in options.sections:
        show_pairs(options.slice, options.repeats)
        show_gpus(options.utilisation, options.bandwidth)


if __name__ == "__main__":
    main()
