"""A multilayer perceptron: layers of units, each connected with all of the layer before.

    x -> (dense hidden -> relu -> dropout) x layers -> dense classes

Source: Rumelhart, Hinton and Williams 1986, Learning representations by back-propagating errors.
"""

from typing import Any

import keras

from hvdedge.options import Count, Fraction


def build(
    spec: dict[str, Any], *, hidden: Count = 64, layers: Count = 2, dropout: Fraction = 0.1, seed: int = 0
) -> keras.Model:
    """Return a network from vectors, or anything laid flat, to one logit a class.

    Args:
        spec: what extract wrote of the features: `input_shape` and `classes`.
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
    return keras.Sequential([*stack, dense(len(spec["classes"]))])
