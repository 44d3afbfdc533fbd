"""The csv reader on one rank: files as they come, whole tables with their origin, logs and metrics, and bad input."""

import bz2
import csv
import datetime
import gzip
import io
import os

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hvdedge import methods
from hvdedge.datasets import csv as csv_
from hvdedge.datasets.csv import read
from hvdedge.errors import InputError, RankError
from hvdedge.workspace import Source


@pytest.fixture
def files(tmp_path):
    """Write files, texts or bytes, and return the source that names them."""

    def write(workspace, *contents):
        paths = []
        for number, content in enumerate(contents):
            path = tmp_path / f"file_{number}.csv"
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            paths.append(path)
        return Source(tuple(paths), workspace)

    return write


def rows(table):
    return [tuple(row.values()) for row in table.select(table.columns).to_arrow().to_pylist()]


def logged(workspace):
    return {
        (row["_line"], row["column"], row["before"], row["after"], row["rule"])
        for batch in workspace.changes
        for row in batch.to_pylist()
    }


def quarantined(workspace):
    return [tuple(row.values()) for batch in workspace.quarantine for row in batch.to_pylist()]


@given(st.lists(st.booleans(), max_size=30))
def test_repaired_rows_are_put_in_their_places(is_repaired):
    lines = np.arange(len(is_repaired)) * 2
    repaired = np.array(is_repaired, bool)
    parts = [pa.record_batch({"_line": lines[chosen]}) for chosen in (~repaired, repaired)]
    assert csv_._in_order(*parts)["_line"].to_pylist() == lines.tolist()


PRICE = {"type": "float", "missing": 1, "changed": 1, "emptied": 1}
MESSY = """\
Prices of the week
made on 2024-04-20; all in EUR

id;price;name;when;ok
1;1,5;Anna;03.04.2024;yes
2;7,25;Bert;13.04.2024;no
3;NA; n/a ;14.04.2024;yes
4;5,0;Dora
5;6,5;Emil;14.04.2024;yes;;
6;6,5;"Em;il
x";15.04.2024;yes;oh
see the note below

7;6.5 EUR;?;32.04.2024;no
8;6,5;"Fe""ri";2024-04-16;perhaps
9;6,5;Gero;17.04.2024;no
10;6,5;Hans;18.04.2024;no
11;6,5;Ines;18.04.2024;no
12;6,5;Jan;18.04.2024;no
13;6,5;Kim;18.04.2024;no
"""


def test_a_messy_file_becomes_a_table_and_says_what_was_done(comm, workspace, files):
    table = read(files(workspace, MESSY), comm)
    assert table.schema.names == ["id", "price", "name", "when", "ok", "_file", "_line"]
    assert table.schema.types[:5] == [pa.int64(), pa.float64(), pa.string(), pa.date32(), pa.bool_()]
    april = {day: datetime.date(2024, 4, day) for day in range(1, 31)}
    assert rows(table)[:7] == [
        (1, 1.5, "Anna", april[3], True),
        (2, 7.25, "Bert", april[13], False),
        (3, None, None, april[14], True),
        (4, 5.0, "Dora", None, None),
        (5, 6.5, "Emil", april[14], True),
        (7, 6.5, None, None, False),
        (8, 6.5, 'Fe"ri', april[16], None),
    ]
    origin = table.to_arrow()
    assert origin["_line"].to_pylist() == [5, 6, 7, 8, 9, 14, 15, 16, 17, 18, 19, 20]
    assert set(origin["_file"].to_pylist()) == {"file_0.csv"}
    # most prices have a decimal comma and most days a dot: the file's format, which is no change
    assert logged(workspace) == {
        (7, "price", "NA", None, "missing"),
        (7, "name", " n/a ", None, "missing"),
        (8, "when", None, None, "short_row"),
        (8, "ok", None, None, "short_row"),
        (9, "", ";;", None, "long_row"),
        (14, "name", "?", None, "missing"),
        (14, "when", "32.04.2024", None, "type"),
        (15, "ok", "perhaps", None, "type"),
    }
    assert quarantined(workspace) == [
        ("file_0.csv", 10, None, '6;6,5;"Em;il\nx";15.04.2024;yes;oh', "long_row"),
        ("file_0.csv", 12, None, "see the note below", "note"),
        ("file_0.csv", 1, None, "Prices of the week", "preamble"),
        ("file_0.csv", 2, None, "made on 2024-04-20; all in EUR", "preamble"),
        ("file_0.csv", 14, "when", "32.04.2024", "type"),
        ("file_0.csv", 15, "ok", "perhaps", "type"),
    ]
    (found,) = workspace.metrics["files"]
    expected = {"file": "file_0.csv", "encoding": "utf-8", "delimiter": ";", "quote": '"', "escape": '"'}
    expected |= {"preamble_rows": 3, "header_rows": 1, "rows": 12, "rows_quarantined": 2, "rows_ragged": 2}
    assert expected.items() <= found.items()
    assert workspace.metrics["columns"] == {
        "id": {"type": "integer", "missing": 0, "changed": 0},
        "price": {**PRICE, "mixed": {"decimal point": 1, "decimal comma": 9}},
        "name": {"type": "text", "missing": 2, "changed": 2, "emptied": 2},
        "when": {"type": "date", "missing": 2, "changed": 2, "emptied": 2},
        "ok": {"type": "boolean", "missing": 2, "changed": 2, "emptied": 2},
    }


