"""A multilayer perceptron: layers of units, each connected with all of the layer before.

    x -> (dense hidden -> relu -> dropout) x layers -> dense outputs

Source: Rumelhart, Hinton and Williams 1986, Learning representations by back-propagating errors.
"""

import math
from typing import Any

import keras

from hvdedge import tasks
from hvdedge.options import Count, Fraction


def build(
    spec: dict[str, Any], *, hidden: Count = 64, layers: Count = 2, dropout: Fraction = 0.1, seed: int = 0
) -> keras.Model:
    """Return a network from vectors, or anything laid flat, to one logit a class, or the numbers of a regression.

    Args:
        spec: what extract wrote of the features: `input_shape`, `task` and what tells its outputs.
        hidden: units of each hidden layer.
        layers: hidden layers.
        dropout: share of the units of each hidden layer left out in a training step.
    """
    shape = tuple(spec["input_shape"])
    seeds = keras.random.SeedGenerator(seed)

    def dense(units: int, activation: str | None = None) -> keras.layers.Dense:
        number = int(keras.random.randint((), 0, 2**31 - 1, seed=seeds))
        return keras.layers.Dense(units, activation, kernel_initializer=keras.initializers.GlorotUniform(seed=number))

    stack = [keras.Input(shape), *([keras.layers.Flatten()] if len(shape) > 1 else [])]
    for layer in range(layers):
        stack += [dense(hidden, "relu"), keras.layers.Dropout(dropout, seed=seed + layer)]
    outputs = tasks.find(spec).output_shape
    stack.append(dense(math.prod(outputs)))
    return keras.Sequential([*stack, *([keras.layers.Reshape(outputs)] if len(outputs) > 1 else [])])
