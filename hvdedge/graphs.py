"""A graph over the ranks: each has the edges that leave its nodes, as sparse rows, the same for any number of ranks.

edges 0-1 1-0 1-2 1-2 3-3    the rank of the lower end sees all edges of a pair: counts, keeps one
rank 0  nodes 0 1            indptr 0 1 3   indices 1 | 0 2
rank 1  nodes 2 3            indptr 0 1 1   indices 1 |
"""

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from hvdedge.edges import read_edges
from hvdedge.parallel import counts, send_rows
from hvdedge.tables import Table


@dataclass(frozen=True)
class Graph:
    """This rank's nodes, which are its rows of a table, and the nodes that each has an edge to.

    Attributes:
        starts: where each rank's nodes begin, and their number: int64 (ranks + 1,), alike on every rank.
        indptr: where the edges of each node here begin in `indices`: int64 (nodes here + 1,).
        indices: the nodes that they lead to, global numbers, rising for each node, each once, itself never: int64.
        directed: whether an edge leads one way; otherwise it stands at both of its nodes.
        told: of the file, alike on every rank: lines; unknown, those with an id that no row has; set_aside, others that
            could not be read; and of what is left: self_loops; repeated, the lines that another one repeats; reversed,
            the pairs that have edges both ways; edges, those in the graph.
    """

    starts: np.ndarray
    indptr: np.ndarray
    indices: np.ndarray
    directed: bool
    told: dict[str, int]

    @property
    def nodes(self) -> int:
        """The nodes of all ranks."""
        return int(self.starts[-1])

    @property
    def sources(self) -> np.ndarray:
        """The place among this rank's nodes of the one that each edge leaves: int64."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))


def read_graph(table: Table, comm: MPI.Intracomm, *, edges: str, id: str, directed: bool, where: str) -> Graph:
    """Collective. Return the graph of a table's rows and the edges in a file; see `edges.read_edges`.

    An edge that comes again, and where they are not directed its reverse, is the same one. Edges from a node to itself
    are counted and left out. What was left out becomes an event. A rank holds about 100 bytes for each of its edges.
    """
    pairs, told = read_edges(edges, table, id, where, comm)
    graph = of_pairs(pairs, table.num_rows, directed, comm)
    graph.told.update(told)
    left_out = {
        name: graph.told[name] for name in ("unknown", "set_aside", "self_loops", "repeated") if graph.told[name]
    }
    if not directed and graph.told["reversed"]:
        left_out["reversed"] = graph.told["reversed"]
    if left_out:
        table.workspace.events.append({"what": "edges_left_out", "file": edges, **left_out})
    return graph


def of_pairs(pairs: np.ndarray, here: int, directed: bool, comm: MPI.Intracomm) -> Graph:
    """Collective. Return the graph of some edges.

    Args:
        pairs: this rank's share of them, global numbers of nodes, int64 (edges, 2).
        here: how many nodes this rank has.
    """
    starts = np.concatenate([[0], np.cumsum(counts(here, comm))])
    arcs, told = _each_once(pairs, starts, directed, comm)
    if not directed:
        arcs = np.concatenate([arcs, arcs[:, ::-1]])
    arcs = _sorted(send_rows(arcs, np.searchsorted(starts, arcs[:, 0], side="right") - 1, comm), starts, comm, 1)
    indptr = np.searchsorted(arcs[:, 0], np.arange(starts[comm.rank], starts[comm.rank + 1] + 1))
    return Graph(starts, indptr, arcs[:, 1].copy(), directed, told)


def _each_once(
    pairs: np.ndarray, starts: np.ndarray, directed: bool, comm: MPI.Intracomm
) -> tuple[np.ndarray, dict[str, int]]:
    """Collective. Return some of the edges, each once on one of the ranks, none from a node to itself, and counts.

    An edge and its reverse meet at the rank of one of their ends: the lower one if the sum of both is even.
    """
    is_back = pairs[:, 0] > pairs[:, 1]
    ends = np.sort(pairs, axis=1)
    side = ends.sum(axis=1) % 2
    sent = np.take_along_axis(ends, np.stack([side, 1 - side], axis=1), axis=1)
    owner = np.searchsorted(starts, sent[:, 0], side="right") - 1
    sent[:, 1] = 2 * sent[:, 1] + is_back
    every = _sorted(send_rows(sent, owner, comm), starts, comm, 2)
    again = np.zeros(len(every), bool)
    again[1:] = (every[1:] == every[:-1]).all(axis=1)
    kept = every[~again]
    is_back = kept[:, 1] % 2 == 1
    kept[:, 1] //= 2
    loops = kept[:, 0] == kept[:, 1]
    both = np.zeros(len(kept), bool)  # the second of two that are each other's reverse
    both[1:] = (kept[1:] == kept[:-1]).all(axis=1)
    kept.sort(axis=1)
    kept[is_back] = kept[is_back, ::-1]
    arcs = kept[~loops if directed else ~loops & ~both]
    told = np.array([loops.sum(), again.sum(), both.sum(), len(arcs)], np.int64)
    comm.Allreduce(MPI.IN_PLACE, told, op=MPI.SUM)
    return arcs, dict(zip(("self_loops", "repeated", "reversed", "edges"), told.tolist(), strict=True))


def _sorted(pairs: np.ndarray, starts: np.ndarray, comm: MPI.Intracomm, factor: int) -> np.ndarray:
    """Return pairs by rising first, then second number; the first is a node here, the second below factor * nodes."""
    wide = factor * max(int(starts[-1]), 1)
    keys = np.sort((pairs[:, 0] - starts[comm.rank]) * wide + pairs[:, 1])
    return np.stack([keys // wide + starts[comm.rank], keys % wide], axis=1)
