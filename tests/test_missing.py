"""Filling empty cells against counts by hand, closed forms, brute force and data whose true cells are known."""

import datetime
import importlib.util
import math
import pathlib
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_tables import changes, rows_of, table_of, write_csv

from hvdedge import exact_sums, gaussian, neighbours, sampling, series
from hvdedge.cleaning import missing
from hvdedge.columns import value_counts
from hvdedge.coordinates import Coordinates, describe, rounded
from hvdedge.errors import InputError
from hvdedge.tables import Table

IN_A_TEST = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)


def hide(values: np.ndarray, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return float values with a share of them NaN, and where."""
    hidden = np.random.default_rng(seed).random(values.shape) < share
    return np.where(hidden, np.nan, values.astype(np.float64)), hidden


def number_table(workspace, values: np.ndarray, **more):
    columns = {f"c{number}": pa.array(column, from_pandas=True) for number, column in enumerate(values.T)}
    return table_of(workspace, 500, **columns, **more)


def numbers_of(table) -> np.ndarray:
    rows = table.to_arrow()
    return np.stack([rows[name].to_numpy() for name in rows.column_names if name.startswith("c")], axis=1)


def real_set(name: str) -> np.ndarray:
    """Return one of the data sets that scikit-learn ships, without importing it, which takes seconds."""
    folder = pathlib.Path(importlib.util.find_spec("sklearn").origin).parent / "datasets/data"
    if name == "diabetes":
        return np.loadtxt(folder / "diabetes_data_raw.csv.gz")
    skip = 0 if name == "digits" else 1
    return np.loadtxt(folder / f"{name}.csv{'.gz' if name == 'digits' else ''}", delimiter=",", skiprows=skip)[:, :-1]


def error(true: np.ndarray, found: np.ndarray, hidden: np.ndarray) -> float:
    """Return the mean over the columns of the root mean squared error of hidden cells in standard deviations."""
    std = true.std(axis=0)
    off = np.where(hidden, found - true, 0.0)
    able = (std > 0) & hidden.any(axis=0)
    return float((np.sqrt((off**2).sum(axis=0)[able] / hidden.sum(axis=0)[able]) / std[able]).mean())


# what is usual in a column


def test_numbers_get_the_lower_median_and_the_rest_the_most_frequent_value(comm, workspace):
    rows = {
        "whole": [4, None, 1, 2, 3],
        "real": [0.5, None, 1.5, None, math.nan],
        "word": ["b", "a", None, "a", "b"],
        "kind": pa.array(["u", None, "v", "v", None]).dictionary_encode(),
        "flag": [True, None, False, False, None],
        "name": ["p", None, "q", "r", "s"],
        "day": pa.array([1, None, 3, 4, 5], pa.int32()).cast(pa.date32()),
        "label": [1, None, 1, 1, 1],
        "empty": pa.array([None] * 5, pa.int64()),
    }
    table = missing.clean(table_of(workspace, 2, **rows), comm)
    assert rows_of(table, "whole") == [4, 2, 1, 2, 3]
    assert rows_of(table, "real") == [0.5, 0.5, 1.5, 0.5, 0.5]
    assert rows_of(table, "word") == ["b", "a", "a", "a", "b"]
    assert rows_of(table, "kind") == ["u", "v", "v", "v", "v"]
    assert rows_of(table, "flag") == [True, False, False, False, False]
    assert [rows_of(table, name)[1] for name in ("name", "day", "label", "empty")] == [None] * 4
    filled = {"whole": 1, "real": 3, "word": 1, "kind": 2, "flag": 2}
    found = workspace.metrics["missing"]
    assert found["filled"] == filled
    assert found["methods"] == {"whole": "median", "real": "median", "word": "mode", "kind": "mode", "flag": "mode"}
    assert found["left"].keys() == {"name", "day", "label", "empty"}
    assert found["left"]["empty"] == "no cell is known"
    assert Counter(change[1] for change in changes(workspace)) == filled
    assert (3, "whole", None, "2", "filled") in changes(workspace)
    assert table.schema == table_of(workspace, **rows).schema


def test_methods_may_be_chosen_and_columns_kept(comm, workspace):
    rows = {"x": [1, 1, None, 7], "y": [1, 1, None, 7], "label": [1, None, 3, 4]}
    found = {
        method: rows_of(missing.clean(table_of(workspace, **rows), comm, method=method, keep=("y",)))
        for method in ("median", "mean", "mode", "last", "linear", "drop")
    }
    assert {method: table[2] for method, table in found.items() if method != "drop"} == {
        "median": {"x": 1, "y": None, "label": 3},
        "mean": {"x": 3, "y": None, "label": 3},
        "mode": {"x": 1, "y": None, "label": 3},
        "last": {"x": 1, "y": None, "label": 3},
        "linear": {"x": 4, "y": None, "label": 3},
    }
    assert [row["x"] for row in found["drop"]] == [1, 7]
    assert workspace.metrics["missing"] == {"filled": {}, "rows_dropped": 2, "left": {"y": "kept"}}
    assert changes(workspace) == [(3, None, None, None, "dropped"), (4, None, None, None, "dropped")]


def test_what_extract_learns_is_neither_filled_nor_used_to_fill(comm, workspace):
    random = np.random.default_rng(3)
    bought = random.random(200)
    rows = {"bought": [None, *bought[1:]], "x": [*bought[:-1], None], "when": [*bought[:-1], None]}
    workspace = replace(
        workspace,
        learned={"bought": "extract.label", "wh*": "extract.targets", "of_another_file": "extract.by"},
        events=[],
    )
    table = missing.clean(table_of(workspace, 50, **rows), comm, method="regression")
    assert (rows_of(table, "bought")[0], rows_of(table, "when")[-1]) == (None, None)
    assert rows_of(table, "x")[-1] == pytest.approx(bought[:-1].mean(), abs=1e-3)  # nothing is left to tell it by
    assert workspace.metrics["missing"]["left"]["bought"] == "kept: it is what extract.label names"
    assert [(event["what"], event["action"]) for event in workspace.events] == [
        ("kept", "left 1 empty cells of 'bought', which extract.label names; to fill it, name it in columns"),
        ("kept", "left 1 empty cells of 'when', which extract.targets names; to fill it, name it in columns"),
    ]
    table = missing.clean(table_of(workspace, 50, **rows), comm, method="median", columns=("bought",), keep=())
    assert rows_of(table, "bought")[0] == np.sort(bought[1:])[99]


@IN_A_TEST
@given(values=st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=30))
def test_a_mean_is_the_exact_sum_rounded_once(comm, workspace, values):
    table = missing.clean(table_of(workspace, x=[*values, None]), comm, method="mean")
    assert rows_of(table, "x")[-1] == float(sum(map(Fraction, values)) / len(values))


@IN_A_TEST
@given(values=st.lists(st.floats(-1e150, 1e150), min_size=2, max_size=20))
def test_a_standard_deviation_is_that_of_fractions(comm, workspace, values):
    table = table_of(workspace, x=values)
    mean, std = exact_sums.moments(table, ["x"], np.array([min(values)]), np.array([max(values)]), comm)
    exact = sum(map(Fraction, values)) / len(values)
    variance = sum((Fraction(value) - exact) ** 2 for value in values) / len(values)
    assert mean[0] == float(exact)
    # each squared difference is rounded, of numbers that may nearly cancel out
    wide = max(values) - min(values)
    wanted = float((Decimal(variance.numerator) / Decimal(variance.denominator)).sqrt())  # a float would underflow
    assert std[0] == pytest.approx(wanted, rel=1e-12, abs=1e-12 * wide + 1e-15 * max(map(abs, values)))


@IN_A_TEST
@given(values=st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=1, max_size=30))
def test_a_mode_is_what_counter_says_and_the_smallest_of_equals(comm, workspace, values):
    counts = Counter(value for value in values if value is not None)
    table = missing.clean(table_of(workspace, x=pa.array(values, pa.string())), comm, method="mode")
    mode = min(counts, key=lambda value: (-counts[value], value), default=None)
    assert rows_of(table, "x") == [mode if value is None else value for value in values]


def test_fillings_are_judged_by_tolerance_and_what_was_right_before_is_not_asked_for(comm, workspace, tmp_path):
    rows = {
        "id": [*"abcdefgh"],
        "x": [None, None, 100, 50, 52, 0, 7, None],
        "t": ["u", "u", None, "u", None, "v", "v", "v"],
    }
    cells = [
        ("a", "x", "missing", "55"),  # filled with 50: right, 5 of 100 off
        ("b", "x", "out_of_range", "61"),  # filled with 50: wrong
        ("d", "x", "missing", "51"),  # holds 50: right before
        ("g", "x", "missing", "99"),  # holds 7: still wrong
        ("e", "x", "noise", "0"),  # of no kind that is filled
        ("h", "x", "text_number", "50"),  # could not be read: filled, right
        ("f", "x", "text_number", "0"),  # could be read
        ("c", "t", "ragged", "u"),  # filled with u or v: three each, the smaller is u: right
        ("z", "x", "missing", "1"),  # a record that is not there
    ]  # and e's t is filled, though nothing is known of it
    truth = write_csv(tmp_path / "cells.csv", "id,column,kind,value", cells)
    missing.clean(table_of(workspace, **rows), comm, truth=truth)
    found = workspace.metrics["missing"]
    assert found["filled"] == {"x": 3, "t": 2}
    assert (found["precision"], found["recall"]) == (3 / 5, 3 / 5)


def test_what_was_wanted_counts_also_where_a_method_leaves_the_column(comm, workspace, tmp_path):
    rows = {"id": [*"abcd"], "x": [None, None, 3, None], "t": ["u", None, "v", "w"]}
    cells = [("a", "x", "missing", "3"), ("b", "x", "missing", "3"), ("d", "x", "missing", "3")]
    truth = write_csv(tmp_path / "cells.csv", "id,column,kind,value", [*cells, ("b", "t", "missing", "u")])
    missing.clean(table_of(workspace, **rows), comm, method="last", columns=("x",), truth=truth)
    found = workspace.metrics["missing"]
    assert found["filled"] == {"x": 1}
    assert (found["precision"], found["recall"]) == (1.0, 1 / 4)


def test_ids_are_not_filled_by_auto_but_are_when_asked(comm, workspace):
    rows = {"name": ["p", "q", "r", None]}
    assert rows_of(missing.clean(table_of(workspace, **rows), comm), "name")[-1] is None
    assert rows_of(missing.clean(table_of(workspace, **rows), comm, method="mode"), "name")[-1] == "p"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"keep": ("labl",)}, "clean.missing.keep: received 'labl'"),
        ({"columns": ("z*",)}, r"clean.missing.columns: received 'z\*', .*allowed: x, t, d; name columns"),
        ({"columns": ("t",), "method": "mean"}, "received t, allowed for method = 'mean': x, d; leave it"),
        ({"columns": ("d",)}, "received d, allowed for method = 'auto': x, t; leave it"),
        ({"order": "x", "method": "knn"}, "received 'x' with method = 'knn', allowed with: last, linear, auto; leave"),
        ({"by": "z"}, "clean.missing.by: received 'z', allowed: x, t, d; name one of these"),
        ({"by": "t", "method": "drop"}, "clean.missing.by: received 't' with method = 'drop', allowed with: last"),
        ({"order": "t", "method": "last"}, "clean.missing.order: received 't', allowed: x, d; name one of these"),
        ({"order": "when", "method": "linear"}, "clean.missing.order: received 'when', allowed: x, d; name one"),
    ],
)
def test_options_that_fit_no_column_are_refused(options, line, comm, workspace):
    table = table_of(workspace, x=[1, 2], t=["a", "b"], d=pa.array([1, 2], pa.int32()).cast(pa.date32()))
    with pytest.raises(InputError, match=line):
        missing.clean(table, comm, **options)


@pytest.mark.parametrize("method", ["auto", "mean", "median", "mode", "knn", "regression", "last", "linear", "drop"])
def test_every_method_passes_a_table_without_rows_one_without_gaps_and_one_without_a_known_cell(
    method, comm, workspace
):
    for rows in ([], [1, 5, 2, 3], [None] * 40):
        table = table_of(workspace, x=pa.array(rows, pa.int64()), y=pa.array(range(len(rows)), pa.int64()))
        result = missing.clean(table, comm, method=method)
        is_dropped = method == "drop" and rows and rows[0] is None
        assert rows_of(result, "x") == ([] if is_dropped else rows)
        if not is_dropped:
            assert changes(workspace) == []
    if method != "drop":
        assert workspace.metrics["missing"]["left"] == {"x": "no cell is known"}


# regression


def test_a_gap_is_filled_by_the_closed_form_of_two_columns():
    covariance = np.array([[4.0, 3.0], [3.0, 9.0]])
    found = gaussian.Gaussian(np.array([1.0, 2.0]), covariance, 0.0)
    filled = found.fill(np.array([[2.0, np.nan], [np.nan, 5.0], [np.nan, np.nan], [7.0, 8.0]]))
    # to FLOOR, 1e-6, which is added to the variances
    assert filled == pytest.approx(np.array([[2, 2 + 3 / 4 * 1], [1 + 3 / 9 * 3, 5], [1, 2], [7, 8]]), abs=1e-5)


def test_without_gaps_the_distribution_is_mean_and_covariance(comm):
    rows = np.random.default_rng(0).normal(size=(300, 4)) @ np.array(
        [[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, -0.9], [0, 0, 0, 0.3]]
    )
    found = gaussian.fit(rows, comm)
    assert found.mean == pytest.approx(rows.mean(axis=0), abs=1 / gaussian.STEPS)
    assert found.covariance == pytest.approx(np.cov(rows.T, bias=True), abs=1e-3)  # cells are in steps of 1 / 8192


def brute_force_em(rows: np.ndarray, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance by the E and M steps as textbooks write them, row by row."""
    count, columns = rows.shape
    ridge = gaussian.RIDGE + gaussian.RIDGE_COLUMNS * columns / count
    mean, covariance = np.zeros(columns), np.eye(columns)
    for _ in range(rounds):
        regular = covariance + np.diag(ridge * np.diag(covariance) + gaussian.FLOOR)
        filled, spread = rows.copy(), np.zeros((columns, columns))
        for row in filled:
            gap = np.isnan(row)
            if not gap.any():
                continue
            slopes = regular[np.ix_(gap, ~gap)] @ np.linalg.inv(regular[np.ix_(~gap, ~gap)])
            row[gap] = mean[gap] + slopes @ (row[~gap] - mean[~gap])
            spread[np.ix_(gap, gap)] += covariance[np.ix_(gap, gap)] - slopes @ regular[np.ix_(~gap, gap)]
        mean = filled.mean(axis=0)
        covariance = (filled - mean).T @ (filled - mean) / count + spread / count
    return mean, covariance


def test_with_gaps_it_is_what_the_steps_give_row_by_row(comm):
    mix = np.random.default_rng(1).normal(size=(5, 5))
    rows, _ = hide(np.random.default_rng(0).normal(size=(200, 5)) @ mix / 2, 0.3)
    mean, covariance = brute_force_em(rows, 100)
    found = gaussian.fit(rows, comm)
    # it stops at changes below STILL, each about half of the one before
    assert found.mean == pytest.approx(mean, abs=4 * gaussian.STILL)
    assert found.covariance == pytest.approx(covariance, abs=4 * gaussian.STILL)


def test_a_sum_of_columns_is_found_again_where_any_of_them_is_missing(comm, workspace):
    draw = np.random.default_rng(0)
    rows = draw.normal(10, 3, size=(800, 3))
    rows = np.column_stack([rows, rows.sum(axis=1), rows[:, 0] - 2 * rows[:, 1]])
    gaps, hidden = hide(rows, 0.1)
    filled = numbers_of(missing.clean(number_table(workspace, gaps), comm, method="regression"))
    assert error(rows, filled, hidden) < 0.25  # cells of which two others of their sum are missing, too, stay open
    alone = hidden & (hidden.sum(axis=1) == 1)[:, None]
    assert error(rows, filled, alone) < 0.06  # the ridge leaves a bias of some percent


def test_more_columns_than_rows_are_no_trouble(comm, workspace):
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(40, 2)) @ draw.normal(size=(2, 90))
    gaps, hidden = hide(rows, 0.1)
    filled = numbers_of(missing.clean(number_table(workspace, gaps), comm, method="regression"))
    assert error(rows, filled, hidden) < 0.3


