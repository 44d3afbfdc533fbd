"""A model as a chain of layers, cut into parts, one for each rank, while its weights are nowhere as a whole.

    x -> layer 0 -> layer 1 -> .. -> layer n - 1 -> outputs
              cut 1      cut 2                          part p: layers cuts[p] .. cuts[p + 1] - 1

What passes a cut are all tensors that layers before it make and layers behind it, or the outputs, take: so skip
connections travel along with the rest, also through parts that do not look at them. No cut is allowed between two uses
of the same layer.

The cuts are those at which the slowest part takes the least time among all whose parts fit into their ranks' memory,
found by dynamic programming over the layers:

    best(p, j) = min over i < j of max(best(p - 1, i), seconds(i .. j - 1) / speed(p)), memory(i .. j - 1) <= limit(p)

Source: Narayanan et al. 2019, PipeDream: generalized pipeline parallelism for DNN training (the recurrence, here for
one rank a part, of any speed); Huang et al. 2019, GPipe (what stays in memory).
"""

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras

NUMBER_BYTES = 4  # float32


def without_weights() -> contextlib.AbstractContextManager:
    """Return a context in which a model can be built that has shapes and names, but no weights in memory."""
    return keras.StatelessScope(initialize_variables=False)


@dataclass(frozen=True)
class Costs:
    """What the layers of a chain cost.

    Attributes:
        seconds: forward and backward, of one micro-batch.
        weight_bytes: of the weights that are trained.
        output_bytes: of what a layer makes of one micro-batch.
        passing_bytes: of what passes each cut for one micro-batch.
        waiting: of how many micro-batches each part holds what came into it, to compute the rest of it again.
        in_flight: of how many micro-batches each part holds what its layers made at the same time.
        versions: of how many steps each part holds the weights, as micro-batches under way went forward with them.
        beside: how many numbers are kept of a weight beside it and its gradient, such as by the optimizer.
    """

    seconds: tuple[float, ...]
    weight_bytes: tuple[int, ...]
    output_bytes: tuple[int, ...]
    passing_bytes: tuple[int, ...]
    waiting: tuple[int, ...]
    in_flight: tuple[int, ...]
    versions: tuple[int, ...]
    beside: int

    def memory_bytes(self, part: int, start: int, stop: int) -> int:
        """Return what the layers of some places take: weights, gradients, what is kept beside, what layers made."""
        weights = sum(self.weight_bytes[start:stop])
        made = self.in_flight[part] * sum(self.output_bytes[start:stop])
        came = self.waiting[part] * self.passing_bytes[start]
        return weights * (self.versions[part] + 1 + self.beside) + made + came


class Chain:
    """The layers of a model in an order in which each comes after those whose outputs it takes.

    Args:
        model: of Keras layers, sequential or functional; its weights are not looked at.

    Attributes:
        nodes: of Keras' graph, each a use of a layer, in that order.
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self.nodes = [*nodes_in_order(model)]

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def layers(self) -> list[keras.Operation]:
        """The layer of each place."""
        return [node.operation for node in self.nodes]

    @cached_property
    def passing(self) -> list[list[Any]]:
        """The tensors that pass each cut: before the first layer the model's inputs, behind the last its outputs."""
        made = {id(tensor): -1 for tensor in self.model.inputs}
        last_use = {id(tensor): len(self.nodes) for tensor in self.model.outputs}
        tensors = {id(tensor): tensor for tensor in self.model.inputs}
        for place, node in enumerate(self.nodes):
            for tensor in node.input_tensors:
                last_use[id(tensor)] = max(place, last_use.get(id(tensor), 0))
            for tensor in node.output_tensors:
                made[id(tensor)], tensors[id(tensor)] = place, tensor
        inside = [
            [tensors[key] for key in tensors if made[key] < cut <= last_use.get(key, -1)]
            for cut in range(1, len(self.nodes))
        ]
        return [[*self.model.inputs], *inside, [*self.model.outputs]]

    @cached_property
    def cuts(self) -> list[int]:
        """The places before which the chain may be cut."""
        uses: dict[int, list[int]] = {}
        for place, node in enumerate(self.nodes):
            uses.setdefault(id(node.operation), []).append(place)
        tied = {cut for places in uses.values() for cut in range(places[0] + 1, places[-1] + 1)}
        return [cut for cut in range(1, len(self.nodes)) if cut not in tied]

    @property
    def tied(self) -> list[str]:
        """The names of layers that are used more than once."""
        names = [layer.name for layer in self.layers]
        return sorted({name for name in names if names.count(name) > 1})

    def part(self, start: int, stop: int, shared: keras.Model | None = None) -> keras.Model:
        """Return the layers of some places as a model of its own, with weights as the whole model has them at first.

        It takes a list of what passes the cut before them and gives one of what passes the cut behind them.

        Args:
            shared: another part, whose layers are to be those of this one, too.
        """
        inputs = [keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype) for tensor in self.passing[start]]
        values = {id(tensor): value for tensor, value in zip(self.passing[start], inputs, strict=True)}
        copies: dict[int, keras.Operation] = {}
        for node in self.nodes[start:stop]:
            layer = node.operation
            if id(layer) not in copies:
                fresh = shared is None
                copies[id(layer)] = type(layer).from_config(layer.get_config()) if fresh else _operation(shared, layer)
            copy = copies[id(layer)]
            args, options = node.arguments.fill_in(values)
            made = keras.tree.flatten(copy(*args, **options))
            values |= {id(tensor): value for tensor, value in zip(node.output_tensors, made, strict=True)}
        return keras.Model(inputs, [values[id(tensor)] for tensor in self.passing[stop]])

    def numbers(self) -> dict[tuple[str, int], int]:
        """Return (layer, place among its variables) -> place among the variables of the whole model."""
        place_of = {id(variable): place for place, variable in enumerate(self.model.variables)}
        return {
            (layer.name, place): place_of[id(variable)]
            for layer in self.model.layers
            for place, variable in enumerate(layer.variables)
        }


