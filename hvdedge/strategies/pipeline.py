"""Pipeline parallelism: each rank holds some of the layers, micro-batches flow through the ranks and back.

    rank p   F: outputs of rank p - 1 -> layers of p -> rank p + 1      B: gradients from rank p + 1 -> rank p - 1

`gpipe` and `1f1b`: a batch is cut into `chunks` micro-batches of as many rows; all have gone forward and backward
before the ranks step with the sums of their gradients, so a step is that of the whole model on the batch. Layers that
look at a batch as a whole, as batch normalization, look at a micro-batch. `pipedream`: the micro-batches are batches,
and a rank steps with each as soon as its gradient is there, while others are under way: nobody waits between batches,
but the gradient on rank p of n is that of the weights of n - 1 - p steps ago. It is of the same weights that went
forward (weight stashing): TensorFlow keeps what the forward pass read until the backward pass has taken it. An epoch
ends with an empty pipeline.

A batch has `batch_size` rows and the learning rate is one rank's, as there is one model.

Source: Huang et al. 2019, GPipe: efficient training of giant neural networks using pipeline parallelism; Narayanan et
al. 2019, PipeDream: generalized pipeline parallelism for DNN training; Chen et al. 2016, Training deep nets with
sublinear memory cost (recomputation). Schedules: `hvdedge.schedules`; who holds what: `hvdedge.partition`.
"""

import itertools
from collections.abc import Iterator
from typing import Literal

from hvdedge import schedules
from hvdedge.errors import InputError
from hvdedge.message_progress import progressing
from hvdedge.options import Count
from hvdedge.parallel import MeteredComm
from hvdedge.part_steps import PartSteps, cut
from hvdedge.parted_task import PartedTask
from hvdedge.shards import Batch
from hvdedge.training import History


def train(
    task: PartedTask,
    comm: MeteredComm,
    *,
    schedule: Literal["gpipe", "1f1b", "pipedream"] = "1f1b",
    chunks: Count = 4,
    recompute: bool = False,
    measure: bool = True,
) -> History:
    """Collective. Train with layers on different ranks, through which micro-batches flow.

    Args:
        schedule: in which order a rank goes forward and backward, and whether it waits for a batch before it steps.
        chunks: how many micro-batches a batch is cut into, of as many rows; pipedream takes whole batches.
        recompute: whether what layers made is computed again to go backward, instead of kept in memory.
        measure: whether who holds which layers follows the seconds that they take, and not their shapes alone.
    Raises:
        InputError: where the batch cannot be cut so, or the model not for these ranks.
    """
    batch_size, is_async = task.batch_size, schedule == "pipedream"
    chunks = 1 if is_async else chunks
    if batch_size % chunks:
        raise InputError(
            f"train.chunks: received {chunks} for a batch_size of {batch_size}, allowed: a divisor of it; change one"
        )
    rows = batch_size // chunks
    ends = 0, comm.size - 1
    task.deal(1, 0 if comm.rank in ends else None)
    together = task.steps_per_epoch if is_async else chunks
    held = schedules.in_flight(schedule, together, comm.size)
    task.cut(comm, rows, held, held if is_async else [1] * comm.size, measures=measure)
    task.tells = comm.rank == comm.size - 1
    first = task.resume(comm)
    moves = schedules.gpipe if schedule == "gpipe" else schedules.one_f_one_b
    with progressing(comm), PartSteps(task, comm, rows, recompute) as steps:
        for epoch in range(first, task.epochs):
            pieces = _pieces(task, epoch, rows, chunks)
            for _ in range(1 if is_async else task.steps_per_epoch):
                loss = score = 0.0
                for move, number in moves(together, comm.size, comm.rank):
                    if move == "forward":
                        steps.forward(number, next(pieces))
                        continue
                    told = steps.backward(number)
                    loss, score = loss + told[0], score + told[1]
                    if is_async:
                        steps.step()
                        task.count(*told)
                if not is_async:
                    steps.step()
                    task.count(loss, score)
            if task.end_epoch(epoch, comm):
                break
    task.history.told = {"parts": task.part_names} | (
        {} if is_async else {"bubble": schedules.bubble(chunks, comm.size)}
    )
    return task.history


def _pieces(task: PartedTask, epoch: int, rows: int, chunks: int) -> Iterator[Batch | None]:
    """Yield the micro-batches of an epoch; None for each on a rank that needs to see none."""
    if not task.trains:
        task.begin_epoch(epoch)
        yield from itertools.repeat(None, task.steps_per_epoch * chunks)
        return
    for batch in task.batches(epoch):
        yield from cut(batch, rows, chunks)
