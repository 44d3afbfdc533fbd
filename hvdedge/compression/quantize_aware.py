"""Training with simulated integers: the model learns to live with 8 bits before it has to.

    weight used in a step = round(w / s) s, s = (largest of its row) / 127; its gradient is taken for that of w
    what a layer gives    = rounded to 256 levels between the ends that training rows show, unless it stays a float

Source: Jacob et al. 2018, Quantization and training of neural networks for efficient integer-arithmetic-only inference;
Bengio, Leonard and Courville 2013, Estimating or propagating gradients through stochastic neurons (straight through).
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvdedge.compressed import CompressedModel
from hvdedge.options import Count, Positive
from hvdedge.retraining import Retraining

ORDER = 4  # behind what trains on in float32
CALIBRATES = True
MOST = 127  # of 8 bits with a sign
BITS = 8


def compress(model: CompressedModel, data: Retraining, *, epochs: Count = 1, rate: Positive = 0.1) -> CompressedModel:
    """Collective. Train on with weights and outputs of layers as 8-bit integers have them; it is stored in these.

    Args:
        model: changed in place.
        epochs: that it is trained on.
        rate: the learning rate, as a share of that of training.
    """
    weights = model.model.trainable_weights
    kernels = {place: weight for place, weight in enumerate(weights) if len(weight.shape) > 1}
    masks = {place: tf.constant(kept, tf.float32) for place, kept in model.kept.items()}
    exact = {place: keras.Variable(np.asarray(weight)) for place, weight in kernels.items()}
    variables = [exact.get(place, weight) for place, weight in enumerate(weights)]

    def settle() -> None:
        for place, whole in exact.items():
            if place in masks:
                whole.assign(whole * masks[place])
            kernels[place].assign(_rounded(tf.convert_to_tensor(whole)))

    settle()
    simulated = model.model if model.keeps_floats else _simulated(model.model, data)
    data.train(simulated, epochs, rate=rate, variables=variables, settle=settle)
    model.bits = 8
    return model


def _rounded(weight: tf.Tensor) -> tf.Tensor:
    """Return a kernel as 8 bits hold it, each of its last axis in a range of its own."""
    scale = tf.reduce_max(tf.abs(weight), axis=list(range(len(weight.shape) - 1)), keepdims=True) / MOST
    return tf.round(tf.math.divide_no_nan(weight, scale)) * scale


class Levels(keras.layers.Layer):
    """What comes in, rounded to 256 levels between two ends; its gradient passes between them."""

    def __init__(self, low: float, high: float):
        super().__init__()
        self._low, self._high = min(low, 0.0), max(high, 0.0) or 1e-6  # 0 is one of the levels

    def call(self, x: Any) -> Any:
        return tf.quantization.fake_quant_with_min_max_args(x, self._low, self._high, num_bits=BITS)


def _simulated(model: keras.Model, data: Retraining) -> keras.Model:
    """Collective. Return a model of the same layers, and weights, in which what the weighty ones give is rounded."""
    weighty = [layer for layer in model.layers if layer.weights and not isinstance(layer, keras.layers.Embedding)]
    outputs = keras.Model(model.inputs, [layer.output for layer in weighty])

    def choose() -> list[np.ndarray]:
        found = outputs.predict(data.sample, verbose=0)
        return [np.array([its.min(), its.max()]) for its in (found if isinstance(found, list) else [found])]

    ends = {layer.name: its.tolist() for layer, its in zip(weighty, data.chosen(choose), strict=True)}

    def call(layer: keras.Layer, *arguments: Any, **more: Any) -> Any:
        given = layer(*arguments, **more)
        return Levels(*ends[layer.name])(given) if layer.name in ends else given

    whole = keras.Model(model.inputs, model.outputs)  # as a Sequential is not cloned with calls
    return keras.models.clone_model(whole, clone_function=lambda layer: layer, call_function=call)
