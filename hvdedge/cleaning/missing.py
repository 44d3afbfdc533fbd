"""Fill the empty cells of a column with its most central or most frequent value.

Median: the lower of the two middle values, exact, by `quantiles.select`. Mean: the exact sum of all numbers, rounded
once. Mode: the most frequent value, the smallest of equally frequent ones. All three are the same bit for bit on any
number of ranks. A cell of a column of whole numbers gets a whole number.

Source: Little and Rubin 2002, Statistical analysis with missing data (section 4.2, unconditional imputation).
"""

from fractions import Fraction
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.columns import (
    CLOCKS,
    NUMBERS,
    TEXTS,
    from_floats,
    kind,
    matching,
    of_kind,
    plain,
    shown,
    to_floats,
    to_text,
    value_counts,
)
from hvdedge.errors import InputError
from hvdedge.options import Path, Share
from hvdedge.parallel import agree
from hvdedge.quantiles import select
from hvdedge.tables import Table
from hvdedge.truth import Cells, rates

KEPT = ("label",)
MOST_VALUES = 100_000  # a column of more different values has no value that stands for it
ID_SHARE = 0.5  # nor has a text column of which more than this share of the cells are different
EMPTY_KINDS = ("missing", "out_of_range", "ragged")  # kinds of cells that are or ought to be empty before filling
KINDS_BY_METHOD = {
    "auto": ("boolean", *NUMBERS, *TEXTS),
    "median": (*NUMBERS, *CLOCKS),
    "mean": (*NUMBERS, *CLOCKS),
    "mode": ("boolean", *NUMBERS, *CLOCKS, *TEXTS),
    "drop": ("boolean", *NUMBERS, *CLOCKS, *TEXTS, "array"),
}


def clean(
    table: Table,
    comm: MPI.Intracomm,
    *,
    method: Literal["auto", "median", "mean", "mode", "drop"] = "auto",
    columns: tuple[str, ...] = (),
    keep: tuple[str, ...] = ("label",),
    truth: Path = "",
    tolerance: Share = 0.1,
) -> Table:
    """Collective. Fill empty cells by the median, mean or mode of their column, or drop the rows that have any.

    Args:
        table: this rank's rows.
        method: auto takes the median for numbers and the mode for the rest. It leaves dates and times empty, and text
            columns of which more than half of the cells are different (ids, names): no value stands for them.
        columns: names or patterns (p*) of the columns to fill; all that the method can fill for none.
        keep: columns that stay as they are, by default a column called label: an invented label is a wrong example.
        truth: a file that tells the true values of wrong cells (id, column, kind, value); it judges the result and
            changes nothing. Right is a number within `tolerance` of its column's range, other cells when equal.
            To be filled were the cells of the kinds missing, out_of_range and ragged that are not right already, and
            any other one that is empty, of the records that the table still has and columns that are not kept.
        tolerance: see `truth`.
    Returns:
        The same rows with fewer empty cells, or fewer rows. Each filled cell (rule filled) and dropped row (rule
        dropped) is in the change log.
    Raises:
        InputError: where a pattern matches no column or one that the method cannot fill, or the truth cannot be used.
    """
    kept = _kept(table, keep)
    names = [name for name in _fillable(table, method, columns) if name not in kept]
    cells: Cells | None = None
    with agree(comm):
        cells = Cells(truth, (*EMPTY_KINDS, "text_number"), table.columns) if truth else None
    if method == "drop":
        return _drop(table, names, comm)
    fillers = _fillers(table, _incomplete(table, names, comm), method, comm)
    judge = _Judge(table, cells, kept, tolerance, comm) if cells else None
    filled = dict.fromkeys(fillers, 0)

    def fill(batch: pa.RecordBatch) -> pa.RecordBatch:
        before = batch
        for name, filler in fillers.items():
            column = plain(batch.column(name))
            rows = pa.array(np.flatnonzero(_is_empty(column)))
            if not len(rows):
                continue
            field = batch.schema.field(name)
            whole = pc.if_else(pa.array(_is_empty(column)), filler, column)
            batch = batch.set_column(batch.schema.get_field_index(name), field, whole.cast(field.type))
            filled[name] += len(rows)
            table.workspace.log_changes(
                _file=batch.column("_file").take(rows),
                _line=batch.column("_line").take(rows),
                column=[name] * len(rows),
                before=pa.nulls(len(rows), pa.string()),
                after=[filler.cast(pa.string()).as_py()] * len(rows),
                rule=["filled"] * len(rows),
            )
        if judge:
            judge.look(before, batch)
        return batch

    result = table.map(fill)
    totals = np.array([*filled.values()], np.int64)
    comm.Allreduce(MPI.IN_PLACE, totals, op=MPI.SUM)
    table.workspace.metrics["missing"] = {"filled": dict(zip(filled, totals.tolist(), strict=True))}
    if judge:
        table.workspace.metrics["missing"] |= judge.rates(comm)
    return result


