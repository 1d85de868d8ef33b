"""Time the image metrics against MONAI, torchmetrics, scikit-image and SciPy on this machine.

    python benchmarks/metrics.py --images 100 --size 64 --repeats 5

Every repeat runs all contenders in turn, so that a busy machine slows all alike. Slow contenders
get a subset of the pairs. Times are medians a pair; ratios are medians of the repeats' own ratios.
OMP_NUM_THREADS sets the cores. torchmetrics differs in value, not in work: it counts the borders.
"""

import argparse
import importlib.util
import os
from collections.abc import Callable
from itertools import combinations
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from monai.metrics import MultiScaleSSIMMetric, SSIMMetric
from scipy.linalg import sqrtm
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from meddiff.metrics import fid, ms_ssim_pairs, ssim_pairs

OURS = "meddiff"
Contender = Callable[[], np.ndarray]
BATCH = 64


def blobs(n: int, size: int) -> np.ndarray:
    """Variations on one smooth colour picture, uint8 (n, size, size, 3)."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(n, size, size, 3)) + 2 * rng.normal(size=(size, size, 3))
    return np.clip(gaussian_filter(noise, (0, 3, 3, 0)) * 500 + 128, 0, 255).astype(np.uint8)


def pair_indices(n: int, pairs: int | None = None) -> list[tuple[int, int]]:
    """The first pairs in the order of `combinations`, so that results can be compared."""
    return list(combinations(range(n), 2))[:pairs]


def batched(
    metric: Callable[..., Any], images: np.ndarray, pairs: int | None, batch: int
) -> np.ndarray:
    tensor = torch.tensor(images.transpose(0, 3, 1, 2) / 255, dtype=torch.float32)
    index = torch.tensor(pair_indices(len(images), pairs))
    values = [metric(tensor[part[:, 0]], tensor[part[:, 1]]) for part in index.split(batch)]
    return torch.cat([value.reshape(-1) for value in values]).numpy()


def torchmetrics_ssim(images: np.ndarray, pairs: int) -> np.ndarray:
    # Optional, hence here.
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim

    return batched(lambda a, b: ssim(a, b, data_range=1.0), images, pairs, batch=1)


def skimage_ssim(images: np.ndarray, pairs: int) -> np.ndarray:
    scaled = images / 255
    options = {"data_range": 1, "gaussian_weights": True, "use_sample_covariance": False}
    return np.array(
        [
            structural_similarity(scaled[i], scaled[j], channel_axis=-1, full=True, **options)[1][
                5:-5, 5:-5
            ].mean()
            for i, j in pair_indices(len(images), pairs)
        ]
    )


def ssim_contenders(images: np.ndarray, subset: int) -> dict[str, Contender]:
    monai = SSIMMetric(spatial_dims=2)
    contenders: dict[str, Contender] = {
        OURS: lambda: ssim_pairs(images),
        f"MONAI, {BATCH} a batch": lambda: batched(monai, images, None, BATCH),
        "MONAI, pair by pair": lambda: batched(monai, images, subset, 1),
        "scikit-image": lambda: skimage_ssim(images, subset),
    }
    if importlib.util.find_spec("torchmetrics"):
        contenders["torchmetrics"] = lambda: torchmetrics_ssim(images, subset)
    else:
        print("torchmetrics is not installed: left out")
    return contenders


def ms_ssim_contenders(images: np.ndarray, subset: int) -> dict[str, Contender]:
    kernel = min(11, images.shape[1] // 16)
    monai = MultiScaleSSIMMetric(spatial_dims=2, kernel_size=kernel)
    return {
        OURS: lambda: ms_ssim_pairs(images, kernel_size=kernel),
        f"MONAI, {BATCH} a batch": lambda: batched(monai, images, None, BATCH),
        "MONAI, pair by pair": lambda: batched(monai, images, subset, 1),
    }


def textbook_fid(a: np.ndarray, b: np.ndarray) -> float:
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    root = sqrtm(cov_a @ cov_b).real
    return float(np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a + cov_b - 2 * root))


def fid_contenders(dimensions: int, images: int) -> dict[str, Contender]:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, images, dimensions))
    return {
        OURS: lambda: np.array([fid(a, b)]),
        "scipy.linalg.sqrtm": lambda: np.array([textbook_fid(a, b)]),
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
    print(f"\n{title}\n{'':24}{'values':>8}{unit:>12}{'ratio':>8}{'max difference':>16}")
    for name, seconds in times.items():
        ratio = median(t / ours for t, ours in zip(seconds, times[OURS], strict=True))
        value = results[name]
        difference = np.abs(value - results[OURS][: len(value)]).max()
        print(
            f"{name:24}{len(value):8}{median(seconds) * scale:12.1f}{ratio:8.1f}{difference:16.1e}"
        )


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time the image metrics against their peers.")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--size", type=int, default=64, help="px, at least 16")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--subset", type=int, default=200, help="pairs for the slow contenders")
    parser.add_argument("--fid-images", type=int, default=500)
    parser.add_argument("--fid-dimensions", type=int, default=2048)
    parser.add_argument("--fid-repeats", type=int, default=1, help="0 leaves FID out")
    return parser.parse_args()


def main() -> None:
    options = parsed_arguments()
    images = blobs(options.images, options.size)
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} torch threads")
    shape = f"{options.size}x{options.size}x3, us a pair"
    contenders = ssim_contenders(images, options.subset)
    compare(f"SSIM {shape}", "us", contenders, options.repeats)
    contenders = ms_ssim_contenders(images, options.subset)
    compare(f"MS-SSIM {shape}", "us", contenders, options.repeats)
    if options.fid_repeats:
        contenders = fid_contenders(options.fid_dimensions, options.fid_images)
        title = f"FID {options.fid_dimensions}-d, {options.fid_images} images a set, ms"
        compare(title, "ms", contenders, options.fid_repeats)


if __name__ == "__main__":
    main()
