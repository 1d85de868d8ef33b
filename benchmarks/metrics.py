"""Time the image metrics against other libraries on this machine.

    python benchmarks/metrics.py                                           # the full run
    python benchmarks/metrics.py --images 12 --subset 8 --batched 64 --repeats 1 \\
        --fid-images 40 100 --fid-dimensions 64 --fid-repeats 1            # a quick trial
    python benchmarks/metrics.py --sections ssim

What ours costs at other sizes, and in all, is measured by metric_costs.py.

Every repeat runs all contenders in turn, so that a busy machine slows all alike. Ours takes all
pairs of the images; slow contenders get the first `--subset` of them, batched ones the first
`--batched`. Times are medians a pair; ratios, theirs by ours, are medians of the repeats' own.
OMP_NUM_THREADS sets the cores. Similarity is computed in float64 by ours and by scikit-image, in
float32, their usual type, by the others; FID, with its means and covariances, in float64 by all.

A contender that computes the same and gives other values (`SAME`) ends the run. By definition
values differ in three places, which the tables' last column shows:
- torchmetrics' SSIM, and its MS-SSIM on the last scale, count reflected borders; the others count
  the positions where the window fits wholly (of scikit-image's map the borders are cut off).
- pytorch-msssim multiplies the scales channel by channel and takes the channels' mean at the end;
  the others take the channels' mean on every scale.
- torchmetrics' taps follow from sigma and even windows are refused by it and by pytorch-msssim: at
  64 px, five scales leave them 3 taps, which torchmetrics has at a sigma of 0.4 alone. So there are
  two tables of MS-SSIM: the window that `meddiff` takes, and the one that all take.
"""

import argparse
import logging
import os
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from monai.metrics import MultiScaleSSIMMetric, SSIMMetric
from pytorch_msssim import ms_ssim as msssim_ms_ssim
from pytorch_msssim import ssim as msssim_ssim
from scipy.linalg import sqrtm
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure as torchmetrics_ms_ssim,
)
from torchmetrics.functional.image import structural_similarity_index_measure as torchmetrics_ssim
from torchmetrics.image.fid import FrechetInceptionDistance

from meddiff.metrics import fid, ms_ssim_pairs, ssim_pairs

OURS = "meddiff"
BATCH = 64
SHARED_TAPS, SHARED_SIGMA = 3, 0.4
# Those that compute the same, and how far, relatively, rounding may take them from ours.
SAME = {
    "MONAI, batched": 1e-4,
    "MONAI, pair by pair": 1e-4,
    "scikit-image": 1e-9,
    "scipy.linalg.sqrtm": 1e-4,
    "torch-fidelity": 1e-4,
    "torchmetrics": 1e-4,
}
Contender = Callable[[], np.ndarray]
Metric = Callable[..., Any]


class Pairs:
    """Pairs of images in the order of `itertools.combinations`, so that results can be compared."""

    def __init__(self, images: np.ndarray, subset: int, batched: int) -> None:
        self.images, self.subset, self.many = images, subset, batched
        self.tensor = torch.tensor(images.transpose(0, 3, 1, 2) / 255, dtype=torch.float32)
        self.index = torch.from_numpy(np.stack(np.triu_indices(len(images), 1), axis=1))

    def batched(self, metric: Metric) -> Contender:
        """Many pairs a call, the first `batched` of all."""
        return lambda: self._values(metric, self.many, BATCH)

    def singly(self, metric: Metric) -> Contender:
        """One pair a call, the first `subset` of all."""
        return lambda: self._values(metric, self.subset, 1)

    def skimage(self) -> np.ndarray:
        """Return scikit-image's SSIM of the first `subset` pairs, borders cut off."""
        scaled = self.images / 255
        options = {"data_range": 1, "gaussian_weights": True, "use_sample_covariance": False}
        values = []
        for i, j in self.index[: self.subset].tolist():
            _, full = structural_similarity(
                scaled[i], scaled[j], channel_axis=-1, full=True, **options
            )
            values.append(full[5:-5, 5:-5].mean())
        return np.array(values)

    def _values(self, metric: Metric, pairs: int, batch: int) -> np.ndarray:
        parts = self.index[:pairs].split(batch)
        values = [metric(self.tensor[part[:, 0]], self.tensor[part[:, 1]]) for part in parts]
        return torch.cat([value.reshape(-1) for value in values]).numpy()


