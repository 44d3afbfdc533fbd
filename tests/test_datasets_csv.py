"""The csv reader on one rank: files as they come, whole tables with their origin, logs and metrics, and bad input."""

import csv
import datetime
import io
import os

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hvdedge import methods
from hvdedge.datasets.csv import _deal, read
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
        ("file_0.csv", 10, '6;6,5;"Em;il\nx";15.04.2024;yes;oh', "long_row"),
        ("file_0.csv", 12, "see the note below", "note"),
    ]
    (found,) = workspace.metrics["files"]
    expected = {"file": "file_0.csv", "encoding": "utf-8", "delimiter": ";", "quote": '"', "escape": '"'}
    expected |= {"preamble_rows": 3, "header_rows": 1, "rows": 12, "rows_quarantined": 2, "rows_ragged": 2}
    assert expected.items() <= found.items()
    assert workspace.metrics["columns"] == {
        "id": {"type": "integer", "missing": 0, "changed": 0},
        "price": {"type": "float", "missing": 1, "changed": 1},
        "name": {"type": "text", "missing": 2, "changed": 2},
        "when": {"type": "date", "missing": 2, "changed": 2},
        "ok": {"type": "boolean", "missing": 2, "changed": 2},
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


def test_names_are_made_unique(comm, workspace, files):
    table = read(files(workspace, "id,name,Name,,_file\n1,a,b,c,d\n2,e,f,g,h\n"), comm)
    assert table.columns == ["id", "name", "Name_2", "column_3", "_file_2"]


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


CELLS = st.text(st.sampled_from('ab ,;"\n\r\täß'), max_size=4)
ROWS = st.lists(st.lists(CELLS, min_size=1, max_size=4), min_size=1, max_size=30)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(ROWS, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_rows_and_lines_are_as_python_reads_them(comm, workspace, files, cells, line_end, by_blocks):
    """A table of numbers around generated rows, so that its dialect and width are plain; blocks of a few lines."""
    tidy = [[str(n), "x", "y"] for n in range(40)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=line_end)
    writer.writerows([["n", "a", "b"], *tidy, *([f"1{n}", *row] for n, row in enumerate(cells)), *tidy])
    object.__setattr__(workspace, "memory_bytes", 64 * 50 if by_blocks else 64_000_000)
    workspace.changes.clear()
    workspace.quarantine.clear()
    table = read(files(workspace, text.getvalue()), comm, header=True, types=False).to_arrow()
    expected, line, count = [], 0, -1
    reader = csv.reader(io.StringIO(text.getvalue(), newline=""))
    for row in reader:
        start, line = line + 1, reader.line_num
        if not any(row):  # a line end in a cell that the writer did not quote, because it was another one
            continue
        count += 1
        if len(row) == 1 and len(row[0].split()) > 1:  # may be a remark
            continue
        if len(row) <= 3 or not any(cell.strip() for cell in row[3:]):
            expected.append((*(row + [None, None])[:3], start))
    found = [tuple(row.values()) for row in table.drop_columns(["_file"]).to_pylist()]
    assert [row for row in found if row[1] is not None or len(row[0].split()) < 2] == expected[1:]
    assert table.num_rows + len(quarantined(workspace)) == count


@pytest.mark.parametrize(
    ("content", "received"),
    [
        ("", "an empty file"),
        ("\n\n \n", "only empty lines"),
        (bytes(range(256)) * 20, "binary data"),
        ("<!DOCTYPE html><html><body>404</body></html>\n", "a web page"),
        (
            "This is a letter and no table.\nIt goes on for some lines, as letters do\nGood bye\n",
            "text without a table",
        ),
    ],
)
def test_what_holds_no_table_is_one_clear_line(comm, workspace, files, content, received):
    source = files(workspace, "id,x\n1,2\n", content)
    with pytest.raises(RankError, match=received) as error:
        read(source, comm)
    assert error.value.is_input and error.value.cause.startswith(f"{source.paths[1]}: received {received}")
    assert "\n" not in error.value.cause


def test_what_cannot_be_opened_is_one_clear_line(comm, workspace, tmp_path):
    for path, received in ((tmp_path / "none.csv", "a path where nothing is"), (tmp_path, "a folder")):
        with pytest.raises(RankError, match=received) as error:
            read(Source((path,), workspace), comm)
        assert error.value.is_input


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all files")
def test_a_file_without_the_right_to_read_is_one_clear_line(comm, workspace, files):
    source = files(workspace, "a,b\n1,2\n")
    source.paths[0].chmod(0)
    with pytest.raises(RankError, match="Permission denied") as error:
        read(source, comm)
    assert error.value.is_input


def test_no_files_and_wrong_names_are_told(comm, workspace, files):
    with pytest.raises(InputError, match="received no files"):
        read(Source((), workspace), comm)
    with pytest.raises(RankError, match="received 1 names, the file has 2 columns") as error:
        read(files(workspace, "a,b\n1,2\n"), comm, names=("x",))
    assert error.value.is_input


def test_a_cell_larger_than_memory_allows_is_told(comm, workspace, files):
    workspace.memory_bytes = 1_000_000
    text = "a,b\n1,2\n3,4\n" + '5,"' + "long line\n" * 10_000 + '"\n'
    with pytest.raises(RankError, match="line 4 or below: received a line or quoted cell of more than 62500") as error:
        read(files(workspace, text), comm, header=True)
    assert error.value.is_input


def test_a_table_larger_than_memory_allows_goes_to_scratch(comm, workspace, files):
    workspace.memory_bytes = 1_000_000
    table = read(files(workspace, "n,text\n" + "".join(f"{n},text {n}\n" for n in range(20_000))), comm)
    assert [path.suffix for path in workspace.scratch.iterdir()] == [".arrow"]  # the cells of text are gone
    assert rows(table) == [(n, f"text {n}") for n in range(20_000)]


@pytest.mark.parametrize(
    ("sizes", "ranks", "runs"),
    [
        ([10, 10, 10, 10], 2, [range(0, 2), range(2, 4)]),
        ([100, 1, 1, 1], 2, [range(0, 1), range(1, 4)]),
        ([1, 1, 100], 2, [range(0, 2), range(2, 3)]),
        ([5], 3, [range(0, 0), range(0, 1), range(1, 1)]),
        ([0, 0], 2, [range(0, 2), range(2, 2)]),
    ],
)
def test_files_are_dealt_in_runs_by_bytes(sizes, ranks, runs):
    assert [list(run) for run in _deal(sizes, ranks)] == [list(run) for run in runs]


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20), st.integers(1, 7))
def test_every_file_has_one_rank(sizes, ranks):
    assert [number for run in _deal(sizes, ranks) for number in run] == list(range(len(sizes)))


def test_the_options_can_be_read_without_importing():
    assert set(methods.find("datasets", "csv", "prepare.reader").options) == {"header", "names", "types", "missing"}
