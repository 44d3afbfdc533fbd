"""Mixed precision: a model computes in 16 bits what it keeps in float32.

    weights float32 -> cast in each layer -> outputs 16 bits -> float32 -> loss, its gradients float32 -> step

The layers are told to compute in 16 bits only while a training step is traced, so the same model is validated and
saved in float32. A model's inputs are cast by its layers, not before them: numbers of levels would be lost in 8 binary
digits.

The smallest number of float16 is 6e-8, so the loss is scaled up for the gradients, which are scaled back in float32. A
gradient that overflows is told by being no finite number: that step is skipped and the scale halved; after GROWTH_STEPS
without one it is doubled. At a scale of 1 nothing is skipped: what is not finite then is so by itself.

Source: Micikevicius et al. 2018, Mixed precision training; Kalamkar et al. 2019, A study of bfloat16 for deep learning
training (no scaling there: it has the range of float32).
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from mpi4py import MPI

from hvdedge.parallel import MeteredComm

FIRST_SCALE, LARGEST_SCALE, GROWTH_STEPS = 2.0**15, 2.0**24, 2000
LEAST_GAIN = 1.05  # of bfloat16 over float32, below which the clock tells nothing
MEASURED_STEPS = 5


class Precision:
    """What a model computes in: "float32", "bfloat16" or "float16"; "auto" until that is chosen."""

    def __init__(self, name: str):
        self.name = name
        self._scale = tf.Variable(FIRST_SCALE if self.is_scaled else 1.0)
        self._since, self._skipped = tf.Variable(0), tf.Variable(0)  # steps since the scale changed; skipped ones

    @property
    def is_scaled(self) -> bool:
        """Whether the loss is scaled, and steps may be skipped."""
        return self.name == "float16"

    @contextlib.contextmanager
    def used(self, model: keras.Model) -> Iterator[None]:
        """Let what is traced in the body compute so."""
        layers = [] if self.name == "float32" else [*_computing(model)]
        for layer in layers:
            layer.dtype_policy = keras.DTypePolicy(f"mixed_{self.name}")
        try:
            yield
        finally:
            for layer in layers:
                layer.dtype_policy = keras.DTypePolicy("float32")

    def scaled(self, loss: tf.Tensor) -> tf.Tensor:
        """Return the loss of which gradients are to be computed."""
        return loss * self._scale if self.is_scaled else loss

    def unscaled(self, grads: Sequence[Any]) -> list[Any]:
        """Return the gradients of the loss from those of the scaled one; all NaN where one overflowed."""
        grads = [tf.convert_to_tensor(grad) for grad in grads]  # an embedding's is sparse, and would be sent otherwise
        if not self.is_scaled:
            return grads
        factor = tf.where(_are_finite(grads), 1 / self._scale, np.nan)
        return [grad * factor for grad in grads]

    def apply(self, grads: Sequence[Any], step: Callable[[Sequence[Any]], None]) -> None:
        """Take a step with gradients, or skip it and scale the loss less from now on; in a graph or out of it."""
        if not self.is_scaled:
            step(grads)
            return
        tf.cond(tf.logical_or(_are_finite(grads), self._scale <= 1), lambda: step(grads), lambda: None)
        self.see(grads)

    def see(self, grads: Sequence[Any]) -> None:
        """Set the scale by gradients of a step that is taken or skipped elsewhere."""
        if not self.is_scaled:
            return
        finite = _are_finite(grads)
        since = tf.where(finite, self._since + 1, 0)
        full = since >= GROWTH_STEPS
        self._skipped.assign_add(tf.cast(~finite & (self._scale > 1), tf.int32))
        scale = tf.where(finite, self._scale, self._scale / 2) * tf.where(full, 2.0, 1.0)
        self._scale.assign(tf.clip_by_value(scale, 1.0, LARGEST_SCALE))
        self._since.assign(tf.where(full, 0, since))

    def skips(self, finite: bool) -> bool:
        """Tell whether a step with gradients that are so is skipped."""
        return self.is_scaled and not finite and float(self._scale) > 1

    def agree(self, comm: MeteredComm) -> dict[str, Any] | None:
        """Collective. Go on with the least scale of all ranks; return what is to be told of skipped steps, if any."""
        if not self.is_scaled:
            return None
        told = np.array([float(self._scale), float(self._since), -float(self._skipped)])
        comm.Allreduce(MPI.IN_PLACE, told, op=MPI.MIN)
        self._scale.assign(told[0])
        self._since.assign(int(told[1]))
        self._skipped.assign(0)
        return {"steps_skipped": int(-told[2]), "loss_scale": float(told[0])} if told[2] else None

    def state(self) -> list[float]:
        """Return what there is to go on from."""
        return [float(self._scale), float(self._since)]

    def restore(self, state: list[float]) -> None:
        """Go on from what `state` gave."""
        self._scale.assign(state[0])
        self._since.assign(int(state[1]))


def faster(steps: Mapping[str, Callable[[], Any]], comm: MeteredComm) -> tuple[str, dict[str, float]]:
    """Collective. Return which of "float32" and "bfloat16" the slowest rank does faster, and its seconds a step.

    Args:
        steps: does a step in each; the first one of each may build a graph. Empty on a rank that does not train.
    """
    taken = np.zeros((MEASURED_STEPS + 1, 2))
    for number in range(len(taken)):  # in turn, so that what else a host does slows both
        for place, step in enumerate(steps.values()):
            began = time.perf_counter()
            step()
            taken[number, place] = time.perf_counter() - began
    slowest = taken[1:].min(axis=0)
    comm.Allreduce(MPI.IN_PLACE, slowest, op=MPI.MAX)
    full, half = slowest.tolist()
    chosen = "bfloat16" if half * LEAST_GAIN < full else "float32"
    return chosen, {"float32_seconds": full, "bfloat16_seconds": half}


def _computing(model: keras.Model) -> Iterator[keras.Layer]:
    """Yield the layers that compute in float32, also those within others."""
    for layer in model._flatten_layers(include_self=False):
        if not isinstance(layer, keras.Model) and layer.dtype_policy.name == "float32":
            yield layer


def _are_finite(grads: Sequence[Any]) -> tf.Tensor:
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(grad)) for grad in grads])