def blobs(n: int, size: int) -> np.ndarray:
    """Variations on one smooth colour picture, uint8 (n, size, size, 3)."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(n, size, size, 3)) + 2 * rng.normal(size=(size, size, 3))
    return np.clip(gaussian_filter(noise, (0, 3, 3, 0)) * 500 + 128, 0, 255).astype(np.uint8)


def ssim_contenders(pairs: Pairs) -> dict[str, Contender]:
    monai = SSIMMetric(spatial_dims=2)
    torchmetrics = partial(torchmetrics_ssim, data_range=1.0, reduction="none")
    msssim = partial(msssim_ssim, data_range=1, size_average=False)
    return {
        OURS: lambda: ssim_pairs(pairs.images),
        "MONAI, batched": pairs.batched(monai),
        "MONAI, pair by pair": pairs.singly(monai),
        "torchmetrics, batched": pairs.batched(torchmetrics),
        "torchmetrics, pair by pair": pairs.singly(torchmetrics),
        "pytorch-msssim, batched": pairs.batched(msssim),
        "pytorch-msssim, pair by pair": pairs.singly(msssim),
        "scikit-image": pairs.skimage,
    }


def ms_ssim_contenders(pairs: Pairs, taps: int, sigma: float) -> dict[str, Contender]:
    monai = MultiScaleSSIMMetric(spatial_dims=2, kernel_size=taps, kernel_sigma=sigma)
    return {
        OURS: lambda: ms_ssim_pairs(pairs.images, kernel_size=taps, sigma=sigma),
        "MONAI, batched": pairs.batched(monai),
        "MONAI, pair by pair": pairs.singly(monai),
    }


def shared_ms_ssim_contenders(pairs: Pairs) -> dict[str, Contender]:
    def by_torchmetrics(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torchmetrics_ms_ssim(
            a,
            b,
            kernel_size=SHARED_TAPS,
            sigma=SHARED_SIGMA,
            data_range=1.0,
            reduction="none",
        )

    def by_msssim(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        window = {"win_size": SHARED_TAPS, "win_sigma": SHARED_SIGMA}
        return msssim_ms_ssim(a, b, data_range=1, size_average=False, **window)

    return ms_ssim_contenders(pairs, SHARED_TAPS, SHARED_SIGMA) | {
        "torchmetrics, batched": pairs.batched(by_torchmetrics),
        "torchmetrics, pair by pair": pairs.singly(by_torchmetrics),
        "pytorch-msssim, batched": pairs.batched(by_msssim),
        "pytorch-msssim, pair by pair": pairs.singly(by_msssim),
    }


def textbook_fid(a: np.ndarray, b: np.ndarray) -> float:
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    root = sqrtm(cov_a @ cov_b).real
    return float(np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a + cov_b - 2 * root))


def torch_fidelity_fid(a: np.ndarray, b: np.ndarray) -> float:
    one, two = (fid_features_to_statistics(torch.from_numpy(features)) for features in (a, b))
    return float(*fid_statistics_to_metric(one, two, verbose=False).values())


class Features(torch.nn.Module):
    """Stands in for an extractor: its images are features already."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.num_features = dimensions

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the argument."""
        return features


def torchmetrics_fid(a: np.ndarray, b: np.ndarray) -> float:
    metric = FrechetInceptionDistance(feature=Features(a.shape[1]))
    metric.update(torch.from_numpy(a), real=True)
    metric.update(torch.from_numpy(b), real=False)
    return float(metric.compute())


def fid_contenders(sizes: tuple[int, int], dimensions: int) -> dict[str, Contender]:
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(size, dimensions)) for size in sizes)
    return {
        OURS: lambda: np.array([fid(a, b)]),
        "scipy.linalg.sqrtm": lambda: np.array([textbook_fid(a, b)]),
        "torch-fidelity": lambda: np.array([torch_fidelity_fid(a, b)]),
        "torchmetrics": lambda: np.array([torchmetrics_fid(a, b)]),
    }


def compare(title: str, unit: str, contenders: dict[str, Contender], repeats: int) -> None:
    """Print median seconds a value (a pair, or one FID) in `unit`, and the ratio to ours."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    results: dict[str, np.ndarray] = {}
    for _ in range(repeats):
        for name, run in contenders.items():
            start = perf_counter()
            results[name] = run()
            times[name].append((perf_counter() - start) / len(results[name]))
    scale = {"us": 1e6, "ms": 1e3}[unit]
    print(
        f"\n{title}\n{'':30}{'values':>8}{unit:>12}{'ratio':>8}{'first value':>13}{'max diff':>10}"
    )
    for name, seconds in times.items():
        ratio = median(t / ours for t, ours in zip(seconds, times[OURS], strict=True))
        value = results[name]
        ours = results[OURS][: len(value)]
        difference = np.abs(value - ours).max()
        if name in SAME and not np.allclose(value, ours, rtol=SAME[name], atol=0):
            raise SystemExit(f"{name} gives other values: difference {difference:.1e}")
        print(
            f"{name:30}{len(value):8}{median(seconds) * scale:12.1f}{ratio:8.1f}"
            f"{value[0]:13.4f}{difference:10.1e}",
            flush=True,
        )


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time the image metrics against their peers.")
    sections = ("ssim", "ms-ssim", "fid")
    parser.add_argument("--sections", nargs="+", choices=sections, default=sections)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--size", type=int, default=64, help="px, at least 48")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--subset", type=int, default=400, help="pairs for the slow contenders")
    parser.add_argument("--batched", type=int, default=12_800, help="pairs for the batched ones")
    parser.add_argument("--fid-images", type=int, nargs=2, default=(500, 5768))
    parser.add_argument("--fid-dimensions", type=int, default=2048)
    parser.add_argument("--fid-repeats", type=int, default=3)
    return parser.parse_args()


