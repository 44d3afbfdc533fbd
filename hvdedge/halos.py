"""Which nodes of other ranks a rank's nodes lead to, and the exchange that brings what is known of them.

    rank 0  nodes 0 1 2   entries lead to 1 4 5      needs 4 5 of rank 1      sends 2
    rank 1  nodes 3 4 5   entries lead to 2 3        needs 2 of rank 0        sends 4 5

    x of rank 0 with its halo:  0 1 2 | 4 5          columns of its entries in it:  1 3 4

A layer of a graph network sums over a node's neighbours: with the halo below its own rows, a rank does so alone. The
plan is made once and used for every layer and step.
"""

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from hvdedge.parallel import exchange_runs


@dataclass(frozen=True)
class Halo:
    """What a rank needs of others, and they of it.

    Attributes:
        nodes: the nodes of other ranks that are needed here, rising global numbers: int64.
        received: how many of them each rank sends: int64 (ranks,).
        sent: places among this rank's nodes, those for rank 0 first: int64.
        sizes: how many of them each rank gets: int64 (ranks,).
        columns: for each entry of this rank the row that it leads to, its own nodes first, then the halo: int64.
    """

    nodes: np.ndarray
    received: np.ndarray
    sent: np.ndarray
    sizes: np.ndarray
    columns: np.ndarray

    def fetch(self, x: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
        """Collective. Return the rows of this rank's nodes, (nodes here, ...), and below them those of the halo."""
        return np.concatenate([x, exchange_runs(x[self.sent], self.sizes, comm)[0]])

    def give_back(self, x: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
        """Collective. Return for this rank's nodes the sums of all rows that ranks have for them, as `fetch` gave."""
        own = len(x) - len(self.nodes)
        total = x[:own].copy()
        np.add.at(total, self.sent, exchange_runs(x[own:], self.received, comm)[0])
        return total


def needed(indices: np.ndarray, starts: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what a rank needs of others, from its own entries alone: `nodes`, `received` and `columns` of its halo.

    Args:
        indices: the nodes that its entries lead to, global numbers.
        starts: where each rank's nodes begin, and their number: int64 (ranks + 1,).
    """
    start, stop = int(starts[rank]), int(starts[rank + 1])
    is_far = (indices < start) | (indices >= stop)
    nodes = np.unique(indices[is_far])
    received = np.diff(np.searchsorted(nodes, starts))
    columns = indices - start
    columns[is_far] = stop - start + np.searchsorted(nodes, indices[is_far])
    return nodes, received, columns


def plan(indices: np.ndarray, starts: np.ndarray, comm: MPI.Intracomm) -> Halo:
    """Collective. Return the halo of each rank: see `needed`; who needs what is told to those who have it."""
    nodes, received, columns = needed(indices, starts, comm.rank)
    asked, sizes = exchange_runs(nodes, received, comm)
    return Halo(nodes, received, asked - starts[comm.rank], sizes, columns)
