"""Gossip: after each step a rank averages its weights with its two neighbours on a ring, and with nobody else.

    theta_i <- (theta_left + theta_i + theta_right) / 3 - rate * gradient_i(theta_i)

A rank sends its weights to two others whatever the number of ranks, and waits for no one farther away. The weights of
ranks differ, their mean descends. At the end of an epoch one sum runs along the ring and the mean comes back along it,
so that there is one model to validate, to keep and to go on from.

Source: Lian et al. 2017, Can decentralized algorithms outperform centralized algorithms? (D-PSGD); Chen et al. 2021,
Accelerating gossip SGD with periodic global averaging.
"""

import numpy as np

from hvdedge import learning_rate
from hvdedge import local_steps as local
from hvdedge.options import NonNegative, Scaling
from hvdedge.parallel import MeteredComm
from hvdedge.shards import Batch
from hvdedge.training import History, TrainingTask


def train(
    task: TrainingTask, comm: MeteredComm, *, scaling: Scaling = "linear", warmup_epochs: NonNegative = 5.0
) -> History:
    """Collective. Train with weights averaged between neighbours on a ring.

    Args:
        scaling: how the learning rate grows with the number of ranks.
        warmup_epochs: through how many epochs it grows from one rank's rate; 0 begins with the full rate.
    """
    first = task.resume(comm)
    steps = Steps(task, comm)
    for epoch in range(first, task.epochs):
        for batch in task.batches(epoch):
            learning_rate.grow(task, comm.size, scaling, warmup_epochs)
            task.count(*steps.go(batch))
        steps.meet()
        if task.end_epoch(epoch, comm):
            break
    return task.history


class Steps:
    """Steps of each rank by itself, whose weights go halfway to its neighbours'."""

    def __init__(self, task: TrainingTask, comm: MeteredComm):
        self._task, self._comm = task, comm
        self._local = local.LocalSteps(task)

    def go(self, batch: Batch) -> tuple[float, float]:
        """Take a step, with this rank's neighbours; return its weighted sums of loss and score before it."""
        told = self._local.look(batch)
        variables = self._task.variables()
        local.assign(variables, _mixed(local.flat(variables), self._comm))
        self._local.go()
        return told

    def meet(self) -> None:
        """Collective. Let all ranks go on from the mean of their weights, and of what their optimizers keep."""
        everything = [*self._task.variables(), *local.state_of(self._task.optimizer)]
        local.assign(everything, _mean(local.flat(everything), self._comm))
        local.agree_on_steps(self._task, self._comm)

    def end(self) -> None:
        """Do nothing: there is nothing to end."""


def _mixed(values: np.ndarray, comm: MeteredComm) -> np.ndarray:
    """Return the mean of this rank's values and its neighbours'."""
    neighbours = {(comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size} - {comm.rank}
    total, other = values.copy(), np.empty_like(values)
    for step in (1, -1)[: len(neighbours)]:
        comm.Sendrecv(values, (comm.rank + step) % comm.size, recvbuf=other, source=(comm.rank - step) % comm.size)
        total += other
    return total / np.float32(1 + len(neighbours))


def _mean(values: np.ndarray, comm: MeteredComm) -> np.ndarray:
    """Return the mean of all ranks' values, the same bits on each: by messages between neighbours alone."""
    total = values.copy()
    if comm.rank:
        comm.Recv(total, comm.rank - 1)
        total += values
    if comm.size > 1:
        comm.Send(total, (comm.rank + 1) % comm.size)
        if comm.rank < comm.size - 1:
            comm.Recv(total, (comm.rank - 1) % comm.size)
            if comm.rank < comm.size - 2:
                comm.Send(total, comm.rank + 1)
    return total / np.float32(comm.size)
