"""How likely a net takes images to be that it learnt from, and others, as rows."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from meddiff.core.progress import Progress
from meddiff.diffusion.sampling.ddpm import Ddpm
from meddiff.diffusion.sampling.likelihood import bits_per_dimension
from meddiff.metrics.images import random_places
from meddiff.metrics.intervals import within_bounds

GAP = "gap"
"""Stands for the image set where a number is that of unseen images less that of training ones."""


def likelihood_rows(
    model: Ddpm, sets: Mapping[str, np.ndarray], *, most: int, seed: int, name: str
) -> Iterator[dict[str, Any]]:
    """Yield mean bits per dimension of each set of images, and of two sets their difference.

    Intervals are normal ones of means over images.

    Args:
        sets: uint8 (n,H,W,C), training images and, if there are any, unseen ones, in this order.
        most: images of a set, chosen at random.
    """
    chosen = {
        key: images[random_places(len(images), most, seed, "likelihood")]
        for key, images in sets.items()
    }
    bits = {}
    with Progress(sum(map(len, chosen.values())), f"likelihood {name}", "image") as progress:
        for key, images in chosen.items():
            bits[key] = bits_per_dimension(
                model, images, seed=seed, name=name, progress=progress.advance
            )
            yield _row(key, len(images), bits[key].mean(), _variance(bits[key]))
    if len(bits) == 2:
        training, unseen = bits.values()
        variance = _variance(training) + _variance(unseen)
        yield _row(GAP, min(map(len, bits.values())), unseen.mean() - training.mean(), variance)


def _variance(values: np.ndarray) -> float:
    """Return the variance of a mean; unknown of one value."""
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else np.nan


def _row(image_set: str, images: int, value: float, variance: float) -> dict[str, Any]:
    mean = within_bounds(value, variance**0.5)
    return {
        "image_set": image_set,
        "n_images": images,
        "bits_per_dimension": mean.value,
        "ci_low": mean.low,
        "ci_high": mean.high,
    }
