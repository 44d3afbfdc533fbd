"""Whether rows that are taken for one series are plainly of several.

    sensor  a a a b b b        the times go back where b begins, and in the order of time the rows of the two
    time    1 2 3 1 2 3        runs take turns: a b a b a b; here times come twice, too

Rows of one series may lie in any order (shuffled: runs of two rows; a file a month: runs that do not overlap), and few
of its times come twice (a clock that is put back).
"""

import numpy as np
from mpi4py import MPI

from hvdedge.parallel import allgather_rows, counts
from hvdedge.sequences import Sequences

PLAIN = 0.05  # of the rows that have the time of another, or follow one of another run
LEAST_RUN = 8  # rows of a run, on average


def find_mixed(times: np.ndarray, rows: Sequences, comm: MPI.Intracomm) -> str:
    """Collective. Return what shows that the rows are of several series; nothing where nothing does.

    A rank holds about 60 bytes for each of its rows.

    Args:
        times: float64, of this rank's rows of the table, NaN for those that are not among `rows`.
        rows: these rows as one series, sorted by time.
    """
    known = ~np.isnan(times)
    runs = np.zeros(len(times), np.int64)
    runs[known] = _runs(times[known], comm)
    keys, its = rows.before(rows.keys, 1), rows.before(rows.sort(runs), 1)
    counted = np.array([(np.diff(keys) == 0).sum(), (np.diff(its) != 0).sum(), known.sum()])
    comm.Allreduce(MPI.IN_PLACE, counted, op=MPI.SUM)
    last = np.array(runs.max(initial=0))
    comm.Allreduce(MPI.IN_PLACE, last, op=MPI.MAX)
    again, turns, every = counted.tolist()
    if again > PLAIN * every:
        return f"{again} of {every} rows have the time of a row before"
    if turns > PLAIN * every and every >= LEAST_RUN * (last + 1):
        return f"the times of {every} rows go back {last} times, to between those before"
    return ""


def _runs(times: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return for each row how often the times went back up to it, over all ranks: int64 (rows here,)."""
    lasts = allgather_rows(times[-1:], comm)
    earlier = lasts[: counts(len(times[-1:]), comm)[: comm.rank].sum()]  # of the ranks before that have rows
    falls = np.diff(np.concatenate([earlier[-1:] if len(earlier) else times[:1], times])) < 0
    return counts(int(falls.sum()), comm)[: comm.rank].sum() + np.cumsum(falls)