def test_a_slip_in_a_tidy_column_is_a_change(comm, workspace, files):
    lines = "".join(f"{n};{n}.5;2024-01-{n:02d}\n" for n in range(1, 20))
    read(files(workspace, f"n;x;day\n{lines} 20 ;3,5;7.2.2024\n"), comm)
    assert logged(workspace) == {
        (21, "n", " 20 ", "20", "number"),
        (21, "x", "3,5", "3.5", "number"),
        (21, "day", "7.2.2024", "2024-02-07", "date"),
    }


def test_files_of_different_dialects_are_joined_by_name(comm, workspace, files):
    source = files(
        workspace,
        "id,name,weight\n1,Zoë,1.5\n2,Ann,2.5\n",
        "Weight;ID;extra\r\n3,5;3;x\r\n4,5;4;y\r\n".encode("utf-16"),
        "id|name\n5|Jürg\n6|Kurt\n".encode("latin-1"),
    )
    table = read(source, comm)
    assert table.columns == ["id", "name", "weight", "extra"]
    assert rows(table) == [
        (1, "Zoë", 1.5, None),
        (2, "Ann", 2.5, None),
        (3, None, 3.5, "x"),
        (4, None, 4.5, "y"),
        (5, "Jürg", None, None),
        (6, "Kurt", None, None),
    ]
    assert [found["encoding"] for found in workspace.metrics["files"]] == ["utf-8", "utf-16", "latin-1"]
    assert workspace.metrics["columns"]["weight"]["missing"] == 2


def test_a_file_without_header_is_joined_by_position_if_its_columns_are_alike(comm, workspace, files):
    table = read(files(workspace, "3,Cleo\n4,Dora\n", "id,name\n1,Anna\n2,Bert\n"), comm)
    assert table.columns == ["id", "name"]
    assert rows(table) == [(3, "Cleo"), (4, "Dora"), (1, "Anna"), (2, "Bert")]
    table = read(files(workspace, "id,name\n1,Anna\n2,Bert\n", "1.5,2\n2.5,3\n"), comm)
    assert table.columns == ["id", "name", "column_0", "column_1"]


def test_types_are_agreed_over_all_files(comm, workspace, files):
    table = read(files(workspace, "x,d\n1,03/04/2024\n2,05/06/2024\n", "x,d\n1.5,04/13/2024\n2,04/14/2024\n"), comm)
    assert table.schema.field("x").type == pa.float64()
    # the second file tells that months come first there; the first has nothing else to go by
    assert rows(table)[0] == (1.0, datetime.date(2024, 3, 4))


def test_names_are_made_unique_and_the_change_is_told(comm, workspace, files):
    table = read(files(workspace, "id,name,Name,,_file\n1,a,b,c,d\n2,e,f,g,h\n"), comm)
    assert table.columns == ["id", "name", "Name_2", "column_3", "_file_2"]
    told = "'' is now 'column_3', '_file' is now '_file_2', 'Name' is now 'Name_2'"
    assert workspace.events == [{"what": "columns_renamed", "columns": told}]


