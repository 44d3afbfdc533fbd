"""The k nearest of a bounded sample of rows, the same on any number of ranks.

The distance of a row to a donor is the weighted sum of their squared differences. A cell that is known has weight 1,
one that was filled so much as the regression knows of its column; else the guess of a mean would draw donors near the
mean. All is in the exact steps of `gaussian`, so that donors that are equally near are told apart by their order alone.
Of each row's SEARCHED * k nearest donors the first k that know a column make up its cell, weighted by 1 / distance^2.

Source: Troyanskaya et al. 2001, Missing value estimation methods for DNA microarrays (KNNimpute).
"""

import numpy as np
from mpi4py import MPI

from hvdedge.gaussian import STEPS
from hvdedge.parallel import allgather_rows

SEARCHED = 8
BLOCK_ROWS = 2048
MOST_DONORS = 2**15  # what the order of a donor may be: 15 bits beside 48 of the distance
TRUST_STEPS = 4  # in quarters
NEAREST = 1e-6  # squared distance per column from which on rows count as the same


class Neighbours:
    """Rows of all ranks, held on every rank, whose cells fill those of the rows near them.

    Args:
        points: (donors, columns), in steps, nothing missing.
        values: (donors, columns), NaN where nothing is known.
        trust: (columns,), what a filled cell counts beside a known one, 0 to 1.
        k: how many neighbours make up a cell.
        chunk_bytes: what may be held for distances.
    """

    def __init__(self, points: np.ndarray, values: np.ndarray, trust: np.ndarray, k: int, chunk_bytes: int):
        assert len(points) <= MOST_DONORS
        self._points = points
        self._values = np.ascontiguousarray(values.T)
        self._squares = points * points
        self._trust = np.round(trust * TRUST_STEPS) / TRUST_STEPS
        self._k = k
        self._chunk_bytes = chunk_bytes

    @property
    def size(self) -> int:
        """How many rows there are to choose from."""
        return len(self._points)

    def fill(self, points: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Return what their neighbours suggest for the cells that are `wanted`; NaN for others, and where none knows.

        Args:
            points: (rows, columns), in steps, nothing missing.
            wanted: bool, of the same shape.
        """
        found = np.full(points.shape, np.nan)
        searched = min(SEARCHED * self._k, self.size)
        for start in range(0, len(points) if searched else 0, BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            weights = np.where(wanted[block], self._trust, 1.0)
            donors, weights = self._search(points[block], weights, searched)
            for column in np.flatnonzero(wanted[block].any(axis=0)).tolist():
                rows = np.flatnonzero(wanted[block, column])
                found[start + rows, column] = self._mean(column, donors[rows], weights[rows])
        return found

    def _search(self, points: np.ndarray, weights: np.ndarray, searched: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest donors of each point, the nearest first, and their weights: (points, searched)."""
        keys = np.empty((len(points), searched), np.int64)
        size = max(1, self._chunk_bytes // (24 * self.size))
        for start in range(0, len(points), size):
            part, weight = points[start : start + size], weights[start : start + size]
            distance = weight @ self._squares.T - 2 * ((weight * part) @ self._points.T)
            distance += (weight * part * part).sum(axis=1)[:, None]
            every = (distance * (TRUST_STEPS * STEPS**2)).astype(np.int64)  # exact: products of whole steps
            every *= MOST_DONORS
            every += np.arange(self.size)
            if searched < self.size:
                every = np.partition(every, searched - 1, axis=1)[:, :searched]
            keys[start : start + size] = every
        keys.sort(axis=1)
        near = (keys // MOST_DONORS) / float(TRUST_STEPS * STEPS**2 * max(points.shape[1], 1))
        return keys % MOST_DONORS, 1 / np.maximum(near, NEAREST) ** 2

    def _mean(self, column: int, donors: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the weighted mean of the first k donors that know the column."""
        values = self._values[column, donors]  # (rows, searched)
        known = ~np.isnan(values)
        shares = np.where(known & (known.cumsum(axis=1) <= self._k), weights, 0.0)
        total = shares.sum(axis=1)
        return (shares * np.where(known, values, 0.0)).sum(axis=1) / np.where(total > 0, total, np.nan)


def gather(
    points: np.ndarray,
    values: np.ndarray,
    trust: np.ndarray,
    chosen: np.ndarray,
    k: int,
    chunk_bytes: int,
    comm: MPI.Intracomm,
) -> Neighbours:
    """Collective. Return the neighbours among those rows of all ranks that are `chosen`."""
    return Neighbours(
        allgather_rows(points[chosen], comm)[:MOST_DONORS],
        allgather_rows(values[chosen], comm)[:MOST_DONORS],
        trust,
        k,
        chunk_bytes,
    )
