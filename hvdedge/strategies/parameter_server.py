"""Parameter servers: the last ranks hold the weights, in parts of one size, the others compute gradients for them.

    worker   gradient of its rows at the weights it has  --part s-->  server s   the optimizer's step on part s
             the weights to go on with                   <--part s--

`sync`: the servers take one step with the mean over all workers, for which each worker waits. `async`: a step for each
gradient, at its share of the rate, and its worker goes on at once, at weights that others have changed meanwhile. `ssp`
(stale synchronous parallel): as async, but a worker goes on only while it is at most `staleness` steps ahead of the
slowest. The optimizer runs on the servers. An epoch ends when all workers have taken its steps; then all ranks get the
weights and what the optimizer keeps, to be validated and kept.

A worker takes parts as they come and a server answers one worker after the other, in the order of the servers' numbers
for each of them, so no two wait for each other.

Source: Li et al. 2014, Scaling distributed machine learning with the parameter server; Ho et al. 2013, More effective
distributed ML via a stale synchronous parallel parameter server; Dean et al. 2012, Large scale distributed deep
networks (asynchronous steps).
"""

from typing import Literal

import keras
import numpy as np
import tensorflow as tf
from mpi4py import MPI

from hvdedge import learning_rate
from hvdedge import local_steps as local
from hvdedge.errors import InputError
from hvdedge.options import Natural, NonNegative, Scaling, SomeRanks
from hvdedge.parallel import MeteredComm, allgather_rows, block
from hvdedge.training import History, TrainingTask


def train(
    task: TrainingTask,
    comm: MeteredComm,
    *,
    servers: SomeRanks = 1,
    mode: Literal["sync", "async", "ssp"] = "sync",
    staleness: Natural = 2,
    scaling: Scaling = "linear",
    warmup_epochs: NonNegative = 5.0,
) -> History:
    """Collective. Train with parameter servers.

    Args:
        servers: how many ranks hold weights and train on no rows: the last ones.
        mode: when the servers step, and when a worker goes on.
        staleness: with ssp, steps that a worker may be ahead of the slowest.
        scaling: how the learning rate grows with the number of workers.
        warmup_epochs: through how many epochs it grows from one rank's rate; 0 begins with the full rate.
    Raises:
        InputError: where no worker would be left.
    """
    workers = comm.size - servers
    if workers < 1:
        raise InputError(
            f"train.servers: received {servers} on {comm.size} ranks, allowed: fewer than there are ranks, as the "
            "others train; set it lower or give --ranks"
        )
    task.deal(workers, comm.rank if comm.rank < workers else None)
    first = task.resume(comm)
    numbers = local.size(task.variables())
    parts = [block(numbers, servers, number) for number in range(servers)]
    if comm.rank < workers:
        worker = _Worker(task, comm, parts, workers)
    else:
        ahead = {"sync": None, "async": task.steps_per_epoch, "ssp": staleness}[mode]
        server = _Server(task, comm, parts[comm.rank - workers], workers, ahead)
    for epoch in range(first, task.epochs):
        if comm.rank < workers:
            worker.go_through(epoch)
        else:
            server.go_through(epoch, scaling, warmup_epochs)
        _share_out(task, comm, server.held if comm.rank >= workers else None)
        if task.end_epoch(epoch, comm):
            break
    return task.history


class _Worker:
    """Sends gradients and goes on with the weights that come back."""

    def __init__(self, task: TrainingTask, comm: MeteredComm, parts: list[slice], workers: int):
        self._task, self._comm, self._parts, self._first = task, comm, parts, workers
        self._steps = local.LocalSteps(task)

    def go_through(self, epoch: int) -> None:
        task, comm = self._task, self._comm
        variables = task.variables()
        theta = local.flat(variables)
        arrived = np.empty_like(theta)
        for batch in task.batches(epoch):
            loss, score = self._steps.look(batch)
            gradient, weight = self._steps.gradient()
            task.precision.see([gradient])
            for number, part in enumerate(self._parts):
                comm.Send(np.append(gradient[part], np.float32(weight)), self._first + number)
            for _ in self._parts:
                status = MPI.Status()
                comm.Recv(arrived, status=status)
                part = self._parts[status.source - self._first]
                theta[part] = arrived[: part.stop - part.start]
            local.assign(variables, theta)
            task.count(loss, score)


