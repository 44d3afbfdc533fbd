"""Kinds of columns, groups of names, and cells as numbers."""

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest

from hvdedge import columns
from hvdedge.errors import InputError
from hvdedge.tables import Table


@pytest.mark.parametrize(
    ("type", "kind"),
    [
        (pa.bool_(), "boolean"),
        (pa.int8(), "integer"),
        (pa.uint64(), "integer"),
        (pa.float32(), "float"),
        (pa.decimal128(9, 2), "float"),
        (pa.date32(), "date"),
        (pa.time64("us"), "time"),
        (pa.timestamp("s", "UTC"), "timestamp"),
        (pa.dictionary(pa.int32(), pa.string()), "category"),
        (pa.large_string(), "text"),
        (pa.null(), "text"),
        (pa.list_(pa.int8()), "array"),
        (pa.list_(pa.int8(), 3), "array"),
    ],
)
def test_each_type_is_of_one_kind(type, kind):
    assert columns.kind(type) == kind


def test_names_sort_by_the_numbers_in_them():
    names = ["p10", "p2", "a", "p1x", "p02", "10", "9", "", "p1"]
    assert sorted(names, key=columns.natural) == ["", "a", "p1", "p1x", "p02", "p2", "p10", "9", "10"]


def test_columns_that_differ_by_a_number_are_an_array_from_eight_on():
    many = [f"p{number}" for number in range(8)]
    assert columns.arrays([*many[::-1], "label", "q1", "q2", *(f"q{number}" for number in range(3, 8))]) == [many]


def test_patterns_choose_columns_in_the_order_of_the_table(workspace):
    rows = pa.table({"b1": [1], "a": [1], "b0": [1], "_line": [1]})
    table = Table.from_batches(rows.schema, rows.to_batches(), workspace)
    assert columns.matching(table, (), "x") == ["b1", "a", "b0"]
    assert columns.matching(table, ("b*", "b0"), "x") == ["b1", "b0"]
    with pytest.raises(InputError, match=r"^x: received '_\*', which matches no column, allowed: b1, a, b0; name"):
        columns.matching(table, ("a", "_*"), "x")


def test_many_names_are_shown_shortened():
    assert columns.shown([*map(str, range(20))]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, ..., 18, 19"
    assert columns.shown([]) == "nothing"


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([3, None, -7], pa.int16()),
        pa.array([0.5, None, -1e300]),
        pa.array([datetime.date(1969, 12, 31), None, datetime.date(2024, 2, 29)]),
        pa.array([datetime.date(2024, 2, 29), None], pa.date64()),
        pa.array([datetime.time(23, 59, 59), None], pa.time32("s")),
        pa.array([datetime.datetime(2024, 1, 1, 1, 2, 3, 456789), None]),
        pa.array([0, 10**15, None], pa.timestamp("ns", "UTC")),
        pa.array([decimal.Decimal("1.25"), None], pa.decimal128(9, 2)),
    ],
    ids=lambda cells: str(cells.type),
)
def test_cells_survive_the_way_to_numbers_and_back(cells):
    numbers = columns.to_floats(cells)
    assert numbers.dtype == np.float64
    assert np.isnan(numbers).tolist() == cells.is_null().to_pylist()
    assert columns.from_floats(numbers, cells.type).equals(cells)


def test_a_mean_of_whole_numbers_is_rounded_to_the_even_one():
    assert columns.from_floats(np.array([0.5, 1.5, -0.5, np.nan]), pa.int32()).to_pylist() == [0, 2, 0, None]


@pytest.mark.parametrize("type", [pa.int8(), pa.uint8(), pa.int64(), pa.uint64()], ids=str)
def test_what_a_float_rounds_beyond_a_whole_type_is_its_end(type):
    ends = np.iinfo(type.to_pandas_dtype())
    cells = pa.array([ends.min, 0, ends.max], type)
    assert columns.from_floats(columns.to_floats(cells), type).equals(cells)
    beyond = columns.from_floats(np.array([-1e300, 3.5, np.nan, 1e300]), type)
    assert beyond.equals(pa.array([ends.min, 4, None, ends.max], type))


def test_values_are_counted_up_to_a_limit(comm, workspace):
    rows = pa.table({"x": [5, 3, None, 3, 5, 9], "t": pa.array([*"abcdef"]).dictionary_encode()})
    table = Table.from_batches(rows.schema, rows.to_batches(2), workspace)
    found = columns.value_counts(table, ["x", "t"], 3, comm)
    assert found["t"] is None
    assert found["x"].to_pydict() == {"value": [3, 5, 9], "count": [2, 2, 1]}
