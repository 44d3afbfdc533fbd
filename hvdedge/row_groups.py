"""Groups of rows that ranks take over whole: the rows travel to the rank that works on their group, weights come back.

A group is worked on as if there were one rank, so the outcome is the same for any number. Groups go out in waves, so
that a rank holds some megabytes of rows beside its largest group; within a wave the ranks have about as many rows each.
"""

from collections.abc import Callable

import numpy as np
from mpi4py import MPI

from hvdedge.flat_rows import FlatRows
from hvdedge.parallel import agree, exchange_runs

WAVE_BYTES = 1 << 24  # of the rows of a rank


def reweighted(
    rows: FlatRows,
    weights: np.ndarray,
    groups: np.ndarray,
    sizes: np.ndarray,
    work: Callable[[int, np.ndarray, np.ndarray], np.ndarray],
    comm: MPI.Intracomm,
) -> np.ndarray:
    """Collective. Return the weights of the rows here after some rank has worked on their groups.

    Args:
        weights: of the rows here, float64 (rows,).
        groups: the number of the group of each row, int64 (rows,); -1 for none: its weight stays.
        sizes: how many rows of all ranks each group has, int64 (groups,).
        work: takes a group's number, its steps, (rows, columns), in the order of the rows, and their weights; returns
            their new weights.
    """
    width, total = rows.steps.shape[1], int(sizes.sum())
    at_once = max(min(WAVE_BYTES // (4 * width), -(-total // comm.size)), 1)  # rows of a rank
    waves, owners = np.divmod((np.cumsum(sizes) - sizes) // at_once, comm.size)
    found = weights.copy()
    for wave in range(int(waves.max(initial=-1)) + 1):
        mine = np.flatnonzero((groups >= 0) & (np.append(waves, -1)[groups] == wave))
        mine = mine[np.argsort(owners[groups[mine]], kind="stable")]
        counts = np.bincount(owners[groups[mine]], minlength=comm.size)
        told = np.stack([groups[mine], rows.numbers[mine], weights[mine].view(np.int64)], axis=1)
        told, arrived = exchange_runs(told, counts, comm)
        steps, _ = exchange_runs(rows.steps[mine], counts, comm)
        answers = np.empty(len(told))
        with agree(comm):
            order = np.lexsort((told[:, 1], told[:, 0]))
            ends = np.flatnonzero(np.diff(told[order, 0], append=-1)) + 1
            for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=False):
                group = order[start:end]
                answers[group] = work(int(told[group[0], 0]), steps[group], told[group, 2].copy().view(np.float64))
        found[mine], _ = exchange_runs(answers, arrived, comm)
    return found