# neighbours


@IN_A_TEST
@given(data=st.data(), k=st.integers(1, 4))
def test_neighbours_are_those_of_brute_force_and_the_first_of_equally_near_ones(data, k):
    cells = st.integers(-3, 3)  # few values, so that many rows are equally near
    donors = np.array(data.draw(st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=40)), float)
    points = np.array(data.draw(st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=4)), float)
    values = donors.copy()
    values[:, 0] = np.arange(len(donors))
    values[data.draw(st.lists(st.integers(0, len(donors) - 1))), 1] = np.nan
    wanted = np.ones(points.shape, bool)
    found = neighbours.Neighbours(donors, values, np.array([0.25, 1.0]), k, 1000).fill(points, wanted)
    for point, row in zip(points, found, strict=True):
        apart = [(donors[i, 0] - point[0]) ** 2 / 4 + (donors[i, 1] - point[1]) ** 2 for i in range(len(donors))]
        order = sorted(range(len(donors)), key=lambda i: (apart[i], i))
        for column in range(2):
            near = [i for i in order[: neighbours.SEARCHED * k] if not np.isnan(values[i, column])][:k]
            weights = [1 / max(apart[i] / 2, neighbours.NEAREST) ** 2 for i in near]
            wanted = np.average(values[near, column], weights=weights) if near else np.nan
            assert row[column] == pytest.approx(wanted, nan_ok=True)


