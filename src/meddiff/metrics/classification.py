"""Scores of a classifier from its predictions."""

from collections.abc import Sequence

import pandas as pd
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support


def classification_scores(predictions: pd.DataFrame, classes: Sequence[str]) -> dict[str, float]:
    """Return accuracy, precision, recall and F1, each in [0, 1].

    Args:
        predictions: columns label and predicted, one row an image.
        classes: class names; with two, the last is the positive class; with more, precision,
            recall and F1 are means over the classes. A score without any positive is 0.
    """
    truth, predicted = predictions["label"], predictions["predicted"]
    binary = len(classes) == 2
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth,
        predicted,
        labels=[classes[-1]] if binary else list(classes),
        average="macro",
        zero_division=0.0,
    )
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
    }


def confusion(predictions: pd.DataFrame, classes: Sequence[str]) -> list[list[int]]:
    """Return the confusion matrix, rows true and columns predicted, in the order of `classes`."""
    return confusion_matrix(
        predictions["label"], predictions["predicted"], labels=list(classes)
    ).tolist()
