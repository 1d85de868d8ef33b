"""SSIM and MS-SSIM of pairs of images on a GPU, in float32; `structural` says what they are.

At a position of the window every image has a patch, less its mean and weighted by the roots of the
window. The covariances of all pairs of two blocks are then one product of matrices per position,
and none is the small difference of large numbers that E[xy] - E[x] E[y] is. Values agree with those
of the CPU within 1e-5: a pair of which a scale is near zero, where MS-SSIM's roots are steep, is
measured in float64 on the CPU.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meddiff.core.devices import arithmetic
from meddiff.metrics.features import Array
from meddiff.metrics.images import Images

MAP_VALUES = 2**26
"""Values of a map that are in memory at once: positions times pairs of two blocks."""
STEEP = 3e-4
"""Factors of MS-SSIM below which their roots magnify rounding."""

Exact = Callable[[int, Sequence[int]], Array]
"""Values of one image of the first set with some of the second, in float64."""


@dataclass(frozen=True)
class Window:
    """A Gaussian window and the constants of SSIM.

    Attributes:
        taps: weights of the window in one direction, float64 (k,), whose sum is 1.
        luminance: stability constant of the luminance, squared.
        contrast: that of the contrast, squared.
        weights: exponent of each scale of MS-SSIM; None for SSIM.
    """

    taps: Array
    luminance: float
    contrast: float
    weights: tuple[float, ...] | None


def runs(
    window: Window, a: Images, b: Images, exact: Exact, *, upper: bool, device: str
) -> Iterator[tuple[int, int, Array]]:
    """Yield (i, j, values of a[i] with b[j], b[j + 1], ...), for j > i alone if `upper`.

    Images are uint8 (n, h, w, c); `exact` measures pairs in float64.
    """
    size = _block(a.shape[2] * a.shape[3])
    for first in range(0, len(a), size):
        left = _levels(window, a[first : first + size], device)
        for start in range(first if upper else 0, len(b), size):
            diagonal = upper and start == first
            right = left if diagonal else _levels(window, b[start : start + size], device)
            with arithmetic(device, "fp32"):
                factors = _factors(window, left, right)
            values, steep = _combined(window, factors)
            for row, scores in enumerate(values):
                i = first + row
                skipped = max(0, i + 1 - start) if upper else 0
                if skipped >= len(scores):
                    continue
                places = np.flatnonzero(steep[row, skipped:]) + skipped
                if len(places):
                    scores[places] = exact(i, (start + places).tolist())
                yield i, start + skipped, scores[skipped:]


def _block(positions: int) -> int:
    return max(1, math.isqrt(MAP_VALUES // positions))


def _levels(window: Window, images: Images, device: str) -> list[Tensor]:
    """Return float32 (n, c, h, w) in [0, 1] on every scale, finest first."""
    level = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    levels = [level.permute(0, 3, 1, 2).float() / 255]
    for _ in range(len(window.weights or (1,)) - 1):
        levels.append(torch.nn.functional.avg_pool2d(levels[-1], 2))
    return levels


def _factors(window: Window, left: list[Tensor], right: list[Tensor]) -> list[Tensor]:
    """Return the mean contrast of every pair on each scale, (n, m), and on the last the SSIM."""
    last = len(left) - 1
    return [
        _map_mean(window, one, other, with_luminance=scale == last)
        for scale, (one, other) in enumerate(zip(left, right, strict=True))
    ]


def _map_mean(window: Window, left: Tensor, right: Tensor, *, with_luminance: bool) -> Tensor:
    taps = len(window.taps)
    rows = left.shape[2] - taps + 1
    weights = np.sqrt(np.outer(window.taps, window.taps).reshape(-1))
    roots = torch.from_numpy(weights.astype(np.float32)).to(left.device)
    total = left.new_zeros(len(left), len(right))
    for row in range(rows):
        one, other = (_Patches.of(level[:, :, row : row + taps], roots) for level in (left, right))
        total += _row_sum(window, one, other, with_luminance=with_luminance)
    return total / (rows * left.shape[1] * (left.shape[3] - taps + 1))


@dataclass(frozen=True)
class _Patches:
    """Centred, weighted patches (p, n, k * k) at p positions, and their moments (p, n, 1)."""

    weighted: Tensor
    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, strip: Tensor, roots: Tensor) -> "_Patches":
        """Return those of n images (n, c, k, w)."""
        taps = strip.shape[2]
        patches = strip.unfold(3, taps, 1).permute(1, 3, 0, 2, 4)
        patches = patches.reshape(-1, len(strip), taps * taps)
        mean = (patches * roots**2).sum(2, keepdim=True)
        weighted = (patches - mean) * roots
        return cls(weighted, mean, (weighted**2).sum(2, keepdim=True))


def _row_sum(window: Window, left: _Patches, right: _Patches, *, with_luminance: bool) -> Tensor:
    """Return the sum over positions of contrast, or of SSIM, of every pair (n, m)."""
    constant = left.mean.new_full((1, 1, 1), window.contrast)
    values = torch.baddbmm(constant, left.weighted, right.weighted.mT, alpha=2)
    values /= left.variance + (right.variance + window.contrast).mT
    if with_luminance:
        constant = left.mean.new_full((1, 1, 1), window.luminance)
        values *= torch.addcmul(constant, left.mean, right.mean.mT, value=2)
        values /= left.mean**2 + (right.mean**2 + window.luminance).mT
    return values.sum(0)


def _combined(window: Window, factors: list[Tensor]) -> tuple[Array, np.ndarray]:
    """Return float64 values (n, m), and which of them are too near zero for float32."""
    stacked = torch.stack(factors).cpu().numpy().astype(np.float64)
    if window.weights is None:
        return stacked[0], np.zeros(stacked[0].shape, bool)
    weights = np.array(window.weights).reshape(-1, 1, 1)
    steep: Any = ((np.abs(stacked) < STEEP) & (weights > 0) & (weights < 1)).any(axis=0)
    return np.prod(np.maximum(stacked, 0) ** weights, axis=0), steep