def test_a_curve_is_filled_by_neighbours_and_a_line_by_regression(comm, workspace):
    draw = np.random.default_rng(0)
    x = draw.uniform(-2, 2, 1500)
    rows = np.column_stack([x, x**2, draw.permutation(1500), 3 * x + draw.normal(0, 0.05, 1500)])
    gaps, hidden = hide(rows, 0.1)
    hidden[:, 0], gaps[:, 0] = False, x
    filled = numbers_of(missing.clean(number_table(workspace, gaps), comm))
    found = workspace.metrics["missing"]
    assert found["methods"]["c1"] == "knn"
    assert found["methods"]["c2"] in ("median", "regression")  # nothing tells it, and regression then says the mean
    assert found["errors"]["c1"]["knn"] < 0.3 < 0.9 < found["errors"]["c1"]["regression"]
    assert error(rows, filled, hidden[:, :1] | [[False, True, False, True]] & hidden) < 0.3
    near_middle = np.abs(filled[hidden[:, 2], 2] - 750)
    assert near_middle.max() < 200


# series


@IN_A_TEST
@given(values=st.lists(st.none() | st.integers(-9, 9), min_size=1, max_size=25))
def test_a_line_is_that_of_interp_and_the_last_value_that_of_a_loop(comm, values):
    column = np.array(values, float)[:, None]
    places = np.arange(len(values)) * 2.0
    line, last = (series.fill(places, column, is_line, comm)[:, 0] for is_line in (True, False))
    known = ~np.isnan(column[:, 0])
    if known.any():
        assert line == pytest.approx(np.interp(places, places[known], column[known, 0]))
    else:
        assert np.isnan(line).all()
    carried = math.nan
    for value, found in zip(column[:, 0], last, strict=True):
        carried = carried if math.isnan(value) else value
        assert found == carried or (math.isnan(found) and math.isnan(carried))


