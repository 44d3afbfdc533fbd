"""Data stream mining: rows come in their order, are seen once and not kept; each is told before it is learnt from.

    line of rows from all ranks -> tell them, note how many were wrong -> learn from them -> the next line
                                             |
                                             +-> a drift: learn faster for a while

An epoch is an equal part of the stream, at whose end stands a point of each curve: loss and score are those of rows
that the model had not seen. Ranks exchange gradients, or weights with their neighbours, as `exchange` says; with gossip
each watches its own rows for a drift, so that there is no collective but at the end of an epoch.

Source: Gama, Sebastiao and Rodrigues 2013, On evaluating stream learning algorithms (test, then train).
"""

from typing import Literal

import numpy as np
from mpi4py import MPI

from hvdedge import learning_rate
from hvdedge.drift import Drift
from hvdedge.errors import InputError
from hvdedge.options import Count, Positive, Scaling
from hvdedge.parallel import MeteredComm, allgather_json, allgather_rows
from hvdedge.strategies import gossip, ring_allreduce
from hvdedge.training import History, TrainingTask


def train(
    task: TrainingTask,
    comm: MeteredComm,
    *,
    exchange: Literal["ring_allreduce", "gossip"] = "ring_allreduce",
    steps_per_line: Count = 4,
    boost: Positive = 4.0,
    boost_rows: Count = 1000,
    scaling: Scaling = "linear",
) -> History:
    """Collective. Train on a stream of rows, each seen once, and learn faster where it drifts.

    Args:
        exchange: what ranks send each other, as the strategy of that name does.
        steps_per_line: how often a line of rows, a batch of each rank, is learnt from before it is dropped.
        boost: by what the learning rate is raised at a drift.
        boost_rows: over how many rows it goes back.
        scaling: how the learning rate grows with the number of ranks.
    Raises:
        InputError: where there are no classes to tell.
    """
    if not task.tells_classes:
        raise InputError(
            'train.strategy: received "stream" for a label that is a number, allowed: one of classes, as a drift shows '
            "in the share of wrong ones; change train.strategy or extract.task"
        )
    first = task.resume(comm)
    kept = task.kept.get("stream", np.zeros((0, 7)))  # of each rank: `place`, and what it knows of drifts
    mine = kept[comm.rank if len(kept) == comm.size else 0] if len(kept) else None
    place = np.zeros(2) if mine is None else mine[:2].copy()  # rows seen; rows for which the rate is still raised
    drift = Drift(None if mine is None else mine[2:].copy())
    task.take_in_order(comm, first, int(place[0]))
    steps = (ring_allreduce if exchange == "ring_allreduce" else gossip).Steps(task, comm)
    found: list[list[int]] = []
    for epoch in range(first, task.epochs):
        for batch in task.batches(epoch):
            loss, score = task.tell(batch)
            weight = batch.weights.sum(dtype=float)
            wrong = np.array([weight - score, weight]) * batch.together
            if exchange == "ring_allreduce":
                comm.Allreduce(MPI.IN_PLACE, wrong, op=MPI.SUM)
            place[0] += batch.together
            if drift.saw(*wrong):
                place[1] = boost_rows
                found.append([epoch, int(place[0])])
            learning_rate.grow(task, comm.size, scaling, 0, 1 + (boost - 1) * place[1] / boost_rows)
            place[1] = max(place[1] - batch.together, 0)
            for _ in range(steps_per_line):
                steps.go(batch)
            task.count(loss, score, steps_per_line)
        steps.meet()
        task.kept["stream"] = allgather_rows(np.concatenate([place, drift.state])[None], comm)
        _note(task, found if exchange == "gossip" or not comm.rank else [], comm)
        found.clear()
        if task.end_epoch(epoch, comm):
            break
    steps.end()
    return task.history


def _note(task: TrainingTask, found: list[list[int]], comm: MeteredComm) -> None:
    """Collective. Note the drifts of an epoch, of all ranks."""
    for rank, drifts in enumerate(allgather_json(found, comm)):
        for epoch, row in drifts:
            task.note(what="drift", epoch=epoch + 1, row=row, rank=rank, action="raised the learning rate for a while")
