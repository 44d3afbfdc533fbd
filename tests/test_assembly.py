"""From pieces of text to one typed table on one rank: joining, values, logs, quarantine, memory."""

import csv
import datetime
import os
import pathlib

import numpy as np
import pyarrow as pa
import pytest

from hvdedge.assembly import Piece, assemble, settle
from hvdedge.structure.missing import SPELLINGS
from hvdedge.workspace import Source

DATA = pathlib.Path(os.environ.get("HVDEDGE_DATA", pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"))


def piece(workspace, number, columns, names=None, *, types=True, batches=1, first_line=2):
    """Return a piece of one file, given by its columns of cells."""
    made = Piece.empty(number, names, len(columns), workspace, SPELLINGS if types else None)
    made.metrics = {"file": f"file_{number}.csv", "rows": len(columns[0]), "facts": {"header_rows": 1}}
    for rows in np.array_split(np.arange(len(columns[0])), batches):
        arrays = [pa.array([cells[row] for row in rows], pa.string()) for cells in columns]
        arrays.append(pa.array(rows + first_line, pa.int64()))
        made.add(pa.record_batch(arrays, schema=made.cells.schema))
    return made


@pytest.fixture
def build(workspace, comm):
    """Return the table, its columns' metrics, and the log of one file given by name -> cells."""

    def build(columns, batches=1, types=True, **options):
        workspace.changes.clear()
        workspace.quarantine.clear()
        pieces = [piece(workspace, 0, list(columns.values()), list(columns), types=types, batches=batches)]
        table = assemble(pieces, Source((), workspace), comm, types=types, missing=SPELLINGS, **options)
        return table.to_arrow(), workspace.metrics["columns"], logged(workspace.changes)

    return build


def logged(spool):
    return {tuple(row.values())[1:] for batch in spool for row in batch.to_pylist()}


def test_each_type_becomes_a_column_of_its_own(build):
    table, columns, log = build(
        {
            "n": ["1", "2", "3"],
            "x": ["1.5", "2", "3"],
            "day": ["2024-01-02", "2024-01-03", "2024-01-04"],
            "at": ["2024-01-02T10:00:00", "2024-01-02 11:00", "2024-01-02 12:00"],
            "clock": ["10:00", "11:00", "12:00"],
            "ok": ["y", "n", "y"],
            "word": ["one", "two", "three"],
        }
    )
    day = datetime.date(2024, 1, 2)
    first = {"n": 1, "x": 1.5, "day": day, "at": datetime.datetime(2024, 1, 2, 10), "clock": datetime.time(10)}
    first |= {"ok": True, "word": "one", "_file": "file_0.csv", "_line": 2}
    assert table.to_pylist()[0] == first and not log
    kinds = ["integer", "float", "date", "timestamp", "time", "boolean", "text"]
    assert [column["type"] for column in columns.values()] == kinds


def test_a_stray_goes_to_the_quarantine_and_its_cell_is_missing(build, workspace):
    table, columns, log = build({"n": [*map(str, range(60)), "oops"], "t": ["a"] * 61})
    assert table["n"].to_pylist() == [*range(60), None]
    assert columns["n"] == {"type": "integer", "missing": 1, "changed": 1, "emptied": 1}
    assert log == {(62, "n", "oops", None, "type")}
    assert logged(workspace.quarantine) == {(62, "n", "oops", "type")}


def test_with_more_strays_than_two_in_a_hundred_the_column_is_text(build):
    cells = [*map(str, range(10_000, 10_095)), "1x234", "x", "1000x", "10x00", "xx"]
    table, columns, log = build({"zip": cells, "t": ["a"] * 100})
    assert table["zip"].to_pylist() == cells and columns["zip"]["type"] == "text" and not log


def test_numbers_in_all_forms_are_logged_where_most_are_plain(build):
    cells = [f"{n}.5" for n in range(20)] + ["1,234.50", "(7.20)", "5-", "1.5 €", "inf", "1e400", "0x1F"]
    table, columns, log = build({"x": cells})
    assert table["x"].to_pylist()[20:] == [1234.5, -7.2, -5.0, 1.5, None, None, None]
    assert {(before, after, rule) for _, _, before, after, rule in log} == {
        ("1,234.50", "1234.5", "number"),
        ("(7.20)", "-7.2", "number"),
        ("5-", "-5", "number"),
        ("1.5 €", "1.5", "number"),
        ("inf", None, "not_finite"),
        ("1e400", None, "not_finite"),
        ("0x1F", None, "type"),
    }


def test_days_that_cannot_be_are_missing_and_none_is_guessed_from_a_number(build):
    cells = ["2024-03-07", "07/03/2024", "3/7/24", "7.3.2024", "20240307", "1709769600", "45358", "2024-02-30"]
    table, columns, _ = build({"when": cells})
    march, july = datetime.date(2024, 3, 7), datetime.date(2024, 7, 3)
    assert table["when"].to_pylist() == [march, march, july, march, march, None, None, None]
    assert columns["when"]["missing"] == 3
    assert columns["when"]["mixed"] == {"order of day and month not told, day first assumed": 3}


def test_a_share_and_a_percentage_are_not_the_same_number(build, workspace):
    percents, shares = [f"{n} %" for n in range(98)], [f"0.{n:02d}" for n in range(98)]
    table, columns, log = build(
        {
            "percent": [*percents, "0.47", "150%"],
            "share": [*shares, "81%", "1"],
            "both": [*percents[:50], *shares[:50]],
            "whole": [f"{n}%" for n in range(100)],
            "price": [*(f"$ {n}" for n in range(98)), "7 EUR", "8"],
        },
        batches=3,
    )
    assert table["percent"].to_pylist()[-3:] == [97, None, 150] and columns["percent"]["unit"] == "%"
    assert table["share"].to_pylist()[-3:] == [0.97, None, 1] and columns["both"]["type"] == "text"
    assert table["whole"].to_pylist() == [*range(100)] and table["price"].to_pylist()[-2:] == [7, 8]
    assert log == {(100, "percent", "0.47", None, "type"), (100, "share", "81%", None, "type")}
    told = "'both' (text): 50 of no unit, 50 of unit %; 'price' (integer): 98 of unit $, 1 of unit EUR"
    assert workspace.events == [{"what": "units_mixed", "columns": told}]


def test_words_that_are_emptied_in_texts_alone_are_told(build, workspace):
    cells = {
        "country": ["NA", "DE", "FR", "US"] * 15,
        "name": [*["Null"] * 6, *(f"name {n}" for n in range(54))],
        "rare": [*["None"] * 2, *(f"name {n}" for n in range(58))],
        "mark": ["-", "x", "y", "z"] * 15,
    }
    build(cells, batches=3)
    action = "took NA in 'country' (15 of 60 cells), Null in 'name' (6 of 60 cells) for missing values; "
    action += "if they are values, write prepare.missing without them"
    assert workspace.events == [{"what": "words_emptied", "action": action}]
    workspace.events.clear()
    build({"country": cells["country"], "n": [*["NA"] * 5, *map(str, range(55))]})  # which is how all is written here
    assert workspace.events == []


def test_columns_that_lose_more_than_strays_are_told(build, workspace):
    days, numbers = [f"2024-01-{n % 28 + 1:02d}" for n in range(90)], [f"{n}.5" for n in range(90)]
    build(
        {
            "serial": [*days, *["45358"] * 10],
            "far": [*numbers, *["inf", "1e400"] * 5],
            "few": [*numbers, *["7.5"] * 8, "oops", "inf"],
            "gone": [*days, *["-"] * 10],
        },
        batches=3,
    )
    found = "10 of 100 cells of 'serial' that are no date, 10 of 100 cells of 'far' that are no float"
    action = f"emptied {found}; changes/prepare lists them, prepare.types = false keeps them as text"
    assert workspace.events == [{"what": "cells_emptied", "action": action}]


def test_text_and_categories_get_one_form(build):
    towns = ["Berlin"] * 5 + ["berlin", "BERLIN ", "M\u00fcnchen", "Mu\u0308nchen", "M\u00fcnchen", "n/a", "-"]
    table, columns, log = build({"n": list("0123456789ab"), "town": towns})
    assert table["town"].to_pylist() == ["Berlin"] * 7 + ["M\u00fcnchen"] * 3 + [None, None]
    assert columns["town"] == {"type": "category", "missing": 2, "changed": 5, "emptied": 2}
    assert log == {
        (7, "town", "berlin", "Berlin", "spelling"),
        (8, "town", "BERLIN ", "Berlin", "spelling"),
        (10, "town", "Mu\u0308nchen", "M\u00fcnchen", "unicode"),
        (12, "town", "n/a", None, "missing"),
        (13, "town", "-", None, "missing"),
    }
    table, _, log = build({"n": list("0123456789ab"), "town": towns}, formats=False)
    assert table["town"].to_pylist()[:10] == towns[:10] and len(log) == 2


def test_phone_numbers_get_the_pattern_of_most(build):
    phones = [f"030-555-{n:04d}" for n in range(300)] + ["(030) 555 1234", "030 555.999"]
    table, columns, log = build({"phone": phones})
    assert table["phone"].to_pylist()[-2:] == ["030-555-1234", "030 555.999"]
    assert columns["phone"]["pattern"] == "999-999-9999"
    assert log == {(302, "phone", "(030) 555 1234", "030-555-1234", "pattern")}


def test_blanks_around_most_cells_of_a_file_are_its_format(build):
    table, _, log = build({"a": [f" word {n} " for n in range(9)] + [" two  words "]})
    assert table["a"].to_pylist()[0] == "word 0" and log == {(11, "a", " two  words ", "two words", "blanks")}


def test_placeholders_and_sentinels_are_missing(build):
    numbers = [str(n % 40) for n in range(300)] + ["9999", "9999", "unknown", "unknown"]
    words = ["red", "blue"] * 150 + ["noValueSetHere42"] * 4
    table, columns, log = build({"n": numbers, "w": words}, batches=3)
    assert table["n"].to_pylist()[-5:] == [19, None, None, None, None] and table["w"].null_count == 4
    assert columns["n"] == {
        **{"type": "integer", "missing": 4, "changed": 4, "emptied": 4},
        **{"placeholders": ["unknown"], "sentinels": [9999.0]},
    }
    assert columns["w"]["placeholders"] == ["noValueSetHere42"]
    rules = sorted((column, before, rule) for _, column, before, _, rule in log)
    assert rules[:4] == [("n", "9999", "sentinel")] * 2 + [("n", "unknown", "missing")] * 2
    assert build({"n": numbers, "w": words}, sentinels=False)[0]["n"].to_pylist()[-4:-2] == [9999, 9999]


def test_ratings_up_to_nine_are_no_prices(build):
    ratings = [str(n % 9 + 1) for n in range(30)] + ["9"] * 150 + ["99"] * 20
    assert build({"rating": ratings})[1]["rating"]["sentinels"] == [99.0]


def test_sentinels_are_told_and_are_none_among_prices(build, workspace):
    prices = ["4.99", "9.99", "14.99", "29.99"] * 30 + ["99.99", "99.99", "999", "999"]
    table, columns, log = build({"price": prices, "age": [str(n % 40) for n in range(120)] + ["999"] * 4})
    assert table["price"].to_pylist()[-4:] == [99.99, 99.99, 999, 999] and columns["age"]["sentinels"] == [999.0]
    action = "took 999 of 'age' for missing values; prepare.sentinels = false keeps them"
    assert workspace.events == [{"what": "sentinels", "action": action}]


def test_a_number_can_spell_a_missing_value(workspace, comm):
    for count, values in ((4, ["1", "-99", "3", "4"]), (600, [str(n) for n in range(599)] + ["-99"])):
        one = Piece.empty(0, ["n", "day"], 2, workspace, ("-99", "1900-01-01"))
        days = pa.array([f"{2000 + n % 20}-01-0{n % 9 + 1}" for n in range(count - 1)] + ["1900-01-01"])
        one.add(pa.record_batch([pa.array(values), days, pa.array(range(count))], schema=one.cells.schema))
        one.metrics = {"file": "a", "rows": count}
        table = assemble([one], Source((), workspace), comm, types=True, missing=("-99", "1900-01-01")).to_arrow()
        assert (table["n"].null_count, table["day"].null_count) == (1, 1)
        assert workspace.metrics["columns"]["n"] == {"type": "integer", "missing": 1, "changed": 1, "emptied": 1}


def test_without_types_each_cell_stays_as_it_is(build):
    cells = ["007", " NA ", "cafe\u0301", "", None]
    table, columns, log = build({"a": cells}, types=False)
    assert table["a"].to_pylist() == cells and columns["a"]["type"] == "text"
    assert log == {(6, "a", None, None, "short_row")}


@pytest.mark.parametrize("batches", [2, 7])
def test_the_table_does_not_depend_on_batches(build, batches):
    random = np.random.default_rng(3)
    kinds = [["1.5", "2", "3,25", "9.99", "NA", "1e3"], ["2024-01-02", "3.4.2024", "29.02.2024", "?"]]
    kinds += [["a b", "A  B", "x" * 70, "C1234", "12 Main Street"], ["2024-01-02 10:00:00", "2024-02-30 10:00:00", "-"]]
    columns = {str(k): [kind[p] for p in random.integers(0, len(kind), 600)] for k, kind in enumerate(kinds)}
    columns["id"] = [str(n * 7) for n in range(600)]
    columns["code"] = [f"K{n:05d}" if n % 50 else f"k-{n:05d}" for n in range(600)]
    one, many = build(columns), build(columns, batches=batches)
    assert one[0].to_pydict() == many[0].to_pydict() and one[1:] == many[1:]


def test_files_are_joined_and_what_one_leaves_open_another_settles(workspace, comm):
    pieces = [
        piece(workspace, 0, [["1", "2"], ["03/04/2024", "05/06/2024"]], ["n", "day"]),
        piece(workspace, 0, [["3"], ["07/08/2024"]], ["n", "day"], first_line=4),
        piece(workspace, 2, [["04/13/2024"], ["4.5"], ["z"]], ["Day ", "N", "more"]),
    ]
    table = assemble(pieces, Source((), workspace), comm, types=True, missing=SPELLINGS).to_arrow()
    assert table["n"].to_pylist() == [1.0, 2.0, 3.0, 4.5]
    assert [day.month for day in table["day"].to_pylist()] == [3, 5, 7, 4]
    assert table["more"].to_pylist() == [None, None, None, "z"]
    first, second = workspace.metrics["files"]
    assert first == {"file": "file_0.csv", "rows": 3, "header_rows": 1} and second["file"] == "file_2.csv"


def test_a_file_without_rows_gives_no_columns_and_is_told(workspace, comm):
    pieces = [piece(workspace, 0, [["1", "2"]], ["n"]), piece(workspace, 1, [[]], ["readme"])]
    source = Source((pathlib.Path("a.csv"), pathlib.Path("notes.txt")), workspace)
    table = assemble(pieces, source, comm, types=True, missing=SPELLINGS)
    assert table.columns == ["n"]
    error = "notes.txt: received a file without rows below the names readme, expected some; its columns are left out"
    assert [file.get("error") for file in workspace.metrics["files"]] == [None, error]
    assert workspace.events == [{"what": "file_left_out", "file": "file_1.csv", "error": error}]


def test_cells_are_moved_to_scratch_and_go_when_they_are_converted(workspace, comm):
    pieces = [piece(workspace, n, [["x" * 100] * 2000], ["a"]) for n in range(3)]
    settle(pieces, 250_000)
    assert sum(one.cells.held_bytes for one in pieces) <= 250_000
    assert len(list(workspace.scratch.iterdir())) == 2
    table = assemble(pieces, Source((), workspace), comm, types=True, missing=SPELLINGS)
    assert table.num_rows == 6000 and not list(workspace.scratch.iterdir())


@pytest.fixture
def read(build):
    """Read a shared data set by Python's own reader, as one file."""

    def read(name, delimiter=",", has_header=True):
        path = DATA / name
        if not path.exists():
            pytest.skip(f"{name} is not there; set HVDEDGE_DATA")
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, delimiter=delimiter))
        names = rows.pop(0) if has_header else [f"column_{place}" for place in range(len(rows[0]))]
        return build(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)), batches=5)

    return read


