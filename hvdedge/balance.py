"""Shares of the global batch that follow each rank's measured speed, so that all ranks end a step together.

    speed of rank r    v_r = rows that it took / seconds that it computed, since the last adjustment
    its lanes          G v_r / (v_1 + ... + v_n), whole ones, at least 1, no more than fit into its memory

The mean over the batch is weighted by examples, so it is the same whoever takes which; only the order in which its
terms are added differs. An interval lasts INTERVAL_SECONDS, so that what throttles a node for parts of a second evens
out; intervals are averaged, and lanes move only where the slowest rank would gain more than GAIN, so that noise seldom
moves any.

Source: Chen et al. 2020, Semi-dynamic load balancing: efficient distributed learning in non-dedicated environments
(LB-BSP).
"""

import math

import numpy as np
from mpi4py import MPI

from hvdedge.parallel import MeteredComm, allgather_rows, local_size
from hvdedge.training import TrainingTask

INTERVAL_SECONDS = 1.0
SMOOTHING = 0.8  # what an interval keeps of those before it, once there are enough
JUMP = 1.5  # a rank that is so many times slower or faster in two intervals one after the other has changed
GAIN = 0.1  # of the slowest rank's step
LEAST_STEPS, MOST_STEPS = 4, 1000  # of an interval
FIRST_STEPS = 8  # of the first one, before anybody knows how long a step takes
SETTLING_STEPS = 2  # after lanes have moved, in which TensorFlow builds its graph for other sizes


def is_wanted(balance: str, comm: MeteredComm) -> bool:
    """Collective. Tell whether lanes shall move: with auto where the ranks are on several hosts."""
    several = np.array(local_size(comm) < comm.size, np.int32)
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
        """Collective. Deal the lanes by the speeds that are known beforehand, if there are any."""
        self._task, self._comm = task, comm
        known = allgather_rows(np.array([[task.speed or math.nan, task.most_lanes]], float), comm)
        self._most = known[:, 1]
        self._lanes = np.diff([task.global_batch_size * rank // comm.size for rank in range(comm.size + 1)])
        self._row_seconds: np.ndarray | None = None
        self._has_jumped = np.zeros(comm.size, bool)
        self._intervals = 0
        self._begin(FIRST_STEPS)
        if not np.isnan(known[:, 0]).all():
            speeds = np.where(np.isnan(known[:, 0]), 1.0, known[:, 0])  # of a usual host
            self._deal(shares(speeds, task.global_batch_size, self._most))
            task.note(what="rebalanced", action="by the speeds in the cluster's file", lanes=self._lanes.tolist())

    def step(self) -> None:
        """Collective. Count a step, and move lanes at the end of an interval."""
        self._steps += 1
        if self._steps == SETTLING_STEPS:
            self._before = self._spent()
        if self._steps < self._last:
            return
        every = allgather_rows((self._spent() - self._before)[None], self._comm)
        seconds, computing_seconds, rows = every.T
        if rows.all() and seconds.max() >= INTERVAL_SECONDS / 2:  # the first ones only tell how long steps take
            row_seconds = self._smoothed(np.maximum(computing_seconds, 1e-6) / rows)
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

    def _smoothed(self, measured: np.ndarray) -> np.ndarray:
        """Return each rank's seconds a row, measured in this interval and those before."""
        before = measured if self._row_seconds is None else self._row_seconds
        kept = min(self._intervals / (self._intervals + 1), SMOOTHING)
        has_jumped = np.abs(np.log(measured / before)) > math.log(JUMP)
        self._row_seconds = np.where(has_jumped & self._has_jumped, measured, kept * before + (1 - kept) * measured)
        self._has_jumped = has_jumped
        self._intervals += 1
        return self._row_seconds

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
        return np.array([history.warm_seconds, history.computing_seconds, history.warm_examples])