def test_gaps_are_filled_by_the_order_of_a_time_column(comm, workspace):
    rows = {
        "when": pa.array([30, 0, 20, None, 10, 40], pa.timestamp("s")),
        "x": [None, 0, None, None, 100, 400],
        "flag": [None, None, True, None, False, None],
        "kind": pa.array([None, "a", None, None, "b", None]).dictionary_encode(),
        "word": ["u", None, None, None, None, "v"],
        "day": pa.array([None, 1, None, None, None, 9], pa.int32()).cast(pa.date32()),
        "label": [1, None, None, None, None, None],
    }
    options = {"keep": ("label", "when"), "order": "when"}
    line = missing.clean(table_of(workspace, 2, **rows), comm, method="linear", columns=("x", "day"), **options)
    assert rows_of(line, "x") == [300, 0, 200, None, 100, 400]
    day = datetime.date(1970, 1, 2)
    assert rows_of(line, "day") == [
        day + datetime.timedelta(days) if days is not None else None for days in (6, 0, 4, None, 2, 8)
    ]
    last = missing.clean(table_of(workspace, 2, **rows), comm, method="last", **options)
    assert rows_of(last, "x") == [100, 0, 100, None, 100, 400]
    assert rows_of(last, "flag") == [True, None, True, None, False, True]
    assert rows_of(last, "kind") == ["b", "a", "b", None, "b", "b"]
    assert rows_of(last, "word") == ["u", None, None, None, None, "v"]
    left = workspace.metrics["missing"]["left"]
    assert left["word"] == "4 cells have no value before them, or none in 'when'"
    assert left["x"] == "1 cells have no value before them, or none in 'when'"
    assert last.schema == line.schema == table_of(workspace, **rows).schema


@pytest.mark.parametrize(("order", "method"), [("", "linear"), ("time", "linear"), ("", "auto"), ("time", "auto")])
def test_a_gap_is_filled_from_the_series_that_its_row_is_of(order, method, comm, workspace):
    draw = np.random.default_rng(0)
    time = np.repeat(np.arange(100), 3)
    sensor = np.tile(np.arange(3), 100)
    value = sensor * 100.0 + np.sin(time / 9)
    gaps = np.where(draw.random(300) < 0.1, np.nan, value)
    rows = draw.permutation(300) if order else np.arange(300)
    columns = {"time": time[rows], "sensor": np.array(["a", "b", "c"])[sensor[rows]], "value": gaps[rows]}
    table = table_of(workspace, **{name: pa.array(column, from_pandas=True) for name, column in columns.items()})
    found = missing.clean(table, comm, method=method, columns=("value",), order=order, by="sensor")
    assert np.abs(np.array(found.to_arrow()["value"]) - value[rows]).max() < 0.2
    assert workspace.metrics["missing"]["methods"]["value"] == "linear"


def test_auto_goes_by_the_columns_own_errors_and_a_few_outliers_do_not_decide(comm, workspace):
    draw = np.random.default_rng(0)
    count = draw.integers(1, 26, 1200).astype(float)
    count[:5] = 99999
    other = draw.normal(size=1200)
    columns = {"count": count, "x": other, "y": 3 * other + 0.1 * draw.normal(size=1200)}
    columns |= {"z": 2 * other + 0.1 * draw.normal(size=1200)}
    for name, values in columns.items():
        columns[name] = pa.array(np.where(draw.random(1200) < 0.1, np.nan, values), from_pandas=True)
    found = missing.clean(table_of(workspace, **columns), comm)
    assert workspace.metrics["missing"]["methods"]["x"] in ("regression", "knn", "blend")
    filled = np.array(found.to_arrow()["count"])[np.asarray(columns["count"].is_null())]
    assert filled.max() <= 25


