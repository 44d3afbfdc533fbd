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

from hvdedge.columns import CLOCKS, NUMBERS, TEXTS, from_floats, of_kind, plain, to_floats
from hvdedge.exact_sums import moments
from hvdedge.quantiles import select
from hvdedge.tables import Table

LEVELS = 20
DIGITS = 6  # a number is told to a millionth of its column's standard deviation, and not beyond
LARGEST = 2.0**63 - 1024  # the largest float64 that is an int64


@dataclass(frozen=True)
class Number:
    """A column of numbers, dates or times; low and high are its smallest and its largest."""

    name: str
    type: pa.DataType
    mean: float
    std: float
    low: float
    high: float
    median: float

    width = 1

    @property
    def usual(self) -> np.ndarray:
        """The coordinates of what stands for a cell of which nothing is known."""
        return np.array([(self.median - self.mean) / self.std])

    def encode(self, column: pa.Array) -> np.ndarray:
        return ((to_floats(column) - self.mean) / self.std)[:, None]

    def decode(self, coordinates: np.ndarray) -> pa.Array:
        values = rounded(coordinates[:, 0] * self.std + self.mean, self.std)
        return from_floats(np.clip(values, self.low, min(self.high, LARGEST)), self.type)


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
    ends = select(table, [[name] for name in ordered], (0, 0.5, 1), comm)
    mean, std = moments(table, ordered, ends[:, 0], ends[:, 2], comm)
    found: dict[str, Column] = {}
    for name, (low, median, high), centre, wide in zip(ordered, ends, mean, std, strict=True):
        if high > low and 0 < wide < np.inf:
            type = table.schema.field(name).type
            found[name] = Number(name, type, float(centre), float(wide), float(low), float(high), float(median))
    for name in of_kind(table, ("boolean", *TEXTS), names):
        values = counted.get(name)
        if values is not None and len(values) > 1:
            count = values["count"].to_numpy()
            levels = values["value"].combine_chunks().slice(0, LEVELS)
            found[name] = Category(name, table.schema.field(name).type, levels, count[:LEVELS] / count.sum())
    return {name: found[name] for name in names if name in found}


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
