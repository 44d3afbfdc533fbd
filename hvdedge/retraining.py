"""Training on, over all ranks, of a model that is being compressed.

Steps are those of ring all-reduce: each rank computes the gradient of its rows of the global batch, the sums are the
same on all, and so are the weights, which begin and end as the root's. A compressor says what is learnt in the place of
the weights, and what becomes of the weights after each step: pruned ones stay zero, shared ones are their cluster's.
What it chooses, it chooses on the root, as hosts of several kinds round unlike and one that sorts differs by more.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from mpi4py import MPI

from hvdedge import tasks
from hvdedge.collective_ops import summed_together
from hvdedge.lanes import Lanes
from hvdedge.parallel import MeteredComm, agree, bcast_json, block
from hvdedge.tensors import FeatureReader
from hvdedge.training import SEED_STATE, seed_state

SAMPLE_ROWS = 200


Loss = Callable[[Any, Any, Any], Any]  # x, y, outputs -> the loss of each row


class Retraining:
    """The training rows of all ranks, for compressors.

    Attributes:
        comm: the ranks.
        seed: of all that is drawn at random.
        spec: what extract wrote of the features.
        learning_rate: that of one rank in training.
    """

    def __init__(
        self,
        reader: FeatureReader,
        comm: MeteredComm,
        *,
        batch_size: int,
        learning_rate: float,
        seed: int,
        memory_bytes: int,
    ):
        self.comm, self.seed, self.spec, self.learning_rate = comm, seed, reader.spec, learning_rate
        self._reader, self._batch_size, self._memory_bytes = reader, batch_size, memory_bytes
        self._losses = tasks.find(reader.spec).losses
        self._epoch = 0  # no two compressors see the same batches

    @functools.cached_property
    def sample(self) -> np.ndarray:
        """Some of the training rows, spread over all, as they may be sorted; the same on every rank: (rows, ...)."""
        rows = self._reader.rows("train")
        spread = np.linspace(0, rows - 1, min(SAMPLE_ROWS, rows)).round().astype(int).tolist()
        return np.concatenate([self._reader.read("train", slice(row, row + 1))[0] for row in spread])

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self._reader.rows("train") / (self._batch_size * self.comm.size))

    def chosen(self, choose: Callable[[], Sequence[np.ndarray]]) -> list[np.ndarray]:
        """Collective. Return the arrays that the root chooses."""
        arrays: list[np.ndarray] = []
        with agree(self.comm):
            if self.comm.rank == 0:
                arrays = [np.ascontiguousarray(array) for array in choose()]
        forms = bcast_json([[array.dtype.str, array.shape] for array in arrays], self.comm)
        if self.comm.rank:
            arrays = [np.empty(shape, type_) for type_, shape in forms]
        for array in arrays:
            self.comm.Bcast(array.reshape(-1).view(np.uint8))
        return arrays

    def train(
        self,
        model: keras.Model,
        epochs: int,
        *,
        rate: float,
        dropout: float = 1.0,
        variables: Sequence[keras.Variable] | None = None,
        reduced: Callable[[list[tf.Tensor]], list[tf.Tensor]] = list,
        settle: Callable[[], None] = lambda: None,
        after: Callable[[int], None] = lambda step: None,
        losses: Loss | None = None,
    ) -> None:
        """Collective. Train a model on; before and afterwards it is the same on every rank, as on the root.

        Args:
            rate: the learning rate, as a share of that of training; it falls to a tenth of that in the course.
            dropout: the share of units that are left out, as a share of that of training.
            variables: what is learnt; the trainable weights by default.
            reduced: makes of the gradients of the weights those of the variables, in the graph.
            settle: makes the weights what they may be after a step, in the graph.
            after: called after each step, with how many were taken.
            losses: of rows, by x, y and the outputs; those of the task by default.
        """
        variables = list(model.trainable_variables if variables is None else variables)
        optimizer = keras.optimizers.Adam(self.learning_rate * rate)
        optimizer.build(variables)
        self._seed_units(model)
        self._take_over([*model.variables, *variables])
        with _dropping(model, dropout):
            losses = losses or (lambda x, y, outputs: self._losses(y, outputs)[0])
            step = self._step(model, losses, optimizer, variables, reduced, settle)
            taken, steps = 0, epochs * self.steps_per_epoch
            for _ in range(epochs):
                for batch in self._lanes.batches(self._epoch):
                    optimizer.learning_rate.assign(self.learning_rate * rate * (1 - 0.9 * taken / steps))
                    step(batch.x, batch.y, batch.weights)
                    taken += 1
                    after(taken)
                self._epoch += 1
        self._make_equal(model)

    @functools.cached_property
    def _lanes(self) -> Lanes:
        global_batch_size = self._batch_size * self.comm.size
        mine = block(global_batch_size, self.comm.size, self.comm.rank)
        return Lanes(self._reader, global_batch_size, mine, self._batch_size, self.seed, self._memory_bytes // 2)

    def _step(
        self,
        model: keras.Model,
        losses: Loss,
        optimizer: keras.optimizers.Optimizer,
        variables: list[keras.Variable],
        reduced: Callable[[list[tf.Tensor]], list[tf.Tensor]],
        settle: Callable[[], None],
    ) -> Callable:
        x, y = self._reader.read("train", slice(0, 0))
        signature = (
            tf.TensorSpec((None, *x.shape[1:]), x.dtype),
            tf.TensorSpec((None, *y.shape[1:]), y.dtype),
            tf.TensorSpec((None,), tf.float32),
        )

        @tf.function(input_signature=signature)
        def step(x: tf.Tensor, y: tf.Tensor, weights: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                outputs = tf.cast(model(x, training=True), tf.float32)
                loss = tf.reduce_sum(losses(x, y, outputs) * weights)
                if model.losses:
                    loss += tf.add_n(model.losses) * tf.reduce_sum(weights)
            values = [weight.value for weight in model.trainable_variables]
            grads = tape.gradient(loss, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            grads = summed_together([tf.convert_to_tensor(grad) for grad in grads], self.comm)
            optimizer.apply(reduced(grads), variables)
            settle()

        return step

    def _seed_units(self, model: keras.Model) -> None:
        """Let each rank leave out other units."""
        states = [variable for variable in model.non_trainable_variables if SEED_STATE in variable.path]
        for number, state in enumerate(states):
            state.assign(seed_state([self.seed, self._epoch], self.comm.rank, number, state.shape))

    def _take_over(self, variables: Sequence[keras.Variable]) -> None:
        """Take over what the root has."""
        for variable in {id(one): one for one in variables if SEED_STATE not in one.path}.values():
            array = np.ascontiguousarray(np.asarray(variable))
            self.comm.Bcast(array)
            variable.assign(array)

    def _make_equal(self, model: keras.Model) -> None:
        """Average what layers keep beside their weights over the ranks, and take over the root's weights."""
        frozen = [layer for layer in model._flatten_layers(include_self=False) if not layer.trainable]
        still = {id(variable) for layer in frozen for variable in layer.variables}
        for variable in model.non_trainable_variables:
            if SEED_STATE not in variable.path and id(variable) not in still:
                array = np.ascontiguousarray(np.asarray(variable))
                self.comm.Allreduce(MPI.IN_PLACE, array, op=MPI.SUM)
                variable.assign(array / self.comm.size)
        self._take_over(model.trainable_variables)


@contextlib.contextmanager
def _dropping(model: keras.Model, share: float) -> Iterator[None]:
    """Let layers leave out this share of the units that they leave out in training, but for numbers of the input."""
    layers = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Dropout) and not _is_of_input(layer)
    ]
    usual = [layer.rate for layer in layers]
    for layer in layers:
        layer.rate *= share
    try:
        yield
    finally:
        for layer, rate in zip(layers, usual, strict=True):
            layer.rate = rate


def _is_of_input(layer: keras.Layer) -> bool:
    """Tell whether no layer with weights works before one: what it leaves out is noise then, and no unit."""
    return bool(layer._inbound_nodes) and not _is_behind_weights(layer)


def _is_behind_weights(operation: Any) -> bool:
    before = [parent.operation for node in operation._inbound_nodes for parent in node.parent_nodes]
    return any(getattr(one, "weights", None) or _is_behind_weights(one) for one in before)