def compare_similarity(options: argparse.Namespace) -> None:
    pairs = Pairs(blobs(options.images, options.size), options.subset, options.batched)
    shape = f"{options.size}x{options.size}x3, all pairs of {options.images}, us a pair"
    print(f"batches are of {BATCH} pairs")
    if "ssim" in options.sections:
        compare(f"SSIM {shape}", "us", ssim_contenders(pairs), options.repeats)
    if "ms-ssim" in options.sections:
        taps = min(11, options.size // 16)
        contenders = ms_ssim_contenders(pairs, taps, sigma=1.5)
        compare(f"MS-SSIM ({taps} taps, sigma 1.5) {shape}", "us", contenders, options.repeats)
        title = f"MS-SSIM ({SHARED_TAPS} taps, sigma {SHARED_SIGMA}) {shape}"
        compare(title, "us", shared_ms_ssim_contenders(pairs), options.repeats)


def compare_fid(options: argparse.Namespace) -> None:
    contenders = fid_contenders(tuple(options.fid_images), options.fid_dimensions)
    few, many = options.fid_images
    title = f"FID {options.fid_dimensions}-d, {few} vs {many} images, features to value, ms"
    compare(title, "ms", contenders, options.fid_repeats)


def main() -> None:
    options = parsed_arguments()
    # FID's warning of few images.
    logging.disable(logging.WARNING)
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} torch threads")
    if {"ssim", "ms-ssim"} & set(options.sections):
        compare_similarity(options)
    if "fid" in options.sections:
        compare_fid(options)


if __name__ == "__main__":
    main()
