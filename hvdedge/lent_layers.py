"""The first layers of a model, lent by the rank that holds them to where rows are, so that no raw row leaves.

    rank 0    lend weights ...................................... settle: sum up, step
    rank e              enter: rows -> layers -> rank 0  ..  return: their gradient

Each batch takes the weights as they are when they are lent; its gradient is of these.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from hvdedge.flows import Flow, like
from hvdedge.parallel import MeteredComm
from hvdedge.part_costs import floats
from hvdedge.part_layers import PartLayers
from hvdedge.ring_task import RingTask

LENT, ASKED, SETTLED = 10, 11, 12  # flows


class LentLayers:
    """The first layers, on the rank that holds them, and on those where batches enter.

    Args:
        count: how many they are.
        entry: gives the rank where a batch enters.
    """

    def __init__(self, task: RingTask, comm: MeteredComm, count: int, entry: Callable[[int], int]):
        self._task = task
        copy = task.chain.part(0, count)
        self._copies = copy.trainable_variables
        self._layers = PartLayers(task, copy, takes_rows=True, tells=False)
        self._held = _same(copy, task.model) if comm.rank == 0 else []
        self._grads: list[np.ndarray] = []
        shapes = [(tuple(weight.shape), np.dtype(weight.dtype)) for weight in self._copies]
        made = like(floats(task.chain.passing[count]), task.batch_size)
        self._lent = Flow(comm, LENT, shapes, _root, entry, comm.size)
        self._asked = Flow(comm, ASKED, made, _root, entry, comm.size)
        self._settled = Flow(comm, SETTLED, shapes, entry, _root, 1)
        self.flows = [self._lent, self._asked, self._settled]
        self._steps = tf.Variable(task.optimizer.iterations.value)  # as many as the other layers', but later

    def begin(self) -> None:
        """Begin an epoch."""
        self._steps.assign(self._task.optimizer.iterations.value)  # a training that diverged went back

    def lend(self, batch: int) -> None:
        """Send the weights to where a batch enters."""
        self._lent.send(batch, self._held)

    def enter(self, batch: int, x: np.ndarray) -> list[tf.Tensor]:
        """Return what the layers make of rows."""
        for weight, value in zip(self._copies, self._lent.receive(batch), strict=True):
            weight.assign(value)
        return self._layers.forward(batch, [x])

    def ask(self, batch: int, grads: Sequence[tf.Tensor]) -> None:
        """Send the gradient of what the layers made to where it was made."""
        self._asked.send(batch, grads)

    def return_(self, batch: int) -> None:
        """Send the gradient of the layers' weights to who holds them."""
        self._layers.backward(batch, self._asked.receive(batch))
        self._settled.send(batch, self._layers.take_grads())

    def settle(self, batch: int, steps: bool) -> None:
        """Add a batch's gradient to the sums, and take a step with them, if it is the last one of its round."""
        arrived = self._settled.receive(batch)
        self._grads = [one + other for one, other in zip(self._grads, arrived, strict=True)] if self._grads else arrived
        if steps:
            self._apply([tf.constant(grad) for grad in self._grads])
            self._grads = []

    @tf.function
    def _apply(self, grads: list[tf.Tensor]) -> None:
        iterations = self._task.optimizer.iterations
        others = tf.identity(iterations.value)
        iterations.assign(self._steps)
        self._task.apply(grads, self._held)
        self._steps.assign(iterations.value)
        iterations.assign(others)


def _root(batch: int) -> int:
    return 0


def _same(copy: keras.Model, model: keras.Model) -> list[keras.Variable]:
    """Return the weights of a model that a copy of some of its layers has, in the order of the copy."""
    weighty = [layer for layer in copy.layers if layer.trainable_variables]
    pairs = ((layer.trainable_variables, model.get_layer(layer.name).trainable_variables) for layer in weighty)
    held = {id(weight): own for copied, kept in pairs for weight, own in zip(copied, kept, strict=True)}
    return [held[id(weight)] for weight in copy.trainable_variables]
