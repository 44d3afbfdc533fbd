"""Epochs of a ring of nodes, and what their iterations took."""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from mpi4py import MPI

from hvdedge import ring
from hvdedge.message_progress import progressing
from hvdedge.parallel import MeteredComm
from hvdedge.ring_steps import RingSteps
from hvdedge.ring_task import RingTask

TIMES = 5  # that messages are timed


def cut(task: RingTask, comm: MeteredComm, lent: int, recompute: bool) -> dict[str, Any]:
    """Return how the task is to cut its layers for the nodes of a ring, but whether it measures them."""
    held = ring.in_flight(comm.size)
    versions = ring.versions(comm.size, held)
    return {"rows": task.batch_size, "in_flight": held, "versions": versions, "recompute": recompute, "first": lent + 1}


def learn(
    task: RingTask, comm: MeteredComm, lent: int, recompute: bool, then: Callable[[MeteredComm], None] | None = None
) -> None:
    """Collective. Train through the epochs that are left, with layers that are cut.

    Args:
        lent: how many first layers node 0 lends.
        recompute: see `hvdedge.strategies.ring_tmp`.
        then: is done after each epoch.
    """
    task.trains, task.tells = comm.rank in (0, comm.size - 1), comm.rank == comm.size - 1
    costs = _Costs(comm)
    with progressing(comm), RingSteps(task, comm, lent, recompute) as steps:
        for epoch in range(task.epoch, task.epochs):
            batches = ring.entries(task.rows_of, task.batch_size, task.rows_beside)
            with costs.of(ring.iterations(len(batches), comm.size, bool(lent)), len(batches)):
                steps.go(epoch, batches)
            if task.end_epoch(epoch, comm):
                break
            if then is not None:
                then(comm)
    late = [count - 1 for count in ring.versions(comm.size, ring.in_flight(comm.size))]
    task.history.told = task.told_parts(comm) | {"staleness": late, "ring": costs.told()}
    if lent:
        names = [name for part in task.part_names for name in part][:lent]
        task.history.told["lent"] = {"layers": names, "batches_late": 2 * ring.HOP * (comm.size + 1)}


class _Costs:
    """What the iterations took and moved, but for those of the first epoch, in which graphs are built."""

    def __init__(self, comm: MeteredComm):
        self._comm = comm
        self._epochs: list[np.ndarray] = []

    @contextlib.contextmanager
    def of(self, iterations: int, batches: int) -> Iterator[None]:
        """Take in what the body does, an epoch."""
        before = self._now()
        yield
        self._epochs.append(np.array([iterations, batches, *(self._now() - before)]))

    def told(self) -> dict[str, Any]:
        """Collective. Return the figures of TIME = I * max(c, T): of the slowest node and the most that one moves."""
        names = "iterations", "compute_seconds", "transfer_seconds", "predicted_seconds", "measured_seconds"
        if len(self._epochs) < 2:
            return dict.fromkeys(names)
        iterations, batches, seconds, idle, sent, received = np.sum(self._epochs[1:], axis=0)
        most = np.array([(seconds - idle) / batches, max(sent, received) / batches, seconds])
        self._comm.Allreduce(MPI.IN_PLACE, most, op=MPI.MAX)
        transfer_seconds = self._shift_seconds(int(most[1]))
        predicted = iterations * max(most[0], transfer_seconds)
        values = int(iterations), float(most[0]), transfer_seconds, float(predicted), float(most[2])
        return dict(zip(names, values, strict=True))

    def _now(self) -> np.ndarray:
        traffic = self._comm.traffic
        return np.array([time.perf_counter(), traffic.idle_seconds, traffic.bytes_sent, traffic.bytes_received])

    def _shift_seconds(self, size_bytes: int) -> float:
        """Collective. Return what it takes where each node sends so much to the next one."""
        comm = self._comm
        if comm.size == 1:
            return 0.0
        out, into, seconds = np.zeros(size_bytes, np.uint8), np.empty(size_bytes, np.uint8), []
        for _ in range(TIMES):
            comm.Barrier()
            began = time.perf_counter()
            comm.Sendrecv(out, (comm.rank + 1) % comm.size, recvbuf=into, source=(comm.rank - 1) % comm.size)
            seconds.append(time.perf_counter() - began)
        slowest = np.array(statistics.median(seconds))
        comm.Allreduce(MPI.IN_PLACE, slowest, op=MPI.MAX)
        return float(slowest)
