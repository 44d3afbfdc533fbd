"""Synchronous data parallelism: every rank computes the gradient of its rows, a ring all-reduce adds them up.

With b rows a rank on n ranks a step is one of gradient descent on the mean of n * b rows. Rows carry weights that add
up to 1 over all ranks, so uneven shards do not bias the mean, and a rank without rows adds zero. The learning rate
grows with the global batch.

When ranks are lost the others go on, as each has all that a step needs, with sums by messages of ours: Horovod does not
look whether its own arrive when it begins. What is lost is the step under way, and what its exchange had in it; batches
are n * b rows for the n that are left. See `hvdedge.recovery`, `TrainingTask.go_on`.

With slow links ranks exchange less: the gradients of `accumulate` batches at once, or in fewer bytes, see
`hvdedge.compressed_sums`. Then, and where shares of the batch follow speeds, by messages of ours: Horovod sums whole
numbers only, and its thread, which looks for new ones all the time, takes the time of a slow node from its gradient.

Source: Patarasuk and Yuan 2009, Bandwidth optimal all-reduce algorithms; Sergeev and Del Balso 2018, Horovod.
"""

import time
from collections.abc import Callable
from typing import Literal

import horovod.tensorflow as hvd
import tensorflow as tf

from hvdedge import learning_rate
from hvdedge.accumulated_steps import AccumulatedSteps
from hvdedge.balance import Balance, is_wanted
from hvdedge.errors import InputError
from hvdedge.links import AdaptiveSteps
from hvdedge.local_steps import LocalSteps
from hvdedge.options import Count, NonNegative, Portion, Scaling, Share
from hvdedge.parallel import MeteredComm, ring_bytes
from hvdedge.recovery import Survivors, limited
from hvdedge.shards import Batch
from hvdedge.training import History, TrainingTask


def train(
    task: TrainingTask,
    comm: MeteredComm,
    *,
    accumulate: Count = 1,
    overlap: bool = False,
    exchange: Literal["float32", "bfloat16", "int8", "top_k", "auto"] = "float32",
    density: Portion = 0.01,
    slow_share: Share = 0.2,
    balance: Literal["auto", "always", "never"] = "auto",
    scaling: Scaling = "linear",
    warmup_epochs: NonNegative = 5.0,
) -> History:
    """Collective. Train with Horovod's ring all-reduce of all gradients in each step.

    Args:
        accumulate: of how many batches of each rank gradients are added up before ranks exchange them.
        overlap: whether each gradient is sent as soon as it is there, while others are computed. The clock decides then
            what goes together, so sums of three ranks or more do not repeat bit for bit.
        exchange: what gradients are sent as; what rounding takes away, or is not among the largest, is sent later. auto
            takes what is fastest on the links as they are now, or local steps whose weights are averaged.
        density: the share of the numbers that is sent with top_k, from all at first down to it over the warm-up.
        slow_share: of a step that exchange may take before auto lets ranks exchange less.
        balance: whether ranks' shares of the global batch follow their speeds; auto: where they are on several hosts.
        scaling: how the learning rate grows with the number of ranks, and of batches that are accumulated.
        warmup_epochs: through how many epochs it grows from one rank's rate; 0 begins with the full rate.
    """
    if exchange == "auto" and accumulate > 1:
        raise InputError(
            f'train.accumulate: received {accumulate} with exchange = "auto", allowed with it: 1, as auto takes '
            "local steps where links are slow; change one of them"
        )
    if overlap and (accumulate > 1 or exchange != "float32"):
        raise InputError(
            f"train.overlap: received true with accumulate = {accumulate} and exchange = {exchange!r}, allowed with 1 "
            "and 'float32', which are sent by layers; change one of them"
        )
    task.resume(comm)
    with Survivors(comm) as survivors:
        follows = is_wanted(balance, comm)
        if accumulate == 1 and exchange == "float32" and (overlap or not follows):
            steps: Steps | AccumulatedSteps | AdaptiveSteps = Steps(task, comm, overlap)
        elif exchange == "auto":
            steps = AdaptiveSteps(task, comm, density, slow_share)
        else:
            steps = AccumulatedSteps(task, comm, accumulate, exchange, density, warmup_epochs)

        def work() -> None:
            nonlocal steps
            comm = survivors.comm
            if survivors.noticed is not None:
                task.go_on(comm)
                if isinstance(steps, Steps):
                    steps = AccumulatedSteps(task, comm, 1, "float32", density, warmup_epochs)
                steps.begin(comm)
                task.lost(comm, time.perf_counter() - survivors.noticed)
            balancing = Balance(task, comm) if follows and comm.size > 1 else None
            for epoch in range(task.epoch, task.epochs):
                for batch in task.batches(epoch):
                    learning_rate.grow(task, comm.size * steps.batches, scaling, warmup_epochs)
                    task.count(*steps.go(batch))
                    if balancing:
                        balancing.step()
                steps.meet()
                if task.end_epoch(epoch, comm):
                    break
            steps.end()

        survivors.work(work, lambda: steps.end())
    return task.history


