"""Shares of the global batch that follow each rank's measured speed, so that all ranks end a step together.

    speed of rank r    v_r = rows that it took / seconds that it computed, since the last adjustment
    its lanes          G v_r / (v_1 + ... + v_n), whole ones, at least 1, no more than fit into its memory

The mean over the batch is weighted by examples, so it is the same whoever takes which; only the order in which its
terms are added differs. An interval lasts INTERVAL_SECONDS, so that what throttles a node for parts of a second evens
out; lanes move only where the slowest rank would gain more than GAIN, so that noise moves none.

Source: Chen et al. 2020, Semi-dynamic load balancing: efficient distributed learning in non-dedicated environments
(LB-BSP).
"""

import math

import numpy as np
from mpi4py import MPI

from hvdedge.parallel import MeteredComm, allgather_rows
from hvdedge.training import TrainingTask

INTERVAL_SECONDS = 1.0
SMOOTHING = 0.5  # what an interval keeps of those before it
GAIN = 0.05  # of the slowest rank's step
LEAST_STEPS, MOST_STEPS = 4, 1000  # of an interval
FIRST_STEPS = 8  # of the first one, before anybody knows how long a step takes
SETTLING_STEPS = 2  # after lanes have moved, in which TensorFlow builds its graph for other sizes


def is_wanted(balance: str, comm: MeteredComm) -> bool:
    """Collective. Tell whether lanes shall move: with auto where the ranks are on several hosts."""
    local = comm.Split_type(MPI.COMM_TYPE_SHARED)
    several = np.array(local.size < comm.size, np.int32)
    local.Free()
    comm.Allreduce(MPI.IN_PLACE, several, op=MPI.MAX)
    return comm.size > 1 and (balance == "always" or (balance == "auto" and bool(several)))


def shares(speeds: np.ndarray, total: int, most: np.ndarray) -> np.ndarray:
    """Return whole shares of `total` in proportion to `speeds`, each from 1 to `most`: int64 (ranks,).

    Where ranks are more than `total` the slowest get none; where all `most` are less than `total`, all pass them.
    """
    least = min(1, total // len(speeds))
    most = np.maximum(most, -(-total // len(speeds)))
    low, high = 0.0, total / speeds.min()
    for _ in range(64):  # to the last bit of how much a unit of speed gets
        middle = (low + high) / 2
        low, high = (middle, high) if np.clip(middle * speeds, least, most).sum() < total else (low, middle)
    exact = np.clip(high * speeds, least, most)
    whole = np.floor(exact + 1e-6).astype(np.int64)
    whole[np.argsort(whole - exact, kind="stable")[: total - whole.sum()]] += 1
    return whole


class Balance:
    """The lanes of all ranks, which move between two steps."""

    def __init__(self, task: TrainingTask, comm: MeteredComm):
        """Collective. Deal the lanes by the speeds that are known beforehand, if they are of every rank."""
        self._task, self._comm = task, comm
        known = allgather_rows(np.array([[task.speed or math.nan, task.most_lanes]]), comm)
        self._most = known[:, 1]
        self._lanes = np.diff([task.global_batch_size * rank // comm.size for rank in range(comm.size + 1)])
        self._row_seconds: np.ndarray | None = None
        self._begin(FIRST_STEPS)
        if not np.isnan(known[:, 0]).any():
            self._deal(shares(known[:, 0], task.global_batch_size, self._most))

    def step(self) -> None:
        """Collective. Count a step, and move lanes at the end of an interval."""
        self._steps += 1
        if self._steps == SETTLING_STEPS:
            self._before = self._spent()
        if self._steps < self._last:
            return
        every = allgather_rows((self._spent() - self._before)[None], self._comm)
        seconds, computing_seconds, rows = every.T
        if rows.all():
            measured = np.maximum(computing_seconds, 1e-6) / rows
            before = measured if self._row_seconds is None else self._row_seconds
            self._row_seconds = row_seconds = SMOOTHING * before + (1 - SMOOTHING) * measured
            wanted = shares(1 / row_seconds, self._task.global_batch_size, self._most)
            slowest, then = ((lanes * row_seconds).max() for lanes in (self._lanes, wanted))
            if then < (1 - GAIN) * slowest:
                self._deal(wanted)
                self._task.note(
                    what="rebalanced",
                    epoch=math.floor(self._task.epochs_done) + 1,
                    lanes=wanted.tolist(),
                    step_seconds=round(float(slowest), 6),
                    predicted_seconds=round(float(then), 6),
                )
        step_seconds = seconds.max() / (self._steps - SETTLING_STEPS)
        self._begin(min(max(math.ceil(INTERVAL_SECONDS / step_seconds), LEAST_STEPS), MOST_STEPS))

    def _begin(self, steps: int) -> None:
        """Begin an interval of so many steps."""
        self._steps, self._last = 0, SETTLING_STEPS + steps

    def _deal(self, lanes: np.ndarray) -> None:
        self._lanes = lanes
        start = int(lanes[: self._comm.rank].sum())
        self._task.share(slice(start, start + int(lanes[self._comm.rank])))

    def _spent(self) -> np.ndarray:
        """Return the seconds that this rank took for steps, those of them in which it computed, and its rows."""
        history = self._task.history
        computing_seconds = history.warm_seconds - history.warm_idle_seconds
        return np.array([history.warm_seconds, computing_seconds, history.warm_examples])
