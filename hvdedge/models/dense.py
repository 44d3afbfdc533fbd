"""A multilayer perceptron: layers of units, each connected with all of the layer before.

    x -> (dense hidden -> relu -> dropout) x layers -> dense outputs

Columns of x that are numbers of levels (`embedded` in the spec) are replaced by a vector a level, of half as many
numbers as there are levels, 50 at most; level 0, missing or never seen, has one, too.

Source: Rumelhart, Hinton and Williams 1986, Learning representations by back-propagating errors; Guo and Berkhahn 2016,
Entity embeddings of categorical variables.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from hvdedge import tasks
from hvdedge.errors import InputError
from hvdedge.options import Count, Fraction

EXAMPLES = ("images", "vectors", "windows")
MOST = 50  # numbers of a level's vector


def build(
    spec: dict[str, Any],
    *,
    hidden: Count | tuple[Count, ...] = 64,
    layers: Count = 2,
    dropout: Fraction = 0.1,
    seed: int = 0,
) -> keras.Model:
    """Return a network from vectors, or anything laid flat, to one logit a class, or the numbers of a regression.

    Args:
        spec: what extract wrote of the features: `input_shape`, `task`, what tells its outputs and, where there is
            any, `embedded`.
        hidden: units of each hidden layer; a list, such as [300, 100], is of as many layers as it has numbers.
        layers: hidden layers, where `hidden` is one number.
        dropout: share of the units of each hidden layer left out in a training step.
    Raises:
        InputError: where an example is no vector: the node of a graph, or numbers of tokens.
    """
    shape = tuple(spec["input_shape"])
    if not shape:
        raise InputError(
            "train.model: received dense for examples that are nodes of a graph, allowed: vectors, or anything that "
            "can be laid flat; take another extractor"
        )
    if "vocabulary_size" in spec:
        raise InputError(
            "train.model: received dense for numbers of tokens, which are no quantities, allowed: vectors, or anything "
            "that can be laid flat; take embedding"
        )
    seeds = keras.random.SeedGenerator(seed)

    def number() -> int:
        return int(keras.random.randint((), 0, 2**31 - 1, seed=seeds))

    def dense(units: int, activation: str | None = None) -> keras.layers.Dense:
        initializer = keras.initializers.GlorotUniform(seed=number())
        return keras.layers.Dense(units, activation, kernel_initializer=initializer)

    stack = [keras.layers.Flatten()] if len(shape) > 1 else []
    for layer, units in enumerate((hidden,) * layers if isinstance(hidden, int) else hidden):
        stack += [dense(units, "relu"), keras.layers.Dropout(dropout, seed=seed + layer)]
    outputs = tasks.find(spec).output_shape
    stack.append(dense(math.prod(outputs)))
    stack += [keras.layers.Reshape(outputs)] if len(outputs) > 1 else []
    if not spec.get("embedded"):
        return keras.Sequential([keras.Input(shape), *stack])
    x = keras.Input(shape)
    y = _embed(x, shape[0], spec["embedded"], number)
    for its in stack:
        y = its(y)
    return keras.Model(x, y)


def _embed(x: Any, width: int, embedded: list[dict[str, int]], number: Callable[[], int]) -> Any:
    """Return the quantities among the columns of x, and behind them the vectors of the levels."""
    places = [its["place"] for its in embedded]
    quantities = [place for place in range(width) if place not in places]
    parts = [keras.ops.take(x, np.array(quantities), axis=1)] if quantities else []
    for its in embedded:
        level = keras.ops.cast(x[:, its["place"]], "int32")
        initializer = keras.initializers.RandomUniform(seed=number())
        layer = keras.layers.Embedding(
            its["levels"] + 1, min(MOST, (its["levels"] + 1) // 2), embeddings_initializer=initializer
        )
        parts.append(layer(level))
    return keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
