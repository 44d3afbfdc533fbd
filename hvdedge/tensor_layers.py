"""How layers are cut by their weights: the rules of tensor parallelism.

    input whole    -> the weights of some outputs (columns, channels, gates) on each rank -> places of the last axis
    input places   -> the weights of these inputs (rows, channels) -> sum over the ranks  -> whole, or places again

Two dense layers after each other take one all-reduce forward, and one backward: columns, then rows. Between them, what
looks at each place by itself stays in places. A convolution of places sums over the ranks so that each gets its own
channels, and maps stay cut through all layers. An LSTM or GRU has the gates of some units on each rank, and all units'
state is gathered at each time.

A layer that has fewer outputs than there are ranks, or no rule, is the same on every rank; so is the last dense layer,
where that adds at most a 32nd to the model, as it then sends nothing.

Source: Shoeybi et al. 2019, Megatron-LM: training multi-billion parameter language models using model parallelism;
Dryden et al. 2019, Channel and filter parallelism for large-scale CNN training.
"""

import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvdedge import recurrent_layers
from hvdedge.collective_ops import copied, gathered, scattered, summed
from hvdedge.layouts import Layout, Places, Whole, dealt
from hvdedge.parallel import MeteredComm
from hvdedge.partition import weights
from hvdedge.split_model import MERGING, POINTWISE, Part, Piece, Splitting, is_by_element, paired, whole_piece

LEAST_SHARE = 1 / 32  # of a model's weights that the last layer may add to it on other ranks


def rule(layer: Any, node: Any, layouts: list[Layout], splitting: Splitting) -> Piece:
    """Return what this rank holds and runs of an operation; a class that is not Keras' own runs whole."""
    kind = type(layer) if type(layer) in piece.registry else object
    return piece.dispatch(kind)(layer, node, layouts, splitting)


@functools.singledispatch
def piece(layer: Any, node: Any, layouts: list[Layout], splitting: Splitting) -> Piece:
    """Return what this rank holds and runs of an operation, whose inputs come whole or as places of the last axis."""
    return whole_piece(layer, node, layouts)


@piece.register(keras.layers.Dense)
@piece.register(keras.layers.Conv1D)
@piece.register(keras.layers.Conv2D)
@piece.register(keras.layers.Conv3D)
def _connected(layer: Any, node: Any, layouts: list[Layout], splitting: Splitting) -> Piece:
    is_dense = isinstance(layer, keras.layers.Dense)
    count = layer.units if is_dense else layer.filters
    if not _is_plain(layer, layouts) or not (is_dense or (layer.groups == 1 and _has_last_channels(layer))):
        return whole_piece(layer, node, layouts)
    held = layouts[0]
    if isinstance(held, Places):
        scatters = not is_dense and count >= splitting.ranks and is_by_element(layer.activation)
        return _rows(layer, held, dealt(count, splitting.ranks) if scatters else None, splitting)
    total = sum(weights(each) for each in splitting.chain.model.layers)
    adds = weights(layer) * (splitting.ranks - 1)
    if count < splitting.ranks or (is_dense and splitting.is_output(node) and adds <= LEAST_SHARE * total):
        return whole_piece(layer, node, layouts)
    return _columns(layer, "units" if is_dense else "filters", dealt(count, splitting.ranks), splitting)


def _columns(layer: Any, name: str, places: Places, splitting: Splitting) -> Piece:
    comm = splitting.comm
    config = layer.get_config() | {name: len(places.held[comm.rank])}
    is_local = is_by_element(layer.activation)
    copy = type(layer).from_config(config if is_local else config | {"activation": "linear"})
    copy.build(layer.input.shape)

    def run(x: tf.Tensor, **options: Any) -> tf.Tensor:
        made = copy(copied(x, comm), **options)
        return made if is_local else layer.activation(gathered(made, places, comm))

    parts = paired(copy, layer, lambda variable: places)
    return Piece(run, [Whole()], [places if is_local else Whole()], "by outputs", copy, parts)


