"""Epochs of a pipeline: micro-batches forward and backward through this rank's layers, and steps with gradients."""

import itertools
from collections.abc import Iterator

from hvdedge import schedules
from hvdedge.errors import InputError
from hvdedge.message_progress import progressing
from hvdedge.parallel import MeteredComm
from hvdedge.part_steps import PartSteps, cut
from hvdedge.parted_task import PartedTask
from hvdedge.shards import Batch
from hvdedge.training import History


def learn(task: PartedTask, comm: MeteredComm, schedule: str, chunks: int, recompute: bool, measure: bool) -> History:
    """Collective. Train over the ranks of `comm`; for what the options say see `hvdedge.strategies.pipeline`.

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
    task.cut(comm, rows, held, held if is_async else [1] * comm.size, measures=measure, recompute=recompute)
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
    task.history.told = task.told_parts(comm) | ({} if is_async else {"bubble": schedules.bubble(chunks, comm.size)})
    return task.history


def _pieces(task: PartedTask, epoch: int, rows: int, chunks: int) -> Iterator[Batch | None]:
    """Yield the micro-batches of an epoch; None for each on a rank that needs to see none."""
    if not task.trains:
        task.begin_epoch(epoch)
        yield from itertools.repeat(None, task.steps_per_epoch * chunks)
        return
    for batch in task.batches(epoch):
        yield from cut(batch, rows, chunks)
