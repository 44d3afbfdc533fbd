"""A bag of tokens: each token number has a vector, a row is the mean of its tokens' vectors, then layers of units.

    x -> embedding -> mean over the tokens, padding (0) left out -> (dense hidden -> relu -> dropout) x layers -> dense

Source: Joulin et al. 2017, Bag of tricks for efficient text classification.
"""

from typing import Any

import keras

from hvdedge import tasks
from hvdedge.errors import InputError
from hvdedge.options import Count, Fraction, Natural

EXAMPLES = ("tokens",)


def build(
    spec: dict[str, Any],
    *,
    dimensions: Count = 32,
    hidden: Count = 32,
    layers: Natural = 1,
    dropout: Fraction = 0.2,
    seed: int = 0,
) -> keras.Model:
    """Return a network from token numbers to one logit a class.

    Args:
        spec: what extract wrote of the features: `input_shape` (tokens), `vocabulary_size` and `classes`.
        dimensions: of a token's vector.
        hidden: units of each hidden layer.
        layers: hidden layers; 0: the mean vector goes to the classes at once.
        dropout: share of the mean vector, and of the units of each hidden layer, left out in a training step.
    Raises:
        InputError: where the features are no token numbers.
    """
    if "vocabulary_size" not in spec:
        raise InputError(
            f"train.model: received embedding for features of shape {tuple(spec['input_shape'])} that are no tokens, "
            "allowed: those of extractor = 'text'; choose another model"
        )
    seeds = keras.random.SeedGenerator(seed)

    def number() -> int:
        return int(keras.random.randint((), 0, 2**31 - 1, seed=seeds))

    def dense(units: int, activation: str | None = None) -> keras.layers.Dense:
        return keras.layers.Dense(units, activation, kernel_initializer=keras.initializers.GlorotUniform(number()))

    x = keras.Input(tuple(spec["input_shape"]), dtype="int32")
    vectors = keras.layers.Embedding(
        spec["vocabulary_size"], dimensions, embeddings_initializer=keras.initializers.RandomUniform(seed=number())
    )(x)  # (rows, tokens, dimensions)
    there = keras.ops.expand_dims(keras.ops.cast(keras.ops.not_equal(x, 0), "float32"), -1)
    tokens = keras.ops.maximum(keras.ops.sum(there, axis=1), 1.0)
    y = keras.ops.sum(vectors * there, axis=1) / tokens  # (rows, dimensions)
    y = keras.layers.Dropout(dropout, seed=seed)(y)
    for layer in range(layers):
        y = keras.layers.Dropout(dropout, seed=seed + 1 + layer)(dense(hidden, "relu")(y))
    return keras.Model(x, dense(tasks.find(spec).output_shape[0])(y))