class InputPart(keras.layers.Layer):
    """A dense or convolutional layer by its inputs: each rank has the weights of some.

    Args:
        layer: of the whole model.
        held: the inputs that ranks have.
        out: the outputs that each rank gets of the sum; None: all get all.
    """

    def __init__(self, layer: Any, held: Places, out: Places | None, comm: MeteredComm):
        super().__init__(name=layer.name)
        self._comm, self._out = comm, out
        self.inner = type(layer).from_config(layer.get_config() | {"use_bias": False, "activation": "linear"})
        self.inner.build(held.shape(layer.input.shape, comm.rank))
        self.activation = layer.activation
        count = layer.variables[0].shape[-1] if out is None else len(out.held[comm.rank])
        self.bias = None
        if layer.use_bias:
            self.bias = self.add_weight(
                shape=(count,), initializer=layer.bias_initializer, trainable=layer.trainable, name="bias"
            )
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        made = self.inner(x)
        made = summed(made, self._comm) if self._out is None else scattered(made, self._out, self._comm)
        return self.activation(made if self.bias is None else made + self.bias)


def _rows(layer: Any, held: Places, out: Places | None, splitting: Splitting) -> Piece:
    copy = InputPart(layer, held, out, splitting.comm)
    kernel, *biases = layer.variables
    parts = [Part(copy.inner.variables[0], kernel, (*[None] * (len(kernel.shape) - 2), held, None))]
    parts += [Part(copy.bias, bias, (out,)) for bias in biases]
    return Piece(lambda x, **options: copy(x), [held], [Whole() if out is None else out], "by inputs", copy, parts)


@piece.register(keras.layers.DepthwiseConv1D)
@piece.register(keras.layers.DepthwiseConv2D)
def _depthwise(layer: Any, node: Any, layouts: list[Layout], splitting: Splitting) -> Piece:
    held = layouts[0]
    if not isinstance(held, Places) or not _has_last_channels(layer) or not _is_plain(layer, layouts):
        return whole_piece(layer, node, layouts)
    out = held.spread(layer.depth_multiplier)
    if not is_by_element(layer.activation):
        return whole_piece(layer, node, layouts)
    copy = type(layer).from_config(layer.get_config())
    copy.build(held.shape(layer.input.shape, splitting.comm.rank))
    kernel, *biases = zip(copy.variables, layer.variables, strict=True)
    parts = [Part(*kernel, (*[None] * (len(kernel[1].shape) - 2), held, None))]
    parts += [Part(*bias, (out,)) for bias in biases]
    return Piece(copy, [held], [out], "by channels", copy, parts)


@piece.register(keras.layers.BatchNormalization)
def _normalized(layer: Any, node: Any, layouts: list[Layout], splitting: Splitting) -> Piece:
    held = layouts[0]
    is_last = layer.axis in (-1, len(layer.input.shape) - 1)
    if not isinstance(held, Places) or not is_last or not _is_plain(layer, layouts):
        return whole_piece(layer, node, layouts)
    copy = type(layer).from_config(layer.get_config())
    copy.build(held.shape(layer.input.shape, splitting.comm.rank))
    return Piece(copy, [held], [held], "by channels", copy, paired(copy, layer, lambda variable: held))


@piece.register(POINTWISE)
@piece.register(keras.layers.MaxPooling1D)
@piece.register(keras.layers.MaxPooling2D)
@piece.register(keras.layers.MaxPooling3D)
@piece.register(keras.layers.AveragePooling1D)
@piece.register(keras.layers.AveragePooling2D)
@piece.register(keras.layers.AveragePooling3D)
@piece.register(keras.layers.GlobalMaxPooling1D)
@piece.register(keras.layers.GlobalMaxPooling2D)
@piece.register(keras.layers.GlobalAveragePooling1D)
@piece.register(keras.layers.GlobalAveragePooling2D)
@piece.register(keras.layers.ZeroPadding1D)
@piece.register(keras.layers.ZeroPadding2D)
@piece.register(keras.layers.Cropping1D)
@piece.register(keras.layers.Cropping2D)
@piece.register(keras.layers.UpSampling1D)
@piece.register(keras.layers.UpSampling2D)
def _by_place(layer: Any, node: Any, layouts: list[Layout], splitting: Splitting) -> Piece:
    """Of a layer that looks at each place of the last axis by itself."""
    held = layouts[0]
    is_fit = is_by_element(getattr(layer, "activation", None)) and not getattr(layer, "noise_shape", None)
    if not isinstance(held, Places) or not is_fit or not _has_last_channels(layer) or not _is_plain(layer, layouts):
        return whole_piece(layer, node, layouts)
    return local_piece(layer, held, held, has_own_seeds=True)