def _kept(table: Table, keep: tuple[str, ...]) -> set[str]:
    if keep == KEPT:  # the default names a column that need not be there
        return {*keep}
    return {*matching(table, keep, "clean.missing.keep")} if keep else set()


def _fillable(table: Table, method: str, patterns: tuple[str, ...]) -> list[str]:
    chosen = matching(table, patterns, "clean.missing.columns")
    names = of_kind(table, KINDS_BY_METHOD[method], chosen)
    if patterns and len(names) < len(chosen):
        raise InputError(
            f"clean.missing.columns: received {shown([name for name in chosen if name not in names])}, allowed for "
            f"method = {method!r}: {shown(of_kind(table, KINDS_BY_METHOD[method]))}; leave it out"
        )
    return names


def _is_empty(column: pa.Array) -> np.ndarray:
    return np.asarray(column.is_null(nan_is_null=pa.types.is_floating(column.type)))


def _drop(table: Table, names: list[str], comm: MPI.Intracomm) -> Table:
    """Collective. Return the rows without an empty cell in `names`."""
    keep = []
    for batch in table.batches():
        empty = np.zeros(batch.num_rows, bool)
        for name in names:
            empty |= _is_empty(batch.column(name))
        keep.append(~empty)
        rows = pa.array(np.flatnonzero(empty))
        nothing = pa.nulls(len(rows), pa.string())
        table.workspace.log_changes(
            _file=batch.column("_file").take(rows),
            _line=batch.column("_line").take(rows),
            column=nothing,
            before=nothing,
            after=nothing,
            rule=["dropped"] * len(rows),
        )
    result = table.filter(np.concatenate([np.empty(0, bool), *keep]))
    dropped = np.array(table.num_rows - result.num_rows)
    comm.Allreduce(MPI.IN_PLACE, dropped, op=MPI.SUM)
    table.workspace.metrics["missing"] = {"filled": {}, "rows_dropped": int(dropped)}
    return result


def _incomplete(table: Table, names: list[str], comm: MPI.Intracomm) -> list[str]:
    """Collective. Return those of `names` that have an empty cell anywhere."""
    empty = np.zeros(len(names), np.int64)
    for batch in table.batches():
        empty += [_is_empty(batch.column(name)).sum() for name in names]
    comm.Allreduce(MPI.IN_PLACE, empty, op=MPI.SUM)
    return [name for name, count in zip(names, empty, strict=True) if count]


def _fillers(table: Table, names: list[str], method: str, comm: MPI.Intracomm) -> dict[str, pa.Scalar]:
    """Collective. Return column -> what fills it, in the order of `names`; columns with nothing to fill by are left."""
    ordered = of_kind(table, (*NUMBERS, *CLOCKS), names)
    found: dict[str, pa.Scalar] = {}
    if method == "mean":
        central = _means(table, ordered, comm)
    elif method == "mode":
        central, ordered = np.empty(0), []
    else:
        central = select(table, [[name] for name in ordered], (0.5,), comm)[:, 0]
    for name, value in zip(ordered, central, strict=True):
        found[name] = from_floats(np.array([value]), table.schema.field(name).type)[0]
    for name, counted in value_counts(table, [n for n in names if n not in ordered], MOST_VALUES, comm).items():
        if counted is not None and len(counted) and (method == "mode" or not _is_id(table, name, counted)):
            found[name] = counted["value"][0]
    return {name: found[name] for name in names if name in found and found[name].is_valid}


