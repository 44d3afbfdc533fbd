"""JSON lines and Parquet on one rank: what was written comes back, with its origin, and bad input is one line."""

import datetime
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hvdedge.columns import to_text
from hvdedge.datasets import csv, json_lines, parquet
from hvdedge.errors import InputError, RankError
from hvdedge.profiling import statistics
from hvdedge.workspace import Source


def rows(table):
    return [tuple(row.values()) for row in table.select(table.columns).to_arrow().to_pylist()]


@pytest.fixture
def lines(tmp_path, workspace):
    def write(*contents):
        paths = []
        for number, content in enumerate(contents):
            paths.append(tmp_path / f"{number}.jsonl")
            paths[-1].write_text(content, encoding="utf-8")
        return Source(tuple(paths), workspace)

    return write


def test_objects_become_rows_with_nested_keys_joined_by_dots(comm, workspace, lines):
    objects = [
        {"id": 1, "who": {"name": "Zoë", "age": 30}, "tags": ["a", 1]},
        {"id": 2, "ok": True, "who": {"name": None}},
        {"id": 3, "ok": False, "who": {}, "x": 1.5},
    ]
    table = json_lines.read(lines("\n\n".join(map(json.dumps, objects)) + "\n"), comm)
    assert table.columns == ["id", "who.name", "who.age", "tags", "ok", "who", "x"]
    assert rows(table) == [
        (1, "Zoë", 30, '["a",1]', None, None, None),
        (2, None, None, None, True, None, None),
        (3, None, None, None, False, "{}", 1.5),
    ]
    assert table.to_arrow()["_line"].to_pylist() == [1, 3, 5]


def test_lines_that_are_no_object_are_set_aside(comm, workspace, lines):
    table = json_lines.read(lines('{"a": 1}\n[1, 2]\n{"a": 2\n{"a": 3}'), comm)
    assert rows(table) == [(1,), (3,)]
    (batch,) = workspace.quarantine
    assert batch["text"].to_pylist() == ["[1, 2]", '{"a": 2'] and batch["_line"].to_pylist() == [2, 3]
    assert workspace.metrics["files"][0]["rows_quarantined"] == 2


def test_numbers_that_are_none_are_missing_values_and_the_row_stays(comm, workspace, lines):
    objects = [{"id": n, "x": n + 0.5, "tags": ["NaN", n]} for n in range(4)]
    text = "\n".join(map(json.dumps, [*objects, {"id": 4, "x": float("nan"), "tags": [float("nan"), 'a "NaN']}]))
    text += '\n{"id":5,"x":Infinity}\n{"id": 6, "x": -Infinity, "tags": "Infinity"}\n{"id": 7, "x": NaNa}\n'
    table = json_lines.read(lines(text), comm)
    assert rows(table)[3:] == [
        (3, 3.5, '["NaN",3]'),
        (4, None, '[null,"a \\"NaN"]'),
        (5, None, None),
        (6, None, "Infinity"),
    ]
    log = [tuple(row.values())[1:] for batch in workspace.changes for row in batch.to_pylist()]
    assert log == [(6, "x", "Infinity", None, "not_finite"), (7, "x", "-Infinity", None, "not_finite")]
    assert workspace.metrics["files"][0]["rows_quarantined"] == 1


def test_keys_of_several_files_are_joined_by_name(comm, workspace, lines):
    table = json_lines.read(lines('{"a": 1, "b": "x"}\n', '{"b": "y", "c": 2}\n'), comm)
    assert table.columns == ["a", "b", "c"] and rows(table) == [(1, "x", None), (None, "y", 2)]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_file_may_be_one_list_of_objects(comm, workspace, tmp_path, indent, encoding):
    objects = [{"id": n, "who": {"name": "Zoë – x"}, "x": float("nan") if n == 3 else n / 2} for n in range(5)]
    (tmp_path / "a.json").write_text(json.dumps(objects, indent=indent, ensure_ascii=False), encoding=encoding)
    document = {"next": None, "data": [*objects, 7]}
    (tmp_path / "b.json").write_text(json.dumps(document, indent=2, ensure_ascii=False), encoding=encoding)
    table = json_lines.read(Source((tmp_path / "a.json", tmp_path / "b.json"), workspace), comm)
    assert rows(table) == [(n, "Zoë – x", None if n == 3 else n / 2) for n in range(5)] * 2
    assert table.to_arrow()["_line"].to_pylist()[:5] == ([1] * 5 if indent is None else [2 + 7 * n for n in range(5)])
    (batch,) = workspace.quarantine
    assert [(row["_line"], row["text"], row["rule"]) for row in batch.to_pylist()] == [
        (2, '"next": null', "no_object"),
        (39, "7", "no_object"),
    ]


