"""k-means over the rows of all ranks: no rank ever has those of others.

Source: Lloyd 1982, Least squares quantization in PCM; Arthur and Vassilvitskii 2007, k-means++; sums over ranks as in
Dhillon and Modha 2000, A data-clustering algorithm on distributed memory multiprocessors.
"""

import numpy as np
from mpi4py import MPI

from hvdedge.parallel import allgather_rows

SAMPLE = 4096  # rows of all ranks that the first centres are drawn from
BATCH_ROWS = 4096


def k_means(
    x: np.ndarray, count: int, comm: MPI.Intracomm, *, seed: int = 0, restarts: int = 10, passes: int = 100
) -> np.ndarray:
    """Collective. Return the number of each row's cluster, int64 (rows,), of the best of several beginnings.

    Args:
        x: this rank's rows, (rows, numbers).
        count: of clusters; fewer where there are fewer rows.
        passes: over the rows, at most, from each beginning.
    """
    from sklearn.cluster import kmeans_plusplus  # loading it takes a second

    x = x.astype(np.float64)
    sample = allgather_rows(x[: max(SAMPLE // comm.size, 1)], comm)
    count = min(count, len(sample))
    best, found = np.inf, np.zeros(len(x), np.int64)
    for restart in range(restarts if count else 0):
        centres, _ = kmeans_plusplus(sample, count, random_state=seed + restart)
        comm.Bcast(centres)  # hosts may round unlike
        for _ in range(passes):
            labels, away = _nearest(x, centres)
            sums = np.zeros((count, x.shape[1] + 1))
            np.add.at(sums, labels, np.column_stack([x, np.ones(len(x))]))
            total = np.array(away.sum())
            comm.Allreduce(MPI.IN_PLACE, sums)
            comm.Allreduce(MPI.IN_PLACE, total)
            moved = np.where(sums[:, -1:] > 0, sums[:, :-1] / np.maximum(sums[:, -1:], 1), centres)
            is_done = np.allclose(moved, centres, rtol=1e-6, atol=1e-9)
            centres = moved
            if is_done:
                break
        if total < best:
            best, found = float(total), labels
    return found


def _nearest(x: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest centre of each row, and the square of how far it is."""
    labels, away = np.zeros(len(x), np.int64), np.zeros(len(x))
    for start in range(0, len(x), BATCH_ROWS):
        here = slice(start, start + BATCH_ROWS)
        squares = (x[here] ** 2).sum(1)[:, None] - 2 * x[here] @ centres.T + (centres**2).sum(1)
        labels[here] = squares.argmin(1)
        away[here] = np.maximum(squares.min(1), 0)
    return labels, away
