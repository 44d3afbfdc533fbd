"""Means and standard deviations of numbers that are dealt over the ranks, as if summed without rounding.

A batch is cut into slices of so few bits, from its largest number downwards, that a float64 sums a slice exactly:

    5.75 = 0b101.11    slices of 3 bits from 2**0 on:  0b101 times 2**0,  0b110 times 2**-3,  and nothing is left

The slices' sums, whole numbers times a power of two, are summed by power, in halves so that no sum of up to 2**35 rows
overflows; the sums of all ranks are added up, and only the result is rounded. So it is the same bit for bit on any
number of ranks. A rank holds 34 kB for each mean of up to `AT_ONCE` columns.

Source: Neal 2015, Fast exact summation using small and large superaccumulators;
Rump, Ogita and Oishi 2008, Accurate floating-point summation (slices).
"""

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from mpi4py import MPI

from hvdedge.columns import to_floats
from hvdedge.tables import Table

AT_ONCE = 256
LOWEST = 1074  # 2**-1074 is the smallest number above 0
POWERS = 2100  # more than there are powers of two in a float64


def ends(table: Table, comm: MPI.Intracomm) -> tuple[np.ndarray, np.ndarray]:
    """Collective. Return the smallest and the largest number of each column; inf and -inf for no numbers."""
    found = np.full((2, len(table.columns)), np.inf)  # smallest, smallest negative
    for batch in table.batches():
        values = np.array([to_floats(cells) for cells in batch.columns]).reshape(batch.num_columns, batch.num_rows)
        found = np.fmin(found, [np.fmin.reduce(side, axis=1, initial=np.inf) for side in (values, -values)])
    comm.Allreduce(MPI.IN_PLACE, found, op=MPI.MIN)
    return found[0], -found[1]


def means(table: Table, names: Sequence[str], comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return the mean of all numbers of each column; NaN for no numbers."""
    return _means(table, names, lambda _, values: values, comm)


def moments(
    table: Table, names: Sequence[str], low: np.ndarray, high: np.ndarray, comm: MPI.Intracomm
) -> tuple[np.ndarray, np.ndarray]:
    """Collective. Return mean and standard deviation (over n) of each column; NaN for no numbers.

    Args:
        low, high: each column's smallest and largest number, which keep squares from overflowing.
    """
    centre = means(table, names, comm)
    wide = half_range(low, high)
    squares = _means(table, names, lambda column, values: ((values - centre[column]) / wide[column]) ** 2, comm)
    return centre, np.sqrt(squares) * wide


def half_range(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return half of what low and high are apart, to divide by: 1 where that is no number above 0."""
    half = high / 2 - low / 2
    return np.where(half > 0, half, 1.0)


def power_means(
    table: Table, names: Sequence[str], centre: np.ndarray, wide: np.ndarray, comm: MPI.Intracomm
) -> np.ndarray:
    """Collective. Return the means of y, y**2 and y**3, y = (x - centre) / wide, over all numbers x of each column.

    Args:
        centre, wide: a number for each column; |y| should be at most about 2, so that nothing overflows.
    Returns:
        float64 (columns, 3); NaN for no numbers.
    """

    def powers(column: int, values: np.ndarray) -> np.ndarray:
        y = values / wide[column] - centre[column] / wide[column]
        return np.stack([y, y * y, y * y * y])

    return _means(table, names, powers, comm, width=3)


def _means(
    table: Table,
    names: Sequence[str],
    change: Callable[[int, np.ndarray], np.ndarray],
    comm: MPI.Intracomm,
    width: int = 1,
) -> np.ndarray:
    """Collective. Return the means of the `width` rows that `change` makes of a column's numbers; without the axis
    for one."""
    found = np.zeros((len(names), width))
    for start in range(0, len(names), AT_ONCE):
        chosen = list(names[start : start + AT_ONCE])
        sums = np.zeros((len(chosen), width, 2, POWERS), np.int64)
        sizes = np.zeros(len(chosen), np.int64)
        for batch in table.select(chosen).batches():
            for row, name in enumerate(chosen):
                values = to_floats(batch.column(name))
                values = values[~np.isnan(values)]
                sizes[row] += len(values)
                for which, changed in enumerate(np.atleast_2d(change(start + row, values))):
                    _add(changed, sums[row, which])
        comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
        comm.Allreduce(MPI.IN_PLACE, sizes, op=MPI.SUM)
        for row, size in enumerate(sizes):
            found[start + row] = [_mean(low, high, int(size)) for low, high in sums[row]]
    return found[:, 0] if width == 1 else found


def _add(values: np.ndarray, sums: np.ndarray) -> None:
    """Add `values` to sums[half, power + LOWEST], without rounding."""
    bits = 53 - len(values).bit_length()
    while largest := np.abs(values).max(initial=0):
        power = max(int(np.frexp(largest)[1]) - bits, -LOWEST)
        whole = np.trunc(np.ldexp(values, -power))
        total = int(whole.sum())
        sums[:, power + LOWEST] += total & (2**27 - 1), total >> 27
        values = values - np.ldexp(whole, power)


def _mean(low: np.ndarray, high: np.ndarray, size: int) -> float:
    used = np.flatnonzero(low | high).tolist()
    total = sum(((int(high[i]) << 27) + int(low[i])) * Fraction(2) ** (i - LOWEST) for i in used)
    return float(total / size) if size else np.nan