def test_a_columns_own_clear_errors_are_not_overruled_by_those_of_others(comm, workspace):
    draw = np.random.default_rng(0)
    saw = (-1.0) ** np.arange(400)
    columns = {f"saw{number}": saw + 0.1 * draw.normal(size=400) for number in range(5)}
    columns["slow"] = np.sin(np.arange(400) / 40) + 0.3 * draw.normal(size=400)
    share = dict.fromkeys(columns, 0.02) | {"slow": 0.01}
    gaps = {name: pa.array(values, mask=draw.random(400) < share[name]) for name, values in columns.items()}
    missing.clean(table_of(workspace, **gaps), comm)
    found = workspace.metrics["missing"]
    assert found["errors"]["slow"]["linear"] < 0.7 * found["errors"]["slow"]["regression"]
    assert found["methods"]["slow"] == "linear"
    assert found["errors"]["saw0"]["linear"] > 1.8  # a line goes to the other side


@pytest.mark.parametrize("method", ["regression", "linear"])
def test_nothing_is_filled_where_only_outliers_are(method, comm, workspace):
    draw = np.random.default_rng(0)
    count = draw.integers(1, 60, 1200).astype(float)
    other = count + draw.normal(size=1200)
    count[::300] = other[::300] = 99999
    other[::7] += 5000  # the rest of these rows is far out, too
    rows = np.arange(1200)
    count = pa.array(count, mask=((rows % 7 == 0) & (rows % 300 > 0)) | (rows % 300 == 1))
    found = missing.clean(table_of(workspace, count=count, other=other), comm, method=method).to_arrow()
    assert max(found["count"].filter(count.is_null()).to_pylist()) <= 59


@pytest.mark.parametrize("method", ["regression", "linear"])
def test_numbers_of_few_values_and_of_few_decimals_get_such_ones(method, comm, workspace):
    draw = np.random.default_rng(0)
    base = draw.normal(size=600)
    rate = np.array([0, 2.5, 5, 10])[np.digitize(base, [-1, 0, 1])]
    price = np.round(base * 100, 2)
    columns = {"base": base, "rate": rate, "price": price}
    for name in ("rate", "price"):
        columns[name] = pa.array(np.where(draw.random(600) < 0.1, np.nan, columns[name]), from_pandas=True)
    found = missing.clean(table_of(workspace, **columns), comm, method=method).to_arrow()
    assert set(found["rate"].to_pylist()) <= {0, 2.5, 5, 10}
    assert all(round(value, 2) == value for value in found["price"].to_pylist())


def test_auto_leaves_empty_what_it_would_nearly_always_get_wrong(comm, workspace):
    draw = np.random.default_rng(0)
    names = [f"n{number}" if number < 40 else None for number in draw.integers(0, 44, 500)]
    table = table_of(workspace, name=names, x=draw.normal(size=500).tolist())
    assert rows_of(missing.clean(table, comm)) == rows_of(table)
    assert "least_right = 0.1" in workspace.metrics["missing"]["left"]["name"]
    found = missing.clean(table_of(workspace, name=names, x=[1.0] * 500), comm, least_right=0.0)
    assert found.to_arrow()["name"].null_count == 0


@pytest.mark.parametrize("method", ["auto", "mean", "mode", "knn", "regression", "last", "linear"])
def test_a_column_that_a_file_does_not_have_stays_empty_in_its_rows(method, comm, workspace):
    draw = np.random.default_rng(0)
    price = [None if row % 7 == 3 else float(row) for row in range(100)] + [None] * 50
    size = [None] * 100 + [None if row % 7 == 3 else float(row % 5) for row in range(50)]
    columns = {"price": price, "size": size, "x": draw.normal(size=150).tolist()}
    rows = pa.table({**columns, "_file": ["a"] * 100 + ["b"] * 50, "_line": range(150)})
    found = missing.clean(
        Table.from_batches(rows.schema, rows.to_batches(40), workspace), comm, method=method
    ).to_arrow()
    assert found["price"].is_valid().to_pylist() == [True] * 100 + [False] * 50
    assert found["size"].is_valid().to_pylist() == [False] * 100 + [True] * 50
    assert workspace.metrics["missing"]["left"]["price"].startswith("50 cells of b")
    assert [event["what"] for event in workspace.events] == ["columns_of_other_files"]


def of_files(workspace, rows, **columns):
    """A table of which each file has so many rows."""
    files = [f"f{number}" for number, count in enumerate(rows) for _ in range(count)]
    table = pa.table({**columns, "_file": files, "_line": range(len(files))})
    return Table.from_batches(table.schema, table.to_batches(40), workspace)


def test_rows_are_not_dropped_for_columns_that_their_file_does_not_have(comm, workspace):
    table = of_files(workspace, (8, 9), price=[None, *range(7), *[None] * 9], size=[*[None] * 8, *range(8), None])
    assert rows_of(missing.clean(table, comm, method="drop"), "_line") == [*range(1, 16)]
    assert workspace.metrics["missing"]["rows_dropped"] == 2
    assert workspace.metrics["missing"]["left"] == {
        "price": "9 cells of f1, where no cell of the column is known",
        "size": "8 cells of f0, where no cell of the column is known",
    }


def test_an_empty_cell_is_filled_where_each_file_is_a_row_or_empty_cells_are_common(comm, workspace):
    values = [None if row % 5 == 2 else row for row in range(60)]
    single = missing.clean(of_files(workspace, [1] * 60, x=values), comm, method="median")
    assert None not in rows_of(single, "x")
    common = [row if row % 6 in (0, 3) else None for row in range(60)] + [None, None]
    assert None not in rows_of(missing.clean(of_files(workspace, [60, 2], x=common), comm, method="median"), "x")
    assert not workspace.events


def test_more_files_than_can_be_looked_at_are_filled_alike(comm, workspace, monkeypatch):
    monkeypatch.setattr(missing, "MOST_FILE_CELLS", 2)
    table = of_files(workspace, (30, 30), x=[1.0] * 29 + [None] * 31, y=[None] + [2.0] * 59)
    assert None not in rows_of(missing.clean(table, comm, method="median"), "x")
    assert [event["what"] for event in workspace.events] == ["many_files"]


def test_all_reasons_why_cells_stay_empty_are_told(comm, workspace):
    names = [f"n{row}" for row in range(40)] + [None] * 60
    missing.clean(of_files(workspace, (50, 50), name=names, x=range(100)), comm)
    assert workspace.metrics["missing"]["left"]["name"] == (
        "50 cells of f1, where no cell of the column is known; nearly all cells are different: no value stands for them"
    )


