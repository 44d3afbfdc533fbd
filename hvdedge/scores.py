"""Scores from sums that ranks can add up without gathering their rows: a confusion matrix, squared errors."""

import numpy as np
from mpi4py import MPI

from hvdedge.parallel import allgather_rows


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
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support  # here, as training has no need of it

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


def ranking(is_one: np.ndarray, score: np.ndarray, comm: MPI.Intracomm) -> dict[str, float | None]:
    """Collective. Return how well a score of all ranks' rows parts those that are one from those that are not.

    A rank holds 5 bytes for each row of all.

    Args:
        is_one: 1 or 0.
        score: the higher, the more likely.
    Returns:
        auc, the area below the receiver operating characteristic, and average_precision; None where all rows are alike.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    is_one = allgather_rows(is_one.astype(np.int8), comm)
    score = allgather_rows(score.astype(np.float32), comm)
    if is_one.min(initial=1) == is_one.max(initial=0):
        return {"auc": None, "average_precision": None}
    auc, precision = roc_auc_score(is_one, score), average_precision_score(is_one, score)
    return {"auc": float(auc), "average_precision": float(precision)}


def clustering(true: np.ndarray, found: np.ndarray, count: int, comm: MPI.Intracomm) -> dict[str, float]:
    """Collective. Return how well clusters of all ranks' rows agree with classes: nmi and ari.

    Args:
        count: of classes, and of clusters at most.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    matrix = confusion(true, found, count)
    comm.Allreduce(MPI.IN_PLACE, matrix, op=MPI.SUM)
    true, found = (np.repeat(cells.ravel(), matrix.ravel()) for cells in np.indices(matrix.shape))
    return {
        "nmi": float(normalized_mutual_info_score(true, found)),
        "ari": float(adjusted_rand_score(true, found)),
    }


def means(values: np.ndarray, comm: MPI.Intracomm) -> list[float]:
    """Collective. Return the mean of each column over the rows of all ranks."""
    sums = np.append(values.sum(axis=0, dtype=np.float64), len(values))
    comm.Allreduce(MPI.IN_PLACE, sums)
    return (sums[:-1] / max(sums[-1], 1)).tolist()


def errors(true: np.ndarray, predicted: np.ndarray, comm: MPI.Intracomm) -> dict[str, float]:
    """Collective. Return mse and mae over all numbers of all ranks; sums of float64, to about 1e-12 on any number."""
    away = predicted.astype(np.float64) - true
    sums = np.array([(away**2).sum(), np.abs(away).sum(), away.size])
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    return {"mse": float(sums[0] / sums[2]), "mae": float(sums[1] / sums[2])}


def regression(
    true: np.ndarray, predicted: np.ndarray, names: list[str], deviations: list[float], comm: MPI.Intracomm
) -> dict:
    """Collective. Return the scores of a regression over all rows of all ranks.

    Args:
        true, predicted: (rows here, steps ahead, targets), in standard deviations of the training rows.
        names, deviations: of the targets; what one standard deviation is in a target's own unit.
    Returns:
        mse, mae, rmse over all numbers, and r2, the mean over the targets, in standard deviations; `targets`, one entry
        a target, in its own unit; `mse_by_step` in standard deviations, where there are several steps.
    """
    away = predicted.astype(np.float64) - true
    rows = np.array(float(len(true)))
    sums = np.stack([(away**2).sum(0), np.abs(away).sum(0), true.sum(0, dtype=float), (true**2).sum(0, dtype=float)])
    comm.Allreduce(MPI.IN_PLACE, rows, op=MPI.SUM)
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)  # (4, steps, targets)
    count = float(rows) * true.shape[1]
    squares, absolute, total, total_squares = sums.sum(axis=1)
    spread = total_squares - total**2 / count
    r2 = [1 - float(s) / float(v) if v > 0 else None for s, v in zip(squares, spread, strict=True)]
    known = [value for value in r2 if value is not None]
    mse, mae = squares.sum() / count / len(names), absolute.sum() / count / len(names)
    found = {
        **{"mse": float(mse), "mae": float(mae), "rmse": float(np.sqrt(mse))},
        "r2": sum(known) / len(known) if known else None,
        "targets": [
            {
                "target": name,
                **{"mse": float(s / count * d * d), "mae": float(a / count * d), "rmse": float(np.sqrt(s / count) * d)},
                "r2": r,
            }
            for name, s, a, d, r in zip(names, squares, absolute, deviations, r2, strict=True)
        ],
    }
    if true.shape[1] > 1:
        found["mse_by_step"] = (sums[0].sum(axis=1) / float(rows) / len(names)).tolist()
    return found
