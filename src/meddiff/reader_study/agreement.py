"""Whether readers agree: with one another, and with themselves."""

import numpy as np
from numpy.typing import NDArray


def fleiss_kappa(answers: NDArray[np.integer]) -> float:
    """Return Fleiss' kappa of readers (Fleiss 1971): 1 for full agreement, 0 for that of chance.

    Args:
        answers: category of each image by each reader, (readers, images), two or more readers.

    Returns:
        NaN if all readers give all images the same answer: then chance alone agrees fully.
    """
    readers = len(answers)
    counts = np.stack([(answers == each).sum(axis=0) for each in np.unique(answers)], axis=1)
    by_chance = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    agreed = float(((counts * (counts - 1)).sum(axis=1) / (readers * (readers - 1))).mean())
    return (agreed - by_chance) / (1 - by_chance) if by_chance < 1 else np.nan


def cohen_kappa(first: NDArray[np.integer], second: NDArray[np.integer]) -> float:
    """Return Cohen's kappa (1960) of one reader's answers with those to the same images later.

    Args:
        first: answers, (n,), n >= 1.
        second: the later ones.

    Returns:
        NaN if all answers are one.
    """
    categories = np.union1d(first, second)
    agreed = float((first == second).mean())
    by_chance = float(sum((first == each).mean() * (second == each).mean() for each in categories))
    return (agreed - by_chance) / (1 - by_chance) if by_chance < 1 else np.nan
