"""When data enters a ring of nodes, and what each node does in each iteration (no messages here).

Three nodes, each holds a part of the layers and rows of its own; batch b enters at the node whose turn it is. What is
made in an iteration travels during the next one, and is used in the one after it:

    iteration  0    1    2    3      4      5    6       7      8       9      10         11
    node 0    (0)        F0   F1(3)  F2     F3   F4(6)   F5     F6      F7(9)  B0 F8      B1 F9    ..
    node 1         (1)               F0(4)  F1   F2      F3(7)  B0 F4   B1 F5  B2 F6(10)  B3 F7    ..
    node 2              (2)                 (5)  F0 B0   F1 B1  F2 B2(8) ..

(b): batch b enters. F: forward, B: backward through the node's layers. From iteration 2 (2 n - 1) on each node goes
forward with one batch and backward with another in every iteration.

Source: Hopkins 2020, RingTMP; see docs/ring_tmp.md for how it is read here.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

HOP = 2  # iterations from when something is made to when it is used on another node: it travels during the one between

Move = Literal["forward", "backward", "settle", "lend", "enter", "return"]
Moves = list[tuple[Move, int]]


@dataclass(frozen=True)
class Entry:
    """A batch that enters.

    Attributes:
        node: whose rows it has.
        together: the rows of its round, in which each node that has rows left enters a batch, of all rings.
        ends_round: whether it is the last one of its round.
    """

    node: int
    together: int
    ends_round: bool


def entries(rows: Sequence[int], batch_size: int, beside: Sequence[int] = ()) -> list[Entry]:
    """Return the batches of an epoch in the order in which they enter.

    Args:
        rows: that each node has.
        beside: rows of the nodes of other rings, which step together with this one: a round for which they alone have
            rows left has a batch of node 0 that counts nothing.
    """
    found = []
    for start in range(0, max([*rows, *beside], default=0), batch_size):
        here = {node: min(count - start, batch_size) for node, count in enumerate(rows) if count > start} or {0: 0}
        there = sum(min(count - start, batch_size) for count in beside if count > start)
        last = max(here)
        found += [Entry(node, sum(here.values()) + there, node == last) for node in here]
    return found


def forward_at(batch: int, node: int, lent: bool) -> int:
    """Return the iteration in which a node goes forward with a batch."""
    return batch + HOP * (node + 1 + lent)


def backward_at(batch: int, node: int, nodes: int, lent: bool) -> int:
    """Return the iteration in which a node goes backward with a batch."""
    return forward_at(batch, nodes - 1, lent) + HOP * (nodes - 1 - node)


def iterations(batches: int, nodes: int, lent: bool) -> int:
    """Return how many iterations an epoch of so many batches takes."""
    if not batches:
        return 0
    return backward_at(batches - 1, 0, nodes, lent) + 1 + 2 * HOP * lent


def moves(batches: Sequence[Entry], nodes: int, node: int, lent: bool) -> Iterator[Moves]:
    """Yield what a node does in each iteration of an epoch.

    Args:
        lent: whether the first layers are lent by node 0 to where a batch enters (`lend`, `enter`); their gradient is
            computed there (`return`) and comes back (`settle`). Else raw rows go to node 0.
    """
    for iteration in range(iterations(len(batches), nodes, lent)):
        backward = iteration - backward_at(0, node, nodes, lent)
        forward = iteration - forward_at(0, node, lent)
        enter = iteration - HOP * lent
        returned = iteration - backward_at(0, 0, nodes, lent) - HOP
        here: Moves = [("backward", backward), ("forward", forward)]
        if node == nodes - 1:
            here.reverse()  # the gradient begins where the loss is
        if lent and node == 0:
            here += [("settle", returned - HOP), ("lend", iteration)]
        here.append(("enter", enter))
        if lent:
            here.append(("return", returned))
        yield [
            (move, batch)
            for move, batch in here
            if 0 <= batch < len(batches) and (move not in ("enter", "return") or batches[batch].node == node)
        ]


def in_flight(nodes: int) -> list[int]:
    """Return with how many batches each node has gone forward and not yet backward, at most."""
    return [max(backward_at(0, node, nodes, False) - forward_at(0, node, False), 1) for node in range(nodes)]


def versions(nodes: int, held: Sequence[int]) -> list[int]:
    """Return of how many steps each node keeps the weights, as batches under way went forward with them.

    Args:
        held: with how many batches each node is under way.
    """
    return [1 + math.ceil(count / nodes) if node < nodes - 1 else 1 for node, count in enumerate(held)]
