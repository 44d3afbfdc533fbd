"""Correlations against numpy, sums by hand and closed forms."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest

from hvdedge.errors import InputError
from hvdedge.profiling.correlations import profile
from hvdedge.tables import Table


def found_in(comm, workspace, rows: dict, **options) -> dict:
    rows = pa.table(rows)
    table = Table.from_batches(rows.schema, rows.to_batches(300), workspace)
    found = profile(table, comm, **options)
    json.dumps(found, allow_nan=False)
    return found["correlations"]


def test_numbers_correlate_as_numpy_says_where_both_are_known(comm, workspace):
    draw = np.random.default_rng(0)
    a = draw.normal(1e6, 3, 2000)
    b = a + draw.lognormal(sigma=2, size=2000)
    hole = draw.random(2000) < 0.3
    found = found_in(comm, workspace, {"a": a, "b": pa.array(b, mask=hole), "still": np.ones(2000)})
    assert found["pearson"]["columns"] == ["a", "b", "still"]
    assert found["pearson"]["values"][0][1] == pytest.approx(np.corrcoef(a[~hole], b[~hole])[0, 1], abs=1e-6)  # 2**-24
    assert found["pearson"]["values"][0][0] == 1
    assert found["pearson"]["values"][2] == [None] * 3


def test_ranks_correlate_by_their_order_alone(comm, workspace):
    draw = np.random.default_rng(1)
    a = draw.permutation(500) / 7
    found = found_in(comm, workspace, {"a": a, "b": np.exp(a / 20), "c": -(a**3), "ties": np.repeat([1, 2, 2, 3], 125)})
    values = found["spearman"]["values"]
    assert (values[0][1], values[0][2], found["spearman_rows"]) == (1, -1, 500)
    ranks = np.argsort(np.argsort(a)) + 1
    assert values[0][3] == pytest.approx(np.corrcoef(ranks, np.repeat([63, 250.5, 250.5, 438], 125))[0, 1], rel=1e-12)
    assert {found["strongest"][at]["measure"] for at in range(6)} == {"pearson"}


def test_a_large_table_is_sampled_within_the_stated_error(comm, workspace):
    draw = np.random.default_rng(2)
    a = draw.normal(size=60_000)
    found = found_in(comm, workspace, {"a": a, "b": a + draw.normal(size=60_000)})
    assert found["spearman_rows"] == pytest.approx(20_000, rel=0.05)
    closed = 6 / math.pi * math.asin(math.sqrt(0.5) / 2)  # of two normal columns that correlate by sqrt(1/2)
    assert found["spearman"]["values"][0][1] == pytest.approx(closed, abs=0.02)


def test_categories_go_together_as_bergsma_corrects_them(comm, workspace):
    draw = np.random.default_rng(3)
    sex = np.repeat(["f", "m"], 500)
    rows = {"sex": sex, "same": sex == "f", "noise": draw.permutation(sex), "half": np.tile(["x", "y"], 500)}
    found = found_in(comm, workspace, rows | {"many": np.arange(1000).astype(str)})["cramers_v"]
    assert found["columns"] == ["sex", "same", "noise", "half"]
    assert found["values"][0][1] == pytest.approx(1, abs=1e-12)
    assert found["values"][0][3] == 0  # evenly dealt
    assert found["values"][0][2] < 0.1


def test_mutual_information_is_the_entropy_of_what_tells_the_label(comm, workspace):
    label = pa.array(["a", "b", "c", "d"] * 250)
    rows = {
        "label": label,
        "tells": pa.array([1, 2, 3, 4] * 250),
        "half": pa.array([True, True, False, False] * 250),
        "nothing": pa.nulls(1000, pa.int64()),
        "number": np.tile([0.0, 250, 500, 750], 250) + np.arange(1000) / 1000,
        "name": np.arange(1000).astype(str),
    }
    found = found_in(comm, workspace, rows, label="label")["mutual_information"]
    expected = {"tells": 2.0, "half": 1.0, "nothing": 0.0, "number": 2.0, "name": None}
    assert found == {name: bits if bits is None else pytest.approx(bits, abs=1e-12) for name, bits in expected.items()}


@pytest.mark.parametrize("rows", [0, 1])
def test_tables_of_hardly_a_row_or_column_have_no_correlations(comm, workspace, rows):
    found = found_in(
        comm, workspace, {"a": np.zeros(rows), "b": np.ones(rows), "t": pa.array(["x"] * rows, pa.string())}
    )
    assert found["strongest"] == []
    assert found["pearson"]["values"] == [[None, None]] * 2
    assert found_in(comm, workspace, {"_line": [1, 2]})["spearman"]["values"] == []


@pytest.mark.parametrize(
    ("label", "told"), [("lable", "no column"), ("one", "1 different values"), ("many", "of many")]
)
def test_a_label_that_cannot_be_told_is_refused(comm, workspace, label, told):
    rows = {"one": ["x"] * 100, "many": [str(number) for number in range(100)]}
    with pytest.raises(InputError, match=told):
        found_in(comm, workspace, rows, label=label)
