"""Steps of each rank by itself, whose weights all ranks average now and then, with an outer optimizer if asked for."""

import numpy as np
from mpi4py import MPI

from hvdedge import local_steps as local
from hvdedge.parallel import MeteredComm
from hvdedge.shards import Batch
from hvdedge.training import TrainingTask


class AveragedSteps:
    """`local_steps` steps from one average to the next; an epoch ends with one. The formula: see `local_sgd`."""

    batches = 1

    def __init__(
        self,
        task: TrainingTask,
        comm: MeteredComm,
        local_steps: int,
        outer_learning_rate: float = 1.0,
        outer_momentum: float = 0.0,
        steps: local.LocalSteps | None = None,
    ):
        self._task, self._comm, self._local_steps = task, comm, local_steps
        self._rate, self._momentum = outer_learning_rate, outer_momentum
        self._local = steps or local.LocalSteps(task)
        self._theta = np.empty(0, np.float32)  # taken anew in each epoch, as training may have gone back
        still = np.zeros(local.size(task.variables()), np.float32)
        self._velocity = task.kept.setdefault("velocity", still) if outer_momentum else None
        self._seen, self._count = 0.0, 0

    def begin(self, comm: MeteredComm) -> None:
        """Begin anew with these ranks, from the weights as they are."""
        self._comm, self._theta, self._seen, self._count = comm, self._theta[:0], 0.0, 0

    def go(self, batch: Batch) -> tuple[float, float]:
        """Collective. Take a step, and average after the last; return this rank's weighted sums of loss and score."""
        if not self._theta.size:
            self._theta = local.flat(self._task.variables())
        told = self._local.look(batch)
        self._seen += self._local.go() * batch.together
        self._count += 1
        if self._count == self._local_steps:
            self._average()
        return told

    def meet(self) -> None:
        """Collective. Let all ranks go on from the same weights, and from the mean of what their optimizers keep."""
        if self._count:
            self._average()
        self._theta = self._theta[:0]
        states = local.state_of(self._task.optimizer)
        if states:
            local.assign(states, _mean(local.flat(states), 1.0, self._comm))
        local.agree_on_steps(self._task, self._comm)

    def end(self) -> None:
        """Do nothing: there is nothing to end."""

    def _average(self) -> None:
        variables = self._task.variables()
        delta = self._theta - _mean(local.flat(variables), self._seen, self._comm)
        if self._velocity is not None:
            self._velocity[:] = self._momentum * self._velocity + delta
            delta += self._momentum * self._velocity
        self._theta -= self._rate * delta
        local.assign(variables, self._theta)
        self._seen, self._count = 0.0, 0


def _mean(values: np.ndarray, weight: float, comm: MeteredComm) -> np.ndarray:
    """Collective. Return the mean of all ranks' values by their weights, which are not all 0."""
    sums = np.append(values * np.float32(weight), np.float32(weight))
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    return sums[:-1] / sums[-1]
