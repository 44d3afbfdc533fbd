"""The cells of columns of any kind as numbers of about one size, and back.

A number, date or time becomes one coordinate, (x - mean) / std; a category or boolean one for each of its `LEVELS` most
frequent values, 1 or 0 less that value's share. A missing cell is NaN in all coordinates of its column. Two rows of
different categories are as far apart in them as two rows of a number are on average: a squared distance of 2.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.columns import CLOCKS, NUMBERS, TEXTS, from_floats, of_kind, plain, to_floats, value_counts
from hvdedge.exact_sums import moments
from hvdedge.quantiles import select
from hvdedge.tables import Table

LEVELS = 20
ROBUST = 20.0  # standard deviations of a normal distribution: farther from the median there are outliers only
FEW = 3  # cells for each different value of a column of numbers, from which on others are none
NORMAL_QUARTILES = 1.349  # of a normal distribution, standard deviations between its quartiles
DIGITS = 6  # a number is told to a millionth of its column's standard deviation, and not beyond
LARGEST = 2.0**63 - 1024  # the largest float64 that is an int64


@dataclass(frozen=True)
class Number:
    """A column of numbers, dates or times.

    Attributes:
        low, high: its smallest and its largest that is no outlier.
        spread: as wide as its middle half, as a standard deviation of a normal distribution; `std` where that is 0.
        decimals: how many its numbers have at most; None for dates, times and more than DIGITS.
        values: its different ones, rising, where they are few for its cells (0, 2.5, 5, 10); else None.
    """

    name: str
    type: pa.DataType
    mean: float
    std: float
    low: float
    high: float
    median: float
    spread: float
    decimals: int | None
    values: np.ndarray | None

    width = 1

    @property
    def usual(self) -> np.ndarray:
        """The coordinates of what stands for a cell of which nothing is known."""
        return np.array([(self.median - self.mean) / self.std])

    def encode(self, column: pa.Array) -> np.ndarray:
        return ((to_floats(column) - self.mean) / self.std)[:, None]

    def decode(self, coordinates: np.ndarray) -> pa.Array:
        return self.cells(coordinates[:, 0] * self.std + self.mean)

    def cells(self, values: np.ndarray) -> pa.Array:
        """Return the nearest cells to `values` that the column may have; NaN is null."""
        if self.values is None:
            found = rounded(values, self.std)
            found = found if self.decimals is None else np.round(found, self.decimals)
        else:
            found = self.values[np.searchsorted((self.values[1:] + self.values[:-1]) / 2, values)]
            found = np.where(np.isnan(values), np.nan, found)
        return from_floats(np.clip(found, self.low, min(self.high, LARGEST)), self.type)


@dataclass(frozen=True)
class Category:
    """A column of categories, booleans or text; levels are its most frequent values, the most frequent first."""

    name: str
    type: pa.DataType
    levels: pa.Array
    shares: np.ndarray

    @property
    def width(self) -> int:
        return len(self.levels)

    @property
    def usual(self) -> np.ndarray:
        """The coordinates of what stands for a cell of which nothing is known."""
        return np.eye(self.width)[0] - self.shares

    def encode(self, column: pa.Array) -> np.ndarray:
        column = plain(column)
        level = pc.fill_null(pc.index_in(column, value_set=self.levels), -1).to_numpy(zero_copy_only=False)
        coordinates = (level[:, None] == np.arange(self.width)) - self.shares
        coordinates[np.asarray(column.is_null())] = np.nan
        return coordinates

    def decode(self, coordinates: np.ndarray) -> pa.Array:
        # rounded, so that equally likely ones are not told apart by how sums were rounded; the more frequent wins
        return self.levels.take(pa.array(self.places(coordinates)))

    def places(self, coordinates: np.ndarray) -> np.ndarray:
        """Return the place among the levels of the one that is the most likely."""
        return np.argmax(np.round(coordinates + self.shares, DIGITS), axis=1)


Column = Number | Category


def rounded(values: np.ndarray, std: float) -> np.ndarray:
    """Return values to as many digits as make sense, so that nobody takes them for measured ones."""
    digits = DIGITS - math.floor(math.log10(std)) if std > 0 else DIGITS
    if not -300 < digits < 300:
        return values
    with np.errstate(all="ignore"):
        found = np.round(values, digits)
    return np.where(np.isfinite(found), found, values)


def describe(table: Table, names: Sequence[str], counted: dict[str, pa.Table | None], comm: MPI.Intracomm) -> dict:
    """Collective. Return name -> Number or Category, for those of `names` that have more than one value.

    Args:
        counted: the values of columns of categories, booleans and text, as `columns.value_counts` has them.
    """
    ordered = of_kind(table, (*NUMBERS, *CLOCKS), names)
    quantiles = select(table, [[name] for name in ordered], (0, 0.01, 0.25, 0.5, 0.75, 0.99, 1), comm)
    mean, std = moments(table, ordered, quantiles[:, 0], quantiles[:, -1], comm)
    low, high, decimals = _sound(table, ordered, quantiles, comm)
    numbers = of_kind(table, NUMBERS, names)
    values = value_counts(table, numbers, LEVELS, comm)
    found: dict[str, Column] = {}
    for place, name in enumerate(ordered):
        least, _, first, median, third, _, most = quantiles[place]
        wide = std[place]
        if most > least and 0 < wide < np.inf:
            known = values.get(name)
            is_few = known is not None and pc.sum(known["count"]).as_py() >= FEW * len(known)
            levels = np.sort(to_floats(known["value"].combine_chunks())) if known is not None and is_few else None
            spread = float((third - first) / NORMAL_QUARTILES) or float(wide)
            found[name] = Number(
                name,
                table.schema.field(name).type,
                float(mean[place]),
                float(wide),
                float(low[place]),
                float(high[place]),
                float(median),
                spread,
                int(decimals[place]) if name in numbers and decimals[place] <= DIGITS else None,
                levels,
            )
    for name in of_kind(table, ("boolean", *TEXTS), names):
        listed = counted.get(name)
        if listed is not None and len(listed) > 1:
            count = listed["count"].to_numpy()
            levels = listed["value"].combine_chunks().slice(0, LEVELS)
            found[name] = Category(name, table.schema.field(name).type, levels, count[:LEVELS] / count.sum())
    return {name: found[name] for name in names if name in found}


def _sound(
    table: Table, names: Sequence[str], quantiles: np.ndarray, comm: MPI.Intracomm
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Collective. Return the smallest and the largest of each column without its outliers, and its most decimals.

    More than DIGITS decimals are DIGITS + 1. `quantiles` are those of 0, 1, 25, 50, 75, 99 and 100 %.
    """
    with np.errstate(over="ignore"):
        far = ROBUST * (quantiles[:, 4] / NORMAL_QUARTILES - quantiles[:, 2] / NORMAL_QUARTILES)
    lowest = np.minimum(quantiles[:, 1], quantiles[:, 3] - far)  # a hundredth of the cells are no outliers anyway
    highest = np.maximum(quantiles[:, 5], quantiles[:, 3] + far)
    ends = np.full((2, len(names)), -np.inf)  # the smallest's negative, the largest
    decimals = np.zeros(len(names), np.int64)
    for batch in table.select(list(names)).batches() if names else ():
        for place, name in enumerate(names):
            cells = to_floats(batch.column(name))
            cells = cells[(cells >= lowest[place]) & (cells <= highest[place])]
            most = [np.max(values, initial=-np.inf) for values in (-cells, cells)]
            ends[:, place] = np.maximum(ends[:, place], most)
            while decimals[place] <= DIGITS and not _has_decimals(cells, int(decimals[place])):
                decimals[place] += 1
    comm.Allreduce(MPI.IN_PLACE, ends, op=MPI.MAX)
    comm.Allreduce(MPI.IN_PLACE, decimals, op=MPI.MAX)
    return -ends[0], ends[1], decimals


def _has_decimals(cells: np.ndarray, count: int) -> bool:
    """Return whether no cell has more than `count` decimals."""
    return np.isclose(cells, np.round(cells, count), 1e-12, 1e-12).all()


class Coordinates:
    """Some columns side by side as one matrix.

    Attributes:
        columns: name -> Number or Category.
        places: name -> the slice of the matrix's columns that is the column's.
        width: the matrix's columns.
    """

    def __init__(self, columns: Iterable[Column]):
        self.columns: dict[str, Column] = {column.name: column for column in columns}
        ends = np.cumsum([0, *(column.width for column in self.columns.values())]).tolist()
        self.places = {
            name: slice(start, stop) for name, start, stop in zip(self.columns, ends, ends[1:], strict=False)
        }
        self.width = ends[-1]

    def encode(self, batch: pa.RecordBatch) -> np.ndarray:
        """Return float64 (rows, width), NaN where a cell is missing."""
        found = np.empty((batch.num_rows, self.width))
        for name, column in self.columns.items():
            found[:, self.places[name]] = column.encode(batch.column(name))
        return found