def test_the_same_change_in_several_files_is_told_once_and_none_where_there_is_none(comm, workspace, files):
    table = read(files(workspace, "a,a,b\n1,2,x\n", "a,a,b\n3,4,y\n"), comm)
    assert table.columns == ["a", "a_2", "b"]
    assert workspace.events == [{"what": "columns_renamed", "columns": "'a' is now 'a_2'"}]
    workspace.events.clear()
    read(files(workspace, "a,A b,c\n1,2,x\n", "a,ab,c\n3,4,y\n"), comm)
    assert [event["what"] for event in workspace.events] == ["columns_joined"]
    workspace.events.clear()
    read(files(workspace, "1,2\n3,4\n"), comm)  # no header at all
    assert workspace.events == []


def test_header_names_and_types_can_be_told(comm, workspace, files):
    text = "2019,2020\n1,\n3, 4\n"
    table = read(files(workspace, text), comm)
    assert table.columns == ["column_0", "column_1"]
    table = read(files(workspace, text), comm, header=True)
    assert (table.columns, rows(table)) == (["2019", "2020"], [(1, None), (3, 4)])
    table = read(files(workspace, "a,b\n1,2\n"), comm, header=False, types=False)
    assert (table.columns, rows(table)) == (["column_0", "column_1"], [("a", "b"), ("1", "2")])
    table = read(files(workspace, "a,b\n1,2\n"), comm, names=("x", "y"))
    assert (table.columns, rows(table)) == (["x", "y"], [(1, 2)])


def test_cells_stay_text_without_types(comm, workspace, files):
    table = read(files(workspace, "a,b\n007, NA \n2.50,\n3\n"), comm, types=False)
    assert rows(table) == [("007", " NA "), ("2.50", ""), ("3", None)]
    assert workspace.metrics["columns"]["a"]["type"] == "text"


def test_missing_spellings_can_be_told(comm, workspace, files):
    table = read(files(workspace, "a,b\n1,x\n-99,NA\n3,y\n"), comm, missing=("-99",))
    assert rows(table) == [(1, "x"), (None, "NA"), (3, "y")]


def test_one_column_is_a_table(comm, workspace, files):
    assert rows(read(files(workspace, "name\nAnna\n\nBert\n"), comm)) == [("Anna",), ("Bert",)]


def test_a_header_alone_is_a_table_without_rows(comm, workspace, files):
    table = read(files(workspace, "id,name\n"), comm)
    assert (table.columns, table.num_rows) == (["id", "name"], 0)


def test_a_quote_that_the_sample_does_not_show_is_known_all_the_same(comm, workspace, files):
    text = "id,name\n" + "".join(f"{n},plain\n" for n in range(20_000)) + '20000,"a, b"\n'
    assert rows(read(files(workspace, text), comm))[-1] == (20000, "a, b")
    assert workspace.metrics["files"][0]["quote"] == '"'


