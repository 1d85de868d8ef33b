"""Faulty samples that a metric may not show: black, flat, or of a shifted colour."""

import logging

import numpy as np
import pandas as pd
from numpy.typing import NDArray

log = logging.getLogger(__name__)

FAULTS = ("black", "flat", "colour_shifted")
TAIL = 0.001
"""Share of the training images beyond a bound: those alone do not set it."""
MARGIN = 0.5
"""Share of that bound below which the mean is black and the standard deviation flat."""
WORTH_A_LINE = 0.05
"""Share of faulty samples above which the log warns."""


def count_faults(samples: NDArray[np.uint8], training: NDArray[np.uint8]) -> dict[str, int]:
    """Count samples unlike any training image in brightness, contrast or mean colour.

    Args:
        samples: uint8 (N,H,W,C).
        training: uint8 (M,H,W,C), M at least 2.

    Returns:
        `n_images` N; `black`, mean below half of what 99.9 % of the training images exceed; `flat`,
        the same for the standard deviation over pixels, averaged over channels; `colour_shifted`,
        a mean colour further from theirs (Mahalanobis distance) than 99.9 % of theirs, black ones
        apart; and `faulty`, with any of these.
    """
    drawn, real = _statistics(samples), _statistics(training)
    black = drawn["mean"] < MARGIN * np.quantile(real["mean"], TAIL)
    flat = drawn["spread"] < MARGIN * np.quantile(real["spread"], TAIL)
    limit = np.quantile(_distance(real["colour"], real["colour"]), 1 - TAIL)
    shifted = (_distance(drawn["colour"], real["colour"]) > limit) & ~black
    counts = dict(zip(FAULTS, map(int, (black.sum(), flat.sum(), shifted.sum())), strict=True))
    faulty = int((black | flat | shifted).sum())
    return {"n_images": len(samples), **counts, "faulty": faulty}


def faults_table(
    samples: dict[str, NDArray[np.uint8]], training: dict[str, NDArray[np.uint8]]
) -> pd.DataFrame:
    """Return the faults of each class's samples, uint8 (N,H,W,C); a class with many is logged."""
    rows = []
    for name, images in samples.items():
        counts = count_faults(images, training[name])
        rows.append({"class": name, **counts})
        if counts["faulty"] > WORTH_A_LINE * len(images):
            summary = ", ".join(f"{counts[fault]} {fault.replace('_', '-')}" for fault in FAULTS)
            log.warning("%s: %s of %d samples; look at them", name, summary, len(images))
    return pd.DataFrame(rows)


def _statistics(images: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    pixels = images.reshape(len(images), -1, images.shape[-1]).astype(np.float64)
    return {"mean": pixels.mean((1, 2)), "spread": pixels.std(1).mean(1), "colour": pixels.mean(1)}


def _distance(colours: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Mahalanobis distance of mean colours (N,C) from those of a reference (M,C)."""
    # Regularised by one grey level squared, for colours that do not vary.
    covariance = np.atleast_2d(np.cov(reference.T)) + np.eye(reference.shape[1])
    apart = colours - reference.mean(0)
    return np.sqrt(np.einsum("nc,cd,nd->n", apart, np.linalg.inv(covariance), apart))
