"""The lowest and highest number that a column may hold, from what it else holds.

By its gap:  lowest = q(tail) - slack * width,  highest = q(1 - tail) + slack * width,  width = q(1 - tail) - q(tail)

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
because one cell may be constant. A column that is more than 10 times as wide as most of them, or of which more than
5 * `tail` would go, is not of that distribution and is judged by itself.

That needs many numbers. In any table from 30 numbers on, and in the tails of these, those that stand apart by their
spacings are outside, too: see `hvdedge.spacings`.

By its robust z:  |x - median| <= z * 1.4826 * MAD,  MAD = the median of |x - median|

which finds errors without a gap, and in a skewed column also what is right.

Source: Tukey 1977, Exploratory data analysis (fences outside of quantiles); Iglewicz and Hoaglin 1993, How to detect
and handle outliers (robust z).
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.columns import to_floats
from hvdedge.quantiles import select
from hvdedge.spacings import apart
from hvdedge.tables import Table

TAIL_VALUES = 20
MOST_EMPTIED = 0.05  # of a column, that may be outliers by their robust z
STRANGE_TAILS = 5  # a column with so many tails of its cells outside does not belong to its array
NORMAL_MAD = 1.4826  # of a normal distribution, standard deviation / MAD
STRANGE_WIDTHS = 10  # nor does one so many times as wide as its columns are in the middle
Limits = dict[str, tuple[float, float]]


def by_gap(
    table: Table,
    names: Sequence[str],
    pools: Sequence[list[str]],
    slack: float,
    tail: float,
    comm: MPI.Intracomm,
) -> Limits:
    """Collective. Return column -> lowest and highest number that may be, for the columns that have such limits.

    The narrower ones count of those by its gap and those of `spacings.apart`.

    Args:
        names: columns of numbers.
        pools: those that are judged as one distribution.
        slack, tail: see the module's docstring; `tail` below 0.5.
    """
    singles = [[name] for name in names]
    alone = select(table, singles, (tail, 1 - tail), comm)
    width = dict(zip(names, alone[:, 1] - alone[:, 0], strict=True))
    pools = [_alike(pool, width) for pool in pools]
    groups = [*pools, *singles]
    quantiles = np.concatenate([select(table, pools, (tail, 1 - tail), comm), alone])
    widths = quantiles[:, 1] - quantiles[:, 0]
    fences = quantiles + slack * np.stack([-widths, widths], axis=1)
    counts, nearest = _look(table, groups, fences, comm)
    limits: Limits = {}
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
    for name, (low, high) in apart(table, names, tail, comm).items():
        lowest, highest = limits.get(name, (-np.inf, np.inf))
        limits[name] = max(low, lowest), min(high, highest)
    return {name: found for name, found in limits.items() if np.isfinite(found).any()}


def by_robust_z(table: Table, names: Sequence[str], z: float, comm: MPI.Intracomm) -> tuple[Limits, dict[str, str]]:
    """Collective. Return column -> lowest and highest number within `z` robust standard deviations of the median.

    A column of which more than half of the numbers are the same has no such limits; nor has one of which more than
    `MOST_EMPTIED` lies beyond: that is how it is. The second result tells these and why.
    """
    chosen = table.select(list(names))
    middle = select(chosen, [[name] for name in names], (0.5,), comm)[:, 0]
    schema = pa.schema([(name, pa.float64()) for name in names])

    def distances() -> Iterator[pa.RecordBatch]:
        for batch in chosen.batches():
            cells = [np.abs(to_floats(batch.column(name)) - m) for name, m in zip(names, middle, strict=True)]
            yield pa.record_batch([pa.array(values, from_pandas=True) for values in cells], schema=schema)

    away = Table(schema, table.num_rows, table.workspace, distances)
    spread = z * NORMAL_MAD * select(away, [[name] for name in names], (0.5,), comm)[:, 0]
    limits = {name: (m - s, m + s) for name, m, s in zip(names, middle, spread, strict=True) if s > 0}
    counted = np.zeros((len(limits), 2), np.int64)
    for batch in chosen.batches():
        for place, (name, (low, high)) in enumerate(limits.items()):
            values = to_floats(batch.column(name))
            counted[place] += ((values < low) | (values > high)).sum(), (~np.isnan(values)).sum()
    comm.Allreduce(MPI.IN_PLACE, counted, op=MPI.SUM)
    many = {
        name: f"{beyond / known:.0%} of its numbers lie beyond {low:g} to {high:g}, more than {MOST_EMPTIED:.0%}"
        for (name, (low, high)), (beyond, known) in zip(limits.items(), counted.tolist(), strict=True)
        if beyond > MOST_EMPTIED * known
    }
    return {name: found for name, found in limits.items() if name not in many}, many


def _alike(pool: list[str], width: dict[str, float]) -> list[str]:
    """Return the columns that are of one scale, as far as their widths tell; one without numbers has none."""
    usual = np.nanmedian([width[name] for name in pool]) if any(width[name] >= 0 for name in pool) else 0.0
    return [name for name in pool if not width[name] > STRANGE_WIDTHS * usual > 0]


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
