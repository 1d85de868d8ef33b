"""Columns that rows of Table 5.2, of matrices and of memorisation share."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from meddiff.metrics.copies import Memorisation
from meddiff.metrics.intervals import Estimate

Set = tuple[str, str]
"""Image set and class."""
PIXELS = "pixels"
"""What a search for copies is by, beside an extractor's features."""
MEMORISATION = ("synthetic", "unseen", "leaked", "closer", "p_value", "suspects", "suspects_p",
                "identical", "verdict")  # fmt: skip


def interval(estimate: Estimate) -> dict[str, float]:
    """Return the columns of a value with its interval; it is no mean, so has no deviation."""
    return {"value": estimate.value, "std": np.nan} | estimate.columns()


def counts(image_set: str, scored: int, reference: int) -> dict[str, int]:
    """Return the real and synthetic images behind a value; noise counts as synthetic."""
    real = image_set == "real"
    return {"n_real": reference + scored * real, "n_synthetic": scored * (not real)}


def distance_row(
    name: str, image_set: str, metric: str, value: Estimate, scored: int, reference: int
) -> dict[str, Any]:
    """Return the row of Table 5.2 of one class, image set and metric of features."""
    return {
        "class": name,
        "image_set": image_set,
        "metric": metric,
        **interval(value),
        **counts(image_set, scored, reference),
    }


def matrix_rows(
    cells: Mapping[tuple[Set, Set], Estimate], order: Sequence[Set], sizes: Mapping[Set, int]
) -> pd.DataFrame:
    """Return the cells of a matrix as rows, in the order of its sets."""
    names = ("image_set_a", "class_a", "image_set_b", "class_b")
    return pd.DataFrame(
        {
            **dict(zip(names, (*one, *other), strict=True)),
            **interval(cells[one, other]),
            "n_a": sizes[one],
            "n_b": sizes[other],
        }
        for one in order
        for other in order
    ).drop(columns="std")


def memorisation_row(result: Memorisation) -> dict[str, Any]:
    """Return the scores by name, and the verdict."""
    return {name: getattr(result, name) for name in MEMORISATION}


def copies_by_class(table: pd.DataFrame) -> dict[str, str]:
    """Return the verdict of the search for copies in pixels by class, of memorisation.csv."""
    rows = table[table["by"] == PIXELS]
    return dict(zip(rows["class"], rows["verdict"], strict=True))
