"""A recurrent network that forecasts a series of several channels segment by segment, each channel by itself.

    rows of a channel - its last one -> segments -> dense, relu -> GRU -> state
    state, with a vector of which segment is asked for, and of which channel -> GRU, one step -> dense -> segment
    .. for all segments ahead at once, + the last row

The state takes a step a segment in the place of a step a row, which is faster, and forgets less. What is read and
told is relative to the last row, as levels move over time.

Source: Lin et al. 2023, SegRNN: segment recurrent neural network for long-term time series forecasting.
"""

from typing import Any

import keras

from hvdedge.errors import InputError
from hvdedge.options import Count, Fraction

EXAMPLES = ("windows",)


def build(
    spec: dict[str, Any], *, segment: Count = 24, units: Count = 64, dropout: Fraction = 0.5, seed: int = 0
) -> keras.Model:
    """Return a network from windows of a series to a forecast of the same channels.

    Args:
        spec: what extract wrote of the features: `input_shape` (rows, channels), `output_shape` (rows ahead, targets),
            and the names of `channels` and `targets`.
        segment: rows of a segment; a divisor of the window, and of the horizon unless that is shorter.
        units: of the state.
        dropout: share of the units left out in a training step before a segment is told.
    Raises:
        InputError: where nothing is forecast, targets are no channels, or segments do not fit.
    """
    targets = [target["column"] for target in spec.get("targets", ())]
    channels = [channel["column"] for channel in spec.get("channels", ())]
    shape, outputs = tuple(spec["input_shape"]), tuple(spec.get("output_shape", ()))
    if not targets or not {*targets} <= {*channels} or len(shape) != 2 or shape[1] != len(channels):
        raise InputError(
            f"train.model: received segment_rnn for features of shape {shape}, allowed: windows of channels, some or "
            "all of which are forecast, without aggregates; take another model or extractor"
        )
    rows, (horizon, _) = shape[0], outputs
    segment = min(segment, horizon)
    if rows % segment or horizon % segment:
        raise InputError(
            f"train.segment: received {segment} for windows of {rows} rows and {horizon} rows ahead, allowed: a "
            "divisor of both; change it or extract.window"
        )
    seeds = keras.random.SeedGenerator(seed)

    def weights(kind: type = keras.initializers.GlorotUniform) -> keras.initializers.Initializer:
        return kind(seed=int(keras.random.randint((), 0, 2**31 - 1, seed=seeds)))

    places = [channels.index(name) for name in targets]
    count, ahead = len(targets), horizon // segment
    x = keras.Input(shape)
    series = keras.ops.transpose(keras.ops.take(x, places, axis=2), (0, 2, 1))  # (examples, targets, rows)
    last = series[:, :, -1:]
    read = keras.ops.reshape(series - last, (-1, rows // segment, segment))  # each target of an example by itself
    read = keras.layers.Dense(units, "relu", kernel_initializer=weights())(read)
    gru = keras.layers.GRU(
        units, kernel_initializer=weights(), recurrent_initializer=weights(keras.initializers.Orthogonal)
    )
    state = keras.ops.repeat(gru(read), ahead, axis=0)  # (examples * targets * segments, units)
    ones = keras.ops.ones_like(keras.ops.reshape(state, (-1, count, ahead, units))[..., 0])
    which = [keras.ops.cast(keras.ops.cumsum(ones, axis=axis) - 1, "int32") for axis in (2, 1)]
    halves = [
        keras.layers.Embedding(most, size, embeddings_initializer=weights(keras.initializers.RandomNormal))(numbers)
        for numbers, most, size in zip(which, (ahead, count), (units - units // 2, units // 2), strict=True)
    ]
    asked = keras.layers.Concatenate()(halves)  # (examples, targets, segments, units)
    told = gru(keras.ops.reshape(asked, (-1, 1, units)), initial_state=state)
    told = keras.layers.Dropout(dropout, seed=seed)(told)
    told = keras.layers.Dense(segment, kernel_initializer=weights())(told)
    told = keras.ops.reshape(told, (-1, count, horizon)) + last
    return keras.Model(x, keras.ops.transpose(told, (0, 2, 1)))
