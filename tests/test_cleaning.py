"""Cleaners against brute force, counts by hand and the known trouble of the digits."""

import csv
import itertools
import math
import random
from collections import Counter
from fractions import Fraction

import digit_rows
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Indel

from hvdedge import methods
from hvdedge.cleaning import duplicates, errors, missing
from hvdedge.errors import InputError, RankError
from hvdedge.tables import Table

IN_A_TEST = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)


def table_of(workspace, batch_rows: int = 4, **columns) -> Table:
    count = len(next(iter(columns.values())))
    rows = pa.table({**columns, "_file": pa.array(["a.csv"] * count, pa.string()), "_line": np.arange(count) + 2})
    workspace.changes.clear()
    return Table.from_batches(rows.schema, rows.to_batches(batch_rows), workspace)


def rows_of(table: Table, *names: str) -> list:
    rows = table.to_arrow().select(names or table.columns).to_pylist()
    return [row[names[0]] if len(names) == 1 else row for row in rows]


def changes(workspace) -> list[tuple]:
    return [
        tuple(row.values())[1:] for batch in workspace.changes for row in batch.to_pylist()
    ]  # line, column, before, after, rule


def write_csv(path, header: str, rows) -> str:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return str(path)


@pytest.mark.parametrize("name", methods.names("cleaning"))
def test_every_cleaner_passes_a_table_without_rows_and_one_without_trouble(name, comm, workspace):
    clean = methods.find("cleaning", name, "clean").load()
    for rows in (pa.array([], pa.int64()), pa.array([1, 5, 2, 3], pa.int64())):
        table = table_of(workspace, x=rows)
        assert rows_of(clean(table, comm), "x") == rows.to_pylist()
        assert changes(workspace) == []


@pytest.mark.parametrize("name", methods.names("cleaning"))
def test_the_truth_judges_and_changes_nothing(name, comm, workspace, tmp_path):
    rows = digit_rows.make(tmp_path, originals=600, copies=40)
    clean = methods.find("cleaning", name, "clean").load()
    truth = tmp_path / ("duplicates.csv" if name == "duplicates" else "cells.csv")
    options = {"id": "scan"} if name == "duplicates" else {}
    found = []
    for judged in ({}, {"truth": str(truth)}):
        workspace.changes.clear()
        table = clean(digit_rows.deal(rows, comm, workspace), comm, **options, **judged)
        found.append((rows_of(table), changes(workspace)))
        metrics = workspace.metrics[name]
        assert ({"precision", "recall", "f1"} <= metrics.keys()) == bool(judged)
    assert found[0] == found[1]
    assert found[0][1]


def test_digits_get_back_their_errors_duplicates_and_empty_cells(comm, workspace, tmp_path):
    rows = digit_rows.make(tmp_path)
    table = digit_rows.deal(rows, comm, workspace)
    table = errors.clean(table, comm, truth=str(tmp_path / "cells.csv"))
    truth = str(tmp_path / "duplicates.csv")
    table = duplicates.clean(table, comm, id="scan", threshold=0.95, truth=truth)
    table = missing.clean(table, comm, truth=str(tmp_path / "cells.csv"))
    found = workspace.metrics
    with open(tmp_path / "cells.csv", encoding="utf-8") as file:
        wrong = sum(row["kind"] == "out_of_range" for row in csv.DictReader(file))
    assert found["errors"]["changed"] == wrong
    assert found["errors"]["f1"] == 1.0
    assert found["duplicates"]["f1"] >= 0.98
    assert table.num_rows == len(rows) - found["duplicates"]["rows_merged"]
    pixels = table.to_arrow().select(digit_rows.PIXELS)
    assert all(column.null_count == 0 for column in pixels.columns)
    assert found["missing"]["precision"] > 0.4  # a median fill knows nothing of the image
    assert table.to_arrow()["label"].null_count > 0


# errors


def test_a_number_far_out_is_emptied_and_logged_and_the_rest_is_left(comm, workspace):
    values = np.random.default_rng(0).normal(size=2000).round(2).tolist()
    values[7], values[500] = 1000.0, -1000.0
    table = errors.clean(table_of(workspace, 300, x=values, y=[*range(2000)]), comm)
    assert rows_of(table, "x") == [None if abs(value) == 1000 else value for value in values]
    assert rows_of(table, "y") == [*range(2000)]
    assert changes(workspace) == [
        (9, "x", "1000", None, "out_of_range"),
        (502, "x", "-1000", None, "out_of_range"),
    ]
    assert workspace.metrics["errors"] == {"changed": 2, "columns": {"x": 2}}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["lognormal", "exponential", "pareto", "normal", "zeros", "flags", "counts", "codes"])
