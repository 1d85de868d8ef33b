"""Inception Score: how sure and how varied a classifier is of images."""

import numpy as np
import numpy.typing as npt
from scipy.special import entr

from meddiff.core.errors import MeddiffError
from meddiff.metrics.features import Array, checked
from meddiff.metrics.intervals import Estimate, estimate, half_samples, rows_by_contents


def inception_score(probabilities: npt.ArrayLike) -> float:
    """Return exp of the mean Kullback-Leibler divergence of p(y|x) from p(y).

    Salimans et al., "Improved techniques for training GANs" (NeurIPS 2016), section 4, over all
    images at once.

    Args:
        probabilities: one distribution per row, (n, classes), n >= 2.

    Returns:
        The score, in [1, classes].

    Raises:
        MeddiffError: another shape, or rows that are no distributions.
    """
    p = _checked(probabilities)
    return float(_scores(p, np.ones((1, len(p))))[0])


def inception_interval(
    probabilities: npt.ArrayLike, *, n_resamples: int = 1000, seed: int = 0
) -> Estimate:
    """Return the Inception Score of 4 images or more with an interval over them.

    The score grows with the number of images: the interval is for as many.
    """
    p = rows_by_contents(_checked(probabilities))
    (halves,) = half_samples(len(p), n_resamples=n_resamples, seed=seed)
    return estimate(inception_score(p), _scores(p, halves), least=1, most=float(p.shape[1]))


def _checked(probabilities: npt.ArrayLike) -> Array:
    p = checked("Inception Score", "probabilities", probabilities)
    if p.min() < 0 or not np.allclose(p.sum(axis=1), 1, atol=1e-3):
        raise MeddiffError(
            "Inception Score: rows of probabilities must be >= 0 and sum to 1: apply softmax to "
            "the logits first"
        )
    return p / p.sum(axis=1, keepdims=True)


def _scores(p: Array, weights: Array) -> Array:
    """Return the score for every row of weights of the images, (r, n)."""
    shares = weights / weights.sum(axis=1, keepdims=True)
    # The entropy of the mean less the mean entropy.
    logs = entr(shares @ p).sum(axis=1) - shares @ entr(p).sum(axis=1)
    # Rounding takes equal rows a little below one.
    scores: Array = np.exp(logs).clip(1, p.shape[1])
    return scores
