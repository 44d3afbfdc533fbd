"""A rank's part of the layers, forward and backward, wherever its inputs come from."""

from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from hvdedge.part_costs import floats, through
from hvdedge.parted_task import PartedTask
from hvdedge.shards import Batch


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


class PartLayers:
    """Layers that take micro-batches forward and backward, and hold the sums of their weights' gradients.

    Args:
        model: the layers, of what passes the cut before them.
        takes_rows: whether nothing is before them, so that no one needs gradients of what they take.
        tells: whether they are the last ones: they give loss and score in place of outputs.
        recompute: whether a micro-batch leaves its inputs alone until it goes backward.
    Attributes:
        variables: the trained weights.
        grads: the sums since they were last taken.
    """

    def __init__(self, task: PartedTask, model: keras.Model, *, takes_rows: bool, tells: bool, recompute: bool = False):
        self._task, self._model = task, model
        self._takes_rows, self._tells, self._recompute = takes_rows, tells, recompute
        self.variables = [weight.value for weight in model.trainable_variables]
        self.grads: list[tf.Tensor] = []
        self._held: dict[int, _Held] = {}

    def forward(self, number: int, arrays: list[np.ndarray], batch: Batch | None = None) -> list[tf.Tensor]:
        """Return what a micro-batch becomes; the last layers need its y and weights, and give none."""
        held = self._held[number] = _Held([tf.constant(array) for array in arrays], batch)
        if not self._recompute or self._tells:
            return self._go(held)
        held.states = [np.array(state) for state in self._task.seed_states()]
        return self._outputs(held.inputs)

    def backward(self, number: int, arrays: list[np.ndarray] | None) -> tuple[float, float, list[tf.Tensor]]:
        """Add a micro-batch's gradient to the sums.

        Args:
            arrays: gradients of what `forward` returned; None for the last layers.
        Returns:
            On the last layers its weighted sums of loss and score; the gradients of what went in.
        """
        held = self._held.pop(number)
        if held.tape is None:
            kept = self._task.model.non_trainable_variables
            now = [np.array(variable) for variable in kept]
            for state, then in zip(self._task.seed_states(), held.states, strict=True):
                state.assign(then)
            self._go(held)
            for variable, then in zip(kept, now, strict=True):  # moving means have seen these rows already
                variable.assign(then)
        assert held.tape is not None
        sources = [*self.variables, *([] if self._takes_rows else floats(held.inputs))]
        arrived = None if arrays is None else [tf.constant(array) for array in arrays]
        grads = held.tape.gradient(held.outputs, sources, arrived, tf.UnconnectedGradients.ZERO)
        count = len(self.variables)
        del held.tape  # and what it keeps
        for place, grad in enumerate(grads[:count]):
            grads[place] = None  # one by one, as sums and gradients of all weights are much
            mine = tf.convert_to_tensor(grad)  # an embedding's is sparse
            if place < len(self.grads):
                self.grads[place] += mine
            else:
                self.grads.append(mine)
        return held.loss, held.score, grads[count:]

    def take_grads(self) -> list[tf.Tensor]:
        """Return the sums, and begin new ones."""
        grads, self.grads = self.grads, []
        return grads

    def _go(self, held: _Held) -> list[tf.Tensor]:
        """Go forward so that it can be gone backward."""
        with tf.GradientTape() as held.tape:
            held.tape.watch(floats(held.inputs))
            if self._tells:
                assert held.batch is not None
                loss, score = self._loss(held.inputs, held.batch.y, held.batch.weights)
                held.outputs = [loss]
                held.loss, held.score = float(loss), float(score)
                return []
            outputs = self._outputs(held.inputs)
            held.outputs = floats(outputs)
        return outputs

    @tf.function(reduce_retracing=True)
    def _outputs(self, inputs: list[tf.Tensor]) -> list[tf.Tensor]:
        return through(self._model, inputs, training=True)

    @tf.function(reduce_retracing=True)
    def _loss(self, inputs: list[tf.Tensor], y: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        losses, scores = self._task.score(y, through(self._model, inputs, training=True)[0])
        return tf.reduce_sum(losses * weights), tf.reduce_sum(scores * weights)