def local_piece(layer: Any, takes: Layout, gives: Layout, *, has_own_seeds: bool) -> Piece:
    """Return the piece of a layer without weights that each rank runs on what it has."""
    copy = type(layer).from_config(layer.get_config())
    parts = paired(copy, layer, lambda variable: None)
    return Piece(copy, [takes], [gives], "by places", copy, parts, has_own_seeds)


@piece.register(keras.layers.Flatten)
@piece.register(keras.layers.Reshape)
def _flattened(layer: Any, node: Any, layouts: list[Layout], splitting: Splitting) -> Piece:
    held = layouts[0]
    shape = layer.input.shape
    is_fit = _has_last_channels(layer) and len(layer.output.shape) == 2 and None not in shape[1:]
    if not isinstance(held, Places) or not is_fit or not _is_plain(layer, layouts):
        return whole_piece(layer, node, layouts)
    out = held.repeated(int(np.prod(shape[1:-1])))
    width = len(out.held[splitting.comm.rank])
    return Piece(lambda x, **options: tf.reshape(x, [-1, width]), [held], [out])


@piece.register(MERGING)
def _merged(layer: Any, node: Any, layouts: list[Layout], splitting: Splitting) -> Piece:
    held = layouts[0]
    ranks = {len(tensor.shape) for tensor in node.input_tensors}
    if not isinstance(held, Places) or any(other != held for other in layouts) or len(ranks) > 1:
        return whole_piece(layer, node, layouts)
    copy = type(layer).from_config(layer.get_config())
    return Piece(copy, layouts, [held], "by places", copy)


@piece.register(keras.layers.Concatenate)
def _concatenated(layer: Any, node: Any, layouts: list[Layout], splitting: Splitting) -> Piece:
    is_last = layer.axis in (-1, len(node.output_tensors[0].shape) - 1)
    places = [layout for layout in layouts if isinstance(layout, Places)]
    if len(places) < len(layouts) or not (is_last or all(other == places[0] for other in places)):
        return whole_piece(layer, node, layouts)
    copy = type(layer).from_config(layer.get_config())
    out = functools.reduce(Places.then, places) if is_last else places[0]
    return Piece(copy, layouts, [out], "by places", copy)


@piece.register(keras.layers.Embedding)
def _embedded(layer: Any, node: Any, layouts: list[Layout], splitting: Splitting) -> Piece:
    by_width = splitting.options.get("embeddings") == "width"
    count = layer.output_dim if by_width else layer.input_dim
    if count < splitting.ranks or not _is_plain(layer, layouts):
        return whole_piece(layer, node, layouts)
    comm = splitting.comm
    places = dealt(count, splitting.ranks)
    mine = places.held[comm.rank]
    config = layer.get_config() | {"output_dim" if by_width else "input_dim": len(mine)}
    copy = type(layer).from_config(config)
    copy.build(layer.input.shape)
    if by_width:
        return Piece(copy, [Whole()], [places], "by width", copy, paired(copy, layer, lambda variable: places))

    def run(x: tf.Tensor, **options: Any) -> tf.Tensor:
        here = tf.cast(x, tf.int32) - int(mine[0])
        is_here = (here >= 0) & (here < len(mine))
        vectors = copy(tf.where(is_here, here, 0), **options)
        return summed(tf.where(is_here[..., None], vectors, 0.0), comm)

    parts = [Part(table, whole, (places, None)) for table, whole in zip(copy.variables, layer.variables, strict=True)]
    return Piece(run, [Whole()], [Whole()], "by vocabulary", copy, parts)


@piece.register(keras.layers.LSTM)
@piece.register(keras.layers.GRU)
def _recurrent(layer: Any, node: Any, layouts: list[Layout], splitting: Splitting) -> Piece:
    if layer.units < splitting.ranks or not _is_plain(layer, layouts) or not recurrent_layers.can_be_cut(layer):
        return whole_piece(layer, node, layouts)
    return recurrent_layers.piece(layer, dealt(layer.units, splitting.ranks), splitting.comm)


def _is_plain(layer: Any, layouts: list[Layout]) -> bool:
    """Tell whether a layer takes one tensor, and holds no more than it does by itself."""
    return len(layouts) == 1 and not getattr(layer, "quantization_mode", None)


def _has_last_channels(layer: Any) -> bool:
    return getattr(layer, "data_format", "channels_last") in (None, "channels_last")
