"""Structured pruning: whole neurons and filters go, so that the model is smaller and faster in fact.

    dense, convolution -> ... -> dense, convolution     the units of the first whose weights are least, with what the
                                                        second makes of them

A unit's size is the sum of the absolute weights that lead into it, as a share of its layer's largest. Between the two
may be layers that keep units apart: pooling, dropout, activations, normalization, flattening. Layers whose outputs go
to several others, or to other kinds, keep all their units.

Source: Li et al. 2017, Pruning filters for efficient ConvNets.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from hvdedge.compressed import CompressedModel
from hvdedge.errors import InputError
from hvdedge.layer_widths import with_widths
from hvdedge.options import Between, Natural, Positive
from hvdedge.partition import nodes_in_order
from hvdedge.retraining import Retraining

ORDER = 2  # other layers, before single weights go
WEIGHTY = (keras.layers.Dense, keras.layers.Conv2D)
PASSING = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.Flatten,
    keras.layers.BatchNormalization,
)


@dataclass
class _Link:
    """A layer whose units may go, the normalizations behind it, and the layer that takes them."""

    first: keras.Layer
    between: list[keras.Layer]
    second: keras.Layer


def compress(
    model: CompressedModel, data: Retraining, *, share: Between = 0.5, epochs: Natural = 2, rate: Positive = 0.5
) -> CompressedModel:
    """Collective. Return a model without a share of the neurons and filters of its hidden layers.

    Args:
        share: of the units of each layer that go.
        epochs: that those which are left are trained on.
        rate: the learning rate, as a share of that of training.
    Raises:
        InputError: where no layer's units can go, or weights were pruned before.
    """
    if model.kept:
        raise InputError(
            "compress.prune_units: received a model whose single weights were pruned, allowed: before prune; change "
            "the order of the sections"
        )
    links = _links(model.model)
    if not links:
        raise InputError(
            "compress.prune_units: received a model of which no dense or convolutional layer leads to another one "
            "alone, allowed: one that has such; take prune"
        )
    units_left = data.chosen(lambda: [_largest(link.first, share) for link in links])
    kept = {link.first.name: units for link, units in zip(links, units_left, strict=True)}
    narrow = with_widths(model.model, {name: len(units) for name, units in kept.items()}, "compress.prune_units")
    values = {layer.name: [np.asarray(weight) for weight in layer.weights] for layer in model.model.layers}
    for link in links:
        units = kept[link.first.name]
        for layer in (link.first, *link.between):
            values[layer.name] = [value[..., units] for value in values[layer.name]]
        kernel, *rest = values[link.second.name]
        values[link.second.name] = [_taken(kernel, units, link.first), *rest]
    for layer in narrow.layers:
        layer.set_weights(values[layer.name])
    data.train(narrow, epochs, rate=rate)
    return CompressedModel(narrow, model.bits, coding=model.coding)


def _links(model: keras.Model) -> list[_Link]:
    """Return the pairs of layers of which the second alone takes what the first gives."""
    takers: dict[str, list[Any]] = defaultdict(list)  # by name of the layer whose output each takes
    for node in nodes_in_order(model):
        for parent in node.parent_nodes:
            takers[parent.operation.name].append(node)

    def after(layer: keras.Layer) -> keras.Layer | None:
        """Return the layer that alone takes what a layer gives, once; None where there are more, or none."""
        nodes = takers[layer.name]
        return nodes[0].operation if len(nodes) == 1 and len(nodes[0].parent_nodes) == 1 else None

    found = []
    for layer in model.layers:
        if not isinstance(layer, WEIGHTY) or not layer.trainable:
            continue
        between: list[keras.Layer] = []
        taker = after(layer)
        while isinstance(taker, PASSING):
            between += [taker] if isinstance(taker, keras.layers.BatchNormalization) else []
            taker = after(taker)
        if isinstance(taker, WEIGHTY) and getattr(taker, "groups", 1) == 1:
            found.append(_Link(layer, between, taker))
    return found


def _largest(layer: keras.Layer, share: float) -> np.ndarray:
    """Return the numbers of the units that stay, rising."""
    kernel = np.asarray(layer.kernel)
    sizes = np.abs(kernel).sum(axis=tuple(range(kernel.ndim - 1)))
    return np.sort(np.argsort(-sizes, kind="stable")[: max(round((1 - share) * len(sizes)), 1)])


def _taken(kernel: np.ndarray, units: np.ndarray, first: keras.Layer) -> np.ndarray:
    """Return a kernel without the rows of the units that went; where maps were laid flat, at each of their places."""
    count = int(first.kernel.shape[-1])
    if kernel.ndim == 2 and kernel.shape[0] != count:
        return kernel.reshape(-1, count, kernel.shape[1])[:, units].reshape(-1, kernel.shape[1])
    return kernel[..., units, :]