def test_an_ordinary_skewed_column_is_left_alone(name, seed, comm, workspace):
    draw = np.random.default_rng(seed)
    values = {
        "lognormal": lambda: draw.lognormal(sigma=2, size=3000),
        "exponential": lambda: draw.exponential(size=3000),
        "pareto": lambda: draw.pareto(1, size=3000),
        "normal": lambda: draw.normal(size=3000),
        "zeros": lambda: np.where(draw.random(3000) < 0.97, 0, draw.lognormal(sigma=2, size=3000)),
        "flags": lambda: (draw.random(3000) < 0.002).astype(np.int64),
        "counts": lambda: draw.poisson(0.5, 3000),
        "codes": lambda: np.arange(3000) * 1000,
    }[name]()
    assert rows_of(errors.clean(table_of(workspace, 1000, x=values), comm), "x") == values.tolist()


def test_too_few_numbers_are_not_judged(comm, workspace):
    errors.clean(table_of(workspace, 100, x=[*range(1900), 10**9]), comm)
    assert changes(workspace) == []


def test_cells_of_an_array_are_judged_together(comm, workspace):
    """p0 is constant, so that alone nothing can be said about it; as one of ten pixels it can."""
    draw = np.random.default_rng(0)
    pixels = {f"p{number}": draw.integers(0, 17, 600) for number in range(10)}
    pixels["p0"] = np.where(np.arange(600) == 5, 99, 0)
    table = table_of(workspace, 300, **pixels)
    assert rows_of(errors.clean(table, comm), "p0")[5] is None
    assert len(changes(workspace)) == 1
    workspace.changes.clear()
    assert rows_of(errors.clean(table, comm, pool=False), "p0")[5] == 99


def test_a_column_of_another_scale_is_not_judged_by_the_others(comm, workspace):
    draw = np.random.default_rng(0)
    columns = {f"column_{number}": draw.random(600) for number in range(200)}
    columns["column_7"] = draw.integers(1_000_000, 2_000_000, 600)
    errors.clean(table_of(workspace, 300, **columns), comm)
    assert changes(workspace) == []


def test_only_the_columns_asked_for_are_judged(comm, workspace):
    values = [*range(2000), 10**6]
    table = errors.clean(table_of(workspace, 100, ab=values, ac=values, b=values), comm, columns=("a*",))
    assert [rows_of(table, name)[-1] for name in ("ab", "ac", "b")] == [None, None, 10**6]


@pytest.mark.parametrize(
    ("clean", "options", "line"),
    [
        (errors.clean, {"columns": ("z*",)}, r"clean.errors.columns: received 'z\*', .*allowed: x, t; name columns"),
        (errors.clean, {"columns": ("t",)}, "clean.errors.columns: received t, allowed: columns of numbers: x; leave"),
        (errors.clean, {"tail": 0.5}, "clean.errors.tail: received 0.5, allowed: 0 to below 0.5"),
        (duplicates.clean, {"id": "idd"}, "clean.duplicates.id: received 'idd', .*allowed: x, t; name one"),
        (missing.clean, {"keep": ("labl",)}, "clean.missing.keep: received 'labl'"),
        (missing.clean, {"columns": ("t",), "method": "mean"}, "received t, allowed for method = 'mean': x; leave it"),
    ],
)
def test_options_that_fit_no_column_are_refused(clean, options, line, comm, workspace):
    with pytest.raises(InputError, match=line):
        clean(table_of(workspace, x=[1, 2], t=["a", "b"]), comm, **options)


@pytest.mark.parametrize("name", methods.names("cleaning"))
@pytest.mark.parametrize("content", [None, "", "id\n1\n", "who,column,kind,value\n1,x,missing,2\n", "id,c\n\xff,"])
def test_a_truth_that_cannot_be_used_is_one_line(name, content, comm, workspace, tmp_path):
    path = tmp_path / "truth.csv"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    options = {"id": "id"} if name == "duplicates" else {}
    clean = methods.find("cleaning", name, "clean").load()
    if name == "duplicates" and content and content.startswith("who"):
        return  # two columns are all that duplicates ask for, whatever they are called
    with pytest.raises(RankError) as caught:
        clean(table_of(workspace, id=["1", "2"], x=[1, 2]), comm, truth=str(path), **options)
    assert caught.value.is_input
    assert "\n" not in caught.value.cause
    assert "received" in caught.value.cause


# duplicates