def test_of_several_files_one_without_objects_is_told_and_left_out(comm, workspace, lines):
    table = json_lines.read(lines('{"a": 1}\n', "note\n", '[{"a": 2}, {"a": ', ""), comm)
    assert rows(table) == [(1,)]
    told = [event["file"] for event in workspace.events if event["what"] == "file_left_out"]
    assert told == ["1.jsonl", "2.jsonl", "3.jsonl"]


def test_a_file_named_again_is_read_once_and_told(comm, workspace, lines, tmp_path):
    (first, second) = lines('{"a": 1}\n', '{"a": 1}\n').paths
    (tmp_path / "link").symlink_to(first)
    (tmp_path / "hard").hardlink_to(second)
    again = (first, second, first, tmp_path / "link", tmp_path / "hard")
    assert rows(json_lines.read(Source(again, workspace), comm)) == [(1,), (1,)]
    assert [file["file"] for file in workspace.metrics["files"]] == ["0.jsonl", "1.jsonl"]
    told = [("0.jsonl", first), ("0.jsonl", tmp_path / "link"), ("1.jsonl", tmp_path / "hard")]
    assert workspace.events == [
        {"what": "file_read_once", "file": name, "named_again": str(path)} for name, path in told
    ]


@pytest.mark.parametrize("reader", [csv, json_lines, parquet])
def test_no_files_are_one_clear_line(comm, workspace, reader):
    with pytest.raises(InputError, match="prepare.source: received no files"):
        reader.read(Source((), workspace), comm)


def test_a_file_without_objects_is_one_clear_line(comm, lines):
    with pytest.raises(InputError, match="received no line that is a JSON object, expected one object a line"):
        json_lines.read(lines("1\n2\n"), comm)


def test_parquet_files_keep_their_types_and_are_joined_by_name(comm, workspace, tmp_path):
    day = datetime.date(2024, 2, 29)
    first = pa.table({"n": [1, 2, 3], "day": [day, None, day], "_line": [9, 9, 9]})
    second = pa.table({"day": [day], "n": [1.5], "k": pa.array(["x"]).dictionary_encode()})
    third = pa.table({"n": ["text"]})
    paths = []
    for number, table in enumerate((first, second, third)):
        paths.append(tmp_path / f"{number}.parquet")
        pq.write_table(table, paths[-1], row_group_size=2)
    found = parquet.read(Source(tuple(paths[:2]), workspace), comm)
    assert found.schema.field("n").type == pa.float64() and found.schema.field("day").type == pa.date32()
    assert rows(found) == [(1.0, day, None), (2.0, None, None), (3.0, day, None), (1.5, day, "x")]
    origin = found.to_arrow()
    assert origin["_file"].to_pylist() == ["0.parquet"] * 3 + ["1.parquet"]
    assert origin["_line"].to_pylist() == [1, 2, 3, 1]
    assert workspace.metrics["columns"]["day"] == {"type": "date", "missing": 1, "changed": 0}
    mixed = parquet.read(Source((paths[0], paths[2]), workspace), comm)
    assert [row[0] for row in rows(mixed)] == ["1", "2", "3", "text"]