class _Server:
    """Holds a part of the weights and steps with the gradients that come.

    Attributes:
        held: the weights, and then each thing that the optimizer keeps of them: float32 (numbers,).
    """

    def __init__(self, task: TrainingTask, comm: MeteredComm, part: slice, workers: int, ahead: int | None):
        self._task, self._comm, self._workers, self._ahead = task, comm, workers, ahead
        self._part = part
        self._theta = keras.Variable(local.flat(task.variables())[part], trainable=True)
        self._optimizer = type(task.optimizer).from_config(task.optimizer.get_config())
        self._optimizer.build([self._theta])

    @property
    def held(self) -> list[np.ndarray]:
        return [np.asarray(self._theta), *(np.asarray(kept[0]) for kept in _kept(self._optimizer, 1))]

    def go_through(self, epoch: int, scaling: Scaling, warmup_epochs: float) -> None:
        """Serve until each worker has sent the gradients of an epoch."""
        task, comm, workers = self._task, self._comm, self._workers
        self._take()
        task.begin_epoch(epoch)
        size = self._theta.shape.num_elements()
        arrived, total = np.empty(size + 1, np.float32), np.zeros(size)
        clocks = np.zeros(workers, np.int64)
        waiting: list[int] = []
        counted = 0
        while (clocks < task.steps_per_epoch).any():
            status = MPI.Status()
            comm.Recv(arrived, status=status)
            learning_rate.grow(task, workers, scaling, warmup_epochs)
            clocks[status.source] += 1
            waiting.append(status.source)
            if self._ahead is None:
                total += arrived[:-1] * arrived[-1]
                if len(waiting) == workers:
                    self._step(total, 1.0)
                    total[:] = 0
            elif arrived[-1]:
                self._step(arrived[:-1], float(arrived[-1]))
            ready = [each for each in waiting if clocks[each] - clocks.min() <= (self._ahead or 0)]
            theta = np.asarray(self._theta)
            for each in ready:
                comm.Send(theta, each)
            waiting = [each for each in waiting if each not in ready]
            for _ in range(counted, int(clocks.min())):  # steps that all workers have taken
                task.count(0.0, 0.0)
            counted = int(clocks.min())
        task.optimizer.iterations.assign(self._optimizer.iterations)

    def _take(self) -> None:
        """Go on from what the task has: what was shared out, or came back from a good epoch where training diverged."""
        task = self._task
        self._theta.assign(local.flat(task.variables())[self._part])
        self._optimizer.iterations.assign(task.optimizer.iterations)
        for mine, whole in zip(_kept(self._optimizer, 1), _kept(task.optimizer, len(task.variables())), strict=True):
            mine[0].assign(local.flat(whole)[self._part])

    def _step(self, gradient: np.ndarray, share: float) -> None:
        if self._task.precision.skips(bool(np.isfinite(gradient).all())):
            return  # all of a worker's gradient is no number where one of it overflowed, so all servers skip it
        self._optimizer.learning_rate.assign(np.asarray(self._task.optimizer.learning_rate) * share)
        self._optimizer.apply([tf.constant(gradient, tf.float32)], [self._theta])


def _kept(optimizer: keras.optimizers.Optimizer, variables: int) -> list[list[tf.Variable]]:
    """Return for each thing that the optimizer keeps, such as momenta, those of all `variables` in order."""
    states = local.state_of(optimizer)
    kinds = len(states) // variables
    return [states[kind::kinds] for kind in range(kinds)]


def _share_out(task: TrainingTask, comm: MeteredComm, held: list[np.ndarray] | None) -> None:
    """Collective. Give all ranks the servers' weights and what their optimizers keep; `held` is None on workers."""
    variables = task.variables()
    for place, whole in enumerate([variables, *_kept(task.optimizer, len(variables))]):
        mine = np.empty(0, np.float32) if held is None else held[place]
        local.assign(whole, allgather_rows(mine, comm))
    local.agree_on_steps(task, comm)
