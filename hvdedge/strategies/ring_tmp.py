"""Model parallelism on a ring: each node holds some of the layers, and rows; results travel while it computes.

    node p   forward of batch b    .. travels ..   node p + 1  forward of b     all at the same time, of other batches
    node p   backward of batch c   .. travels ..   node p - 1  backward of c

Data enters at every node in turn, so none is a server: a batch of its own rows goes through the layers of nodes 0 to
n - 1 and back. What a node makes in one iteration travels during the next one and is used in the one after it, so that

    TIME = I * max(c, T)   instead of   I * (c + T)

for I iterations, in each of which a node computes for c seconds, and in which its messages take T. A round is a batch
of each node; at its end each node takes the optimizer's step with the gradient of the round's rows, n times
`batch_size` of them, as in ring_allreduce, also of the learning rate. Nobody waits between rounds: a batch goes forward
with the weights of all rounds whose gradients had come by then, and its gradient is of the weights that it went forward
with. An epoch ends with an empty ring.

With `private` no raw row leaves its node: the first layers that have weights run where the rows are, with weights that
node 0 lends for each batch, and their gradient comes back to it. (Rows for validation are read by node 0.)

After each epoch a node has a copy of the layers of the node before it. When nodes are lost the others deal the layers
anew, take those that were lost from the copies, and do the epoch again; with `private` the rows of the lost are lost,
too. What is only late is waited for.

Source: Hopkins 2020, RingTMP, as read in docs/ring_tmp.md; Narayanan et al. 2019, PipeDream (gradients of the weights
that went forward).
"""

import contextlib
import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from mpi4py import MPI

from hvdedge import ring
from hvdedge.message_progress import progressing
from hvdedge.options import NonNegative, Scaling
from hvdedge.parallel import MeteredComm
from hvdedge.recovery import Survivors
from hvdedge.ring_steps import RingSteps
from hvdedge.ring_task import RingTask
from hvdedge.training import History

TIMES = 5  # that messages are timed


def train(
    task: RingTask,
    comm: MeteredComm,
    *,
    private: bool = False,
    recompute: bool = False,
    measure: bool = True,
    scaling: Scaling = "linear",
    warmup_epochs: NonNegative = 5.0,
) -> History:
    """Collective. Train with layers on different ranks of a ring, at each of which batches enter in turn.

    Args:
        private: whether rows are never sent as they are, but as what the first layers make of them.
        recompute: whether what layers made is computed again to go backward, with the weights of that time, instead of
            kept in memory, with weights of rounds ago.
        measure: whether who holds which layers follows the seconds that they take, and not their shapes alone.
        scaling: how the learning rate grows with the number of ranks.
        warmup_epochs: through how many epochs it grows from one rank's rate; 0 begins with the full rate.
    Raises:
        InputError: where the model cannot be cut for these ranks, or so that rows stay private.
    """
    lent = task.lent_layers() if private else 0

    def work() -> None:
        comm = survivors.comm
        task.share_rows(comm, private)
        held = ring.in_flight(comm.size)
        cut: dict[str, Any] = {"rows": task.batch_size, "in_flight": held, "versions": ring.versions(comm.size, held)}
        cut |= {"measures": measure, "recompute": recompute, "first": lent + 1}
        if survivors.noticed is None:
            task.cut(comm, **cut)
            task.resume(comm)
        else:
            task.take_over(comm, **cut)
            task.lost(comm, time.perf_counter() - survivors.noticed)
        task.trains, task.tells = comm.rank in (0, comm.size - 1), comm.rank == comm.size - 1
        task.copy_parts(comm)
        task.grow_rate(comm.size, scaling, warmup_epochs)

        costs = _Costs(comm)
        with progressing(comm), RingSteps(task, comm, lent, recompute) as steps:
            for epoch in range(task.epoch, task.epochs):
                batches = ring.entries(task.rows_of, task.batch_size)
                with costs.of(ring.iterations(len(batches), comm.size, private), len(batches)):
                    steps.go(epoch, batches)
                if task.end_epoch(epoch, comm):
                    break
                task.copy_parts(comm)
        late = [count - 1 for count in cut["versions"]]
        task.history.told = {"parts": task.part_names, "staleness": late, "ring": costs.told()}

    with Survivors(comm) as survivors:
        survivors.work(work, lambda: None)
    return task.history


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
