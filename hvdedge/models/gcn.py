"""A graph convolutional network: each layer tells a node by the mean, as A_hat weighs it, of its neighbours and itself.

    Z = A_hat relu(A_hat X W_0) W_1        with dropout before each W, and more layers in between

A batch of nodes takes the rows of A_hat of all nodes that are so many edges away: exactly what the whole graph gives
for these nodes, so that the batch of all training nodes is the full batch of the paper. `neighbours` draws some of
them in training instead, where a few hops reach most of the graph.

Source: Kipf and Welling 2017, Semi-supervised classification with graph convolutional networks; Hamilton, Ying and
Leskovec 2017, Inductive representation learning on large graphs (`neighbours`).
"""

from typing import Any

import keras

from hvdedge.errors import InputError
from hvdedge.graph_layers import GraphConvolution, Neighbourhood
from hvdedge.options import Count, Fraction, NonNegative

EXAMPLES = ("nodes",)


def build(
    spec: dict[str, Any],
    *,
    hidden: Count = 16,
    layers: Count = 2,
    dropout: Fraction = 0.5,
    weight_decay: NonNegative = 0.0005,
    neighbours: tuple[Count, ...] = (),
    seed: int = 0,
) -> keras.Model:
    """Return a network from numbers of nodes to one logit a class; its graph is to be attached: `graph_layers.attach`.

    Args:
        spec: what extract wrote of the features: `graph` and `classes`.
        hidden: numbers that each layer but the last tells of a node.
        layers: how many edges away a node is told by.
        dropout: share of the inputs of each layer left out in a training step.
        weight_decay: half of it, times the sum of the squares of the first layer's weights, is added to the loss.
        neighbours: how many of a node's neighbours are drawn in a training step, for each layer, the first one first;
            [] takes all.
    Raises:
        InputError: where the features are of no graph, or `neighbours` are not as many as layers.
    """
    if "graph" not in spec:
        raise InputError(
            f"train.model: received gcn for features of shape {tuple(spec['input_shape'])} that are no nodes of a "
            "graph, allowed: those of extractor = 'graph'; choose another model"
        )
    if neighbours and len(neighbours) != layers:
        raise InputError(
            f"train.neighbours: received {[*neighbours]} for {layers} layers, allowed: a number for each layer, or [] "
            "for all neighbours; change one of them"
        )
    seeds = keras.random.SeedGenerator(seed)

    def number() -> int:
        return int(keras.random.randint((), 0, 2**31 - 1, seed=seeds))

    nodes = keras.Input((), dtype="int64")
    y, *blocks = Neighbourhood(spec["graph"]["features"], layers, neighbours, number())(nodes)
    for layer, block in enumerate(blocks):
        is_last = layer == layers - 1
        y = GraphConvolution(
            len(spec["classes"]) if is_last else hidden,
            None if is_last else "relu",
            dropout,
            seed=number(),
            kernel_initializer=keras.initializers.GlorotUniform(seed=number()),
            kernel_regularizer=keras.regularizers.L2(weight_decay / 2) if weight_decay and not layer else None,
        )(y, block)
    return keras.Model(nodes, y)
