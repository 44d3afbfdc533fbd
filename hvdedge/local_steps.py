"""Steps that a rank takes by itself, on its own rows, and its weights as one vector to be exchanged now and then."""

from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf
from mpi4py import MPI

from hvdedge.parallel import MeteredComm
from hvdedge.shards import Batch
from hvdedge.training import TrainingTask


class LocalSteps:
    """Gradients of the mean over this rank's rows, each times its weight, and what the optimizer makes of them.

    With `proximal` above 0 a step also goes back towards the weights that `hold` took: by as much of the way to them.
    """

    def __init__(self, task: TrainingTask, proximal: float = 0.0):
        self._task = task
        self._variables = task.variables()
        self._proximal = proximal
        self._held = [tf.Variable(variable) for variable in self._variables] if proximal else []
        self._grads: list[tf.Tensor] = []
        self._weight = 0.0
        self._gradient = tf.function(self._gradients, input_signature=task.signature)

    def hold(self) -> None:
        """Take the weights as they are for those not to go far from."""
        if self._held:
            for held, variable in zip(self._held, self._variables, strict=True):
                held.assign(variable)

    def look(self, batch: Batch) -> tuple[float, float]:
        """Compute the gradient of a batch at the weights as they are; return its weighted sums of loss and score."""
        self._weight = float(np.count_nonzero(batch.weights) / batch.together)
        loss, score, self._grads = self.sums(self._task.parts(batch))
        return loss, score

    def sums(self, parts: Sequence[Batch]) -> tuple[float, float, list[tf.Tensor]]:
        """Return the weighted sums of loss and score, and the gradient, of the parts of a batch, at least one."""
        first, *others = parts
        loss, score, grads = self._gradient(first.x, first.y, first.weights)
        for part in others:
            more_loss, more_score, more = self._gradient(part.x, part.y, part.weights)
            loss, score = loss + more_loss, score + more_score
            grads = [grad + another for grad, another in zip(grads, more, strict=True)]
        return float(loss), float(score), grads

    def go(self) -> float:
        """Take the step of that gradient; return the share of its rows. Without rows there is no step."""
        if self._weight:
            self._apply(self._grads, tf.constant(1 / self._weight, tf.float32))
        return self._weight

    def apply(self, gradient: np.ndarray) -> None:
        """Take the step of a gradient that was made elsewhere, float32 (numbers,)."""
        self._apply([tf.constant(part) for part in _parts(self._variables, gradient)], tf.constant(1.0, tf.float32))

    def gradient(self) -> tuple[np.ndarray, float]:
        """Return that gradient, float32 (numbers,), as `flat` gives the weights, and its share of the step's rows."""
        return flat(self._grads) / max(self._weight, 1e-30), self._weight

    def _gradients(self, x: tf.Tensor, y: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, list]:
        loss, score, grads = self._task.gradients(x, y, weights)
        return loss, score, [tf.convert_to_tensor(grad) for grad in grads]  # an embedding's is sparse

    @tf.function
    def _apply(self, grads: list[tf.Tensor], scale: tf.Tensor) -> None:
        grads = [grad * scale for grad in grads]
        if self._held:
            away = zip(grads, self._variables, self._held, strict=True)
            grads = [grad + self._proximal * (variable - held) for grad, variable, held in away]
        self._task.apply(grads)


def flat(variables: Sequence[tf.Variable | tf.Tensor]) -> np.ndarray:
    """Return the values of variables one after the other: float32 (numbers,)."""
    return np.concatenate([variable.numpy().ravel() for variable in variables], dtype=np.float32)


def assign(variables: Sequence[tf.Variable], values: np.ndarray) -> None:
    """Give variables the values that `flat` gave."""
    for variable, part in zip(variables, _parts(variables, values), strict=True):
        variable.assign(part)


def size(variables: Sequence[tf.Variable]) -> int:
    """Return how many numbers `flat` gives."""
    return sum(variable.shape.num_elements() for variable in variables)


def _parts(variables: Sequence[tf.Variable], values: np.ndarray) -> Iterator[np.ndarray]:
    """Yield what `flat` made of each variable, in its shape."""
    start = 0
    for variable in variables:
        stop = start + variable.shape.num_elements()
        yield values[start:stop].reshape(variable.shape)
        start = stop


def state_of(optimizer: keras.optimizers.Optimizer) -> list[tf.Variable]:
    """Return what an optimizer keeps beside its count of steps and its rate, such as momenta, in the weights' order."""
    values = [variable.value for variable in optimizer.variables]
    return [value for value in values if value.dtype.is_floating and value.shape.rank]


def agree_on_steps(task: TrainingTask, comm: MeteredComm) -> None:
    """Collective. Let each rank's optimizer have taken as many steps as that of the rank that took most."""
    steps = np.array(task.optimizer.iterations, np.int64)
    comm.Allreduce(MPI.IN_PLACE, steps, op=MPI.MAX)
    task.optimizer.iterations.assign(steps)
