"""Means against fractions, which do not round."""

from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hvdedge.exact_sums import ends, means, moments, power_means
from hvdedge.tables import Table


def table_of(workspace, values, batch_rows: int) -> Table:
    rows = pa.table({"x": pa.array(values, pa.float64())})
    return Table.from_batches(rows.schema, rows.to_batches(batch_rows), workspace)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.none() | st.floats(-1e308, 1e308), max_size=30), batch_rows=st.integers(1, 30))
def test_a_mean_is_the_nearest_number_to_the_true_one(comm, workspace, values, batch_rows):
    found = means(table_of(workspace, values, batch_rows), ["x"], comm)[0]
    numbers = [Fraction(value) for value in values if value is not None]
    if not numbers:
        assert np.isnan(found)
    else:
        assert found == float(sum(numbers) / len(numbers))


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([1e308, 1.0, -1e308, 5e-324], 0.25),  # the smallest number goes in the rounding to 53 bits only
        ([1.7976931348623157e308] * 3, 1.7976931348623157e308),
        ([5e-324] * 4, 5e-324),
        ([2.0**53, 1.0, -(2.0**53)], 1 / 3),
        ([-0.0, 0.0], 0.0),
    ],
)
def test_numbers_of_all_sizes_are_summed_without_rounding(comm, workspace, values, mean):
    assert means(table_of(workspace, values, 2), ["x"], comm)[0] == mean


def test_a_long_batch_is_summed_as_exactly_as_short_ones(comm, workspace):
    values = np.random.default_rng(0).lognormal(sigma=20, size=50_000)
    true = float(sum(map(Fraction, values.tolist())) / len(values))
    for batch_rows in (100, 7001, 50_000):
        assert means(table_of(workspace, values, batch_rows), ["x"], comm)[0] == true


@pytest.mark.parametrize("values", [[0.0, 5e-324], [7.0, 7.0]])
def test_ends_whose_half_distance_is_0_have_a_deviation(comm, workspace, values):
    table = table_of(workspace, values, 1)
    centre, deviation = moments(table, ["x"], *ends(table, comm), comm)
    assert values[0] <= centre[0] <= values[1]
    assert deviation[0] == 0


def test_powers_are_those_of_the_scaled_numbers(comm, workspace):
    found = power_means(table_of(workspace, [1.0, 3.0, 5.0, None], 2), ["x"], np.array([3.0]), np.array([2.0]), comm)
    assert found.tolist() == [[0.0, 2 / 3, 0.0]]  # of -1, 0, 1
