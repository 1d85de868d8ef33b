"""Inception Score: how sure and how varied a classifier is of images."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.special import entr

from meddiff.core.errors import MeddiffError
from meddiff.metrics.features import Array, checked
from meddiff.metrics.intervals import Estimate, estimate, half_samples, rows_by_contents


def inception_score(probabilities: npt.ArrayLike) -> float:
    """Return exp of the mean Kullback-Leibler divergence of p(y|x) from p(y), in [1, classes].

    Salimans et al., "Improved techniques for training GANs" (NeurIPS 2016), section 4, over all
    images at once. `probabilities` (n, classes) holds one distribution a row, n >= 2.

    Raises MeddiffError for another shape, or rows that are no distributions.
    """
    given = _checked(probabilities)
    return float(_scores(given, np.ones((1, len(given))))[0])


def inception_interval(
    probabilities: npt.ArrayLike, *, n_resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Estimate:
    """Return the Inception Score of 4 images or more with an interval over them.

    Other arguments are those of `fid_interval`. The score grows with the number of images: the
    interval is for as many.
    """
    given = rows_by_contents(_checked(probabilities))
    value = inception_score(given)
    (halves,) = half_samples(len(given), n_resamples=n_resamples, seed=seed)
    found = estimate(value, _scores(given, halves), least=1, level=level)
    return replace(found, high=min(found.high, float(given.shape[1])))


def _checked(probabilities: npt.ArrayLike) -> Array:
    given = checked("Inception Score", "probabilities", probabilities)
    if given.min() < 0 or not np.allclose(given.sum(axis=1), 1, atol=1e-3):
        raise MeddiffError(
            "Inception Score: rows of probabilities must be >= 0 and sum to 1: apply softmax to "
            "the logits first"
        )
    return given / given.sum(axis=1, keepdims=True)


def _scores(given: Array, weights: Array) -> Array:
    """Return the score for every row of weights of the images, (r, n)."""
    shares = weights / weights.sum(axis=1, keepdims=True)
    # The entropy of the mean less the mean entropy.
    logs = entr(shares @ given).sum(axis=1) - shares @ entr(given).sum(axis=1)
    # Rounding takes equal rows a little below one.
    found: Array = np.exp(logs).clip(1, given.shape[1])
    return found