def test_auto_takes_the_line_for_a_smooth_series_with_small_gaps_and_other_columns_for_outages(comm, workspace):
    time = np.arange(3000)
    draw = np.random.default_rng(0)
    smooth = np.cumsum(draw.normal(size=3000))
    sensors = np.stack([smooth + draw.normal(0, 0.3, 3000) for _ in range(3)], axis=1)
    gaps, _ = hide(np.column_stack([np.sin(time / 50), sensors]), 0.1)
    missing.clean(number_table(workspace, gaps), comm, columns=("c0",))
    assert workspace.metrics["missing"]["methods"] == {"c0": "linear"}
    outage = sensors.copy()
    for start in draw.choice(2700, 6, replace=False):
        outage[start : start + 150, 0] = np.nan
    missing.clean(number_table(workspace, outage), comm)
    errors = workspace.metrics["missing"]["errors"]["c0"]
    assert workspace.metrics["missing"]["methods"]["c0"] in ("regression", "knn", "blend")
    assert errors["linear"] > 3 * errors["regression"]


# choosing


def test_cells_that_are_hidden_are_known_and_hidden_together_as_they_are_missing_together(comm):
    draw = np.random.default_rng(0)
    gaps = np.zeros((2000, 4), bool)
    both = draw.choice(2000, 150, replace=False)
    gaps[both[:, None], [0, 1]] = True
    gaps[draw.choice(2000, 40, replace=False), 3] = True
    held = sampling.held_out(gaps, comm, 5)
    assert not (held & gaps).any()
    assert not held[:, 2].any()
    assert held[:, :2].sum(axis=0) == pytest.approx(200, abs=120)
    assert held[:, 3].sum() >= 100  # moved several times
    clear = ~gaps.any(axis=1) & held[:, :2].any(axis=1)
    assert (held[clear, 0] == held[clear, 1]).mean() > 0.9


def test_a_row_full_of_gaps_is_not_made_much_poorer(comm):
    gaps = np.random.default_rng(0).random((1000, 20)) < 0.3
    held = sampling.held_out(gaps, comm, 0)
    assert held.sum(axis=0).min() > 30
    many = gaps.sum(axis=1) >= 8
    assert held[many].sum(axis=1).max() <= 8
    assert (gaps | held).sum(axis=1).mean() < gaps.sum(axis=1).mean() + 2.5


def test_random_numbers_are_even_and_follow_seed_and_row(comm):
    found = sampling.uniform(3, np.arange(100_000))
    assert np.histogram(found, 10, (0, 1))[0] == pytest.approx(10_000, abs=500)  # five standard deviations
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.02
    assert (sampling.uniform(3, np.array([77])) == found[77]).all()
    assert (sampling.uniform(4, np.arange(100)) != found[:100]).all()


def test_categories_are_filled_by_what_goes_with_them(comm, workspace):
    draw = np.random.default_rng(0)
    town = draw.integers(0, 4, 900)
    names = np.array(["Ulm", "Jena", "Bonn", "Kiel"])
    size = town * 10 + draw.normal(0, 1, 900)
    is_known = draw.random(900) > 0.2
    rows = {
        "town": pa.array(np.where(is_known, names[town], None), pa.string()),
        "kind": pa.array(np.where(draw.random(900) > 0.2, names[town], None), pa.string()).dictionary_encode(),
        "north": pa.array(np.where(draw.random(900) > 0.2, town >= 2, None), pa.bool_()),
        "noise": pa.array(np.where(draw.random(900) > 0.2, draw.choice([*"aab"], 900), None), pa.string()),
        "size": size,
    }
    for method in ("regression", "knn", "auto"):
        table = missing.clean(table_of(workspace, 100, **rows), comm, method=method)
        assert np.mean(np.array(rows_of(table, "town")) == names[town]) > 0.98
        assert np.mean(np.array(rows_of(table, "kind")) == names[town]) > 0.98
        assert np.mean(np.array(rows_of(table, "north")) == (town >= 2)) > 0.98
        assert table.schema == table_of(workspace, **rows).schema
    found = workspace.metrics["missing"]
    assert found["methods"]["town"] != "mode"
    assert found["errors"]["town"]["mode"] > 0.6 > 0.1 > found["errors"]["town"]["regression"]
    assert found["errors"]["noise"][found["methods"]["noise"]] <= found["errors"]["noise"]["mode"]


def test_cells_stay_of_their_type_and_within_their_columns_range(comm, workspace):
    draw = np.random.default_rng(0)
    base = draw.exponential(size=500)

    def gaps(values):
        return [None if hidden else value for value, hidden in zip(values, draw.random(500) < 0.2, strict=True)]

    rows = {
        "small": pa.array(gaps((base * 20).astype(int).clip(0, 100).tolist()), pa.int8()),
        "large": pa.array(gaps([2**62 + int(value * 2**60) for value in base.clip(0, 3)]), pa.int64()),
        "real": pa.array(gaps(base.tolist()), pa.float32()),
        "when": pa.array(gaps([int(value * 10**6) for value in base]), pa.timestamp("ms")),
        "day": pa.array(gaps([int(value * 1000) for value in base]), pa.int32()).cast(pa.date32()),
        "clock": pa.array(gaps([int(value * 1000) for value in base]), pa.time32("s")),
        "whole": base.tolist(),
    }
    for method in ("regression", "knn", "auto", "linear"):
        table = missing.clean(table_of(workspace, 100, **rows), comm, method=method)
        assert table.schema == table_of(workspace, **rows).schema
        for name, cells in rows.items():
            if name in ("when", "day", "clock") and method == "auto":
                assert None in rows_of(table, name)
                continue
            known = [cell for cell in (cells.to_pylist() if name != "whole" else cells) if cell is not None]
            found = rows_of(table, name)
            assert min(known) == min(found)
            assert max(known) == max(found)
    assert "day" not in workspace.metrics["missing"]["left"]


