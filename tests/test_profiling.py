"""Statistics against Counter, numpy and sums by hand."""

import datetime
import decimal
import json
import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hvdedge.profiling import statistics
from hvdedge.profiling.statistics import profile
from hvdedge.tables import Table

NUMBERS = st.floats(-1e9, 1e9, allow_subnormal=False)


def table_of(workspace, batch_rows: int = 4, **columns) -> Table:
    rows = pa.table(columns)
    return Table.from_batches(rows.schema, rows.to_batches(batch_rows), workspace)


def column(comm, workspace, values, **options) -> dict:
    found = profile(table_of(workspace, x=values), comm, **options)
    json.dumps(found, allow_nan=False)
    assert found["rows"] == len(values)
    return found["columns"]["x"]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.none() | NUMBERS, min_size=1, max_size=30))
def test_a_column_of_numbers_is_described_as_numpy_describes_it(comm, workspace, values):
    found = column(comm, workspace, pa.array(values, pa.float64()), bins=5)
    numbers = np.array([value for value in values if value is not None])
    assert (found["type"], found["count"], found["missing"]) == ("float", len(numbers), len(values) - len(numbers))
    assert found["distinct"] == len({*numbers.tolist()})
    if not len(numbers):
        assert [found[name] for name in ("min", "max", "mean", "std", "quantiles", "histogram")] == [None] * 6
        return
    assert (found["min"], found["max"]) == (numbers.min(), numbers.max())
    wide = np.abs(numbers).max()  # both sums round, numpy's to about 30 units in the last place of the largest
    assert found["mean"] == pytest.approx(numbers.mean(), rel=1e-12, abs=1e-14 * wide)
    if len(numbers) > 1:
        scale = 2.0**600 if wide < 2.0**-500 else 1.0  # else numpy's squares are 0
        true = (numbers * scale).std(ddof=1) / scale
        assert found["std"] == pytest.approx(true, rel=1e-9, abs=1e-13 * wide)
    else:
        assert found["std"] is None
    assert found["quantiles"]["0.5"] == sorted(numbers)[math.ceil(len(numbers) / 2) - 1]
    assert sum(found["histogram"]["counts"]) == len(numbers)
    edges = np.array(found["histogram"]["edges"])
    assert found["histogram"]["counts"] == np.histogram(numbers, edges)[0].tolist()
    assert len(edges) == 6


def test_known_numbers_give_known_figures(comm, workspace):
    found = column(comm, workspace, [2, 4, 4, 4, 5, 5, 7, 9], bins=7, top=2)
    assert found == {
        "type": "integer",
        "count": 8,
        "missing": 0,
        "min": 2,
        "max": 9,
        "order": "rising",
        "distinct": 5,
        "distinct_is_exact": True,
        "mean": 5.0,
        "std": pytest.approx(math.sqrt(32 / 7), rel=1e-15),
        "skew": pytest.approx(42 / 8 / 4**1.5, rel=1e-14),  # (-3)^3 + 3 (-1)^3 + 2^3 + 4^3 = 42, variance 4
        "quantiles": {"0.01": 2, "0.05": 2, "0.25": 4, "0.5": 4, "0.75": 5, "0.95": 9, "0.99": 9},
        "histogram": {"edges": [2, 3, 4, 5, 6, 7, 8, 9], "counts": [1, 0, 3, 2, 0, 1, 1]},
        "equal_depth": [2, 4, 4, 4, 5, 5, 7, 9],
        "entropy": pytest.approx(3 * 3 / 8 + 3 / 8 * math.log2(8 / 3) + 2 / 8 * 2, rel=1e-14),
        "top": [{"value": 4, "count": 3}, {"value": 5, "count": 2}],
        "top_above": 0,
    }


def test_a_mean_far_from_zero_does_not_cost_the_deviation(comm, workspace):
    found = column(comm, workspace, 1e9 + np.tile([0.0, 1.0], 5000))
    assert found["mean"] == 1e9 + 0.5
    assert found["std"] == pytest.approx(math.sqrt(0.25 * 10000 / 9999), rel=1e-12)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.none() | st.text("aäb", max_size=2), max_size=30))
