"""A recurrent network: what was read so far is kept in a state, step by step.

    x -> embedding (tokens) -> (GRU or LSTM, both ways) x layers -> mean and maximum over the steps -> dropout -> dense

Padding (token 0) counts neither in the mean nor in the maximum.

Source: Hochreiter and Schmidhuber 1997, Long short-term memory; Cho et al. 2014, Learning phrase representations using
RNN encoder-decoder (GRU); Schuster and Paliwal 1997, Bidirectional recurrent neural networks.
"""

import math
from typing import Any, Literal

import keras

from hvdedge import tasks
from hvdedge.errors import InputError
from hvdedge.options import Count, Fraction

EXAMPLES = ("tokens", "windows")


def build(
    spec: dict[str, Any],
    *,
    cell: Literal["gru", "lstm"] = "gru",
    units: Count = 32,
    layers: Count = 1,
    dimensions: Count = 32,
    dropout: Fraction = 0.3,
    seed: int = 0,
) -> keras.Model:
    """Return a network from token numbers, or rows of a series, to one logit a class, or the numbers of a forecast.

    Args:
        spec: what extract wrote of the features: `input_shape` (steps,) of tokens or (steps, channels), `task`, what
            tells its outputs and, of tokens, `vocabulary_size`.
        cell: of each recurrent layer.
        units: of its state, each way.
        layers: recurrent layers.
        dimensions: of a token's vector.
        dropout: share of the tokens' vectors, and of what goes to the last layer, left out in a training step.
    Raises:
        InputError: where an example is no sequence.
    """
    shape = tuple(spec["input_shape"])
    is_text = "vocabulary_size" in spec
    if not is_text and len(shape) != 2:
        raise InputError(
            f"train.model: received rnn for features of shape {shape}, allowed: token numbers, or (steps, channels); "
            "take another model or extractor"
        )
    seeds = keras.random.SeedGenerator(seed)

    def number() -> int:
        return int(keras.random.randint((), 0, 2**31 - 1, seed=seeds))

    kind = keras.layers.GRU if cell == "gru" else keras.layers.LSTM

    def both_ways() -> keras.layers.Layer:
        layer = kind(
            units,
            return_sequences=True,
            kernel_initializer=keras.initializers.GlorotUniform(number()),
            recurrent_initializer=keras.initializers.Orthogonal(seed=number()),
        )
        return keras.layers.Bidirectional(layer)

    x = y = keras.Input(shape, dtype="int32" if is_text else "float32")
    if is_text:
        vectors = keras.initializers.RandomUniform(seed=number())
        y = keras.layers.Embedding(spec["vocabulary_size"], dimensions, embeddings_initializer=vectors)(x)
        y = keras.layers.Dropout(dropout, seed=seed)(y)
    for _ in range(layers):
        y = both_ways()(y)
    if is_text:
        there = keras.ops.expand_dims(keras.ops.cast(keras.ops.not_equal(x, 0), "float32"), -1)
        mean = keras.ops.sum(y * there, axis=1) / keras.ops.maximum(keras.ops.sum(there, axis=1), 1.0)
        most = keras.ops.max((y + 1.0) * there, axis=1) - 1.0  # states are between -1 and 1
    else:
        mean, most = keras.ops.mean(y, axis=1), keras.ops.max(y, axis=1)
    y = keras.layers.Dropout(dropout, seed=seed + 1)(keras.layers.Concatenate()([mean, most]))
    outputs = tasks.find(spec).output_shape
    y = keras.layers.Dense(math.prod(outputs), kernel_initializer=keras.initializers.GlorotUniform(number()))(y)
    return keras.Model(x, keras.layers.Reshape(outputs)(y) if len(outputs) > 1 else y)