def balanced(
    costs: Costs, cuts: Sequence[int], speeds: Sequence[float], limit_bytes: Sequence[float]
) -> list[int] | None:
    """Return the cuts of the best partition, 0 and the number of layers among them; None where no one fits.

    Args:
        cuts: the places that may be cut.
        speeds: of the ranks, one a part, beside each other.
        limit_bytes: what each rank may take.
    """
    count = len(costs.seconds)
    seconds = [0.0, *itertools.accumulate(costs.seconds)]
    best: list[dict[int, tuple[float, int]]] = [{0: (0.0, 0)}]  # by part, where it ends: the slowest, where it starts
    for part, (speed, limit) in enumerate(zip(speeds, limit_bytes, strict=True)):
        here: dict[int, tuple[float, int]] = {}
        for stop in [*cuts, count]:
            for start, (before, _) in best[-1].items():
                if start < stop and costs.memory_bytes(part, start, stop) <= limit:
                    slowest = max(before, (seconds[stop] - seconds[start]) / speed)
                    here[stop] = min(here.get(stop, (math.inf, 0)), (slowest, start))
        best.append(here)
    if count not in best[-1]:
        return None
    found = [count]
    for here in reversed(best[1:]):
        found.append(here[found[-1]][1])
    return found[::-1]


def weight_bytes(layer: keras.Operation) -> int:
    """Return the bytes of a layer's trained weights."""
    return NUMBER_BYTES * weights(layer)


def weights(layer: keras.Operation) -> int:
    """Return how many numbers of a layer are trained; an operation that is no layer has none."""
    return sum(math.prod(variable.shape) for variable in getattr(layer, "trainable_variables", ()))


def output_bytes(layer: keras.Operation, rows: int) -> int:
    """Return the bytes of what a layer makes of some rows."""
    return NUMBER_BYTES * rows * sum(math.prod(shape) for shape in output_shapes(layer))


def output_shapes(layer: keras.Operation) -> list[list[int]]:
    """Return the shapes of what a layer makes of a row; what is of any size counts as 1."""
    return [[size or 1 for size in tensor.shape[1:]] for tensor in keras.tree.flatten(layer.output)]


def _operation(part: keras.Model, layer: keras.Operation) -> keras.Operation:
    """Return the operation of a part that is a copy of a layer."""
    return next(each for each in part.operations if each.name == layer.name)


def nodes_in_order(model: keras.Model) -> Iterator[Any]:
    """Yield the nodes of a model's graph, that is each use of a layer, after those whose outputs it takes."""
    seen = {id(tensor) for tensor in model.inputs}
    stack = [(tensor, False) for tensor in reversed(model.outputs)]
    while stack:
        tensor, is_ready = stack.pop()
        if id(tensor) in seen:
            continue
        operation, number, _ = tensor._keras_history
        node = operation._inbound_nodes[number]
        if is_ready:
            seen.update(id(output) for output in node.output_tensors)
            yield node
        else:
            stack.append((tensor, True))
            stack += [(each, False) for each in reversed(node.input_tensors)]
