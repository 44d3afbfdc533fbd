"""Local steps, then an average: each rank goes `local_steps` steps by itself, then all go on from their mean.

    theta_i <- theta_i - rate * gradient_i(theta_i)                      H times, on each rank
    delta   =  theta - sum_i share_i theta_i                             share of the rows seen since the last average
    v       <- outer_momentum * v + delta
    theta   <- theta - outer_learning_rate * (delta + outer_momentum * v),   theta_i <- theta

With H = 1, outer rate 1 and no momentum it is synchronous gradient descent on the global batch. It sends 1 / H of the
bytes of an all-reduce in each step. What the optimizer keeps stays with each rank through an epoch, and is averaged at
its end, where a checkpoint holds all that there is.

Source: Stich 2019, Local SGD converges fast and communicates little; Douillard et al. 2023, DiLoCo: Distributed
low-communication training of language models (the outer optimizer, with Nesterov's momentum).
"""

import numpy as np
from mpi4py import MPI

from hvdedge import learning_rate
from hvdedge import local_steps as local
from hvdedge.options import Count, Fraction, NonNegative, Positive, Scaling
from hvdedge.parallel import MeteredComm
from hvdedge.training import History, TrainingTask


def train(
    task: TrainingTask,
    comm: MeteredComm,
    *,
    local_steps: Count = 8,
    outer_learning_rate: Positive = 1.0,
    outer_momentum: Fraction = 0.0,
    scaling: Scaling = "linear",
    warmup_epochs: NonNegative = 5.0,
) -> History:
    """Collective. Train with steps of each rank's own, averaged now and then.

    Args:
        local_steps: from one average to the next; an epoch ends with one.
        outer_learning_rate: how far the weights go towards the mean of the ranks.
        outer_momentum: how much of its last way the mean keeps.
        scaling: how the learning rate grows with the number of ranks.
        warmup_epochs: through how many epochs it grows from one rank's rate; 0 begins with the full rate.
    """
    task.goes_back = ("velocity",)
    first = task.resume(comm)
    variables, states = task.variables(), local.state_of(task.optimizer)
    steps = local.LocalSteps(task)
    still = np.zeros(local.size(variables), np.float32)
    velocity = task.kept.setdefault("velocity", still) if outer_momentum else None
    for epoch in range(first, task.epochs):
        theta = local.flat(variables)  # what the last epoch ended with, or an earlier one if training diverged
        seen = 0.0
        for line, batch in enumerate(task.batches(epoch), 1):
            learning_rate.grow(task, comm.size, scaling, warmup_epochs)
            loss, score = steps.look(batch)
            seen += steps.go()
            if line % local_steps == 0 or line == task.steps_per_epoch:
                delta = theta - _mean(local.flat(variables), seen, comm)
                if velocity is not None:
                    velocity[:] = outer_momentum * velocity + delta
                    delta += outer_momentum * velocity
                theta -= outer_learning_rate * delta
                local.assign(variables, theta)
                seen = 0.0
            task.count(loss, score)
        if states:
            local.assign(states, _mean(local.flat(states), 1.0, comm))
        local.agree_on_steps(task, comm)
        if task.end_epoch(epoch, comm):
            break
    return task.history


def _mean(values: np.ndarray, weight: float, comm: MeteredComm) -> np.ndarray:
    """Collective. Return the mean of all ranks' values by their weights, which are not all 0."""
    sums = np.append(values * np.float32(weight), np.float32(weight))
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    return sums[:-1] / sums[-1]