def alike(a: dict, b: dict, rows: list[dict], array: list[str]) -> float:
    """Return the similarity as the module's docstring has it, in plain Python; -1 where too little is common."""
    total = weight = everything = 0.0
    for name in ("number", "text", "flag"):
        values = [row[name] for row in rows if row[name] is not None]
        if len({*values}) < 2:
            continue
        everything += 1
        if a[name] is None or b[name] is None:
            continue
        weight += 1
        if name == "text":
            total += Indel.normalized_similarity(a[name], b[name])
        else:
            total += 1 - abs(a[name] - b[name]) / (max(values) - min(values))
    cells = [row[name] for row in rows for name in array if row[name] is not None]
    varied = [name for name in array if len({row[name] for row in rows} - {None}) > 1]
    if varied:
        everything += math.sqrt(len(array))
        both = [name for name in array if a[name] is not None and b[name] is not None]
        if 2 * len(both) >= len(array):
            low = min(cells)
            least = sum(min(a[name], b[name]) - low for name in both)
            most = sum(max(a[name], b[name]) - low for name in both)
            weight += math.sqrt(len(array))
            total += math.sqrt(len(array)) * (least / most if most else 1.0)
    return total / weight if weight and weight >= everything / 2 else -1.0


ARRAY = [f"p{number}" for number in range(8)]
CELL = st.none() | st.integers(0, 3)


@IN_A_TEST
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "number": st.none() | st.integers(-5, 5),
                "text": st.none() | st.sampled_from(["anna", "annа b", "hanna", "otto"]),
                "flag": st.none() | st.booleans(),
                **dict.fromkeys(ARRAY, CELL),
            }
        ),
        min_size=1,
        max_size=12,
    ),
    threshold=st.sampled_from([0.5, 0.8, 0.95]),
)
def test_with_a_window_over_all_the_pairs_found_are_those_of_brute_force(comm, workspace, rows, threshold):
    # in steps of 1 / 65534 a similarity is off by up to 1e-5; such a tie is not what this test is about
    scores = {(i, j): alike(rows[i], rows[j], rows, ARRAY) for i, j in itertools.combinations(range(len(rows)), 2)}
    if any(abs(score - threshold) < 1e-4 for score in scores.values()):
        return
    found = [(i, j) for (i, j), score in scores.items() if score >= threshold]
    schema = {"number": pa.int64(), "text": pa.string(), "flag": pa.bool_(), **dict.fromkeys(ARRAY, pa.int64())}
    columns = {name: pa.array([row[name] for row in rows], type) for name, type in schema.items()}
    table = duplicates.clean(table_of(workspace, **columns), comm, threshold=threshold, window=len(rows) + 1, passes=2)
    metrics = workspace.metrics["duplicates"]
    assert metrics["pairs"] == len(found)
    group = {number: {number} for number in range(len(rows))}
    for i, j in found:
        joined = group[i] | group[j]
        group |= dict.fromkeys(joined, joined)
    clusters = {frozenset(members) for members in group.values() if len(members) > 1}
    assert metrics["clusters"] == len(clusters)
    assert table.num_rows == len({frozenset(members) for members in group.values()})


def test_the_most_complete_record_stays_and_is_filled_by_the_majority(comm, workspace):
    rows = {
        "id": ["a", "b", "c", "d", "e"],
        "name": ["Anna Berg", "anna  bérg", "ANNA BERG", "anna-berg", "Otto"],
        "city": [None, "Ulm", None, "Bonn", "Ulm"],
        "size": pa.array([170, 170, 170, 170, 101]),
        "code": [None, 4, 5, 5, 9],
        "kind": pa.array(["x", None, "x", "y", "y"]).dictionary_encode(),
    }
    table = duplicates.clean(table_of(workspace, 2, **rows), comm, id="id", threshold=0.7)
    assert rows_of(table) == [
        {"id": "d", "name": "anna-berg", "city": "Bonn", "size": 170, "code": 5, "kind": "y"},
        {"id": "e", "name": "Otto", "city": "Ulm", "size": 101, "code": 9, "kind": "y"},
    ]
    assert changes(workspace) == [(line, None, None, "a.csv:5", "duplicate") for line in (2, 3, 4)]

    rows["city"] = [None] * 5
    rows["code"] = [7, 4, None, None, 9]
    rows["kind"] = pa.array([None, None, "x", "y", "y"]).dictionary_encode()
    table = duplicates.clean(table_of(workspace, 2, **rows), comm, id="id", threshold=0.7)
    assert rows_of(table)[0] == {
        "id": "a", "name": "Anna Berg", "city": None, "size": 170, "code": 7, "kind": "x",
    }  # fmt: skip
    assert changes(workspace)[0] == (2, "kind", None, "x", "merged")
    assert table.schema == table_of(workspace, **rows).schema


