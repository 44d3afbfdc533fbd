"""How layers are cut by their images: the rules of spatial parallelism.

    rank 0   rows 0 1 2 | halo 3      a convolution 3 x 3 makes rows 0 .. 2 on rank 0 of its rows and one of rank 1's
    rank 1   halo 2 | rows 3 4 5      the edge of the whole image is filled in as TensorFlow does it there

What looks through a window gets its halo first, then runs on its own box of the output. The weights of such layers are
the same on all ranks, and their gradients are summed over them. A batch normalization takes means and variances of all
ranks' pixels. An image that is laid flat is in places, of which the dense layer behind it has the weights: from there
on layers are cut by their weights, see `hvdedge.tensor_layers`. So are those behind a map of fewer rows, or columns,
than ranks share: it is made whole on all ranks first, as it is for a layer that no rule is for.

Source: Dryden et al. 2019, Improving strong-scaling of CNN training by exploiting finer-grained parallelism.
"""

import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvdedge import tensor_layers
from hvdedge.collective_ops import copied, seen, summed
from hvdedge.errors import InputError
from hvdedge.layouts import Boxes, Layout, Whole, Window, sizes, window
from hvdedge.parallel import MeteredComm
from hvdedge.split_model import MERGING, POINTWISE, Piece, Splitting, is_by_element, paired
from hvdedge.tensor_layers import local_piece

LOWEST = float(np.finfo(np.float32).min)  # around an image of which maxima are taken
SOFTMAX = "softmax"  # over the last axis, which is not cut


def rule(layer: Any, node: Any, layouts: list[Layout], splitting: Splitting) -> Piece:
    """Return what this rank holds and runs of an operation, whose inputs may come as boxes of images."""
    found = None
    if type(layer) in piece.registry and layouts and all(isinstance(layout, Boxes) for layout in layouts):
        found = piece.dispatch(type(layer))(layer, node, layouts, splitting)
    if found is not None:
        return found
    come: list[Layout] = [Whole() if isinstance(layout, Boxes) else layout for layout in layouts]
    return tensor_layers.rule(layer, node, come, splitting)


