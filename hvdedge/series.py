"""Gaps in series that are dealt over the ranks: the last value before, or the line between the values around.

    rank 0   x 1  2  3        rank 1   x 4  5  6
             v 7  .  .                 v .  .  2        last: 7 7 7 | 7 7 2     line: 7 6 5 | 4 3 2

Each rank tells all others its first and last known value of each column: a gap goes on over as many ranks as it likes.
"""

import numpy as np
from mpi4py import MPI

from hvdedge.parallel import allgather_rows, counts, exchange_runs

SAMPLES = 1024  # keys a rank shows to find out who gets which ones


def fill(places: np.ndarray, values: np.ndarray, is_line: bool, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return the columns with their gaps filled.

    Args:
        places: float64 (rows here,), where the rows stand, rising over this rank's rows and from rank to rank.
        values: float64 (rows here, columns), NaN in a gap.
        is_line: the line between the values around a gap, and the nearest at the ends; else the last value before,
            and nothing before the first.
    """
    known = ~np.isnan(values)
    rows = np.arange(len(values))[:, None]
    before = np.maximum.accumulate(np.where(known, rows, -1), axis=0)  # the last known row up to here; -1: none
    after = np.minimum.accumulate(np.where(known, rows, len(values))[::-1], axis=0)[::-1]
    old_place, old = _carried(places, values, before[-1:], comm, range(comm.rank))
    new_place, new = _carried(places, values, after[:1], comm, range(comm.size - 1, comm.rank, -1))
    if not values.size:
        return values
    start, begin = _taken(places, values, before, before >= 0, old_place, old)
    stop, end = _taken(places, values, after, after < len(values), new_place, new)
    if not is_line:
        return begin
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (places[:, None] - start) / (stop - start)
    line = np.where(stop > start, begin + (end - begin) * share, begin)
    line = np.where(np.isnan(begin), end, np.where(np.isnan(end), begin, line))
    return np.where(known, values, line)


def fill_by(keys: np.ndarray | None, values: np.ndarray, is_line: bool, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return the columns with their gaps filled, as `fill` does, in the order of `keys`.

    Args:
        keys: float64 (rows here,), in any order; a row of which it is NaN is neither filled nor looked at. None for
            the order in which the rows are.
        values: float64 (rows here, columns), NaN in a gap.
    """
    if keys is None:
        start = counts(len(values), comm)[: comm.rank].sum()
        return fill(start + np.arange(len(values), dtype=np.float64), values, is_line, comm)
    order = Order(keys, comm)
    moved = order.sort(values)
    has_key = ~np.isnan(order.keys)[:, None]
    return order.restore(np.where(has_key, fill(order.keys, np.where(has_key, moved, np.nan), is_line, comm), np.nan))


def _carried(
    places: np.ndarray, values: np.ndarray, row: np.ndarray, comm: MPI.Intracomm, others: range
) -> tuple[np.ndarray, np.ndarray]:
    """Collective. Return place and value of each column's known cell of the last of `others` that has one, or NaN."""
    mine = np.full((1, 2, values.shape[1]), np.nan)
    if len(row):
        inside = (row[0] >= 0) & (row[0] < len(values))
        mine[0, 0, inside] = places[row[0][inside]]
        mine[0, 1, inside] = values[row[0][inside], np.flatnonzero(inside)]
    everyone = allgather_rows(mine, comm)
    found = np.full((2, values.shape[1]), np.nan)
    for rank in others:
        found = np.where(np.isnan(everyone[rank, 1]), found, everyone[rank])
    return found[0], found[1]


def _taken(
    places: np.ndarray, values: np.ndarray, rows: np.ndarray, is_here: np.ndarray, place: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    rows = np.where(is_here, rows, 0)
    return np.where(is_here, places[rows], place), np.where(is_here, np.take_along_axis(values, rows, axis=0), value)


class Order:
    """Rows sorted by a key over all ranks, equal ones by their order in the table; rows without a key come last.

    The ranks get about equally many rows. Each holds 24 bytes for each row that it had or gets.
    """

    def __init__(self, keys: np.ndarray, comm: MPI.Intracomm):
        """Collective. `keys`: float64 (rows here,), NaN for none."""
        self._comm = comm
        rows = counts(len(keys), comm)[: comm.rank].sum() + np.arange(len(keys))
        pairs = np.stack([np.where(np.isnan(keys), np.inf, keys), rows.astype(np.float64)], axis=1)
        picked = allgather_rows(pairs[np.linspace(0, len(pairs) - 1, min(SAMPLES, len(pairs))).astype(np.int64)], comm)
        picked = picked[np.lexsort((picked[:, 1], picked[:, 0]))]
        borders = picked[[len(picked) * rank // comm.size for rank in range(1, comm.size)] if len(picked) else []]
        holder = np.zeros(len(keys), np.int64)
        for key, row in borders:
            holder += (pairs[:, 0] > key) | ((pairs[:, 0] == key) & (pairs[:, 1] >= row))
        self._sent = np.argsort(holder, kind="stable")
        self._sizes = np.bincount(holder, minlength=comm.size)
        arrived, self._arrived = exchange_runs(pairs[self._sent], self._sizes, comm)
        self._sorted = np.lexsort((arrived[:, 1], arrived[:, 0]))
        self.keys = np.where(np.isinf(arrived[:, 0]), np.nan, arrived[:, 0])[self._sorted]

    def sort(self, values: np.ndarray) -> np.ndarray:
        """Collective. Return this rank's part of the sorted rows; `values` are float64 (rows here, columns)."""
        return exchange_runs(values[self._sent], self._sizes, self._comm)[0][self._sorted]

    def restore(self, values: np.ndarray) -> np.ndarray:
        """Collective. Return sorted rows to the ranks and the order that they came from."""
        arrived = np.empty_like(values)
        arrived[self._sorted] = values
        returned, _ = exchange_runs(arrived, self._arrived, self._comm)
        found = np.empty_like(returned)
        found[self._sent] = returned
        return found
