"""Layers of networks on a graph: `Neighbourhood` looks up what is around nodes, `GraphConvolution` passes it on.

    numbers of nodes -> Neighbourhood -> features, block 1 .. block L of A_hat      see `graph_blocks`
    h -> dropout -> h W -> block (h W) -> activation

The graph is no part of a model: it lies beside the examples in features.h5, and is attached to a model that was built
or loaded. All of these are sparse tensors, and dropout of sparse features draws for what is not 0 alone.

Source: Kipf and Welling 2017, Semi-supervised classification with graph convolutional networks.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy.sparse import csr_matrix

from hvdedge.graph_blocks import GraphStore, StorePart, read_store
from hvdedge.tensors import FeatureReader

PACKAGE = "hvdedge"


def attach(model: keras.Model, reader: FeatureReader) -> None:
    """Let the layers of a model that look things up find them beside the examples; other models have no such layer."""
    for layer in lookups(model):
        layer.attach(functools.cache(lambda: read_store(reader)))


def lookups(model: keras.Model) -> list["Neighbourhood"]:
    """Return the layers of a model that look things up."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, Neighbourhood)]


@keras.saving.register_keras_serializable(PACKAGE)
class Neighbourhood(keras.layers.Layer):
    """Numbers of nodes, int64 (rows,), to the features and blocks that so many convolutions need to tell them.

    Args:
        features: how many a node has.
        layers: convolutions.
        neighbours: how many are drawn in each of them, in training alone; none: all are taken.
        seed: what they are drawn from; each call draws anew.
    """

    def __init__(self, features: int, layers: int, neighbours: Sequence[int] = (), seed: int = 0, **more: Any):
        super().__init__(**more)
        self.supports_jit = False
        self._features, self._layers_above, self._neighbours, self._seed = features, layers, tuple(neighbours), seed
        self._draws = keras.random.SeedGenerator(seed) if neighbours else None
        self._store: Callable[[], GraphStore | StorePart] | None = None

    def attach(self, store: Callable[[], GraphStore | StorePart]) -> None:
        """Take the graph from here, once it is needed."""
        self._store = store

    @property
    def draws(self) -> bool:
        """Whether it takes some neighbours alone in training."""
        return bool(self._neighbours)

    def call(self, nodes: tf.Tensor, training: bool = False) -> list[tf.SparseTensor]:
        if self._store is None:
            raise ValueError("a model of a graph's nodes was called without its graph; call graph_layers.attach first")
        seeds = self._draws.next() if self._draws is not None and training else tf.zeros(0, tf.uint32)
        types = [tf.int64, tf.float32, tf.int64] * (1 + self._layers_above)
        parts = tf.numpy_function(self._look_up, [nodes, seeds], types)
        made = []
        for place in range(0, len(parts), 3):
            indices, values, shape = parts[place : place + 3]
            indices.set_shape((None, 2))
            values.set_shape((None,))
            shape.set_shape((2,))
            columns = shape[1] if place else self._features  # known, so that gradients of weights have their shape
            made.append(tf.SparseTensor(indices, values, tf.stack([shape[0], columns])))
        return made

    def compute_output_spec(self, nodes: Any, training: bool = False) -> list[keras.KerasTensor]:
        shapes = [(None, self._features), *[(None, None)] * self._layers_above]
        return [keras.KerasTensor(shape, "float32", sparse=True) for shape in shapes]

    def get_config(self) -> dict[str, Any]:
        own = {"features": self._features, "layers": self._layers_above, "neighbours": [*self._neighbours]}
        return {**super().get_config(), **own, "seed": self._seed}

    def _look_up(self, nodes: np.ndarray, seeds: np.ndarray) -> list[np.ndarray]:
        """Return indices, values and shape of the features and of each block."""
        assert self._store is not None
        draw = np.random.default_rng(seeds.tolist()) if len(seeds) else None
        found = self._store().around(nodes, self._layers_above, self._neighbours, draw)
        return [array for matrix in found for array in _parts(matrix)]


def _parts(matrix: csr_matrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    indices = np.stack([rows, matrix.indices], axis=1).astype(np.int64)
    return indices, matrix.data.astype(np.float32), np.array(matrix.shape, np.int64)


@keras.saving.register_keras_serializable(PACKAGE)
class GraphConvolution(keras.layers.Layer):
    """A convolution over the neighbours of nodes, without a bias.

    Args:
        units: numbers that are told of a node.
        dropout: share of its inputs left out in a training step.
        seed: from which these are drawn.

    Attributes:
        spread: collective, perhaps; what gives, of the vectors h W of the nodes here, those of all that the block's
            columns stand for. Here these are the same.
    """

    spread: Callable[[tf.Tensor], tf.Tensor] = staticmethod(tf.identity)

    def __init__(
        self,
        units: int,
        activation: Any = None,
        dropout: float = 0.0,
        seed: int = 0,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        **more: Any,
    ):
        super().__init__(**more)
        self.supports_jit = False
        self._units, self._rate, self._seed = units, dropout, seed
        self._activation = keras.activations.get(activation)
        self._initializer = keras.initializers.get(kernel_initializer)
        self._regularizer = keras.regularizers.get(kernel_regularizer)
        self._dropout = keras.layers.Dropout(dropout, seed=seed)

    def build(self, x_shape: Sequence[int | None], block_shape: Sequence[int | None]) -> None:
        self._kernel = self.add_weight(
            shape=(x_shape[-1], self._units),
            initializer=self._initializer,
            regularizer=self._regularizer,
            name="kernel",
        )

    def call(self, x: tf.Tensor | tf.SparseTensor, block: tf.SparseTensor, training: bool = False) -> tf.Tensor:
        if isinstance(x, tf.SparseTensor):
            x = x.with_values(self._dropout(x.values, training=training))
            h = _product(x, tf.convert_to_tensor(self._kernel))
        else:
            h = tf.matmul(self._dropout(x, training=training), self._kernel)
        return self._activation(_product(block, self.spread(h)))

    def compute_output_spec(self, x: Any, block: Any, training: bool = False) -> keras.KerasTensor:
        return keras.KerasTensor((None, self._units), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        own = {
            "units": self._units,
            "activation": keras.activations.serialize(self._activation),
            "dropout": self._rate,
            "seed": self._seed,
            "kernel_initializer": keras.initializers.serialize(self._initializer),
            "kernel_regularizer": keras.regularizers.serialize(self._regularizer),
        }
        return {**super().get_config(), **own}


def _product(a: tf.SparseTensor, b: tf.Tensor) -> tf.Tensor:
    """Return a b, in float32 whatever is computed in, as TensorFlow has no sparse product in float16."""
    return tf.cast(tf.sparse.sparse_dense_matmul(tf.cast(a, tf.float32), tf.cast(b, tf.float32)), b.dtype)
