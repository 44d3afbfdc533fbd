"""LSTM and GRU with the gates of some units on each rank.

    x, h of all units -> gates of this rank's units -> their h  --gathered-->  h of all units, for the next time

Source: Hochreiter and Schmidhuber 1997, Long short-term memory; Cho et al. 2014, Learning phrase representations using
RNN encoder-decoder; the gates in the order, and the two forms of GRU, that Keras has.
"""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from hvdedge.collective_ops import copied, gathered
from hvdedge.layouts import Places, Whole
from hvdedge.parallel import MeteredComm
from hvdedge.split_model import Part, Piece, is_by_element
from hvdedge.training import SEED_STATE

GATES = {"LSTM": 4, "GRU": 3}


def can_be_cut(layer: Any) -> bool:
    """Tell whether a layer does no more than what is written here."""
    asked = layer.return_state or layer.stateful or layer.dropout or layer.recurrent_dropout
    asked = asked or not all(map(is_by_element, (layer.activation, layer.recurrent_activation)))
    return not asked and layer.input.shape[1] is not None


class UnitsPart(keras.layers.Layer):
    """An LSTM or GRU with some of the units.

    Args:
        layer: of the whole model.
        units: which ranks hold which.
    """

    def __init__(self, layer: Any, units: Places, comm: MeteredComm):
        super().__init__(name=layer.name)
        self._comm, self._units = comm, units
        self.like = type(layer).from_config(layer.get_config())  # never built
        mine = len(units.held[comm.rank])

        def bias(shape: tuple[int, ...], dtype: Any = None) -> Any:
            first = layer.bias_initializer(shape, dtype)
            if getattr(layer, "unit_forget_bias", False):
                first = keras.ops.concatenate([first[:mine], keras.ops.ones(mine, dtype), first[2 * mine :]])
            return first

        self.kernel, self.recurrent, *biases = (
            self.add_weight(
                shape=(*whole.shape[:-1], GATES[type(layer).__name__] * mine),
                initializer=initializer,
                trainable=layer.trainable,
                name=whole.name,
            )
            for whole, initializer in zip(
                _weights(layer), (layer.kernel_initializer, layer.recurrent_initializer, bias), strict=False
            )
        )
        self.bias = biases[0] if biases else None
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        like = self.like
        x = copied(x, self._comm)
        given = tf.unstack(tf.matmul(x, self.kernel), axis=1)  # (rows, gates of mine) at each time
        given = given[::-1] if like.go_backwards else given
        go = _lstm if isinstance(like, keras.layers.LSTM) else _gru
        made = [*go(self, like, given, lambda h: gathered(h, self._units, self._comm, is_shared=False))]
        return tf.stack(made, axis=1) if like.return_sequences else made[-1]


def piece(layer: Any, units: Places, comm: MeteredComm) -> Piece:
    """Return what this rank holds and runs of a layer."""
    copy = UnitsPart(layer, units, comm)
    gates = units.repeated(GATES[type(layer).__name__])
    mine, whole = [copy.kernel, copy.recurrent], _weights(layer)
    mine += [] if copy.bias is None else [copy.bias]
    parts = [
        Part(one, other, (*[None] * (len(other.shape) - 1), gates)) for one, other in zip(mine, whole, strict=True)
    ]
    seeds = zip(copy.like.variables, (each for each in layer.variables if SEED_STATE in each.path), strict=True)
    parts += [Part(one, other, (None,)) for one, other in seeds]
    return Piece(lambda x, **options: copy(x), [Whole()], [units], "by gates", copy, parts)


def _weights(layer: Any) -> list[keras.Variable]:
    """Return the kernels and the bias, if any."""
    cell = layer.cell
    return [cell.kernel, cell.recurrent_kernel, *([] if cell.bias is None else [cell.bias])]


def _lstm(part: UnitsPart, cell: Any, given: list[tf.Tensor], gather: Callable) -> Iterator[tf.Tensor]:
    bias = 0.0 if part.bias is None else part.bias
    carry: Any = 0.0
    h = None
    for x in given:
        z = x + bias
        if h is not None:
            z += tf.matmul(gather(h), part.recurrent)
        i, f, c, o = tf.split(z, 4, axis=1)
        carry = cell.recurrent_activation(f) * carry + cell.recurrent_activation(i) * cell.activation(c)
        h = cell.recurrent_activation(o) * cell.activation(carry)
        yield h


def _gru(part: UnitsPart, cell: Any, given: list[tf.Tensor], gather: Callable) -> Iterator[tf.Tensor]:
    count = part.recurrent.shape[1] // GATES["GRU"]
    bias, behind = 0.0, 0.0  # the second within the reset, where the layer resets after
    if part.bias is not None and cell.reset_after:
        bias, behind = tf.unstack(tf.convert_to_tensor(part.bias))
    elif part.bias is not None:
        bias = part.bias
    kernel = tf.convert_to_tensor(part.recurrent)
    h: Any = tf.zeros_like(given[0][:, :count])
    for number, x in enumerate(given):
        x = x + bias
        before = gather(h) if number else None
        of_gates = kernel if cell.reset_after else kernel[:, : 2 * count]
        inner = tf.zeros_like(x[:, : of_gates.shape[1]]) if before is None else tf.matmul(before, of_gates)
        inner += behind
        z = cell.recurrent_activation(x[:, :count] + inner[:, :count])
        r = cell.recurrent_activation(x[:, count : 2 * count] + inner[:, count : 2 * count])
        if cell.reset_after:
            new = r * inner[:, 2 * count :]
        else:
            new = tf.matmul(gather(r * h), kernel[:, 2 * count :]) if number else 0.0
        h = z * h + (1 - z) * cell.activation(x[:, 2 * count :] + new)
        yield h
