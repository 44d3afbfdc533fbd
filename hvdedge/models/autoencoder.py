"""An autoencoder: what examples are like is learnt by making them again from a short code; no label is seen.

    x, laid flat -> dense hidden, relu -> code -> dense hidden, relu -> x again
    gives (mean of (x again - x)**2, code): the first is what is learnt from, and high where an example is unlike others

Source: Hinton and Salakhutdinov 2006, Reducing the dimensionality of data with neural networks.
"""

import math
from typing import Any

import keras

from hvdedge.errors import InputError
from hvdedge.options import Count, Fraction

EXAMPLES = ("images", "windows")


def build(
    spec: dict[str, Any],
    *,
    hidden: Count = 128,
    layers: Count = 1,
    code: Count = 10,
    noise: Fraction = 0.0,
    seed: int = 0,
) -> keras.Model:
    """Return a network from examples to how far each is from what is made of its code, and the code: (rows, 1 + code).

    Args:
        spec: what extract wrote of the features: `input_shape`, and a `task` that asks for no label.
        hidden: units of each hidden layer.
        layers: hidden layers before the code, and as many behind it.
        code: numbers of the code.
        noise: share of an example's numbers that are 0 in a training step, and are to be made all the same.
    Raises:
        InputError: where the task is to tell a label.
    """
    if spec["task"] not in ("anomalies", "clusters"):
        raise InputError(
            f"train.model: received autoencoder for {spec['task']}, allowed: features whose labels are not learnt "
            "from; set extract.anomalies of windows, extract.clusters of images, or take another model"
        )
    shape = tuple(spec["input_shape"])
    seeds = keras.random.SeedGenerator(seed)

    def dense(units: int, activation: str | None = None) -> keras.layers.Dense:
        initializer = keras.initializers.GlorotUniform(int(keras.random.randint((), 0, 2**31 - 1, seed=seeds)))
        return keras.layers.Dense(units, activation, kernel_initializer=initializer)

    x = keras.Input(shape)
    flat = y = keras.layers.Flatten()(x)
    y = keras.layers.Dropout(noise, seed=seed)(y) if noise else y
    for _ in range(layers):
        y = dense(hidden, "relu")(y)
    short = y = dense(code)(y)
    for _ in range(layers):
        y = dense(hidden, "relu")(y)
    away = dense(math.prod(shape))(y) - flat
    error = keras.ops.mean(away * away, axis=1, keepdims=True)
    return keras.Model(x, keras.layers.Concatenate()([error, short]))