def _is_id(table: Table, name: str, counted: pa.Table) -> bool:
    return kind(table.schema.field(name).type) == "text" and len(counted) > ID_SHARE * pc.sum(counted["count"]).as_py()


def _means(table: Table, names: list[str], comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return the mean of all numbers of each column, as if summed without rounding; NaN for no numbers.

    Each number is a whole number below 2**53 times a power of two; the whole numbers are summed by power, in halves
    so that no sum of up to 2**35 rows overflows.

    Source: Neal 2015, Fast exact summation using small and large superaccumulators.
    """
    sums = np.zeros((len(names), 2, 2200), np.int64)
    sizes = np.zeros(len(names), np.int64)
    for batch in table.batches():
        for row, name in enumerate(names):
            values = to_floats(batch.column(name))
            values = values[~np.isnan(values)]
            sizes[row] += len(values)
            part, power = np.frexp(values)
            digits = np.ldexp(part, 53).astype(np.int64)
            for half, weights in enumerate((digits & (2**27 - 1), digits >> 27)):  # exact: sums below 2**53 in a batch
                sums[row, half] += np.bincount(power + 1074, weights, minlength=2200).astype(np.int64)
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    comm.Allreduce(MPI.IN_PLACE, sizes, op=MPI.SUM)
    return np.array([_mean(low, high, int(size)) for (low, high), size in zip(sums, sizes, strict=True)])


def _mean(low: np.ndarray, high: np.ndarray, size: int) -> float:
    used = np.flatnonzero(low | high).tolist()
    total = sum(((int(high[i]) << 27) + int(low[i])) * Fraction(2) ** (i - 1074 - 53) for i in used)
    return float(total / size) if size else np.nan


class _Judge:
    """Compares filled cells with the truth, batch by batch."""

    def __init__(self, table: Table, cells: Cells, kept: set[str], tolerance: float, comm: MPI.Intracomm):
        """Collective."""
        self.cells = cells
        self.names = [name for name in table.columns if name not in kept]
        numbers = of_kind(table, NUMBERS, self.names)
        ends = select(table, [[name] for name in numbers], (0, 1), comm)
        self.allowed = dict(zip(numbers, tolerance * (ends[:, 1] - ends[:, 0]), strict=True))
        self._tally = np.zeros(3, np.int64)  # right, filled, to be filled

    def look(self, before: pa.RecordBatch, after: pa.RecordBatch) -> None:
        """Count what is right in `after`; both hold the same rows."""
        ids = to_text(before.column(self.cells.id))
        for name in self.names:
            empty = _is_empty(before.column(name))
            filled = empty & ~_is_empty(after.column(name))
            known, kinds, true = self.cells.find(ids, name)
            if not (known | filled).any():
                continue
            right = self._right(name, after.column(name), true) & known
            wanted = np.asarray(pc.fill_null(pc.is_in(kinds, value_set=pa.array(EMPTY_KINDS)), False))
            was_right = right & ~empty  # by merging with a duplicate, say
            self._tally += (filled & right).sum(), filled.sum(), (known & (empty | wanted) & ~was_right).sum()

    def rates(self, comm: MPI.Intracomm) -> dict[str, float]:
        """Collective. Return precision, recall and f1 of all ranks together."""
        comm.Allreduce(MPI.IN_PLACE, self._tally, op=MPI.SUM)
        return rates(*self._tally.tolist())

    def _right(self, name: str, column: pa.Array, true: pa.Array) -> np.ndarray:
        if name not in self.allowed:
            return np.asarray(pc.fill_null(pc.equal(to_text(column), true), False))
        readable = pc.match_substring_regex(true, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
        wanted = pc.if_else(readable, true, None).cast(pa.float64()).to_numpy(zero_copy_only=False)
        return np.abs(to_floats(column) - wanted) <= self.allowed[name]