class Steps:
    """Steps of all ranks together, from the same weights, which they take at the beginning from rank 0."""

    batches = 1

    def __init__(self, task: TrainingTask, comm: MeteredComm, overlap: bool = False):
        """Collective."""
        self._task, self._local = task, LocalSteps(task)
        self._step, self._last_step = _compiled(task, overlap, []), _compiled(task, overlap, task.variables())
        self.begin(comm)

    def begin(self, comm: MeteredComm) -> None:
        """Collective. Begin, also anew, with these ranks."""
        with limited("begin Horovod", comm):
            hvd.init(comm=comm)
        self._comm = comm
        self._sent_bytes = ring_bytes(_size_bytes(self._task.variables()), comm.size)
        state = [*self._task.variables(), *(variable.value for variable in self._task.optimizer.variables)]
        hvd.broadcast_variables(state, root_rank=0)  # equal by seed already; certain after this
        comm.count_bcast(_size_bytes(state))

    def go(self, batch: Batch) -> tuple[float, float]:
        """Collective. Take a step; return this rank's weighted sums of loss and score before it."""
        *parts, last = self._task.parts(batch)
        loss, score, held = self._local.sums(parts) if parts else (0.0, 0.0, [])
        step = self._last_step if parts else self._step
        began = time.perf_counter()
        last_loss, last_score, idle_seconds = step(last.x, last.y, last.weights, held)
        took_seconds = time.perf_counter() - began  # which the wall clock, that may be set meanwhile, does not exceed
        self._comm.traffic.bytes_sent += self._sent_bytes
        self._comm.traffic.bytes_received += self._sent_bytes
        self._comm.traffic.idle_seconds += min(max(float(idle_seconds), 0.0), took_seconds)
        return loss + float(last_loss), score + float(last_score)

    def meet(self) -> None:
        """Do nothing: weights are the same on all ranks."""

    def end(self) -> None:
        """End Horovod, so that it may begin on another communicator."""
        hvd.shutdown()


def _size_bytes(variables: list[tf.Variable]) -> int:
    return sum(variable.shape.num_elements() * variable.dtype.size for variable in variables)


def _compiled(task: TrainingTask, overlap: bool, variables: list[tf.Variable]) -> Callable:
    """Return the step: of x, y, weights and, for some variables, the gradient of the batch's other parts.

    It gives this rank's weighted loss, weighted score, and seconds from its gradient to that of all.
    """
    gradient = [tf.TensorSpec(variable.shape, variable.dtype) for variable in variables]

    @tf.function(input_signature=[*task.signature, gradient])
    def step(
        x: tf.Tensor, y: tf.Tensor, weights: tf.Tensor, held: list[tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        loss, score, grads = task.gradients(x, y, weights)
        if held:
            grads = [grad + another for grad, another in zip(grads, held, strict=True)]
        with tf.control_dependencies(grads):
            began = tf.timestamp()
        if overlap:
            grads = [hvd.allreduce(grad, op=hvd.Sum, name=f"gradient_{number}") for number, grad in enumerate(grads)]
        else:
            with tf.control_dependencies([began]):
                grads = hvd.grouped_allreduce([tf.identity(grad) for grad in grads], op=hvd.Sum)
        with tf.control_dependencies(grads):
            idle_seconds = tf.timestamp() - began
        with tf.control_dependencies([idle_seconds]):  # so that a step of which a part fails changes nothing
            task.apply([tf.identity(grad) for grad in grads])
        return loss, score, idle_seconds

    return step