def boxes(shape: tuple[int, ...], ranks: int, columns: int) -> Boxes:
    """Return how images, (rows, columns, channels), or windows of signals, (times, channels), are cut.

    Raises:
        InputError: where they cannot be cut so.
    """
    if len(shape) not in (2, 3):
        raise InputError(
            f"train.strategy: received features of shape {tuple(shape)} to be cut by rows, allowed: images (rows, "
            "columns, channels) or windows (times, channels); take tensor_parallel or pipeline"
        )
    if ranks % columns or (columns > 1 and len(shape) == 2):
        raise InputError(
            f"train.columns: received {columns} for {ranks} ranks and features of shape {tuple(shape)}, allowed: a "
            "divisor of the ranks, 1 for windows; change it or --ranks"
        )
    boxes = Boxes(tuple(shape[:-1]), (ranks // columns, columns)[: len(shape) - 1])
    if not boxes.is_full:
        raise InputError(
            f"train.strategy: received {ranks} ranks in a grid of {' x '.join(map(str, boxes.grid))} for images of "
            f"{' x '.join(map(str, boxes.image))}, allowed: up to one a row and column; give fewer --ranks"
        )
    return boxes


@functools.singledispatch
def piece(layer: Any, node: Any, layouts: list[Boxes], splitting: Splitting) -> Piece | None:
    """Return what this rank does of an operation in boxes; None where it takes whole images."""
    return None


@piece.register(keras.layers.Conv1D)
@piece.register(keras.layers.Conv2D)
@piece.register(keras.layers.DepthwiseConv1D)
@piece.register(keras.layers.DepthwiseConv2D)
@piece.register(keras.layers.SeparableConv1D)
@piece.register(keras.layers.SeparableConv2D)
def _convolved(layer: Any, node: Any, layouts: list[Boxes], splitting: Splitting) -> Piece | None:
    axes = zip(layouts[0].image, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True)
    windows = [window(*axis, layer.padding) for axis in axes]
    return _windowed(layer, layouts, windows, splitting, 0.0) if _is_pointwise(layer) else None


@piece.register(keras.layers.MaxPooling1D)
@piece.register(keras.layers.MaxPooling2D)
@piece.register(keras.layers.AveragePooling1D)
@piece.register(keras.layers.AveragePooling2D)
def _pooled(layer: Any, node: Any, layouts: list[Boxes], splitting: Splitting) -> Piece | None:
    axes = zip(layouts[0].image, layer.pool_size, layer.strides, strict=True)
    windows = [window(size, pool, stride, 1, layer.padding) for size, pool, stride in axes]
    is_mean = isinstance(layer, keras.layers.AveragePooling1D | keras.layers.AveragePooling2D)
    return _windowed(layer, layouts, windows, splitting, 0.0 if is_mean else LOWEST, is_mean=is_mean)


@piece.register(keras.layers.ZeroPadding1D)
@piece.register(keras.layers.ZeroPadding2D)
def _padded(layer: Any, node: Any, layouts: list[Boxes], splitting: Splitting) -> Piece | None:
    around = layer.padding if isinstance(layer, keras.layers.ZeroPadding2D) else [layer.padding]
    return _windowed(layer, layouts, [Window(1, 1, before) for before, _ in around], splitting, 0.0)


def _windowed(
    layer: Any, layouts: list[Boxes], windows: list[Window], splitting: Splitting, fill: float, *, is_mean: bool = False
) -> Piece | None:
    """Return the piece of a layer that looks through a window.

    Args:
        fill: what stands around the image.
        is_mean: whether it takes means, of what is in the image alone.
    """
    comm, have = splitting.comm, layouts[0]
    out = Boxes(tuple(layer.output.shape[1:-1]), have.grid)
    if not out.is_full or getattr(layer, "data_format", None) == "channels_first":
        return None

    def needed(rank: int) -> list[tuple[slice, tuple[int, int]]]:
        axes = zip(windows, out.box(rank), have.image, strict=True)
        return [one.needed(side, size) for one, side, size in axes]

    boxes = [have.box(rank) for rank in range(comm.size)]
    need = [tuple(side for side, _ in needed(rank)) for rank in range(comm.size)]
    around = [filled for _, filled in needed(comm.rank)]
    mine = [size + sum(filled) for size, filled in zip(sizes(need[comm.rank]), around, strict=True)]
    is_moving = any(one != other for one, other in zip(boxes, need, strict=True))
    pads = [(0, 0), *around, (0, 0)]
    activation = getattr(layer, "activation", None) or keras.activations.linear
    if hasattr(layer, "strides"):
        linear = {"activation": None} if hasattr(layer, "activation") else {}
        copy = type(layer).from_config(layer.get_config() | {"padding": "valid", **linear})
        copy.build((None, *mine, layer.input.shape[-1]))
        parts = paired(copy, layer, lambda variable: None, is_partial=True)
    else:
        copy, parts = None, []
    scale = _mean_scale(windows, out.box(comm.rank), have.image) if is_mean and np.any(around) else None

    def run(x: tf.Tensor, **options: Any) -> tf.Tensor:
        def look(box: tf.Tensor) -> tf.Tensor:
            box = tf.pad(box, pads, constant_values=fill) if np.any(around) else box
            return box if copy is None else copy(box, **options)

        made = seen(look, x, boxes, need, comm) if is_moving or np.any(around) else look(x)
        return activation(made if scale is None else made * scale)

    return Piece(run, [have], [out], "by image rows", copy, parts)


def _mean_scale(windows: list[Window], box: tuple[slice, ...], image: tuple[int, ...]) -> np.ndarray:
    """Return for each output how many numbers its window has, over how many of them are in the image."""
    scale = np.ones((1,) * (len(box) + 2), np.float32)
    for axis, (one, side, size) in enumerate(zip(windows, box, image, strict=True)):
        starts = np.arange(side.start, side.stop) * one.stride - one.before
        inside = np.minimum(starts + one.reach, size) - np.maximum(starts, 0)
        shape = [1] * scale.ndim
        shape[1 + axis] = -1
        scale = scale * (one.reach / inside).astype(np.float32).reshape(shape)
    return scale


class SharedNormalization(keras.layers.Layer):
    """A batch normalization whose means and variances are those of all ranks' pixels.

    Args:
        layer: of the whole model.
        pixels: of a whole image.
    """

    def __init__(self, layer: Any, pixels: int, comm: MeteredComm):
        super().__init__(name=layer.name)
        self._comm, self._pixels = comm, pixels
        self.inner = type(layer).from_config(layer.get_config())
        self.inner.build(layer.input.shape)
        self.built = True

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        inner = self.inner
        mean, variance = (tf.convert_to_tensor(each) for each in (inner.moving_mean, inner.moving_variance))
        if training and inner.trainable:
            kept, momentum = (mean, variance), inner.momentum
            mean = self._mean(x)
            variance = self._mean(tf.square(x - mean))
            pairs = zip((inner.moving_mean, inner.moving_variance), kept, (mean, variance), strict=True)
            for variable, before, now in pairs:
                variable.assign(before * momentum + now * (1 - momentum))
        return tf.nn.batch_normalization(x, mean, variance, inner.beta, inner.gamma, inner.epsilon)

    def _mean(self, x: tf.Tensor) -> tf.Tensor:
        """Collective. Return the mean of each channel over all ranks, which each uses for other pixels."""
        total = copied(summed(tf.reduce_sum(x, axis=[*range(len(x.shape) - 1)]), self._comm), self._comm)
        return total / tf.cast(tf.shape(x)[0] * self._pixels, x.dtype)


@piece.register(keras.layers.BatchNormalization)
def _normalized(layer: Any, node: Any, layouts: list[Boxes], splitting: Splitting) -> Piece | None:
    is_last = layer.axis in (-1, len(layer.input.shape) - 1)
    if not is_last or layer.renorm or len(node.input_tensors) > 1:
        return None
    copy = SharedNormalization(layer, int(np.prod(layouts[0].image)), splitting.comm)
    parts = paired(copy.inner, layer, lambda variable: None, is_partial=True)
    return Piece(copy, [layouts[0]], [layouts[0]], "by image rows", copy, parts)


@piece.register(keras.layers.Dense)
def _connected(layer: Any, node: Any, layouts: list[Boxes], splitting: Splitting) -> Piece | None:
    if not _is_pointwise(layer):
        return None
    copy = type(layer).from_config(layer.get_config())
    copy.build(layer.input.shape)
    parts = paired(copy, layer, lambda variable: None, is_partial=True)
    return Piece(copy, [layouts[0]], [layouts[0]], "by image rows", copy, parts)


@piece.register(POINTWISE)
def _by_pixel(layer: Any, node: Any, layouts: list[Boxes], splitting: Splitting) -> Piece | None:
    if not _is_pointwise(layer) or getattr(layer, "noise_shape", None):
        return None
    is_by_channel = isinstance(layer, keras.layers.SpatialDropout1D | keras.layers.SpatialDropout2D)
    return local_piece(layer, layouts[0], layouts[0], has_own_seeds=not is_by_channel)


@piece.register(MERGING)
@piece.register(keras.layers.Concatenate)
def _merged(layer: Any, node: Any, layouts: list[Boxes], splitting: Splitting) -> Piece | None:
    is_fit = getattr(layer, "axis", -1) in (-1, len(node.output_tensors[0].shape) - 1)
    if not is_fit or any(other != layouts[0] for other in layouts):
        return None
    return Piece(type(layer).from_config(layer.get_config()), [*layouts], [layouts[0]], "by image rows")


@piece.register(keras.layers.Flatten)
@piece.register(keras.layers.Reshape)
def _flattened(layer: Any, node: Any, layouts: list[Boxes], splitting: Splitting) -> Piece | None:
    if len(layer.output.shape) != 2 or getattr(layer, "data_format", None) == "channels_first":
        return None
    places = layouts[0].flat(layer.input.shape[-1])
    width = len(places.held[splitting.comm.rank])
    return Piece(lambda x, **options: tf.reshape(x, [-1, width]), [layouts[0]], [places])


@piece.register(keras.layers.GlobalAveragePooling1D)
@piece.register(keras.layers.GlobalAveragePooling2D)
def _averaged(layer: Any, node: Any, layouts: list[Boxes], splitting: Splitting) -> Piece | None:
    if layer.data_format == "channels_first" or len(node.input_tensors) > 1:
        return None
    image = layouts[0].image
    axes, pixels = [*range(1, 1 + len(image))], int(np.prod(image))

    def run(x: tf.Tensor, **options: Any) -> tf.Tensor:
        return summed(tf.reduce_sum(x, axes, keepdims=layer.keepdims), splitting.comm) / pixels

    return Piece(run, [layouts[0]], [Whole()])


def _is_pointwise(layer: Any) -> bool:
    """Tell whether a layer's activation, if it has one, looks at each number, or each pixel, by itself."""
    activation = getattr(layer, "activation", None)
    return is_by_element(activation) or getattr(activation, "__name__", "") == SOFTMAX
