"""Empty the cells whose number cannot be: far outside of what the column else holds.

    lowest = q(tail) - slack * width,  highest = q(1 - tail) + slack * width,  width = q(1 - tail) - q(tail)

with exact quantiles q over all rows. Being far out is not enough, since a skewed column (incomes, counts, waiting
times) has true values there too. Its tail thins out step by step, while errors stand apart. So a side of a column is
only judged where

- the quantile rests on at least `TAIL_VALUES` numbers beyond it (20 / tail = 2000 numbers by default),
- width is above 0 (a column that is nearly all zeros has no width to measure by), and
- between the last number within the limit and the first one beyond it lies a gap of at least `width`:

        0 |#######--:--  -         |  limit   gap   X  X        X: emptied
          low     high

  In the tail of a log-normal, exponential or Pareto column numbers lie near each limit, so none are emptied. Errors
  that are spread evenly from the true values outwards leave no gap and are not found.

Columns whose names differ only by a number (p00..p63) are the cells of one array and judged as one distribution,
because one cell may be constant. A column of which more than 5 * `tail` would go is not of that distribution and is
judged by itself.

Source: Tukey 1977, Exploratory data analysis (fences outside of quantiles).
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.columns import NUMBERS, arrays, matching, of_kind, shown, to_floats, to_text
from hvdedge.errors import InputError
from hvdedge.options import Fraction, Path, Positive
from hvdedge.parallel import agree
from hvdedge.quantiles import select
from hvdedge.tables import Table
from hvdedge.truth import Cells, rates

TAIL_VALUES = 20
STRANGE_TAILS = 5  # a column with so many tails of its cells outside does not belong to its array


def clean(
    table: Table,
    comm: MPI.Intracomm,
    *,
    columns: tuple[str, ...] = (),
    pool: bool = True,
    slack: Positive = 0.5,
    tail: Fraction = 0.01,
    truth: Path = "",
) -> Table:
    """Collective. Empty the numbers far outside of what their column else holds, for a later method to fill.

    Args:
        table: this rank's rows.
        columns: names or patterns (p*) of the number columns to judge; all for none.
        pool: whether columns whose names differ only by a number are judged as one distribution.
        slack: how far beyond its quantiles a column may reach, in widths between them.
        tail: the share of the numbers that may lie beyond each quantile; below 0.5.
        truth: a file that tells the true values of wrong cells (id, column, kind, value), those of kind out_of_range
            are looked at, of the records that the table still has; it judges the result and changes nothing.
    Returns:
        The same rows, some cells empty. Each is in the change log (rule out_of_range).
    Raises:
        InputError: where a pattern matches no column or one without numbers, or the truth cannot be used.
    """
    names = _judged(table, columns)
    if tail >= 0.5:
        raise InputError(f"clean.errors.tail: received {tail}, allowed: 0 to below 0.5; lower it")
    cells: Cells | None = None
    with agree(comm):
        cells = Cells(truth, ("out_of_range",), table.columns) if truth else None
    limits = _limits(table, names, arrays(names) if pool else [], slack, tail, comm)
    changed = dict.fromkeys(limits, 0)
    tally = np.zeros(3, np.int64)  # right, found, true

    def empty(batch: pa.RecordBatch) -> pa.RecordBatch:
        ids = to_text(batch.column(cells.id)) if cells else None
        for name in names:
            lowest, highest = limits.get(name, (-np.inf, np.inf))
            column = batch.column(name)
            values = to_floats(column)
            wrong = (values < lowest) | (values > highest)
            if cells:
                known = cells.find(ids, name)[0]
                tally[:] += (wrong & known).sum(), wrong.sum(), known.sum()
            if not wrong.any():
                continue
            rows = pa.array(np.flatnonzero(wrong))
            table.workspace.log_changes(
                _file=batch.column("_file").take(rows),
                _line=batch.column("_line").take(rows),
                column=[name] * len(rows),
                before=to_text(column.take(rows)),
                after=pa.nulls(len(rows), pa.string()),
                rule=["out_of_range"] * len(rows),
            )
            changed[name] += len(rows)
            emptied = pc.if_else(pa.array(wrong), pa.scalar(None, column.type), column)
            batch = batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), emptied)
        return batch

    result = table.map(empty)
    totals = np.array([*changed.values(), *tally], np.int64)
    comm.Allreduce(MPI.IN_PLACE, totals, op=MPI.SUM)
    by_column = {name: int(count) for name, count in zip(changed, totals, strict=False) if count}
    table.workspace.metrics["errors"] = {"changed": sum(by_column.values()), "columns": by_column}
    if cells:
        table.workspace.metrics["errors"] |= rates(*totals[-3:].tolist())
    return result


def _judged(table: Table, patterns: tuple[str, ...]) -> list[str]:
    chosen = matching(table, patterns, "clean.errors.columns")
    names = of_kind(table, NUMBERS, chosen)
    if patterns and len(names) < len(chosen):
        raise InputError(
            f"clean.errors.columns: received {shown([name for name in chosen if name not in names])}, "
            f"allowed: columns of numbers: {shown(of_kind(table, NUMBERS))}; leave it out"
        )
    return names


def _limits(
    table: Table, names: list[str], pools: list[list[str]], slack: float, tail: float, comm: MPI.Intracomm
) -> dict[str, tuple[float, float]]:
    """Collective. Return column -> lowest and highest number that may be, for the columns that have such limits."""
    groups = pools + [[name] for name in names]
    quantiles = select(table, groups, (tail, 1 - tail), comm)
    widths = quantiles[:, 1] - quantiles[:, 0]
    fences = quantiles + slack * np.stack([-widths, widths], axis=1)
    counts, nearest = _look(table, groups, fences, comm)
    limits: dict[str, tuple[float, float]] = {}
    for number, group in enumerate(groups):
        if number < len(pools):
            belongs = {name for name in group if _belongs(counts[number, name], tail)}
            group = [name for name in group if name in belongs]
        if not group or not widths[number] > 0 or tail * sum(counts[number, name][0] for name in group) < TAIL_VALUES:
            continue
        below, first, last, above = np.min([nearest[number, name] for name in group], axis=0) * (-1, 1, -1, 1)
        found = (
            fences[number, 0] if first - below >= widths[number] else -np.inf,
            fences[number, 1] if above - last >= widths[number] else np.inf,
        )
        for name in group:
            limits.setdefault(name, found)  # what its array says goes before what the column says alone
    return limits


def _belongs(counts: np.ndarray, tail: float) -> bool:
    count, outside = counts.tolist()
    return outside <= STRANGE_TAILS * tail * count


def _look(
    table: Table, groups: list[list[str]], fences: np.ndarray, comm: MPI.Intracomm
) -> tuple[dict[tuple[int, str], np.ndarray], dict[tuple[int, str], np.ndarray]]:
    """Collective. Return what is known of each (group, column), held against the group's fences.

    Returns:
        how many numbers there are, and how many beyond the fences;
        the largest below the lower fence, negative; the smallest within; the largest within, negative; the smallest
        above the upper fence; infinite where there is none.
    """
    pairs = [(number, name) for number, group in enumerate(groups) for name in group]
    counts = np.zeros((len(pairs), 2), np.int64)
    nearest = np.full((len(pairs), 4), np.inf)
    for batch in table.batches():
        cells = {name: to_floats(batch.column(name)) for name in {name for _, name in pairs}}
        for row, (number, name) in enumerate(pairs):
            values = cells[name]
            below, above = values < fences[number, 0], values > fences[number, 1]
            within = values[~(below | above)]
            counts[row] += (~np.isnan(values)).sum(), below.sum() + above.sum()
            ends = (-values[below], within, -within, values[above])
            nearest[row] = np.fmin(nearest[row], [np.fmin.reduce(end, initial=np.inf) for end in ends])
    comm.Allreduce(MPI.IN_PLACE, counts, op=MPI.SUM)
    comm.Allreduce(MPI.IN_PLACE, nearest, op=MPI.MIN)
    return dict(zip(pairs, counts, strict=True)), dict(zip(pairs, nearest, strict=True))