def test_text_is_counted_as_counter_counts_it(comm, workspace, values):
    texts = [value for value in values if value is not None]
    for given_as in (pa.array(values, pa.string()), pa.array(values, pa.string()).dictionary_encode()):
        found = column(comm, workspace, given_as, top=3)
        counts = sorted(Counter(texts).items(), key=lambda item: (-item[1], item[0]))
        assert found["top"] == [{"value": value, "count": count} for value, count in counts[:3]]
        assert (found["distinct"], found["missing"]) == (len(counts), len(values) - len(texts))
        assert (found["min"], found["max"]) == (min(texts, default=None), max(texts, default=None))
        lengths = [len(text) for text in texts]
        assert found["lengths"]["max"] == max(lengths, default=None)
        assert found["lengths"]["mean"] == (sum(lengths) / len(texts) if texts else None)


def test_times_and_booleans_are_shown_as_json_shows_them(comm, workspace):
    rows = {
        "day": [datetime.date(2024, 1, 31), None, datetime.date(2023, 5, 1)],
        "at": [datetime.datetime(2024, 1, 1, 12, 30), datetime.datetime(2024, 1, 1), None],
        "clock": [datetime.time(1, 2, 3), None, None],
        "flag": [True, False, True],
        "cells": pa.array([[1, 2], None, [3]]),
        "nothing": pa.nulls(3),
    }
    found = json.loads(json.dumps(profile(table_of(workspace, 2, **rows), comm), allow_nan=False))["columns"]
    assert [found[name]["type"] for name in rows] == ["date", "timestamp", "time", "boolean", "array", "text"]
    assert (found["day"]["min"], found["day"]["quantiles"]["0.99"]) == ("2023-05-01", "2024-01-31")
    assert found["at"]["max"] == "2024-01-01T12:30:00"
    assert found["clock"]["top"] == [{"value": "01:02:03", "count": 1}]
    assert (found["flag"]["min"], found["flag"]["max"], found["flag"]["mean"]) == (False, True, pytest.approx(2 / 3))
    assert (found["cells"]["count"], found["cells"]["missing"], found["cells"]["distinct"]) == (2, 1, None)
    assert (found["nothing"]["count"], found["nothing"]["min"]) == (0, None)


def test_what_is_no_finite_number_is_missing(comm, workspace):
    found = column(comm, workspace, [1.0, math.nan, math.inf, -math.inf, None])
    assert (found["count"], found["missing"], found["max"], found["distinct"]) == (1, 4, 1.0, 1)


def test_numbers_too_far_apart_for_a_sum_have_no_deviation(comm, workspace):
    found = column(comm, workspace, [-1.7e308, 1.7e308])
    assert (found["min"], found["max"], found["std"], found["histogram"]) == (-1.7e308, 1.7e308, None, None)


def test_whole_numbers_beyond_what_a_float_holds_keep_their_ends(comm, workspace):
    found = column(comm, workspace, [2**62 + 1, 2**62 + 3])
    assert (found["min"], found["max"], found["distinct"]) == (2**62 + 1, 2**62 + 3, 2)


def test_a_table_without_rows_or_columns_is_described(comm, workspace):
    empty = profile(table_of(workspace, x=pa.array([], pa.int64())), comm)
    assert empty["rows"] == 0
    assert empty["columns"]["x"]["min"] is None
    assert profile(table_of(workspace, _line=[1, 2]), comm) == {"rows": 2, "columns": {}}


