"""Scores of a classification from its confusion matrix, which ranks can add up without gathering their rows."""

import numpy as np
from sklearn.metrics import accuracy_score, precision_recall_fscore_support


def confusion(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return how often each true class (row) was predicted as each class (column): int64 (classes, classes)."""
    return np.bincount(true * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def classification(matrix: np.ndarray, names: list) -> dict:
    """Return the scores of a confusion matrix over all rows.

    Args:
        matrix: int64 (classes, classes), rows are true classes.
        names: the classes, in that order.
    Returns:
        accuracy; precision, recall and f1 as means over the classes; `classes`, one entry a class; `confusion`.
    """
    true, predicted = (cells.ravel() for cells in np.indices(matrix.shape))
    rows = matrix.ravel()
    labels = np.arange(len(names))
    precision, recall, f1, support = precision_recall_fscore_support(
        true, predicted, labels=labels, sample_weight=rows, zero_division=0
    )
    return {
        "accuracy": float(accuracy_score(true, predicted, sample_weight=rows)),
        "precision": float(precision.mean()),
        "recall": float(recall.mean()),
        "f1": float(f1.mean()),
        "classes": [
            {"class": name, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
            for name, p, r, f, s in zip(names, precision, recall, f1, support, strict=True)
        ],
        "confusion": matrix.tolist(),
    }
