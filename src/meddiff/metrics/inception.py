"""Inception Score: how sure and how varied a classifier is of images."""

import numpy as np
import numpy.typing as npt
from scipy.special import rel_entr

from meddiff.errors import MeddiffError
from meddiff.metrics.features import checked


def inception_score(probabilities: npt.ArrayLike) -> float:
    """Return exp of the mean Kullback-Leibler divergence of p(y|x) from p(y), in [1, classes].

    Salimans et al., "Improved techniques for training GANs" (NeurIPS 2016), section 4, over all
    images at once. `probabilities` (n, classes) holds one distribution a row, n >= 2.

    Raises MeddiffError for another shape, or rows that are no distributions.
    """
    given = checked("Inception Score", "probabilities", probabilities)
    if given.min() < 0 or not np.allclose(given.sum(axis=1), 1, atol=1e-3):
        raise MeddiffError(
            "Inception Score: rows of probabilities must be >= 0 and sum to 1: apply softmax to "
            "the logits first"
        )
    given = given / given.sum(axis=1, keepdims=True)
    score = np.exp(rel_entr(given, given.mean(axis=0)).sum(axis=1).mean())
    # Rounding takes equal rows a little below one.
    return float(score.clip(1, given.shape[1]))