@pytest.mark.parametrize("most", [100_000, 1])
def test_numbers_are_described_alike_whether_they_are_counted_or_not(comm, workspace, monkeypatch, most):
    monkeypatch.setattr(statistics, "MOST_VALUES", most)
    values = np.random.default_rng(0).lognormal(sigma=1.5, size=3000)
    found = column(comm, workspace, values, bins=4)
    assert (found["distinct"], found["distinct_is_exact"]) == (3000, True)
    assert found["mean"] == pytest.approx(values.mean(), rel=1e-13)  # numpy's sum rounds 12 times
    assert found["std"] == pytest.approx(values.std(ddof=1), rel=1e-12)
    assert found["skew"] == pytest.approx(((values - values.mean()) ** 3).mean() / values.std() ** 3, rel=1e-11)
    assert found["equal_depth"] == np.sort(values)[[0, 749, 1499, 2249, 2999]].tolist()
    assert found["histogram"]["counts"] == np.histogram(values, found["histogram"]["edges"])[0].tolist()


@pytest.mark.parametrize("most", [100_000, 1])
def test_masks_and_lengths_show_how_text_is_written(comm, workspace, monkeypatch, most):
    monkeypatch.setattr(statistics, "MOST_VALUES", most)
    plain = [f"Ab {number:04d}" for number in range(1500)] + [None, "x-1"]
    found = column(comm, workspace, plain)
    assert found["masks"] == [{"value": "Aa 9999", "count": 1500}, {"value": "a-9", "count": 1}]
    assert found["lengths"] == {"min": 3, "max": 7, "mean": (1500 * 7 + 3) / 1501}
    accents = column(comm, workspace, ["Ürö 1", "Ab A2", None])
    assert [mask["value"] for mask in accents["masks"]] == ["Aa A9", "Aaa 9"]


def test_order_goes_over_batches_and_past_missing_cells(comm, workspace):
    told = {
        "rising": [1, None, 2, 2, 3, None, 5, 8, 9],
        "falling": ["z", "y", "x", None, "x", "b", "b", "a", "A"],
        "constant": [7.0, math.nan, 7.0] + [7.0] * 6,
        None: [1, 2, 3, 4, 3, 4, 5, 6, 7],
    }
    for order, values in told.items():
        assert column(comm, workspace, values)["order"] == order


@pytest.mark.parametrize("batch_rows", [1, 2, 4])
def test_ends_and_order_are_exact_whatever_the_batches(comm, workspace, monkeypatch, batch_rows):
    monkeypatch.setattr(statistics, "AT_ONCE", 1)
    # 2:15 and 2:45 of summer time, then 2:30 of winter time
    at = [datetime.datetime(2024, 10, 27, 0, 15), datetime.datetime(2024, 10, 27, 0, 45)]
    at += [datetime.datetime(2024, 10, 27, 1, 30)] * 2
    rows = {
        "at": pa.array(at, pa.timestamp("us", "UTC")).cast(pa.timestamp("us", "Europe/Berlin")),
        "price": pa.array([decimal.Decimal(f"{10**20}.0{digit}") for digit in (3, 2, 1, 0)], pa.decimal128(30, 2)),
        "small": pa.array([decimal.Decimal("-0.0000001"), None, None, decimal.Decimal("0.25")], pa.decimal128(9, 7)),
        "zero": [0.0, -0.0, 0.0, -0.0],
    }
    found = profile(table_of(workspace, batch_rows, **rows), comm)["columns"]
    ends = {name: (its["min"], its["max"], its["order"]) for name, its in found.items()}
    assert ends["at"] == ("2024-10-27T02:15:00+02:00", "2024-10-27T02:30:00+01:00", "rising")
    assert ends["price"] == (1e20, 1e20, "falling")
    assert ends["small"] == (-1e-7, 0.25, "rising")
    assert str(ends["zero"]) == "(0.0, 0.0, 'constant')"


def test_one_row_and_a_column_of_nothing_have_no_spread(comm, workspace):
    one = column(comm, workspace, [3.5])
    assert (one["mean"], one["std"], one["skew"], one["entropy"], one["order"]) == (3.5, None, None, 0.0, "constant")
    none = column(comm, workspace, pa.array([None, None], pa.string()))
    assert (none["masks"], none["entropy"], none["order"], none["lengths"]["mean"]) == ([], None, None, None)
