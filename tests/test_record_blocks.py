"""Records from ranges of a file: cut anywhere, read in blocks of any size, they are those of the whole."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdedge import text_files
from hvdedge.contents import Content
from hvdedge.delimited import Dialect, read_records
from hvdedge.record_blocks import TRIES, Blocks, even_end, find_start, line_ends
from hvdedge.structure import encoding
from hvdedge.text_files import Piece, TextFile, open_all

CELLS = st.text('ab,"\n;1 é', max_size=6)


def text_file(path, data: bytes) -> TextFile:
    path.write_bytes(data)
    survey = encoding.survey([data])
    return TextFile(Content(path), encoding.repair(path, survey, None), len(data), survey)


def rows_of(blocks: Blocks, dialect: Dialect) -> list[tuple[int, list[str]]]:
    """Return line and cells of each record."""
    rows = []
    for block in blocks:
        records = block.records or read_records(block.data.decode(), dialect)
        assert records.first_lines[-1] == block.lines or not block.data.endswith(b"\n")
        rows += [
            (block.first_line + line, row) for line, row in zip(records.first_lines, records.rows, strict=False) if row
        ]
    return rows


def in_pieces(file: TextFile, cuts: list[int], dialect: Dialect, block_bytes: int):
    """Return the rows of all pieces, each beginning where the one before ended."""
    options = {"width": 3, "block_bytes": block_bytes, "most_bytes": 1 << 16}
    starts = sorted({0, *(text_files._line_start(file.content, cut, file.size) for cut in cuts if cut)})
    starts = [start for start in starts if start < file.size]
    rows, end = [], 0
    for stop in [*starts[1:], file.size]:
        if end >= stop:
            continue
        line = len(line_ends(file.path.read_bytes()[:end], True)) + 1 if end else 1
        blocks = Blocks(file, end, stop, line, dialect, **options)
        rows += rows_of(blocks, dialect)
        end = blocks.end
    assert end == file.size
    return rows


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=40),
    cuts=st.lists(st.integers(0, 400), max_size=4),
    block_bytes=st.sampled_from([7, 64, 1000]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_records_are_the_same_in_pieces_cut_anywhere(tmp_path_factory, rows, cuts, block_bytes, line_end, quoting):
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end, quoting=quoting).writerows(rows)
    file = text_file(tmp_path_factory.mktemp("cut") / "x.csv", text.getvalue().encode())
    dialect = Dialect(",", '"', '"')
    found = in_pieces(file, [cut % file.size for cut in cuts], dialect, block_bytes)
    assert [row for _, row in found] == [list(row) for row in rows]
    lines = []
    at = 1
    for row in rows:
        lines.append(at)
        written = io.StringIO(newline="")
        csv.writer(written, lineterminator=line_end, quoting=quoting).writerow(row)
        at += len(line_ends(written.getvalue().encode(), True))
    assert [line for line, _ in found] == lines


def test_the_start_of_a_piece_inside_a_quoted_cell_is_guessed_right(tmp_path):
    row = '1,"a cell\nof ""three"", lines\nhere",x\n2,plain,y\n'
    file = text_file(tmp_path / "x.csv", (row * 200).encode())
    dialect = Dialect(",", '"', '"')
    data = file.path.read_bytes()
    for cut in range(1, 300):
        start = text_files._line_start(file.content, cut, file.size)
        found = find_start(file, Piece(0, start, file.size, 0, True), dialect)
        assert data[found : found + 2] in (b"1,", b"2,") and found - start <= len(row)


def test_a_quote_astray_costs_its_own_row_only(tmp_path):
    lines = [f'{n},"name, {n}",{n}\n' for n in range(500)]
    lines[250] = '250,"no end,250\n'
    file = text_file(tmp_path / "x.csv", "".join(lines).encode())
    dialect = Dialect(",", '"', '"')
    for block_bytes in (100, 1000, 1 << 20):
        rows = rows_of(
            Blocks(file, 0, file.size, 1, dialect, width=3, block_bytes=block_bytes, most_bytes=4000), dialect
        )
        assert [row for _, row in rows if len(row) == 3 and row[0] != "250"] == [
            [str(n), f"name, {n}", str(n)] for n in range(500) if n != 250
        ]
        assert [line for line, _ in rows] == list(range(1, 501))


@pytest.mark.parametrize(
    ("data", "ends"),
    [
        (b"a\nb\n", [1, 3]),
        (b"a\r\nb\r\n", [2, 5]),
        (b"a\rb\r", [1, 3]),
        (b"a\r\r\nb\r\r\n", [3, 7]),
        (b"a\rb\r\nc", [1, 4]),
    ],
)
def test_line_ends_of_all_kinds_are_found(data, ends):
    assert line_ends(data, True).tolist() == ends
    assert encoding.survey([data]).lines == len(ends)
    for cut in range(len(data)):
        assert encoding.survey([data[:cut], data[cut:]]).lines == len(ends)


@settings(max_examples=200, deadline=None)
@given(st.text('a"\n', max_size=60), st.sampled_from(["\n", "\r\n"]), st.integers(0, 2 * TRIES))
def test_the_last_line_end_outside_quotes_is_found_from_behind(text, line_end, inside):
    """However many line ends stand behind it in a cell that stays open."""
    data = (text.replace("\n", line_end) + '"' * bool(inside) + line_end * inside).encode()
    ends = [n + 1 for n, byte in enumerate(data) if byte == ord("\n") and data[:n].count(b'"') % 2 == 0]
    assert even_end(data, Dialect(",", '"', '"')) == max(ends, default=0)


def test_small_files_are_not_split_and_every_byte_has_one_rank():
    mb = 1 << 20
    assert text_files._deal({0: 10, 1: 10, 2: 10, 3: 10}, set(), 2) == [[(0, 0), (1, 0)], [(2, 0), (3, 0)]]
    assert text_files._deal({0: 8 * mb}, set(), 4) == [[(0, 0)], [(0, 2 * mb)], [(0, 4 * mb)], [(0, 6 * mb)]]
    assert text_files._deal({0: 8 * mb}, {0}, 2) == [[], [(0, 0)]]
    assert text_files._deal({0: mb, 1: 7 * mb}, set(), 2) == [[(0, 0), (1, 0)], [(1, 3 * mb)]]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 20 << 20), min_size=1, max_size=12), st.integers(1, 7))
def test_pieces_are_in_order_of_files_and_ranks(sizes, ranks):
    dealt = text_files._deal(dict(enumerate(sizes)), set(), ranks)
    flat = [piece for part in dealt for piece in part]
    assert flat == sorted(flat) and [number for number, start in flat if not start] == list(range(len(sizes)))


def test_a_bad_file_is_told_and_the_others_are_read(comm, tmp_path):
    (tmp_path / "good.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.csv").write_text("")
    files, pieces, errors = open_all([tmp_path / "empty.csv", tmp_path / "good.csv", tmp_path / "none"], 200, comm)
    assert list(files) == [1] and [piece.number for piece in pieces] == [1]
    assert list(errors) == [0, 2] and "an empty file" in errors[0] and "a path where nothing is" in errors[2]