def test_the_missing_cells_of_adult_are_found_though_nobody_told(read):
    """1843 in column 6, 1836 in column 1, 583 in column 13: README of the data."""
    _, columns, log = read("adult/adult.csv", ";", has_header=False)
    missing = {name: column["missing"] for name, column in columns.items() if column["missing"]}
    assert missing == {"column_1": 1836, "column_6": 1843, "column_13": 583} and len(log) == 4262
    whole = [f"column_{place}" for place in (0, 2, 4, 10, 11, 12)]
    assert [name for name, column in columns.items() if column["type"] == "integer"] == whole


def test_the_garbled_cells_of_hospital_stay_for_those_who_can_mend_them(read):
    table, columns, log = read("hospital/hospital.csv")
    assert {rule for *_, rule in log} <= {"blanks"} and not {c["type"] for c in columns.values()} & {"integer", "float"}
    assert sum("x" in zip_code for zip_code in table["ZipCode"].to_pylist()) > 20


def test_data_without_dirt_is_not_changed(read):
    for name, has_header in (("ett/ETTh1.csv", True), ("profiling/abalone.csv", False), ("profiling/iris.csv", False)):
        _, columns, log = read(name, has_header=has_header)
        assert not log and not any(column["missing"] for column in columns.values())
        assert {column["type"] for column in columns.values()} <= {"timestamp", "float", "integer", "category"}


def test_phone_numbers_of_fodors_get_their_pattern(read):
    _, columns, log = read("duplicates/fodors.csv")
    assert columns["phone"]["pattern"] == "999/999-9999"
    assert {after for _, column, before, after, _ in log if before == "212/ 319-1660"} == {"212/319-1660"}


def test_columns_that_differ_by_case_are_joined_by_their_exact_names(workspace, comm):
    pieces = [
        piece(workspace, 0, [["1", "2"], ["10", "11"], ["20", "21"]], ["id", "v", "V"]),
        piece(workspace, 1, [["3", "4"], ["20", "21"], ["10", "11"]], ["id", "V", "v"]),
    ]
    table = assemble(pieces, Source((), workspace), comm, types=True, missing=SPELLINGS).to_arrow()
    assert table.column_names[:3] == ["id", "v", "V_2"]
    assert (table["v"].to_pylist(), table["V_2"].to_pylist()) == ([10, 11, 10, 11], [20, 21, 20, 21])