def test_numbers_are_told_to_no_more_digits_than_make_sense(comm, workspace):
    rows = np.random.default_rng(0).normal(size=(200, 1)) @ np.array([[1.0, 3.0, -2.0]]) / 7
    gaps, hidden = hide(rows, 0.2)
    filled = numbers_of(missing.clean(number_table(workspace, gaps), comm, method="regression"))
    assert (filled[hidden] == np.round(filled[hidden], 7)).all()


def test_kept_columns_say_nothing_about_others(comm, workspace):
    draw = np.random.default_rng(0)
    label = draw.integers(0, 3, 600)
    gaps, _ = hide(np.column_stack([label * 5 + draw.normal(size=600), draw.normal(size=600)]), 0.2)
    with_label = numbers_of(missing.clean(number_table(workspace, gaps, label=label), comm))
    without = numbers_of(missing.clean(number_table(workspace, gaps), comm))
    assert (with_label == without).all()
    told = numbers_of(missing.clean(number_table(workspace, gaps, other=label), comm))
    assert (told != without).any()


def test_a_table_too_wide_for_one_model_is_modelled_in_groups_of_related_columns(comm, workspace, monkeypatch):
    draw = np.random.default_rng(0)
    causes = draw.normal(size=(300, 5))
    order = draw.permutation(60)
    rows = (causes[:, order % 5] + 0.1 * draw.normal(size=(300, 60))) * 3
    gaps, hidden = hide(rows, 0.1)
    monkeypatch.setattr("hvdedge.imputation.WIDTH", 24)
    filled = numbers_of(missing.clean(number_table(workspace, gaps), comm, method="regression"))
    assert error(rows, filled, hidden) < 0.2
    assert workspace.metrics["missing"]["groups"] == 5  # one a cause: those most correlated with its first column
    monkeypatch.setattr("hvdedge.imputation.MOST_PAIRED", 30)
    filled = numbers_of(missing.clean(number_table(workspace, gaps), comm, method="regression"))
    assert error(rows, filled, hidden) < 0.3  # neighbouring columns, of which each cause has some
    assert 5 <= workspace.metrics["missing"]["groups"] <= 10


def test_a_large_table_is_learnt_from_a_sample_and_filled_as_a_whole(comm, workspace, monkeypatch):
    draw = np.random.default_rng(0)
    causes = draw.normal(size=(20_000, 2))
    rows = causes @ np.array([[1, 2, 0, 1, -1], [0, 1, 1, -1, 3.0]])
    gaps, hidden = hide(rows, 0.1)
    monkeypatch.setattr("hvdedge.imputation.MOST_ROWS", 2000)
    filled = numbers_of(missing.clean(number_table(workspace, gaps), comm))
    found = workspace.metrics["missing"]
    assert found["rows_looked_at"] == pytest.approx(2000, abs=600)
    assert sum(found["filled"].values()) == hidden.sum()
    assert error(rows, filled, hidden) < 0.25


@pytest.mark.parametrize(
    ("name", "most"), [("wine_data", 0.80), ("diabetes", 0.78), ("breast_cancer", 0.43), ("digits", 0.62)]
)
def test_real_sets_with_30_percent_of_the_cells_hidden_get_them_back(name, most, comm, workspace):
    rows = real_set(name)
    gaps, hidden = hide(rows, 0.3)
    filled = numbers_of(missing.clean(number_table(workspace, gaps), comm))
    assert not np.isnan(filled).any()
    assert (filled[~hidden] == rows[~hidden]).all()
    assert error(rows, filled, hidden) <= most


def test_the_same_seed_gives_the_same_cells_and_another_one_similar_ones(comm, workspace):
    gaps, hidden = hide(real_set("wine_data"), 0.2)
    found = [numbers_of(missing.clean(number_table(workspace, gaps), comm, seed=seed)) for seed in (1, 1, 2)]
    assert (found[0] == found[1]).all()
    assert 0 < error(found[0], found[2], hidden) < 0.5


COLUMNS = {
    "whole": (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)),
    "real": (pa.float64(), st.floats() | st.sampled_from([0.0, 1.0])),
    "exact": (pa.decimal128(9, 2), st.decimals(-99, 99, places=2)),
    "flag": (pa.bool_(), st.booleans()),
    "word": (pa.string(), st.sampled_from(["a", "b", "", "ü"])),
    "day": (pa.date32(), st.dates(datetime.date(1, 1, 1))),
    "when": (pa.timestamp("us"), st.datetimes()),
    "clock": (pa.time64("us"), st.times()),
    "nothing": (pa.null(), st.none()),
    "list": (pa.list_(pa.int64()), st.lists(st.integers(0, 3), max_size=2)),
}


def shown(table, name: str) -> list[str]:
    return ["None" if cell is None or str(cell) == "nan" else str(cell) for cell in rows_of(table, name)]


@settings(IN_A_TEST, max_examples=60)
@given(
    data=st.data(), method=st.sampled_from(["auto", "knn", "regression", "last", "linear", "mean", "median", "mode"])
)
def test_whatever_the_table_known_cells_stay_and_all_else_is_filled_or_said_to_be_left(comm, workspace, data, method):
    count = data.draw(st.sampled_from([1, 2, 5, 40]))
    names = data.draw(st.lists(st.sampled_from([*COLUMNS]), min_size=1, max_size=6, unique=True))
    rows = {}
    for name in names:
        type, cells = COLUMNS[name]
        few = data.draw(st.lists(cells | st.none(), min_size=1, max_size=5))
        rows[name] = pa.array([few[i] for i in data.draw(st.lists(st.integers(0, len(few) - 1), min_size=count,
                                                                   max_size=count))], type)  # fmt: skip
    table = table_of(workspace, 7, **rows)
    result = missing.clean(table, comm, method=method, keep=())
    found = workspace.metrics["missing"]
    assert result.schema == table.schema
    filled = dict.fromkeys(found["filled"], 0)
    for name in names:
        before, after = shown(table, name), shown(result, name)
        for was, now in zip(before, after, strict=True):
            if was != "None":
                assert now == was
            elif now == "None":
                assert name in found["left"]
            else:
                filled[name] += 1
    assert filled == found["filled"]
    assert Counter(change[1] for change in changes(workspace)) == Counter(filled)


