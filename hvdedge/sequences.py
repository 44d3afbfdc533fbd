"""The series in a table, each in the order of its times: a rank's part of them, and the rows before it.

    rank 0   a0 a1 a2 b0        rank 1   b1 b2 b3        rank 2   -        rank 3   b4 c0 c1

Letters are series, numbers the places of rows in them. With a halo of three rows rank 3 holds b1 b2 b3, too, whichever
ranks have them: what is told of a row and those before it needs no other rank from there on.
"""

from collections.abc import Callable

import numpy as np
from mpi4py import MPI

from hvdedge.columns import CLOCKS, NUMBERS, TEXTS, of_kind, offered, shown, to_floats
from hvdedge.errors import InputError
from hvdedge.parallel import allgather_rows, counts, fetch_rows
from hvdedge.sampling import first_row
from hvdedge.series import Order, groups
from hvdedge.tables import Table

SORT_BYTES = 64  # what a row and column takes while it is read and sorted
NAMING = ("boolean", *NUMBERS, *CLOCKS, *TEXTS)  # kinds of columns that can name series


class Sequences:
    """The rows that have a time and a series, sorted by both over all ranks; equal ones stay in the table's order.

    A rank holds about 150 bytes for each of its rows while it sorts; the ranks get about equally many.

    Attributes:
        keys: float64 (rows here,), their times, or their numbers in the table.
        places: int64 (rows here,), the place of each in its series, from 0.
        lengths: int64 (series here,), of those that end on this rank.
        first: the number that the first row here has among all of them.
        left_out: why -> how many rows of all ranks are in no series.
    """

    def __init__(
        self,
        table: Table,
        comm: MPI.Intracomm,
        *,
        time: str,
        series: str,
        where: tuple[str, str],
        keep: np.ndarray | None = None,
    ):
        """Collective.

        Args:
            time: the column of numbers, dates or times that orders; the order of the table for "".
            series: the column that names the series; all rows are one for "".
            where: the options that name these two, for messages.
            keep: bool (this rank's rows of the table,), which of them there are; all for None.
        Raises:
            InputError: where a column is not there, or cannot order or name series.
        """
        for option, name, kinds in zip(where, (time, series), ((*NUMBERS, *CLOCKS), NAMING), strict=True):
            able = of_kind(table, kinds, offered(table))
            if name and name not in able:
                raise InputError(f"{option}: received {name!r}, allowed: {shown(able)}; name one of these")
        self._table, self._comm = table, comm
        keys = first_row(table.num_rows, comm) + np.arange(table.num_rows, dtype=np.float64)
        named = np.zeros(table.num_rows)
        start = 0
        for batch in table.select([*{name: 0 for name in (time, series) if name}]).batches() if time or series else ():
            here = slice(start, start + batch.num_rows)
            if time:
                keys[here] = to_floats(batch.column(time))
            if series:
                column = batch.column(series)
                named[here] = np.where(np.asarray(column.is_null(nan_is_null=True)), np.nan, groups(column))
            start += batch.num_rows
        keep = np.ones(table.num_rows, bool) if keep is None else keep
        has_time, has_series = ~np.isnan(keys), ~np.isnan(named)
        lost = np.array([(keep & ~has_time).sum(), (keep & has_time & ~has_series).sum()])
        comm.Allreduce(MPI.IN_PLACE, lost, op=MPI.SUM)
        reasons = zip(("rows without a time", "rows of no series"), lost.tolist(), strict=True)
        self.left_out = {why: count for why, count in reasons if count}
        self._kept = keep & has_time & has_series
        self._order = Order(keys[self._kept], comm, named[self._kept]) if time or series else None
        self.keys = self._order.keys if self._order else keys[self._kept]
        self._find_places(self._order.groups if self._order else named[self._kept])

    def place(
        self,
        names: list[str],
        change: Callable[[str, np.ndarray], np.ndarray],
        halo: int,
        type: str = "float32",
    ) -> np.ndarray:
        """Collective. Return columns of the rows in order, after those of up to `halo` rows before the first here.

        Args:
            change: column, float64 (rows,) with NaN where nothing is -> what is kept of them.
            type: numpy's name of what `change` returns.
        Returns:
            (rows before and here, columns); in memory, or mapped from a file of the scratch folder where they would
            take more than a table may.
        """
        sizes = counts(len(self.places), self._comm)
        before = min(halo, self.first)
        held = self._room((before + int(sizes[self._comm.rank]), len(names)), type)
        at_once = np.array(self._table.workspace.table_bytes // (SORT_BYTES * (self._table.num_rows + 1)), np.int64)
        self._comm.Allreduce(MPI.IN_PLACE, at_once, op=MPI.MIN)
        size = max(int(at_once), 1)
        for start in range(0, len(names), size):
            chosen = names[start : start + size]
            held[before:, start : start + len(chosen)] = self.sort(self._read(chosen, change, type))
        held[:before] = fetch_rows(held[before:], np.arange(self.first - before, self.first), self._comm)
        return held

    def sort(self, values: np.ndarray) -> np.ndarray:
        """Collective. Return what is known of this rank's rows of the table, (rows, ...), of the rows in order here."""
        values = values[self._kept]
        return self._order.sort(values) if self._order else values

    def before(self, values: np.ndarray, halo: int) -> np.ndarray:
        """Collective. Return what is known of the rows in order, (rows here, ...), with up to `halo` rows before."""
        wanted = np.arange(max(self.first - halo, 0), self.first)
        return np.concatenate([fetch_rows(values, wanted, self._comm), values])

    def _read(self, names: list[str], change: Callable[[str, np.ndarray], np.ndarray], type: str) -> np.ndarray:
        values, start = np.empty((self._table.num_rows, len(names)), type), 0
        for batch in self._table.select(names).batches():
            for number, name in enumerate(names):
                values[start : start + batch.num_rows, number] = change(name, to_floats(batch.column(name)))
            start += batch.num_rows
        return values

    def _room(self, shape: tuple[int, int], type: str) -> np.ndarray:
        workspace = self._table.workspace
        if shape[0] * shape[1] * np.dtype(type).itemsize <= workspace.table_bytes:
            return np.empty(shape, type)
        number = len(list(workspace.scratch.glob("sequences-*.npy")))
        return np.lib.format.open_memmap(workspace.scratch / f"sequences-{number}.npy", "w+", type, shape)

    def _find_places(self, named: np.ndarray) -> None:
        """Collective. Find where the series begin and end, those that go over several ranks, too."""
        rows = len(named)
        self.first = first_row(rows, self._comm)
        begins = np.flatnonzero(np.r_[True, named[1:] != named[:-1]]) if rows else np.empty(0, np.int64)
        mine = [named[0], named[-1], self.first, self.first + begins[-1]] if rows else [np.nan] * 4
        everyone = allgather_rows(np.array([mine], np.float64), self._comm)
        head = self.first
        for _, last, start, begin in everyone[: self._comm.rank][::-1]:
            if np.isnan(last):  # a rank without rows
                continue
            if not rows or last != named[0]:
                break
            head = int(begin)
            if begin > start:
                break
        begins_at = np.r_[head, self.first + begins[1:]].astype(np.int64)
        lengths = np.diff(np.r_[begins, rows]) if rows else np.empty(0, np.int64)
        self.places = self.first + np.arange(rows) - np.repeat(begins_at[: len(lengths)], lengths)
        later = everyone[self._comm.rank + 1 :, 0]
        following = later[~np.isnan(later)][:1]
        goes_on = rows > 0 and len(following) > 0 and following[0] == named[-1]
        ends = np.cumsum(lengths)[: len(lengths) - goes_on] - 1
        self.lengths = self.places[ends] + 1
