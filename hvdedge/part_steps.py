"""Micro-batches through this rank's part of the layers, between the ranks before and behind it."""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import tensorflow as tf
from mpi4py import MPI

from hvdedge.parallel import MeteredComm
from hvdedge.part_costs import floats, through
from hvdedge.part_layers import PartLayers
from hvdedge.parted_task import PartedTask
from hvdedge.shards import Batch

FORWARD, BACKWARD = 0, 1


class Neighbour:
    """Tensors of fixed shapes, to and from a rank; the next ones are awaited while those that came are worked on.

    Args:
        tensors: what passes the cut between the two ranks, each (any, ...).
        rows: of each tensor.
        direction: FORWARD or BACKWARD, in which gradients come of those tensors that have some.
    """

    def __init__(self, comm: MeteredComm, rank: int, tensors: list[Any], rows: int, direction: int):
        self._comm, self._rank, self._direction = comm, rank, direction
        tensors = tensors if direction == FORWARD else floats(tensors)
        self._like = [((rows, *each.shape[1:]), np.dtype(each.dtype)) for each in tensors]
        self._sent: list[MPI.Request] = []
        self._held: list[np.ndarray] = []  # what is being sent
        self._coming: list[MPI.Request] = []
        self._arrays: list[np.ndarray] = []

    def send(self, tensors: Sequence[tf.Tensor]) -> None:
        """Begin to send, once those before are gone."""
        self._comm.wait(self._sent)
        self._held = [np.ascontiguousarray(tensor) for tensor in tensors]
        self._sent = [self._comm.Isend(array, self._rank, self._tag(k)) for k, array in enumerate(self._held)]

    def receive(self) -> list[np.ndarray]:
        """Wait for the next tensors."""
        if not self._coming:
            self._expect()
        self._comm.wait(self._coming)
        arrived = self._arrays
        self._expect()
        return arrived

    def leave(self) -> None:
        """Wait until all is sent, and await nothing more."""
        self._comm.wait(self._sent)
        for request in self._coming:
            request.Cancel()
            request.Wait()

    def _expect(self) -> None:
        self._arrays = [np.empty(shape, dtype) for shape, dtype in self._like]
        self._coming = [self._comm.Irecv(array, self._rank, self._tag(k)) for k, array in enumerate(self._arrays)]

    def _tag(self, number: int) -> int:
        return 2 * number + self._direction


def neighbours(
    task: PartedTask, comm: MeteredComm, rows: int, direction: int
) -> tuple[Neighbour | None, Neighbour | None]:
    """Return those before and behind this rank; None where there is none."""
    start, stop = (task.chain.passing[cut] for cut in task.cuts[comm.rank : comm.rank + 2])
    before = Neighbour(comm, comm.rank - 1, start, rows, direction) if comm.rank else None
    behind = Neighbour(comm, comm.rank + 1, stop, rows, direction) if comm.rank < comm.size - 1 else None
    return before, behind


class Judging:
    """Rows that are not learnt from through the parts of all ranks, one after the other.

    Args:
        rows: that go through at once.
        before, behind: neighbours in the direction FORWARD.
    """

    def __init__(self, task: PartedTask, rows: int, before: Neighbour | None, behind: Neighbour | None):
        self._task, self._rows, self._before, self._behind = task, rows, before, behind
        task.forward, task.judged_rows = self.outputs, rows

    def outputs(self, x: np.ndarray | None, rows: int) -> np.ndarray | None:
        """Collective. Return the outputs of some rows, on the last rank; x is needed on the first."""
        if self._before:
            inputs = self._before.receive()
        else:
            assert x is not None
            inputs = [filled(x, self._rows)]
        outputs = self._unlearnt([tf.constant(array) for array in inputs])
        if self._behind is None:
            return outputs[0].numpy()[:rows]
        self._behind.send(outputs)
        return None

    @tf.function(reduce_retracing=True)
    def _unlearnt(self, inputs: list[tf.Tensor]) -> list[tf.Tensor]:
        return through(self._task.model, inputs, training=False)


class PartSteps:
    """Forward and backward through this rank's layers, and steps with the sums of their gradients; a context.

    Args:
        rows: of a micro-batch.
        recompute: whether a micro-batch leaves its inputs alone until it goes backward.
    """

    def __init__(self, task: PartedTask, comm: MeteredComm, rows: int, recompute: bool):
        self._task = task
        self._before, self._behind = neighbours(task, comm, rows, FORWARD)
        self._back, self._from = neighbours(task, comm, rows, BACKWARD)
        is_last = self._behind is None
        self._layers = PartLayers(task, task.model, takes_rows=self._before is None, tells=is_last, recompute=recompute)
        Judging(task, rows, self._before, self._behind)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        for neighbour in (self._before, self._behind, self._back, self._from):
            if kind is None and neighbour:
                neighbour.leave()

    def forward(self, number: int, batch: Batch | None) -> None:
        """Take a micro-batch through the layers; the first rank and the last one need to be given it."""
        if self._before:
            arrays = self._before.receive()
        else:
            assert batch is not None
            arrays = [batch.x]
        outputs = self._layers.forward(number, arrays, batch)
        if self._behind:
            self._behind.send(outputs)

    def backward(self, number: int) -> tuple[float, float]:
        """Add a micro-batch's gradient to the sums; return its weighted sums of loss and score, on the last rank."""
        arrived = self._from.receive() if self._from else None
        loss, score, grads = self._layers.backward(number, arrived)
        if self._back:
            self._back.send(grads)
        return loss, score

    def step(self) -> None:
        """Take the optimizer's step with the sums."""
        self._apply(self._layers.take_grads())

    @tf.function(reduce_retracing=True)
    def _apply(self, grads: list[tf.Tensor]) -> None:
        self._task.apply(grads)


def cut(batch: Batch, rows: int, count: int) -> Iterator[Batch]:
    """Yield a batch in `count` micro-batches of `rows` rows; those of weight 0 fill it up."""
    x, y = (filled(array, rows * count) for array in (batch.x, batch.y))
    weights = np.pad(batch.weights, (0, rows * count - len(batch.weights)))
    for start in range(0, rows * count, rows):
        here = slice(start, start + rows)
        yield Batch(x[here], y[here], weights[here], batch.together)


def filled(array: np.ndarray, rows: int) -> np.ndarray:
    """Return an array of so many rows, its own again behind them: what looks at a batch as a whole sees no others."""
    return np.resize(array, (rows, *array.shape[1:]))
