"""A rank's part of the layers, forward and backward, between the ranks before and behind it."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import tensorflow as tf
from mpi4py import MPI

from hvdedge.parallel import MeteredComm
from hvdedge.part_costs import floats, through
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


@dataclass
class _Held:
    """What a micro-batch leaves until its gradient comes."""

    inputs: list[tf.Tensor]
    batch: Batch | None
    outputs: list[tf.Tensor] = field(default_factory=list)  # of those that have a gradient; at the end the loss
    tape: tf.GradientTape | None = None
    states: list[np.ndarray] = field(default_factory=list)  # what units were dropped by
    loss: float = 0.0
    score: float = 0.0


class PartSteps:
    """Forward and backward through this rank's layers, and steps with the sums of their gradients; a context.

    Args:
        rows: of a micro-batch.
        recompute: whether a micro-batch leaves its inputs alone until it goes backward.
    """

    def __init__(self, task: PartedTask, comm: MeteredComm, rows: int, recompute: bool):
        self._task, self._recompute, self._rows = task, recompute, rows
        self.is_first, self.is_last = comm.rank == 0, comm.rank == comm.size - 1
        start, stop = (task.chain.passing[cut] for cut in task.cuts[comm.rank : comm.rank + 2])
        self._before = [] if self.is_first else [Neighbour(comm, comm.rank - 1, start, rows, way) for way in (0, 1)]
        self._behind = [] if self.is_last else [Neighbour(comm, comm.rank + 1, stop, rows, way) for way in (0, 1)]
        self._variables = task.variables()
        self._held: dict[int, _Held] = {}
        self._grads: list[tf.Tensor] = []
        task.forward, task.judged_rows = self._judged, rows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        if kind is None:
            for neighbour in itertools.chain(self._before, self._behind):
                neighbour.leave()

    def forward(self, number: int, batch: Batch | None) -> None:
        """Take a micro-batch through the layers; the first rank and the last one need to be given it."""
        if self.is_first:
            assert batch is not None
            inputs = [tf.constant(batch.x)]
        else:
            inputs = [tf.constant(array) for array in self._before[FORWARD].receive()]
        held = self._held[number] = _Held(inputs, batch)
        if self._recompute and not self.is_last:
            held.states = [np.array(state) for state in self._task.seed_states()]
            outputs = self._outputs(inputs)
        else:
            outputs = self._go(held)
        if not self.is_last:
            self._behind[FORWARD].send(outputs)

    def backward(self, number: int) -> tuple[float, float]:
        """Add a micro-batch's gradient to the sums; return its weighted sums of loss and score, on the last rank."""
        held = self._held.pop(number)
        if held.tape is None:
            kept = self._task.model.non_trainable_variables
            now = [np.array(variable) for variable in kept]
            for state, then in zip(self._task.seed_states(), held.states, strict=True):
                state.assign(then)
            self._go(held)
            for variable, then in zip(kept, now, strict=True):  # moving means have seen these rows already
                variable.assign(then)
        arrived = None if self.is_last else [tf.constant(array) for array in self._behind[BACKWARD].receive()]
        assert held.tape is not None
        sources = [*self._variables, *([] if self.is_first else floats(held.inputs))]
        grads = held.tape.gradient(held.outputs, sources, arrived, tf.UnconnectedGradients.ZERO)
        count = len(self._variables)
        if not self.is_first:
            self._before[BACKWARD].send(grads[count:])
        mine = [tf.convert_to_tensor(grad) for grad in grads[:count]]  # an embedding's is sparse
        self._grads = [one + other for one, other in zip(self._grads, mine, strict=True)] if self._grads else mine
        return held.loss, held.score

    def step(self) -> None:
        """Take the optimizer's step with the sums."""
        if self._variables:
            self._apply(self._grads)
        self._grads = []

    def _go(self, held: _Held) -> list[tf.Tensor]:
        """Go forward so that it can be gone backward."""
        with tf.GradientTape() as held.tape:
            held.tape.watch(floats(held.inputs))
            if self.is_last:
                assert held.batch is not None
                loss, score = self._loss(held.inputs, held.batch.y, held.batch.weights)
                outputs = held.outputs = [loss]
                held.loss, held.score = float(loss), float(score)
            else:
                outputs = self._outputs(held.inputs)
                held.outputs = floats(outputs)
        return outputs

    @tf.function(reduce_retracing=True)
    def _outputs(self, inputs: list[tf.Tensor]) -> list[tf.Tensor]:
        return through(self._task.model, inputs, training=True)

    @tf.function(reduce_retracing=True)
    def _loss(self, inputs: list[tf.Tensor], y: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        losses, scores = self._task.score(y, through(self._task.model, inputs, training=True)[0])
        return tf.reduce_sum(losses * weights), tf.reduce_sum(scores * weights)

    @tf.function(reduce_retracing=True)
    def _apply(self, grads: list[tf.Tensor]) -> None:
        self._task.apply(grads)

    @tf.function(reduce_retracing=True)
    def _unlearnt(self, inputs: list[tf.Tensor]) -> list[tf.Tensor]:
        return through(self._task.model, inputs, training=False)

    def _judged(self, x: np.ndarray | None, rows: int) -> np.ndarray | None:
        """Collective. Return the outputs of some rows, on the last rank; x is needed on the first."""
        if self.is_first:
            assert x is not None
            inputs = [_filled(x, self._rows)]
        else:
            inputs = self._before[FORWARD].receive()
        outputs = self._unlearnt([tf.constant(array) for array in inputs])
        if self.is_last:
            return outputs[0].numpy()[:rows]
        self._behind[FORWARD].send(outputs)
        return None


def cut(batch: Batch, rows: int, count: int) -> Iterator[Batch]:
    """Yield a batch in `count` micro-batches of `rows` rows; those of weight 0 fill it up."""
    x, y, weights = (_filled(array, rows * count) for array in (batch.x, batch.y, batch.weights))
    for start in range(0, rows * count, rows):
        here = slice(start, start + rows)
        yield Batch(x[here], y[here], weights[here], batch.together)


def _filled(array: np.ndarray, rows: int) -> np.ndarray:
    return np.concatenate([array, np.zeros((rows - len(array), *array.shape[1:]), array.dtype)])