@pytest.mark.parametrize("most", [100_000, 1])
def test_types_that_python_cannot_hold_are_changed_told_and_described(comm, workspace, tmp_path, monkeypatch, most):
    monkeypatch.setattr(statistics, "MOST_VALUES", most)
    year_10000 = 253_402_300_800
    given = {
        "took": pa.array([1500, None, -250], pa.duration("ms")),
        "at": pa.array([1_001, None, 5], pa.timestamp("ns", "Europe/Berlin")),
        "clock": pa.array([1_001, None, 5_999], pa.time64("ns")),
        "half": pa.array(np.array([0.5, 1.5, np.nan], np.float16)),
        "large": pa.array([2**64 - 1, 2**63, None], pa.uint64()),
        "far": pa.array([year_10000 * 10**6 - 1, year_10000 * 10**6, -(2**62)], pa.timestamp("us")),
        "zoned": pa.array([year_10000 * 1000 - 1, 0, None], pa.timestamp("ms", "America/New_York")),
        "day": pa.array([year_10000 // 86_400 - 1, year_10000 // 86_400, -719_163], pa.date32()),
    }
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(given), path)
    table = parquet.read(Source((path,), workspace), comm)
    cells = table.to_arrow()
    assert cells["took"].to_pylist() == [1.5, None, -0.25]
    assert [*map(str, cells["at"].to_pylist())][::2] == [
        "1970-01-01 01:00:00.000001+01:00",
        "1970-01-01 01:00:00+01:00",
    ]
    assert [cells.schema.field(name).type for name in ("clock", "half", "large")] == [
        *(pa.time64("us"), pa.float32(), pa.uint64()),
    ]
    assert cells["far"].to_pylist() == [datetime.datetime.max, None, None]
    assert cells["zoned"].null_count == 2
    assert cells["day"].to_pylist() == [datetime.date(9999, 12, 31), None, None]
    told = [(event["column"], event["from"], event["to"]) for event in workspace.events]
    assert told == [
        ("at", "timestamp[ns, tz=Europe/Berlin]", "timestamp[us, tz=Europe/Berlin]"),
        ("clock", "time64[ns]", "time64[us]"),
        ("half", "halffloat", "float"),
        ("took", "duration[ms]", "double"),
    ]
    log = [(row["_line"], row["column"], row["after"], row["rule"]) for b in workspace.changes for row in b.to_pylist()]
    lost = [(2, "far"), (3, "far"), (1, "zoned"), (2, "day"), (3, "day")]
    assert log == [(line, name, None, "year") for line, name in lost]
    assert workspace.metrics["columns"]["far"] == {"type": "timestamp", "missing": 2, "changed": 2, "emptied": 2}
    found = statistics.profile(table, comm)["columns"]
    json.dumps(found, allow_nan=False)
    assert (found["large"]["min"], found["large"]["max"]) == (2**63, 2**64 - 1)
    assert found["large"]["quantiles"]["0.99"] == 2**64 - 1
    assert found["far"]["max"] == "9999-12-31T23:59:59.999999"


def test_what_is_no_parquet_is_one_clear_line(comm, workspace, tmp_path):
    (tmp_path / "x.parquet").write_text("id,x\n1,2\n")
    with pytest.raises(RankError, match="received no Parquet file that can be read") as error:
        parquet.read(Source((tmp_path / "x.parquet",), workspace), comm)
    assert error.value.is_input


def test_no_value_of_an_object_is_lost(comm, workspace, lines):
    source = lines('{"a": "x", "b": 1, "b": 2}\n{"a": "y", "c.d": 7, "c": {"d": 8}}\n{"a": "z", "e": 1e400}\n')
    cells = json_lines.read(source, comm).to_arrow().to_pylist()
    assert [(row["a"], row["b"], row["b_2"], row["c.d"], row["c.d_2"]) for row in cells] == [
        ("x", 1, 2, None, None),
        ("y", None, None, 7, 8),
        ("z", None, None, None, None),
    ]


def test_parquet_columns_of_one_name_are_refused_and_bytes_have_a_text(comm, workspace, tmp_path):
    path = tmp_path / "twice.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), path)
    with pytest.raises((InputError, RankError), match="two columns called 'a'"):
        parquet.read(Source((path,), workspace), comm)
    assert to_text(pa.array([b"\xff\x00", None])).to_pylist() == ["ff00", None]
