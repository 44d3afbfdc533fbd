"""Gaps in series that are dealt over the ranks: the last value before, or the line between the values around.

    rank 0   x 1  2  3        rank 1   x 4  5  6
             v 7  .  .                 v .  .  2        last: 7 7 7 | 7 7 2     line: 7 6 5 | 4 3 2

Each rank tells all others its first and last known value of each column: a gap goes on over as many ranks as it likes.
"""

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.columns import to_text
from hvdedge.hashes import hash_text
from hvdedge.parallel import allgather_rows, counts, exchange_runs

SAMPLES = 1024  # keys a rank shows to find out who gets which ones


def fill(
    places: np.ndarray, values: np.ndarray, is_line: bool, comm: MPI.Intracomm, groups: np.ndarray | None = None
) -> np.ndarray:
    """Collective. Return the columns with their gaps filled.

    Args:
        places: float64 (rows here,), where the rows stand, rising over this rank's rows and from rank to rank, or
            within each group.
        groups: float64 (rows here,), whose series each row is of; the rows of each stand together. None for one.
        values: float64 (rows here, columns), NaN in a gap.
        is_line: the line between the values around a gap, and the nearest at the ends; else the last value before,
            and nothing before the first.
    """
    known = ~np.isnan(values)
    rows = np.arange(len(values))[:, None]
    before = np.maximum.accumulate(np.where(known, rows, -1), axis=0)  # the last known row up to here; -1: none
    after = np.minimum.accumulate(np.where(known, rows, len(values))[::-1], axis=0)[::-1]
    groups = np.zeros(len(values)) if groups is None else groups
    known_rows = np.stack([places, groups], axis=1)
    old_place, old = _carried(known_rows, values, before[-1:], comm, range(comm.rank))
    new_place, new = _carried(known_rows, values, after[:1], comm, range(comm.size - 1, comm.rank, -1))
    if not values.size:
        return values
    start, begin = _taken(known_rows, values, before, before >= 0, old_place, old)
    stop, end = _taken(known_rows, values, after, after < len(values), new_place, new)
    if not is_line:
        return begin
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (places[:, None] - start) / (stop - start)
    line = np.where(stop > start, begin + (end - begin) * share, begin)
    line = np.where(np.isnan(begin), end, np.where(np.isnan(end), begin, line))
    return np.where(known, values, line)


def fill_by(
    keys: np.ndarray | None,
    values: np.ndarray,
    is_line: bool,
    comm: MPI.Intracomm,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Collective. Return the columns with their gaps filled, as `fill` does, in the order of `keys`.

    Args:
        keys: float64 (rows here,), in any order; a row of which it is NaN is neither filled nor looked at. None for
            the order in which the rows are.
        values: float64 (rows here, columns), NaN in a gap.
        groups: float64 (rows here,), whose series each row is of, in any order. None for one.
    """
    if keys is None:
        start = counts(len(values), comm)[: comm.rank].sum()
        keys = start + np.arange(len(values), dtype=np.float64)
        if groups is None:
            return fill(keys, values, is_line, comm)
    order = Order(keys, comm, groups)
    moved = order.sort(values)
    has_key = ~np.isnan(order.keys)[:, None]
    found = fill(order.keys, np.where(has_key, moved, np.nan), is_line, comm, order.groups)
    return order.restore(np.where(has_key, found, np.nan))


def groups(column: pa.Array) -> np.ndarray:
    """Return a number for each cell, the same for equal ones: float64; a missing cell is a value like any other."""
    return (hash_text(to_text(column)) >> np.uint64(11)).astype(np.float64)


def _carried(
    known_rows: np.ndarray, values: np.ndarray, row: np.ndarray, comm: MPI.Intracomm, others: range
) -> tuple[np.ndarray, np.ndarray]:
    """Collective. Return place and group, and value, of each column's known cell of the last of `others` with one."""
    mine = np.full((1, 3, values.shape[1]), np.nan)
    if len(row):
        inside = (row[0] >= 0) & (row[0] < len(values))
        mine[0, :2, inside] = known_rows[row[0][inside]]
        mine[0, 2, inside] = values[row[0][inside], np.flatnonzero(inside)]
    everyone = allgather_rows(mine, comm)
    found = np.full((3, values.shape[1]), np.nan)
    for rank in others:
        found = np.where(np.isnan(everyone[rank, 2]), found, everyone[rank])
    return found[:2], found[2]


def _taken(
    known_rows: np.ndarray,
    values: np.ndarray,
    rows: np.ndarray,
    is_here: np.ndarray,
    place: np.ndarray,
    value: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return place and value of the known cell that each cell is filled from, NaN where it is of another group."""
    rows = np.where(is_here, rows, 0)
    places, groups = (np.where(is_here, known_rows[rows, part], place[part]) for part in (0, 1))
    found = np.where(is_here, np.take_along_axis(values, rows, axis=0), value)
    return places, np.where(groups == known_rows[:, 1:], found, np.nan)


class Order:
    """Rows sorted by group and key over all ranks, equal ones by their order in the table; rows without a key last.

    The ranks get about equally many rows. Each holds 32 bytes for each row that it had or gets.
    """

    def __init__(self, keys: np.ndarray, comm: MPI.Intracomm, groups: np.ndarray | None = None):
        """Collective. `keys`, `groups`: float64 (rows here,), NaN for no key; no groups for one."""
        self._comm = comm
        rows = (counts(len(keys), comm)[: comm.rank].sum() + np.arange(len(keys))).astype(np.float64)
        groups = np.zeros(len(keys)) if groups is None else groups
        told = np.stack([groups, np.where(np.isnan(keys), np.inf, keys), rows], axis=1)
        picked = allgather_rows(told[np.linspace(0, len(told) - 1, min(SAMPLES, len(told))).astype(np.int64)], comm)
        picked = picked[_in_order(picked)]
        borders = picked[[len(picked) * rank // comm.size for rank in range(1, comm.size)] if len(picked) else []]
        holder = np.zeros(len(keys), np.int64)
        for group, key, row in borders:
            is_later = (told[:, 1] > key) | ((told[:, 1] == key) & (told[:, 2] >= row))
            holder += (told[:, 0] > group) | ((told[:, 0] == group) & is_later)
        self._sent = np.argsort(holder, kind="stable")
        self._sizes = np.bincount(holder, minlength=comm.size)
        arrived, self._arrived = exchange_runs(told[self._sent], self._sizes, comm)
        self._sorted = _in_order(arrived)
        arrived = arrived[self._sorted]
        self.groups, self.keys = arrived[:, 0], np.where(np.isinf(arrived[:, 1]), np.nan, arrived[:, 1])

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


def _in_order(told: np.ndarray) -> np.ndarray:
    return np.lexsort((told[:, 2], told[:, 1], told[:, 0]))