# coordinates


def test_columns_of_all_kinds_become_numbers_and_come_back(comm, workspace):
    rows = {
        "size": [1.0, 3.0, None, 8.0],
        "town": pa.array(["Ulm", None, "Ulm", "Bonn"]).dictionary_encode(),
        "flag": [True, False, False, None],
        "same": [5, 5, None, 5],
        "day": pa.array([10, 20, 30, None], pa.int32()).cast(pa.date32()),
    }
    table = table_of(workspace, 2, **rows)
    texts = value_counts(table, ["town", "flag"], 10, comm)
    columns = describe(table, [*rows], texts, comm)
    assert [*columns] == ["size", "town", "flag", "day"]  # a column of one value says nothing
    coordinates = Coordinates(columns.values())
    assert {name: (place.start, place.stop) for name, place in coordinates.places.items()} == {
        **{"size": (0, 1), "town": (1, 3), "flag": (3, 5), "day": (5, 6)},
    }
    found = np.concatenate([coordinates.encode(batch) for batch in table.batches()])
    std = np.std([1, 3, 8])
    assert found[:, 0] == pytest.approx([-3 / std, -1 / std, np.nan, 4 / std], nan_ok=True)
    third = 1 / 3
    assert found[:, 1:3] == pytest.approx(
        np.array([[third, -third], [np.nan, np.nan], [third, -third], [-2 * third, 2 * third]]), nan_ok=True
    )
    assert np.isnan(found[3, 3:5]).all()
    for name in columns:
        cells = columns[name].decode(np.nan_to_num(found[:, coordinates.places[name]])).to_pylist()
        known = rows_of(table, name)
        assert [cell for cell, true in zip(cells, known, strict=True) if true is not None] == [
            cell for cell in known if cell is not None
        ]
    usual = {name: column.decode(column.usual[None]).to_pylist()[0] for name, column in columns.items()}
    assert usual == {"size": 3.0, "town": "Ulm", "flag": False, "day": datetime.date(1970, 1, 21)}


def test_two_categories_are_as_far_apart_as_two_numbers_are_on_average(comm, workspace):
    draw = np.random.default_rng(0)
    rows = {"x": draw.normal(size=1000), "t": draw.choice([*"abc"], 1000)}
    table = table_of(workspace, 1000, **rows)
    columns = describe(table, ["x", "t"], value_counts(table, ["t"], 10, comm), comm)
    found = Coordinates(columns.values()).encode(next(table.batches()))
    assert ((found[:500, 0] - found[500:, 0]) ** 2).mean() == pytest.approx(2, rel=0.2)
    apart = ((found[:500, 1:] - found[500:, 1:]) ** 2).sum(axis=1)
    assert np.round(apart, 9).tolist() == np.where(rows["t"][:500] == rows["t"][500:], 0.0, 2.0).tolist()


@pytest.mark.parametrize(
    ("value", "std", "wanted"),
    [(1 / 3, 1.0, 0.333333), (1e9 / 3, 1e9, 333333000.0), (1 / 3, 1e-3, 0.333333333), (1e300 / 3, 1e300, None)],
)
def test_a_number_is_rounded_to_a_millionth_of_its_spread(value, std, wanted):
    found = rounded(np.array([value]), std)[0]
    assert found == (wanted if wanted is not None else pytest.approx(value, rel=1e-5))


def test_sizes_of_systems_are_few_and_hold_all_gaps():
    sizes = gaussian._widths(64)
    assert (sizes >= np.arange(65)).all()
    assert sizes[0] == 0
    assert sizes[64] == 64
    assert (sizes[1:] <= np.ceil(1.25 * np.arange(1, 65)) + 1).all()
    assert len({*sizes.tolist()}) < 22


def test_a_clean_table_judges_what_was_filled(comm, workspace, tmp_path):
    """Six cells are empty: x gets 2 twice, right once; word gets "a" twice, right once; one has no true value."""
    rows = {"x": [1, None, 2, 3, None, 2], "word": ["a", "a", None, "b", "a", None], "none": [1, 1, 1, 1, 1, None]}
    true = {"x": [1, 2, 2, 3, 900, 2], "word": ["a", "a", "a", "b", "a", "b"], "none": [1, 1, 1, 1, 1, ""]}
    truth = write_csv(tmp_path / "truth.csv", ",".join(true), zip(*true.values(), strict=True))
    missing.clean(table_of(workspace, 2, **rows), comm, truth=truth, columns=("x", "word"))
    found = workspace.metrics["missing"]
    assert found["filled"] == {"x": 2, "word": 2}
    assert [found[rate] for rate in ("precision", "recall", "f1")] == [2 / 4, 2 / 4, 2 / 4]
    missing.clean(table_of(workspace, 2, **rows), comm, truth=truth)  # of the last column's cell it tells nothing
    assert workspace.metrics["missing"]["precision"] == 2 / 4


def test_an_outlier_in_the_table_does_not_widen_what_is_right(comm, workspace, tmp_path):
    truth = write_csv(tmp_path / "truth.csv", "x,n", [(value, 0) for value in (1, 2, 3, 4)])
    missing.clean(table_of(workspace, x=[1, 2, None, 1000], n=[0] * 4), comm, method="median", truth=truth)
    assert workspace.metrics["missing"]["precision"] == 0  # 2 for 3, in a range of 3


def test_rows_are_not_dropped_for_what_is_learnt(comm, workspace):
    workspace = replace(workspace, learned={"y": "extract.label"}, events=[])
    table = missing.clean(table_of(workspace, x=[1, None, 3], y=[1, 2, None]), comm, method="drop")
    assert rows_of(table, "x") == [1, 3]
    assert workspace.metrics["missing"]["left"] == {"y": "kept: it is what extract.label names"}
    assert workspace.events[0]["what"] == "kept"