CELLS = st.text(st.sampled_from('ab ,;"\n\r\täß'), max_size=4).filter(lambda cell: "\r\r\n" not in cell)  # one line end
ROWS = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=30)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(ROWS, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_rows_and_lines_are_as_python_reads_them(comm, workspace, files, cells, line_end, by_blocks):
    """A table of numbers around generated rows, so that its dialect and width are plain; blocks of a few lines."""
    tidy = [[str(n), "x", "y"] for n in range(40)]
    text = io.StringIO()
    plain = csv.writer(text, lineterminator=line_end)
    plain.writerows([["n", "a", "b"], *tidy])
    csv.writer(text, lineterminator=line_end, quoting=csv.QUOTE_ALL).writerows(
        [f"1{n}", *row] for n, row in enumerate(cells)
    )
    plain.writerows(tidy)
    object.__setattr__(workspace, "memory_bytes", 64 * 50 if by_blocks else 64_000_000)
    workspace.changes.clear()
    workspace.quarantine.clear()
    table = read(files(workspace, text.getvalue()), comm, header=True, types=False).to_arrow()
    expected, line = [], 0
    reader = csv.reader(io.StringIO(text.getvalue(), newline=""))
    for row in reader:
        start, line = line + 1, reader.line_num
        expected.append((*row, start))
    assert [tuple(row.values()) for row in table.drop_columns(["_file"]).to_pylist()] == expected[1:]
    assert not quarantined(workspace)


@pytest.mark.parametrize(
    ("content", "received"),
    [
        ("", "an empty file"),
        ("\n\n \n", "only empty lines"),
        (bytes(range(256)) * 20, "binary data"),
        ('[\n {\n  "id": 1\n },\n {\n  "id": 2\n }\n]\n', 'JSON; set prepare.reader = "json_lines"'),
        ('{"id": 1, "a": 2}\n{"id": 2, "a": 3}\n', 'JSON; set prepare.reader = "json_lines"'),
        ('{"id": 1, "a": 2}\n{"id": 2, "a": 3}\n{"id": 3, "a', 'JSON; set prepare.reader = "json_lines"'),
        ('[[1, "Bern", null], [2, "Genf", 3.5]]', "JSON that is a list of lists, not of objects"),
        ("<!DOCTYPE html><html><body>404</body></html>\n", "a web page"),
        (
            "This is a letter and no table.\nIt goes on for some lines, as letters do\nGood bye\n",
            "text without a table",
        ),
    ],
)
def test_what_holds_no_table_is_one_clear_line(comm, workspace, files, content, received):
    source = files(workspace, content)
    with pytest.raises(InputError, match=received) as error:
        read(source, comm)
    assert str(error.value).startswith(f"{source.paths[0]}: received {received}") and "\n" not in str(error.value)


@pytest.mark.parametrize("content", ['{"id": 1}\n' * 3, "[" + "[1, 2]," * 50_000 + "[1, 2]]", "<html>\n<p>a,b</p>\n"])
def test_what_the_first_signs_tell_needs_no_search(comm, workspace, files, content, monkeypatch):
    monkeypatch.setattr(csv_.dialect_, "repair", lambda samples: pytest.fail("a dialect was searched"))
    with pytest.raises(InputError, match="received (JSON|a web page)"):
        read(files(workspace, content), comm)


def test_cells_that_look_like_json_are_cells(comm, workspace, files):
    content = "".join(f'{{"a": {n}}}|[[{n}]]|x{n}\n' for n in range(6))
    assert rows(read(files(workspace, content), comm))[1] == ('{"a": 1}', "[[1]]", "x1")
    content = "".join(f'{n},[["a"]]\n' for n in range(6))
    assert rows(read(files(workspace, content), comm))[1] == (1, '[["a"]]')


def test_of_several_files_a_bad_one_is_told_and_left_out(comm, workspace, files):
    source = files(workspace, "id,x\n1,2\n", b"", "id,x\n3,4\n")
    assert rows(read(source, comm)) == [(1, 2), (3, 4)]
    told = workspace.metrics["files"]
    assert [found["file"] for found in told] == ["file_0.csv", "file_2.csv", "file_1.csv"]
    assert told[2]["error"].startswith(f"{source.paths[1]}: received an empty file")


def test_what_cannot_be_opened_is_one_clear_line(comm, workspace, tmp_path):
    for path, received in ((tmp_path / "none.csv", "a path where nothing is"), (tmp_path, "a folder")):
        with pytest.raises(InputError, match=received):
            read(Source((path,), workspace), comm)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all files")
def test_a_file_without_the_right_to_read_is_one_clear_line(comm, workspace, files):
    source = files(workspace, "a,b\n1,2\n")
    source.paths[0].chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        read(source, comm)


def test_no_files_and_wrong_names_are_told(comm, workspace, files):
    with pytest.raises(InputError, match="received no files"):
        read(Source((), workspace), comm)
    with pytest.raises(InputError, match="received 1 names, the file has 2 columns"):
        read(files(workspace, "a,b\n1,2\n"), comm, names=("x",))


def test_names_given_twice_are_told(comm, workspace, files):
    for again in ("a", " A"):
        with pytest.raises(InputError, match=f"prepare.names: received '{again}' twice, allowed: names that differ"):
            read(files(workspace, "1,2,3\n4,5,6\n"), comm, names=("a", "b", again))


def test_a_line_larger_than_memory_allows_is_told(comm, workspace, files):
    workspace.memory_bytes = 1_000_000
    text = "a,b\n1,2\n3,4\n" + '5,"' + "long line " * 40_000 + '"\n'
    with pytest.raises(RankError, match="line 4: received a line of more than 62500 bytes") as error:
        read(files(workspace, text), comm, header=True)
    assert error.value.is_input


def test_a_quoted_cell_of_a_megabyte_is_one_cell(comm, workspace, files):
    cell = "line of text\n" * 80_000
    table = read(files(workspace, f'id,note\n1,"{cell}"\n2,short\n'), comm)
    assert rows(table) == [(1, cell), (2, "short")] or rows(table)[0][1].strip() == cell.strip()


def test_packed_files_are_read_as_they_are(comm, workspace, files):
    text = b"id,name\n1,Ann\n2,Bert\n"
    for packed in (gzip.compress(text), bz2.compress(text), text):
        assert rows(read(files(workspace, packed), comm)) == [(1, "Ann"), (2, "Bert")]


def test_columns_of_fixed_width_are_cut_where_they_are_aligned_or_told(comm, workspace, files):
    lines = [f"{n:<5}{name:<12}{n * 1.25:8.2f}" for n, name in enumerate(["anna k", "bert", "carla", "doris"] * 5, 1)]
    text = f"{'id':<5}{'name':<12}{'price':>8}\n" + "\n".join(lines) + "\n"
    wanted = [(n, name, n * 1.25) for n, name in enumerate(["anna k", "bert", "carla", "doris"] * 5, 1)]
    assert rows(read(files(workspace, text), comm)) == wanted
    assert rows(read(files(workspace, text), comm, widths=(5, 12, 8))) == wanted
    tight = "".join(f"{n:03d}{name:<6}{n:4d}\n" for n, name in enumerate(["annak", "bert"] * 5))
    table = read(files(workspace, tight), comm, widths=(3, 6, 4), header=False, types=False)
    assert rows(table)[:2] == [("000", "annak", "0"), ("001", "bert", "1")]


def test_a_table_larger_than_memory_allows_goes_to_scratch(comm, workspace, files):
    workspace.memory_bytes = 1_000_000
    table = read(files(workspace, "n,text\n" + "".join(f"{n},text {n}\n" for n in range(20_000))), comm)
    assert [path.suffix for path in workspace.scratch.iterdir()] == [".arrow"]  # the cells of text are gone
    assert rows(table) == [(n, f"text {n}") for n in range(20_000)]


def test_the_options_can_be_read_without_importing():
    options = methods.find("datasets", "csv", "prepare.reader").options
    assert {"header", "names", "types", "missing", "unpack_ratio"} <= set(options)


def test_a_pattern_keeps_one_blank_between_words_and_each_change_changes_something(comm, workspace, files):
    codes = [f"AB{'  ' if n % 4 else ' '}{n:03}" for n in range(40)]
    table = read(files(workspace, "id,code\n" + "".join(f"{n},{code}\n" for n, code in enumerate(codes))), comm)
    assert [code for _, code in rows(table)] == [f"AB {n:03}" for n in range(40)]
    expected = {(n + 2, "code", codes[n], f"AB {n:03}", "blanks") for n in range(40) if n % 4}
    assert logged(workspace) == expected
    assert workspace.metrics["columns"]["code"] == {"type": "text", "missing": 0, "changed": 30, "pattern": "AA 999"}


def test_what_a_pattern_puts_back_is_no_change(comm, workspace, files):
    # of the spellings of a category the most frequent one has a blank, half of all cells have none
    cells = ["AB CD 12"] * 4 + ["AB-CD 12"] * 3 + ["AX-YZ 13"] * 4 + ["QX-YZ 14"] * 4
    table = read(files(workspace, "n,part\n" + "".join(f"{n},{cell}\n" for n, cell in enumerate(cells))), comm)
    assert {cell for _, cell in rows(table)} == {"AB-CD 12", "AX-YZ 13", "QX-YZ 14"}
    changes = {(line, "part", "AB CD 12", "AB-CD 12", "pattern") for line in range(2, 6)}
    assert logged(workspace) == changes and workspace.metrics["columns"]["part"]["changed"] == 4


def test_columns_of_a_single_file_are_told(comm, workspace, files):
    one = "id,town,day\n" + "".join(f"{n},Ulm {n},2024-03-{n:02}\n" for n in range(1, 20))
    other = "id,town,day,remark\n" + "".join(f"{n},Ulm {n},{n:02} March 2024,x\n" for n in range(1, 20))
    read(files(workspace, one, other.replace("day", "Date")), comm)
    assert workspace.events == [
        {"what": "columns_joined", "by": "content", "columns": "day = Date"},
        {"what": "columns_of_one_file", "columns": "remark (file_1.csv)"},
    ]


@pytest.mark.parametrize("contents", [["a,b\n1,2\n"], ["a,b\n1,2\n", "a,b\n3,4\n"], ["a,b\n1,2\n", "c,d\nx,y\n"]])
def test_columns_that_all_files_or_no_two_share_are_not_told_each(comm, workspace, files, contents):
    read(files(workspace, *contents), comm)
    told = {event["what"] for event in workspace.events}
    assert not told & {"columns_of_one_file", "columns_some_files_lack"}


def test_a_column_that_some_files_call_otherwise_is_told_with_how_many_have_it(comm, workspace, files):
    one, other = ("id,town,{}\n" + "".join(f"{n},Ulm,{n * by}\n" for n in range(1, 20)) for by in (1, 1000))
    apart = "key;what\nA;7\nB;8\n"
    read(files(workspace, *[one.format("amount")] * 3, *[other.format("total")] * 2, apart, apart), comm)
    told = "amount (in 3 of 5 files), total (in 2 of 5 files)"
    assert workspace.events[-1] == {"what": "columns_some_files_lack", "columns": told}


LINES = ["id   name      paid", *(f"{n:<5}Anna {n:<5}{n + 0.5:>5}" for n in range(1, 9))]  # 20 characters


@pytest.mark.parametrize(
    ("lines", "widths", "found"),
    [
        (LINES, (5, 10, 5), ""),
        (LINES, (5, 10, 9), ""),  # blanks at the end of a line are often cut
        (
            ["A title that is longer than the lines below", "", *LINES, "", "as is a note below the table"],
            (5, 10, 5),
            "",
        ),
        (
            LINES,
            (5, 10),
            "8 of the first 8 lines are longer than the 15 characters of all widths, up to 20: what is beyond stands "
            "in the last column",
        ),
        (LINES, (5, 10, 5, 4), "no line reaches the last 1 of the 4 columns: the longest has 20 characters"),
        (
            ["id,name,paid", *(f"{n},Anna,{n}.5" for n in range(1, 9))],
            (4, 20),
            "2 ',' part nearly every line: without prepare.widths it would be cut there",
        ),
    ],
)
def test_widths_that_do_not_fit_the_lines_are_told(comm, workspace, files, lines, widths, found):
    read(files(workspace, "\n".join(lines) + "\n"), comm, widths=widths)
    told = [event for event in workspace.events if event["what"] == "widths_do_not_fit"]
    assert told == ([{"what": "widths_do_not_fit", "file": "file_0.csv", "found": found}] if found else [])


def test_words_for_missing_values_replace_the_usual_ones_but_for_the_empty_text(comm, workspace, files):
    content = "id,town\n" + "".join(
        f"{n},{town}\n" for n, town in enumerate(["Ulm", "refused", "", "none", "-", " "], 1)
    )
    table = read(files(workspace, content), comm, missing=("Refused",), formats=False)
    assert [town for _, town in rows(table)] == ["Ulm", None, None, "none", "-", None]


def test_all_rows_set_aside_below_the_header_are_counted(comm, workspace, files):
    lines = [f"{n},Ulm {n},{n}.5" for n in range(1, 20)]
    lines[9:9] = ["id,town,paid"]
    read(
        files(workspace, "\n".join(["Towns of the shop", "", "id,town,paid", *lines, "Total,,199.5", "* with tax"])),
        comm,
    )
    aside = [(line, rule) for _, line, _, _, rule in sorted(quarantined(workspace))]
    assert aside == [(1, "preamble"), (13, "repeated_header"), (24, "total_row"), (25, "note")]
    found = workspace.metrics["files"][0]
    assert (found["preamble_rows"], found["rows"], found["rows_quarantined"]) == (2, 19, 3)


@pytest.mark.parametrize(("day", "is_open"), [("04/05/2024", True), ("14/05/2024", False), ("2024-05-04", False)])
def test_an_order_of_day_and_month_that_is_assumed_is_told(comm, workspace, files, day, is_open):
    read(files(workspace, "id,when\n" + "".join(f"{n},{day}\n" for n in range(12))), comm)
    action = "took the day to stand before the month in when: no cell tells which comes first"
    assert workspace.events == ([{"what": "day_first_assumed", "action": action}] if is_open else [])
