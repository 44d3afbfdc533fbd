"""Trained quantisation: the weights of a layer share a few values, which are trained on.

    weight -> the nearest of k = 2**bits values (k-means, begun evenly between the smallest and the largest weight)
    gradient of a value = sum of the gradients of the weights that have it, over all ranks

Pruned weights stay zero and are no value's. The file holds the values once, and for each weight which one it has.

Source: Han, Mao and Dally 2016, Deep compression: compressing deep neural networks with pruning, trained quantization
and Huffman coding.
"""

import math
import warnings
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from hvdedge.compressed import CompressedModel
from hvdedge.options import Bits, Natural, Positive
from hvdedge.retraining import Retraining

ORDER = 4  # behind what trains on in float32
MOST_FITTED = 1 << 18  # weights of a layer by which values are sought


@dataclass
class _Shared:
    """A kernel whose weights share values: where those are that are not pruned, and which value each of these has."""

    place: int
    kept: np.ndarray
    codes: np.ndarray
    values: keras.Variable

    @property
    def count(self) -> int:
        return self.values.shape[0]


def compress(
    model: CompressedModel,
    data: Retraining,
    *,
    dense_bits: Bits = 2,
    other_bits: Bits = 4,
    epochs: Natural = 1,
    rate: Positive = 0.1,
) -> CompressedModel:
    """Collective. Let the weights of each kernel share 2**bits values; biases and other vectors stay as they are.

    Args:
        model: changed in place.
        dense_bits: of dense layers' kernels.
        other_bits: of convolutions', embeddings' and recurrent layers'.
        epochs: that the values, and the biases, are trained on.
        rate: the learning rate, as a share of that of training.
    """
    weights = model.model.trainable_weights
    dense = {id(layer.kernel) for layer in model.model._flatten_layers() if isinstance(layer, keras.layers.Dense)}
    counts = {
        place: 2 ** (dense_bits if id(weight) in dense else other_bits)
        for place, weight in enumerate(weights)
        if len(weight.shape) > 1
    }
    kept = {place: model.kept.get(place, np.ones(weights[place].shape, bool)) for place in counts}

    def choose() -> list[np.ndarray]:
        known = ((place, np.asarray(weights[place])[kept[place]]) for place in counts)
        return [array for place, its in known for array in _cluster(place, its, counts[place], data.seed)]

    found = data.chosen(choose)
    shared = [
        _Shared(place, np.flatnonzero(kept[place]), codes, keras.Variable(values))
        for place, values, codes in zip(counts, found[::2], found[1::2], strict=True)
    ]
    free = [weight for weight in weights if len(weight.shape) < 2]
    places = [place for place, weight in enumerate(weights) if len(weight.shape) < 2]

    def reduced(grads: list[tf.Tensor]) -> list[tf.Tensor]:
        sums = [
            tf.math.unsorted_segment_sum(tf.gather(tf.reshape(grads[one.place], [-1]), one.kept), one.codes, one.count)
            for one in shared
        ]
        return [*sums, *(grads[place] for place in places)]

    def settle() -> None:
        for one in shared:
            values = tf.gather(tf.convert_to_tensor(one.values), one.codes)
            size = [math.prod(weights[one.place].shape)]
            whole = tf.scatter_nd(one.kept[:, None], values, size)
            weights[one.place].assign(tf.reshape(whole, weights[one.place].shape))

    settle()
    variables = [*(one.values for one in shared), *free]
    left = sum(one.kept.size for one in shared) / max(sum(math.prod(weights[one.place].shape) for one in shared), 1)
    dropout = math.sqrt(left)
    data.train(model.model, epochs, rate=rate, dropout=dropout, variables=variables, reduced=reduced, settle=settle)
    model.code_weights()
    return model


def _cluster(place: int, weights: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return values for a kernel's weights that are kept, float32, and which of them each has, int32."""
    from sklearn.cluster import KMeans  # loading it takes a second

    known = weights.astype(np.float64)
    drawn = known
    if known.size > MOST_FITTED:
        drawn = known[np.random.default_rng([seed, place]).choice(known.size, MOST_FITTED, replace=False)]
    different = np.unique(drawn)
    if len(different) <= count:
        values = different if len(different) else np.zeros(1)
    else:
        begin = np.linspace(drawn.min(), drawn.max(), count)[:, None]
        with warnings.catch_warnings(action="ignore"):  # of values that end up alike
            values = np.sort(KMeans(count, init=begin, n_init=1).fit(drawn[:, None]).cluster_centers_[:, 0])
    borders = (values[1:] + values[:-1]) / 2
    return values.astype(np.float32), np.searchsorted(borders, known).astype(np.int32)
