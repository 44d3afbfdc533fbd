"""Quantiles against sorting all numbers and counting by hand."""

import datetime
import math
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hvdedge.columns import from_floats
from hvdedge.quantiles import select
from hvdedge.tables import Table


def table_of(workspace, batch_rows: int = 3, **columns) -> Table:
    rows = pa.table(columns)
    return Table.from_batches(rows.schema, rows.to_batches(batch_rows), workspace)


def by_sorting(values: list[float], share: Fraction) -> float:
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40),
    percents=st.lists(st.integers(0, 100), min_size=1, max_size=4),
)
def test_a_quantile_is_the_number_at_its_place_in_sorted_order(comm, workspace, values, percents):
    found = select(table_of(workspace, x=pa.array(values, pa.float64())), [["x"]], [p / 100 for p in percents], comm)
    numbers = [value for value in values if value is not None]
    if not numbers:
        assert np.isnan(found).all()
    else:
        assert found[0].tolist() == [by_sorting(numbers, Fraction(p, 100)) for p in percents]


def test_numpy_says_the_same(comm, workspace):
    values = np.random.default_rng(5).lognormal(size=1001)
    shares = [0, 0.125, 0.25, 0.5, 0.75, 1]  # exact in binary, where numpy's rounding of share * n is none
    found = select(table_of(workspace, 100, x=values), [["x"]], shares, comm)[0]
    assert found.tolist() == np.quantile(values, shares, method="inverted_cdf").tolist()


def test_whole_numbers_stay_whole_and_the_lower_of_two_middle_ones_is_the_median(comm, workspace):
    found = select(table_of(workspace, x=[4, None, 1, 3, 2]), [["x"]], [0.5], comm)
    assert found.tolist() == [[2.0]]
    assert from_floats(found[0], pa.int64()).to_pylist() == [2]


def test_columns_of_a_group_are_one_set_of_numbers_and_may_be_in_several(comm, workspace):
    table = table_of(workspace, a=[1, 2, 3], b=[10, 20, 30], c=pa.array([None] * 3, pa.float64()))
    found = select(table, [["a", "b"], ["b"], ["c"], ["a", "c"]], [0, 0.5, 1], comm)
    assert found[:2].tolist() == [[1, 3, 30], [10, 20, 30]]
    assert np.isnan(found[2]).all()
    assert found[3].tolist() == [1, 2, 3]


def test_what_is_no_finite_number_does_not_count_and_minus_zero_is_zero(comm, workspace):
    table = table_of(workspace, x=[math.inf, -math.inf, math.nan, -0.0, 5e-324, -1e308])
    found = select(table, [["x"]], [0, 0.5, 1], comm)[0]
    assert found.tolist() == [-1e308, 0.0, 5e-324]
    assert not np.signbit(found[1])


def test_dates_come_back_as_dates(comm, workspace):
    days = [datetime.date(2024, 2, 29), datetime.date(1969, 12, 31), datetime.date(2000, 1, 1)]
    found = select(table_of(workspace, day=days), [["day"]], [0, 0.5, 1], comm)[0]
    assert from_floats(found, pa.date32()).to_pylist() == sorted(days)


@pytest.mark.parametrize(("groups", "shares"), [([], [0.5]), ([["x"]], [])])
def test_nothing_asked_is_nothing_found(comm, workspace, groups, shares):
    assert select(table_of(workspace, x=[1.0]), groups, shares, comm).shape == (len(groups), len(shares))
