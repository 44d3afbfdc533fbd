"""Columns of a table as the numbers that a network takes, by parameters that JSON can hold.

    as          of cells                columns of x
    number      numbers, clocks         1: (f(v) - mean) / deviation, f(v) = v or, with "log", sign(v) log(1 + |v|)
    one_hot     any, as text            1 for each of "levels": 1 where the cell is that one
    embed       any, as text            1: the number of the cell in "levels", from 1 on
    hash        any, as text            "buckets": -1 or 1 at the place that the cell's hash names
    frequency   any, as text            1: as number, v = training rows whose value has the same hash, "counts"
    year        date, timestamp         1: as number, v = the year
    month, weekday, hour                2: sine and cosine of its angle on the circle of the year, week or day
    aggregate   any, as text            1: as number, v = the number in "values" that stands at its place in "levels"
    missing     any                     1: 1 where the cell is missing

What is missing or was never seen is 0 in all of these but the last: the mean of a number, no level. A column may be
encoded in several ways, one after the other.

Source: Weinberger et al. 2009, Feature hashing for large scale multitask learning.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvdedge.columns import to_floats, to_text
from hvdedge.hashes import hash_text

Encoding = dict[str, Any]

SCALED = ("number", "frequency", "aggregate", "year")
CIRCLES = {"month": 12, "weekday": 7, "hour": 24}
LARGEST = 1e9  # standard deviations; what a row holds beyond that would be infinite in float32 sooner or later


def width(encodings: Sequence[Encoding]) -> int:
    """Return how many columns of x these are."""
    return sum(_width(encoding) for encoding in encodings)


def embedded(encodings: Sequence[Encoding]) -> list[dict[str, int]]:
    """Return which columns of x are numbers of levels, `place`, and the highest number, `levels`."""
    found, place = [], 0
    for encoding in encodings:
        if encoding["as"] == "embed":
            found.append({"place": place, "levels": len(encoding["levels"])})
        place += _width(encoding)
    return found


def encode(batch: pa.RecordBatch, encodings: Sequence[Encoding]) -> np.ndarray:
    """Return the rows as x: float32 (rows, width)."""
    x = np.zeros((batch.num_rows, width(encodings)), np.float32)
    start = 0
    for encoding in encodings:
        stop = start + _width(encoding)
        _fill(x[:, start:stop], batch.column(encoding["column"]), encoding)
        start = stop
    return x


def unscaled(column: pa.Array, encoding: Encoding) -> np.ndarray:
    """Return the number that a cell is before it is scaled or put on its circle: float64, NaN where it is missing."""
    way = encoding["as"]
    if way == "frequency":
        places, _ = hash_places(column, len(encoding["counts"]))
        counts = np.array([*encoding["counts"], 0], np.float64)[places]
        return np.where(places < 0, np.nan, np.log1p(counts))
    if way == "aggregate":
        return np.array([*encoding["values"], np.nan], np.float64)[level_places(column, encoding["levels"])]
    if way != "number":
        part = {"year": pc.year, "month": pc.month, "weekday": pc.day_of_week, "hour": pc.hour}[way](column)
        return to_floats(part)
    values = to_floats(column)
    return np.copysign(np.log1p(np.abs(values)), values) if encoding["log"] else values


def hash_places(column: pa.Array, buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of each cell among `buckets`, -1 for a missing one, and its sign, -1 or 1."""
    hashes = hash_text(to_text(column))
    places = ((hashes >> np.uint64(2)) % np.uint64(buckets)).astype(np.int64)
    sign = (hashes & np.uint64(2)).astype(np.float32) - 1
    return np.where(hashes == 0, -1, places), sign


def level_places(column: pa.Array, levels: Sequence[str]) -> np.ndarray:
    """Return the place of each cell, as text, among `levels`: int64 (rows,), -1 for one that is none of them."""
    found = pc.index_in(to_text(column), value_set=pa.array(levels, pa.string()))
    return np.asarray(found.fill_null(-1), np.int64)


def _width(encoding: Encoding) -> int:
    way = encoding["as"]
    if way in CIRCLES:
        return 2
    return len(encoding["levels"]) if way == "one_hot" else encoding["buckets"] if way == "hash" else 1


def _fill(x: np.ndarray, column: pa.Array, encoding: Encoding) -> None:
    way = encoding["as"]
    if way in SCALED:
        scaled = (unscaled(column, encoding) - encoding["mean"]) / encoding["deviation"]
        x[:, 0] = np.nan_to_num(np.clip(scaled, -LARGEST, LARGEST))
    elif way in CIRCLES:
        parts = unscaled(column, encoding)
        angles = 2 * np.pi / CIRCLES[way] * np.arange(CIRCLES[way] + 1)  # a month counts from 1
        known = ~np.isnan(parts)
        for number, function in enumerate((np.sin, np.cos)):
            x[known, number] = function(angles)[parts[known].astype(np.int64)]
    elif way == "one_hot":
        places = level_places(column, encoding["levels"])
        rows = np.flatnonzero(places >= 0)
        x[rows, places[rows]] = 1
    elif way == "embed":
        x[:, 0] = level_places(column, encoding["levels"]) + 1
    elif way == "hash":
        places, sign = hash_places(column, encoding["buckets"])
        rows = np.flatnonzero(places >= 0)
        x[rows, places[rows]] = sign[rows]
    else:
        x[:, 0] = is_missing(column)


def is_missing(column: pa.Array) -> np.ndarray:
    """Return whether each cell holds nothing, or no finite number: bool (rows,)."""
    if pa.types.is_floating(column.type):
        return np.isnan(to_floats(column))
    return np.asarray(column.is_null())
