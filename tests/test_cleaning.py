"""Cleaners against brute force, counts by hand and the known trouble of the digits."""

import csv
import random

import digit_rows
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from small_tables import changes, rows_of, table_of

from hvdedge import methods
from hvdedge.cleaning import duplicates, errors, missing
from hvdedge.errors import InputError, RankError
from hvdedge.truth import rates

NEEDED = {"labels": {"label": "x"}}  # options without which a method cannot do anything
JUDGED = [name for name in methods.names("cleaning") if "truth" in methods.find("cleaning", name, "clean").options]
IN_A_TEST = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)


@pytest.mark.parametrize("name", methods.names("cleaning"))
def test_every_cleaner_passes_a_table_without_rows_and_one_without_trouble(name, comm, workspace):
    clean = methods.find("cleaning", name, "clean").load()
    for rows in (pa.array([], pa.int64()), pa.array([1, 5, 2, 3], pa.int64())):
        table = table_of(workspace, x=rows)
        assert rows_of(clean(table, comm, **NEEDED.get(name, {})), "x") == rows.to_pylist()
        assert changes(workspace) == []


@pytest.mark.parametrize("name", JUDGED)
def test_the_truth_judges_and_changes_nothing(name, comm, workspace, tmp_path):
    rows = digit_rows.make(tmp_path, originals=600, copies=40)
    clean = methods.find("cleaning", name, "clean").load()
    truth = tmp_path / ("duplicates.csv" if name == "duplicates" else "cells.csv")
    options = {"id": "scan"} if name == "duplicates" else {}
    with open(tmp_path / "cells.csv", "a", encoding="utf-8") as file:
        file.write("s00000,label,label_noise,3\n")
    found = []
    for judged in ({}, {"truth": str(truth)}):
        workspace.changes.clear()
        table = clean(digit_rows.deal(rows, comm, workspace), comm, **options, **judged)
        found.append((rows_of(table), changes(workspace)))
        metrics = workspace.metrics[name]
        assert (rates(0, 0, 0).keys() <= metrics.keys()) == bool(judged)
    assert found[0] == found[1]
    assert found[0][1] or name == "labels"  # which only lists


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
    assert found["missing"]["precision"] > 0.6  # medians, which know nothing of the image, reach 0.5
    assert table.to_arrow()["label"].null_count > 0


@pytest.mark.parametrize(
    ("clean", "options", "line"),
    [
        (duplicates.clean, {"id": "idd"}, "clean.duplicates.id: received 'idd', .*allowed: x, t; name one"),
    ],
)
def test_options_that_fit_no_column_are_refused(clean, options, line, comm, workspace):
    with pytest.raises(InputError, match=line):
        clean(table_of(workspace, x=[1, 2], t=["a", "b"]), comm, **options)


@pytest.mark.parametrize("name", JUDGED)
@pytest.mark.parametrize("content", [None, "", "id\n1\n", "who,column,kind,value\n1,x,missing,2\n", "id,c\n\xff,"])
def test_a_truth_that_cannot_be_used_is_one_line(name, content, comm, workspace, tmp_path):
    path = tmp_path / "truth.csv"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    options = {"id": "id"} if name == "duplicates" else NEEDED.get(name, {})
    clean = methods.find("cleaning", name, "clean").load()
    if name == "duplicates" and content and content.startswith("who"):
        return  # two columns are all that duplicates ask for, whatever they are called
    with pytest.raises(RankError) as caught:
        clean(table_of(workspace, id=["1", "2"], x=[1, 2]), comm, truth=str(path), **options)
    assert caught.value.is_input
    assert "\n" not in caught.value.cause
    assert "received" in caught.value.cause


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("errors", "out_of_range, dependency, spelling"),
        ("labels", "label_noise"),
        ("missing", "missing, out_of_range, ragged, text_number"),
    ],
)
def test_a_truth_of_kinds_that_a_method_does_not_look_at_is_one_line(name, allowed, comm, workspace, tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text("id,column,kind,value\n1,x,wrong,3\n2,x,gap,4\n")
    clean = methods.find("cleaning", name, "clean").load()
    with pytest.raises(RankError) as caught:
        clean(table_of(workspace, id=["1", "2"], x=[1, 2]), comm, truth=str(path), **NEEDED.get(name, {}))
    assert caught.value.is_input
    assert f"{path}: received the kinds wrong, gap, allowed: {allowed}; name" in caught.value.cause


def test_a_random_table_is_cleaned_by_all_in_turn_without_a_trace_of_types(comm, workspace):
    draw = random.Random(3)
    rows = {
        "t": pa.array([draw.choice(["x y", "x  y", None]) for _ in range(50)]),
        "when": pa.array([draw.choice([0, 10**9, None]) for _ in range(50)], pa.timestamp("ms")),
        "f": pa.array([draw.choice([0.5, 1.5, None]) for _ in range(50)], pa.float32()),
        "s": pa.array([draw.choice([1, 2, None]) for _ in range(50)], pa.int8()),
        "list": pa.array([draw.choice([[1], [2], None]) for _ in range(50)]),
        "n": pa.nulls(50),
        "x": pa.array([draw.choice(["a", "b", None]) for _ in range(50)]),
    }
    table = table_of(workspace, **rows)
    schema = table.schema
    for name in methods.names("cleaning"):
        table = methods.find("cleaning", name, "clean").load()(table, comm, **NEEDED.get(name, {}))
    assert table.schema == schema
    assert 0 < table.num_rows <= 50
