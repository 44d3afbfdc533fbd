"""A model of which each rank holds a slice of every layer: how each layer is cut, and what runs in its place.

    x -> [layout that a layer takes] -> its slice on each rank -> [layout that it gives] -> ..  -> outputs, whole

The layers of a chain are gone through in order; a rule says for each, by the layouts in which its inputs come, what a
rank holds and runs of it: a `Piece`. Where a piece takes whole tensors that come in parts, all ranks get them first.
What no rule is for runs whole, the same on all ranks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvdedge.collective_ops import assembled, gathered
from hvdedge.layouts import Boxes, Layout, Places, Whole
from hvdedge.micro_batches import PASSES
from hvdedge.parallel import MeteredComm
from hvdedge.partition import NUMBER_BYTES, Chain

BY_ELEMENT = (
    *("celu", "elu", "exponential", "gelu", "hard_sigmoid", "hard_silu", "leaky_relu", "linear", "log_sigmoid", "mish"),
    *("relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "swish", "tanh"),
)
POINTWISE = (  # of which each number, or each channel, is made of itself
    keras.layers.Activation
    | keras.layers.ReLU
    | keras.layers.LeakyReLU
    | keras.layers.ELU
    | keras.layers.Dropout
    | keras.layers.GaussianNoise
    | keras.layers.GaussianDropout
    | keras.layers.SpatialDropout1D
    | keras.layers.SpatialDropout2D
)
MERGING = (  # tensors of one shape
    keras.layers.Add
    | keras.layers.Subtract
    | keras.layers.Multiply
    | keras.layers.Average
    | keras.layers.Maximum
    | keras.layers.Minimum
)
Cut = tuple[Places | None, ...]  # of each axis of a weight: which places ranks hold, None for all


@dataclass
class Part:
    """What a rank holds of a variable of the whole model.

    Attributes:
        is_partial: whether its gradient is to be summed over the ranks.
    """

    variable: keras.Variable
    whole: keras.Variable
    cut: Cut
    is_partial: bool = False

    @property
    def is_cut(self) -> bool:
        """Whether other ranks hold other numbers of it."""
        return any(places is not None for places in self.cut)


@dataclass
class Piece:
    """What a rank does in the place of a layer.

    Attributes:
        run: called as the layer is, with tensors as `takes` has them.
        takes, gives: the layouts of its inputs and outputs.
        how: what is cut, in words.
        layer: what holds its weights.
        parts: of the layer's variables, all of them.
        has_own_seeds: whether ranks leave out units of their own.
    """

    run: Callable[..., Any]
    takes: list[Layout]
    gives: list[Layout]
    how: str = "whole"
    layer: keras.layers.Layer | None = None
    parts: list[Part] = field(default_factory=list)
    has_own_seeds: bool = False


@dataclass(frozen=True)
class Splitting:
    """What rules ask for.

    Attributes:
        chain: the layers of the whole model.
        options: of the strategy, for its rules.
    """

    chain: Chain
    comm: MeteredComm
    options: dict[str, Any]

    @property
    def ranks(self) -> int:
        """How many ranks share the model."""
        return self.comm.size

    def is_output(self, node: Any) -> bool:
        """Whether the model gives what a node makes."""
        outputs = {id(tensor) for tensor in self.chain.model.outputs}
        return any(id(tensor) in outputs for tensor in node.output_tensors)


Rule = Callable[[Any, Any, list[Layout], Splitting], Piece]  # of an operation, its node, and its inputs' layouts


class SplitModel(keras.Model):
    """This rank's part of a model, called as the whole one is.

    Attributes:
        parts: what it holds of which variables.
        how: of each layer what is cut, by its name.
        own_seeds: the states that ranks have of their own.
        made_numbers: how many numbers it makes of a row.
    """

    def __init__(self, run: Callable[[tf.Tensor], tf.Tensor], pieces: list[Piece], made_numbers: int):
        super().__init__()
        self._run = run
        self._held = [piece.layer for piece in pieces if piece.layer is not None]
        self.parts = [part for piece in pieces for part in piece.parts]
        self.own_seeds = {id(part.variable) for piece in pieces if piece.has_own_seeds for part in piece.parts}
        self.made_numbers = made_numbers
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self._run(x)


def split(splitting: Splitting, first: Layout, rule: Rule) -> tuple[SplitModel, dict[str, str]]:
    """Return this rank's part of a model, and how each layer is cut.

    Args:
        first: the layout in which the model's input comes: boxes of images, or whole rows.
    """
    chain, comm = splitting.chain, splitting.comm
    source = chain.model.inputs[0]
    layouts: dict[int, Layout] = {id(source): first}
    steps: list[tuple[Any, Piece]] = []
    by_layer: dict[int, Piece] = {}
    tied = {*chain.tied}
    tensors = {id(source): source}
    for node in chain.nodes:
        layer = node.operation
        come: list[Layout] = [layouts[id(tensor)] for tensor in node.input_tensors]
        if layer.name in tied:
            come = [Whole()] * len(come)
            piece = by_layer[id(layer)] if id(layer) in by_layer else rule(layer, node, come, splitting)
        else:
            piece = rule(layer, node, come, splitting)
        by_layer[id(layer)] = piece
        steps.append((node, piece))
        for tensor, layout in zip(node.output_tensors, piece.gives, strict=True):
            layouts[id(tensor)], tensors[id(tensor)] = layout, tensor

    def run(x: tf.Tensor) -> tf.Tensor:
        values = {id(source): x}
        whole: dict[int, tf.Tensor] = {}

        def value(tensor: Any, wanted: Layout) -> tf.Tensor:
            key, layout = id(tensor), layouts[id(tensor)]
            if layout == wanted:
                return values[key]
            assert wanted == Whole()
            if key not in whole:
                whole[key] = _as_whole(values[key], layout, comm)
            return whole[key]

        for node, piece in steps:
            given = {
                id(tensor): value(tensor, wanted)
                for tensor, wanted in zip(node.input_tensors, piece.takes, strict=True)
            }
            args, options = node.arguments.fill_in(given)
            options.pop("training", None)  # Keras notes a layer's default, such as False; how it is called counts
            if options.get("mask") is None:
                options.pop("mask", None)  # Keras notes it also where there is none
            made = keras.tree.flatten(piece.run(*args, **options))
            values |= {id(tensor): one for tensor, one in zip(node.output_tensors, made, strict=True)}
        return value(chain.model.outputs[0], Whole())

    gathers = {
        id(tensor)
        for node, piece in steps
        for tensor, wanted in zip(node.input_tensors, piece.takes, strict=True)
        if layouts[id(tensor)] != wanted
    }
    made_numbers = sum(
        _numbers(tensor.shape) * (key in gathers) + _numbers(layouts[key].shape(tensor.shape, comm.rank))
        for key, tensor in tensors.items()
    )
    pieces = [*by_layer.values()]
    how = {layer.name: by_layer[id(layer)].how for layer in chain.layers if getattr(layer, "variables", ())}
    return SplitModel(run, pieces, made_numbers), how


def whole_piece(layer: Any, node: Any, layouts: Sequence[Layout]) -> Piece:
    """Return the piece of an operation that every rank runs on whole tensors."""
    takes: list[Layout] = [Whole()] * len(layouts)
    gives: list[Layout] = [Whole()] * len(node.output_tensors)
    if not isinstance(layer, keras.layers.Layer):
        return Piece(layer, takes, gives)
    copy = type(layer).from_config(layer.get_config())
    inputs = {id(tensor): keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype) for tensor in node.input_tensors}
    args, options = node.arguments.fill_in(inputs)
    copy(*args, **options)  # makes its weights
    return Piece(copy, takes, gives, layer=copy, parts=paired(copy, layer, lambda variable: None))


def paired(
    copy: Any, layer: Any, places_of_last: Callable[[keras.Variable], Places | None], *, is_partial: bool = False
) -> list[Part]:
    """Return what a copy of a layer holds of its variables, cut along their last axis."""
    return [
        Part(mine, whole, (*[None] * (len(whole.shape) - 1), places_of_last(whole)), is_partial)
        for mine, whole in zip(copy.variables, layer.variables, strict=True)
    ]


def is_by_element(activation: Any) -> bool:
    """Tell whether an activation looks at each number by itself."""
    return activation is None or getattr(activation, "__name__", "") in BY_ELEMENT


def needed_bytes(model: SplitModel, rows: int, beside: int) -> int:
    """Return what a part takes: weights, their gradients, what is kept beside them, what layers make of rows."""
    weights = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    return NUMBER_BYTES * int(weights * (2 + beside) + PASSES * rows * model.made_numbers)


def _as_whole(x: tf.Tensor, layout: Layout, comm: MeteredComm) -> tf.Tensor:
    if isinstance(layout, Places):
        return gathered(x, layout, comm)
    assert isinstance(layout, Boxes)
    return assembled(x, [layout.box(rank) for rank in range(comm.size)], comm)


def _numbers(shape: Sequence[int | None]) -> int:
    return int(np.prod([size or 1 for size in shape[1:]]))
