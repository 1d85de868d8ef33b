"""How much of an image an autoencoder loses, which no sample made through it can win back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from meddiff.diffusion.latent.autoencoder import AT_ONCE, RANGE, Autoencoder, from_pixels
from meddiff.diffusion.latent.lpips import Lpips
from meddiff.diffusion.pixels import to_uint8
from meddiff.metrics.intervals import within_bounds
from meddiff.metrics.structural import ssim_between

BOUNDS = {"psnr": (-1.0, np.inf), "ssim": (-1.0, 1.0), "lpips": (0.0, np.inf)}
"""Least and largest value of each metric."""


def reconstructed(autoencoder: Autoencoder, images: np.ndarray) -> np.ndarray:
    """Return images, uint8 (N,H,W,C), encoded and decoded again."""
    latents = autoencoder.encode(torch.from_numpy(np.array(images)))
    parts = [to_uint8(autoencoder.decode(part), RANGE).cpu() for part in latents.split(AT_ONCE)]
    return torch.cat(parts).numpy()


def reconstruction_table(
    autoencoder: Autoencoder,
    sets: Mapping[str, Mapping[str, np.ndarray]],
    lpips: Lpips | None = None,
    *,
    kernel_size: int,
    sigma: float,
) -> pd.DataFrame:
    """Return PSNR in dB, SSIM and LPIPS of images and their reconstructions.

    Args:
        sets: uint8 (N,H,W,C) by image set and class.
        lpips: perceptual distance, or None without.
        kernel_size: of SSIM's window, px; so is `sigma`.

    Returns:
        One row per image set, class and metric: mean over images, their standard deviation, its
        normal 95 % interval and the number of images.
    """
    rows: list[dict[str, Any]] = []
    for image_set, by_class in sets.items():
        for name, images in by_class.items():
            made = reconstructed(autoencoder, images)
            metrics = {"psnr": _psnr(images, made)}
            pairs = zip(images[:, None], made[:, None], strict=True)
            metrics["ssim"] = np.array(
                [
                    ssim_between(one, other, kernel_size=kernel_size, sigma=sigma)[0, 0]
                    for one, other in pairs
                ]
            )
            if lpips:
                metrics["lpips"] = _lpips(lpips, images, made, autoencoder.mean.device)
            for metric, values in metrics.items():
                spread = float(values.std(ddof=1)) if len(values) > 1 else np.nan
                error = spread / len(values) ** 0.5
                least, most = BOUNDS[metric]
                mean = within_bounds(float(values.mean()), error, least=least, most=most)
                rows.append(
                    {"image_set": image_set, "class": name, "metric": metric, "value": mean.value,
                     "std": spread, "ci_low": mean.low, "ci_high": mean.high,
                     "n_images": len(values)}
                )  # fmt: skip
    return pd.DataFrame(rows)


def _psnr(images: np.ndarray, made: np.ndarray) -> np.ndarray:
    squares = (images.astype(float) - made).reshape(len(images), -1) ** 2
    # An image that comes back as it was has the PSNR of half a grey level.
    return 10 * np.log10(255**2 / np.maximum(squares.mean(1), 0.25))


def _lpips(lpips: Lpips, images: np.ndarray, made: np.ndarray, device: torch.device) -> np.ndarray:
    both = [torch.from_numpy(np.array(pixels)).to(device) for pixels in (images, made)]
    pairs = zip(*(pixels.split(AT_ONCE) for pixels in both), strict=True)
    distances = [lpips(from_pixels(one), from_pixels(other)) for one, other in pairs]
    return torch.cat(distances).cpu().numpy()
