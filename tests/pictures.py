"""Pictures that tests draw, and files of them."""

import io

import numpy as np
from PIL import Image


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Draw random smooth colours, uint8 (height, width, 3)."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


def photograph(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Draw smooth colours with fine detail, uint8 (height, width, 3)."""
    noise = 6 * np.random.default_rng(seed).normal(size=(height, width, 3))
    return np.clip(smooth(height, width, seed) + noise, 0, 255).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def jpeg(pixels: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **{"quality": 90} | options)
    return file.getvalue()
