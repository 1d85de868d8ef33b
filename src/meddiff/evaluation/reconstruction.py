"""How much of an image an autoencoder loses, which no sample made through it can win back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from meddiff.diffusion.latent.autoencoder import AT_ONCE, RANGE, Autoencoder
from meddiff.diffusion.pixels import to_uint8
from meddiff.metrics.intervals import within_bounds
from meddiff.metrics.structural import ssim_between

BEST = {"psnr": np.inf, "ssim": 1.0}
"""Largest value of each metric."""


def reconstructed(autoencoder: Autoencoder, images: np.ndarray) -> np.ndarray:
    """Return images, uint8 (N,H,W,C), encoded and decoded again."""
    latents = autoencoder.encode(torch.from_numpy(np.array(images)))
    parts = [to_uint8(autoencoder.decode(part), RANGE).cpu() for part in latents.split(AT_ONCE)]
    return torch.cat(parts).numpy()


def reconstruction_table(
    autoencoder: Autoencoder,
    sets: Mapping[str, Mapping[str, np.ndarray]],
    *,
    kernel_size: int,
    sigma: float,
) -> pd.DataFrame:
    """Return PSNR in dB and SSIM of images and their reconstructions.

    Args:
        autoencoder: trained.
        sets: uint8 (N,H,W,C) by image set and class.
        kernel_size: of SSIM's window, px.
        sigma: of SSIM's window, px.

    Returns:
        One row per image set, class and metric: mean over images, their standard deviation, its
        normal 95 % interval and the number of images.
    """
    rows: list[dict[str, Any]] = []
    for image_set, by_class in sets.items():
        for name, images in by_class.items():
            made = reconstructed(autoencoder, images)
            squares = (images.astype(float) - made).reshape(len(images), -1) ** 2
            # An image that comes back as it was has the PSNR of half a grey level.
            psnr = 10 * np.log10(255**2 / np.maximum(squares.mean(1), 0.25))
            pairs = zip(images[:, None], made[:, None], strict=True)
            ssim = [
                ssim_between(one, other, kernel_size=kernel_size, sigma=sigma)[0, 0]
                for one, other in pairs
            ]
            for metric, values in (("psnr", psnr), ("ssim", np.array(ssim))):
                spread = float(values.std(ddof=1)) if len(values) > 1 else np.nan
                value = within_bounds(
                    float(values.mean()),
                    spread / len(values) ** 0.5,
                    least=-1.0,
                    most=BEST[metric],
                )
                rows.append(
                    {"image_set": image_set, "class": name, "metric": metric, "value": value.value,
                     "std": spread, "ci_low": value.low, "ci_high": value.high,
                     "n_images": len(values)}
                )  # fmt: skip
    return pd.DataFrame(rows)
