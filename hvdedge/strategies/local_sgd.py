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

from hvdedge import learning_rate
from hvdedge.averaged_steps import AveragedSteps
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
    steps = AveragedSteps(task, comm, local_steps, outer_learning_rate, outer_momentum)
    for epoch in range(first, task.epochs):
        for batch in task.batches(epoch):
            learning_rate.grow(task, comm.size, scaling, warmup_epochs)
            task.count(*steps.go(batch))
        steps.meet()
        if task.end_epoch(epoch, comm):
            break
    return task.history
