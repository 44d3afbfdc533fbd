"""Rows that random splits part from all others quickly, and the column that sets them apart.

A tree splits a sample of rows at a random place of a random column, again and again, until each row stands alone or
the tree is log2(sample) high. A row that few splits isolate has a short mean path E(h) over the trees:

    score = 2 ** (-E(h) / c(sample)),   c(n) = 2 * H(n - 1) - 2 * (n - 1) / n

near 1 for outliers, 0.5 and below for the rest. The column that sets a row apart is the one whose splits left it in
the smaller part: the largest sum of log2(rows before / rows after) along its paths. A row that
lies beyond the rows of a node by more than all their width, in the column that is split there, is alone at once;
otherwise it would pass for the outermost of them, and a row far out, which few samples hold, for an ordinary one.

The samples, some ten thousand rows, are drawn by the seed from all rows and known to every rank; each rank grows all
trees from them and scores its own rows.

Source: Liu, Ting and Zhou 2008, Isolation forest; the last rule: Liu, Ting and Zhou 2010, On detecting clustered
anomalies using SCiForest (acceptable range).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.columns import to_floats
from hvdedge.parallel import allgather_rows, counts
from hvdedge.tables import Table

SAMPLE = 256
EULER = 0.5772156649015329


@dataclass(frozen=True)
class _Tree:
    """Nodes: the column split (-1: a leaf), where, its lowest and highest value, the two children (the left one holds
    what is smaller), the rows."""

    column: np.ndarray
    place: np.ndarray
    low: np.ndarray
    high: np.ndarray
    left: np.ndarray
    right: np.ndarray
    rows: np.ndarray


class Forest:
    """Trees grown from the rows of a table.

    Args:
        names: columns of numbers; a missing cell counts as the median of the sample.
    """

    def __init__(self, table: Table, names: Sequence[str], trees: int, seed: int, comm: MPI.Intracomm):
        """Collective."""
        self.names = list(names)
        total = int(counts(table.num_rows, comm).sum())
        size = min(SAMPLE, total)
        drawn = [np.random.default_rng([seed, tree]).choice(total, size, replace=False) for tree in range(trees)]
        wanted = np.unique(np.concatenate([np.empty(0, np.int64), *drawn]))
        rows = self._fetch(table, wanted, comm)
        with np.errstate(all="ignore"):
            known = [column[~np.isnan(column)] for column in rows.T]
            self._middle = np.array([np.median(column) if len(column) else 0.0 for column in known])
        rows = np.where(np.isnan(rows), self._middle, rows)
        self._trees = [
            _grow(rows[np.searchsorted(wanted, chosen)], np.random.default_rng([seed, number, 1]))
            for number, chosen in enumerate(drawn if total else ())
        ]
        self._usual = _path(np.array([size]))[0]

    def outlying(self, batch: pa.RecordBatch, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of a batch whose score is above `threshold`, and for each the number of its column."""
        cells = self._cells(batch)
        length = np.zeros(len(cells))
        for tree in self._trees:
            length += self._descend(tree, cells)[0]
        mean = length / max(len(self._trees), 1)
        score = 2 ** (-mean / self._usual) if self._usual > 0 else np.zeros(len(cells))
        rows = np.flatnonzero(score > threshold)
        credit = np.zeros((len(rows), len(self.names)))
        for tree in self._trees if len(rows) else ():
            credit += self._descend(tree, cells[rows])[1]
        return rows, credit.argmax(axis=1) if len(rows) else rows

    def _cells(self, batch: pa.RecordBatch) -> np.ndarray:
        cells = np.stack([to_floats(batch.column(name)) for name in self.names], axis=1)
        return np.where(np.isnan(cells), self._middle, cells)

    def _fetch(self, table: Table, wanted: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
        """Collective. Return the rows with these global numbers, rising, as float64 (rows, columns)."""
        start = int(counts(table.num_rows, comm)[: comm.rank].sum())
        found = [np.empty((0, len(self.names)))]
        for batch in table.batches():
            mine = wanted[(wanted >= start) & (wanted < start + batch.num_rows)] - start
            if len(mine):
                taken = batch.select(self.names).take(pa.array(mine))
                found.append(np.stack([to_floats(column) for column in taken.columns], axis=1))
            start += batch.num_rows
        return allgather_rows(np.concatenate(found), comm)

    def _descend(self, tree: _Tree, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each row's path length, and by column how much the splits on its path set it apart."""
        node = np.zeros(len(cells), np.int64)
        depth = np.zeros(len(cells))
        credit = np.zeros((len(cells), len(self.names)))
        alone = np.zeros(len(cells), bool)
        every = np.arange(len(cells))
        while True:
            column = tree.column[node]
            inside = (column >= 0) & ~alone
            if not inside.any():
                return depth + np.where(alone, 0, _path(tree.rows[node])), credit
            value = cells[every, column]
            low, high = tree.low[node], tree.high[node]
            beyond = inside & ((value < 2 * low - high) | (value > 2 * high - low))
            child = np.where(value < tree.place[node], tree.left[node], tree.right[node])
            apart = np.log2(tree.rows[node] / np.where(beyond, 1, np.maximum(tree.rows[child], 1)))
            credit[every[inside], column[inside]] += apart[inside]
            node, depth, alone = np.where(inside, child, node), depth + inside, alone | beyond


def _grow(rows: np.ndarray, random: np.random.Generator) -> _Tree:
    highest = int(np.ceil(np.log2(max(len(rows), 2))))
    nodes: list[list[float]] = []
    waiting = [(rows, 0, -1, 0)]  # rows, depth, parent, which child of it
    while waiting:
        held, depth, parent, side = waiting.pop()
        if parent >= 0:
            nodes[parent][side] = len(nodes)
        low, high = held.min(axis=0), held.max(axis=0)
        varied = np.flatnonzero(high > low)
        nodes.append([-1, 0.0, 0.0, 0.0, 0, 0, len(held)])
        if depth == highest or not len(varied):
            continue
        column = int(random.choice(varied))
        place = random.uniform(low[column], high[column])
        place = place if place > low[column] else high[column]  # what is drawn may be the lowest itself
        nodes[-1][:4] = [column, place, low[column], high[column]]
        is_left = held[:, column] < place
        number = len(nodes) - 1
        waiting += [(held[~is_left], depth + 1, number, 5), (held[is_left], depth + 1, number, 4)]
    column, place, low, high, left, right, size = np.array(nodes).T
    return _Tree(column.astype(int), place, low, high, left.astype(int), right.astype(int), size.astype(int))


def _path(rows: np.ndarray) -> np.ndarray:
    """Return the mean path length that is still to come in a leaf of so many rows."""
    n = np.maximum(rows, 2)
    return np.where(rows > 2, 2 * (np.log(n - 1) + EULER) - 2 * (n - 1) / n, np.where(rows == 2, 1.0, 0.0))
