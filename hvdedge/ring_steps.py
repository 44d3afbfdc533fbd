"""What a node of a ring does with its layers, and what it sends and awaits; `hvdedge.ring` says when."""

from collections.abc import Iterator
from typing import Self

import numpy as np
import tensorflow as tf

from hvdedge import ring
from hvdedge.flows import Flow, like
from hvdedge.lent_layers import LentLayers
from hvdedge.parallel import MeteredComm
from hvdedge.part_costs import floats
from hvdedge.part_layers import PartLayers
from hvdedge.part_steps import FORWARD, Judging, filled, neighbours
from hvdedge.ring_task import RingTask
from hvdedge.shards import Batch

ENTERED, LABELS, FORTH, BACK = range(4)  # flows


class RingSteps:
    """A node's part of the epochs on a ring; a context.

    Args:
        lent: how many first layers node 0 lends to where batches enter; 0: raw rows go to node 0.
        recompute: whether a batch leaves what comes into the layers alone until it goes backward.
    """

    def __init__(self, task: RingTask, comm: MeteredComm, lent: int, recompute: bool):
        self._task, self._comm = task, comm
        self._entries: list[ring.Entry] = []
        self._rows: Iterator[Batch] = iter(())
        self._round: list[np.ndarray] = []  # weights of the rows of the round under way that went backward
        self._losses = np.zeros(2)
        node, last = comm.rank, comm.size - 1
        self._is_first, self._is_last = node == 0, node == last
        start, stop = task.cuts[node : node + 2]
        model = task.chain.part(lent, stop, task.model) if lent and node == 0 else task.model
        takes_rows = self._is_first and not lent
        self._layers = PartLayers(task, model, takes_rows=takes_rows, tells=self._is_last, recompute=recompute)
        self._trained = model.trainable_variables
        self._flows: list[Flow] = []

        def flow(number: int, tensors: list, source: int | None, target: int, ahead: int = 1) -> Flow:
            entry_or_source = self._entry if source is None else lambda batch: source
            made = Flow(comm, number, like(tensors, task.batch_size), entry_or_source, lambda batch: target, ahead)
            self._flows.append(made)
            return made

        passing = task.chain.passing
        self._entered = flow(ENTERED, passing[lent], None, 0)
        self._labels = flow(LABELS, [*task.signature[1:]], None, last, ring.HOP * comm.size)
        if not self._is_first:
            self._from_before = flow(FORTH, passing[start], node - 1, node)
            self._to_before = flow(BACK, floats(passing[start]), node, node - 1)
        if not self._is_last:
            self._to_behind = flow(FORTH, passing[stop], node, node + 1)
            self._from_behind = flow(BACK, floats(passing[stop]), node + 1, node)
        self._lent = LentLayers(task, comm, lent, self._entry) if lent else None
        self._flows += self._lent.flows if self._lent else []
        self._neighbours = neighbours(task, comm, task.batch_size, FORWARD)
        Judging(task, task.batch_size, *self._neighbours)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        for neighbour in self._neighbours:
            if kind is None and neighbour:
                neighbour.leave()
        if kind is not None and self._comm.Is_revoked():  # else they would be waited for, and the error not told
            for flow in self._flows:
                flow.abandon()

    def go(self, epoch: int, entries: list[ring.Entry]) -> None:
        """Collective. Take all batches of an epoch through the ring."""
        task, comm = self._task, self._comm
        self._entries = entries
        if task.rows_of[comm.rank]:
            self._rows = task.batches(epoch)
        else:
            task.begin_epoch(epoch)
        for flow in self._flows:
            flow.begin(len(entries))
        if self._lent:
            self._lent.begin()
        for moves in ring.moves(entries, comm.size, comm.rank, self._lent is not None):
            for move, batch in moves:
                self._do(move, batch)
        for flow in self._flows:
            flow.end()

    def _do(self, move: ring.Move, batch: int) -> None:
        if move == "enter":
            self._enter(batch)
        elif move == "forward":
            self._forward(batch)
        elif move == "backward":
            self._backward(batch)
        elif self._lent and move == "lend":
            self._lent.lend(batch)
        elif self._lent and move == "return":
            self._lent.return_(batch)
        elif self._lent:
            self._lent.settle(batch, self._entries[batch].ends_round)

    def _enter(self, number: int) -> None:
        together, rows = self._entries[number].together, self._task.batch_size
        batch = next(self._rows, None)
        if batch is None:  # only others have rows left
            x, y, _ = (np.zeros((1, *each.shape[1:]), each.dtype.as_numpy_dtype) for each in self._task.signature)
            batch = Batch(x, y, np.zeros(1, np.float32), 0)
        weights = batch.weights * np.float32(batch.together / together)
        self._labels.send(number, [filled(batch.y, rows), np.pad(weights, (0, rows - len(weights)))])
        x = filled(batch.x, rows)
        self._entered.send(number, self._lent.enter(number, x) if self._lent else [x])

    def _forward(self, number: int) -> None:
        arrays = self._entered.receive(number) if self._is_first else self._from_before.receive(number)
        batch = None
        if self._is_last:
            y, weights = self._labels.receive(number)
            batch = Batch(arrays[0], y, weights, self._entries[number].together)
            self._round.append(weights)
        outputs = self._layers.forward(number, arrays, batch)
        if not self._is_last:
            self._to_behind.send(number, outputs)

    def _backward(self, number: int) -> None:
        arrived = None if self._is_last else self._from_behind.receive(number)
        loss, score, grads = self._layers.backward(number, arrived)
        self._losses += loss, score
        if not self._is_first:
            self._to_before.send(number, grads)
        elif self._lent:
            self._lent.ask(number, grads)
        if self._entries[number].ends_round:
            self._step(self._entries[number].together)

    def _step(self, together: int) -> None:
        self._apply(self._layers.take_grads())
        if self._is_last:
            weights = np.concatenate(self._round)
            self._task.take_in(Batch(weights, weights, weights, together))
        self._task.count(*self._losses)
        self._losses[:], self._round = 0, []

    @tf.function(reduce_retracing=True)
    def _apply(self, grads: list[tf.Tensor]) -> None:
        self._task.apply(grads, self._trained)

    def _entry(self, batch: int) -> int:
        return self._entries[batch].node