def test_the_most_frequent_value_wins_and_the_first_among_equals(comm, workspace):
    rows = {
        "a": [1, 1, 1, 1, 50],
        "b": [2, 2, 2, 2, 60],
        "c": [3, 3, 3, 3, 70],
        "vote": pa.array([None, 8, 9, 9, 5]),
        "tie": pa.array([None, "p", "q", None, "r"]),
    }
    for name in ("vote", "tie"):
        rows["a"], whole = [1, 1, 1, 1, 50], rows[name]
        table = table_of(
            workspace, a=rows["a"], b=rows["b"], c=rows["c"], **{name: whole, "only_first": [0, None, None, None, 1]}
        )
        kept = rows_of(duplicates.clean(table, comm, threshold=0.6))[0]
        assert kept[name] == {"vote": 9, "tie": "p"}[name]


def test_who_is_like_a_like_record_joins_its_cluster(comm, workspace):
    table = duplicates.clean(table_of(workspace, x=[0, 9, 18, 27, 100]), comm, threshold=0.9)
    assert rows_of(table, "x") == [0, 100]
    assert workspace.metrics["duplicates"] == {"candidates": 100, "pairs": 3, "clusters": 1, "rows_merged": 3}


def test_a_truth_of_pairs_judges_like_one_of_clusters(comm, workspace, tmp_path):
    table = table_of(workspace, id=[*"abcdef"], x=[0, 0, 0, 50, 50, 99])
    clusters = write_csv(tmp_path / "clusters.csv", "id,cluster", [*zip("abcdz", (1, 1, 2, 2, 2), strict=True)])
    pairs = write_csv(tmp_path / "pairs.csv", "one,two", [("a", "b"), ("c", "d"), ("d", "z")])
    for truth in (clusters, pairs):
        duplicates.clean(table, comm, id="id", threshold=0.95, truth=truth)
        found = workspace.metrics["duplicates"]  # found: ab ac bc de; true, of the records that are there: ab cd
        assert (found["precision"], found["recall"]) == (1 / 4, 1 / 2)


def test_records_with_too_little_in_common_are_not_compared(comm, workspace):
    table = table_of(workspace, a=[1, None, 5], b=[None, 2, 6], c=[None, None, 7], d=[3, 3, 9])
    assert duplicates.clean(table, comm, threshold=0.9).num_rows == 3


# missing


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
    assert workspace.metrics["missing"] == {"filled": filled}
    assert Counter(change[1] for change in changes(workspace)) == filled
    assert (3, "whole", None, "2", "filled") in changes(workspace)
    assert table.schema == table_of(workspace, **rows).schema


def test_methods_may_be_chosen_and_columns_kept(comm, workspace):
    rows = {"x": [1, 1, None, 7], "y": [1, 1, None, 7], "label": [1, None, 3, 4]}
    found = {
        method: rows_of(missing.clean(table_of(workspace, **rows), comm, method=method, keep=("y",)))
        for method in ("median", "mean", "mode", "drop")
    }
    assert {method: table[2] for method, table in found.items() if method != "drop"} == {
        "median": {"x": 1, "y": None, "label": 3},
        "mean": {"x": 3, "y": None, "label": 3},
        "mode": {"x": 1, "y": None, "label": 3},
    }
    assert [row["x"] for row in found["drop"]] == [1, 7]
    assert workspace.metrics["missing"] == {"filled": {}, "rows_dropped": 2}
    assert changes(workspace) == [(3, None, None, None, "dropped"), (4, None, None, None, "dropped")]


@IN_A_TEST
@given(values=st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=30))
def test_a_mean_is_the_exact_sum_rounded_once(comm, workspace, values):
    table = missing.clean(table_of(workspace, x=[*values, None]), comm, method="mean")
    assert rows_of(table, "x")[-1] == float(sum(map(Fraction, values)) / len(values))


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


def test_ids_are_not_filled_by_auto_but_are_when_asked(comm, workspace):
    rows = {"name": ["p", "q", "r", None]}
    assert rows_of(missing.clean(table_of(workspace, **rows), comm), "name")[-1] is None
    assert rows_of(missing.clean(table_of(workspace, **rows), comm, method="mode"), "name")[-1] == "p"


def test_a_random_table_is_cleaned_by_all_in_turn_without_a_trace_of_types(comm, workspace):
    draw = random.Random(3)
    rows = {
        "t": pa.array([draw.choice(["x y", "x  y", None]) for _ in range(50)]),
        "when": pa.array([draw.choice([0, 10**9, None]) for _ in range(50)], pa.timestamp("ms")),
        "f": pa.array([draw.choice([0.5, 1.5, None]) for _ in range(50)], pa.float32()),
        "s": pa.array([draw.choice([1, 2, None]) for _ in range(50)], pa.int8()),
        "list": pa.array([draw.choice([[1], [2], None]) for _ in range(50)]),
        "n": pa.nulls(50),
    }
    table = table_of(workspace, **rows)
    schema = table.schema
    for name in methods.names("cleaning"):
        table = methods.find("cleaning", name, "clean").load()(table, comm)
    assert table.schema == schema
    assert 0 < table.num_rows < 50
