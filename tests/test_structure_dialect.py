"""Dialects and records: examples written by hand, and what Python's own writer makes of generated tables."""

import csv
import io
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hvdedge.cell_kinds import ColumnModel
from hvdedge.delimited import Dialect, cells_of, read_records, readings
from hvdedge.structure import dialect, fixed_width, records

WORDS = st.text("abcdefghäöüéKLMN ", min_size=1, max_size=8).map(str.strip).filter(bool)
COMMA = Dialect(",", '"', "")


def people(rows, delimiter=",", quoting=csv.QUOTE_MINIMAL, quote='"'):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, quotechar=quote, lineterminator="\n")
    writer.writerow(["id", "name", "born", "remark"])
    writer.writerows([n, f"Anna {n}", f"1990-01-{n % 28 + 1:02}", "late, but here"] for n in range(rows))
    return text.getvalue()


# --- dialect --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sample", "delimiter", "quote", "escape"),
    [
        ("a,b,c\n1,2,3\n4,5,6\n", ",", '"', ""),
        ('a;b\n1,5;"x;y"\n2,5;"z"\n', ";", '"', ""),
        ('a|b\n1|"he said ""no"""\n2|"z"\n', "|", '"', '"'),
        ('a,b\n1,"he said \\"no\\""\n2,"z"\n', ",", '"', "\\"),
        ("'a','b'\n'x, y','1'\n'it','2'\n", ",", "'", ""),
        ("id\tit's\n1\tdon't, can't\n2\twon't\n", "\t", '"', ""),
        ("# a, b, and c\n# d, e\n\nx;y;z\n1;2;3\n4;5;6\n7;8;9\n", ";", '"', ""),
        ("name\nAnna\nBert\n", "", '"', ""),
        ("12:30;1.5\n12:31;2.5\n12:32;3.5\n", ";", '"', ""),
        ('".a";"top: ";"-2px"\n".b";"top: ";"-4px"\n".c";"top: ";"-6px"\n', ";", '"', ""),
        ("a\x1fb\x1fc\n1\x1f2, 3\x1f4\n5\x1f6, 7\x1f8\n", "\x1f", '"', ""),
        ('1,"",""\n2,3,4\n', ",", '"', ""),
        ("sep=;\na,b;c,d\n1,2;3,4\n", ";", '"', ""),
        ("id^name\n1^a b\n2^c d\n", "^", '"', ""),
        ("a,b\n1,'x, 2\"\"'\n2,'it isn't'\n3,'y'\n", ",", "'", '"'),
    ],
)
def test_the_dialect_is_found(sample, delimiter, quote, escape):
    found = dialect.repair([sample])
    assert (found.delimiter, found.quote, found.escape) == (delimiter, quote, escape)


def test_a_blank_behind_each_delimiter_is_no_data():
    found = dialect.repair('a, b, c\n1, "x, y", 3\n2, "z", 4\n')
    assert found.skips_blanks and found.sample_rows('5, "x, y", 6') == [["5", "x, y", "6"]]


@pytest.mark.parametrize("delimiter", ["||", "::", "~|~", ";;", "=>"])
def test_a_delimiter_of_several_characters_is_read_as_one(delimiter):
    rows = [["id", "name", "price"], ["1", "a, b c", "1.5"], ["2", "", "2.5"], ["3", "d", "3.5"]]
    text = "\n".join(delimiter.join(row) for row in rows) + "\n"
    found = dialect.repair([text])
    assert found.delimiter == delimiter and found.sample_rows(text) == rows
    assert found.simplified(found.simplified(text)) == found.simplified(text)
    assert found.simplified_bytes(text.encode()).decode() == found.simplified(text)


def test_runs_of_blanks_part_cells():
    text = " id   name   price\n  1    anna    1.50\n 22    bert    2.25\n333    cleo    9.00\n"
    found = dialect.repair([text])
    assert found.runs and found.sample_rows(text)[1:3] == [["1", "anna", "1.50"], ["22", "bert", "2.25"]]
    assert found.simplified("  a  b \r\n c   d") == "a b\r\nc d"


def test_aligned_columns_are_cut_where_blanks_stand_in_line():
    lines = [
        "name           town        amount  note",
        "Anna Miller    Bern         12.50  ok",
        "Bert           New York    112.00  late, twice",
        "Cleo de Groot  Rome          3.10",
    ]
    assert fixed_width.repair(lines) is not None
    found = dialect.repair(["\n".join(lines) + "\n"])
    assert found.delimiter == "" and found.cuts == fixed_width.repair(lines)
    assert found.sample_rows("\n".join(lines))[1:] == [
        ["Anna Miller", "Bern", "12.50", "ok"],
        ["Bert", "New York", "112.00", "late, twice"],
        ["Cleo de Groot", "Rome", "3.10", ""],
    ]
    assert found.simplified(found.simplified("\n".join(lines))) == found.simplified("\n".join(lines))


def test_prose_is_not_aligned():
    lines = ["It was the best of times, it was the worst of times,", "it was the age of wisdom,", "or not. Who knows?"]
    assert fixed_width.repair(lines) is None and fixed_width.repair([]) is None


def test_what_stands_behind_the_beginning_counts():
    head = "export: of, the; day\n" + "".join(f"note {n}; nothing, yet\n" for n in range(5))
    body = "".join(f"{n}|a, b|{n}.5|x; y\n" for n in range(4000))
    assert dialect.repair([head + body]).delimiter == "|"
    assert dialect.repair([head, body[:4000], body[8000:12000]]).delimiter == "|"


def test_a_cell_longer_than_the_sample_hides_nothing():
    assert dialect.repair(['id;t\n1;"' + "line of text\n" * 20_000]).delimiter == ";"
    assert dialect.repair(['id,t\n1,"' + "line of text\n" * 20_000 + '"\n2,end\n']).delimiter == ","


def test_one_odd_row_does_not_change_the_dialect():
    lines = people(60).splitlines()
    for odd in ("1;Anna 1;1990-01-02;late, but here", '7,"Anna 7,1990-01-08,x', "8,,Anna 8,1990-01-09,y"):
        found = dialect.repair(["\n".join([*lines[:30], odd, *lines[30:]])])
        assert (found.delimiter, found.quote) == (",", '"')


def test_a_large_sample_is_quick():
    texts = [people(6000)[:256_000], "It's a text; with, words: and so on | so\n" * 6000, "a" * 256_000, '"' * 256_000]
    for text in texts:
        start = time.perf_counter()
        dialect.repair([text])
        assert time.perf_counter() - start < 1.0  # 0.3 s on a quiet machine


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(-999, 999), WORDS, WORDS, st.floats(0, 99).map("{:.3f}".format)), min_size=4),
    st.sampled_from(",;|\t"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_a_writer_wrote_is_read_again(rows, delimiter, quoting, line_end):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=line_end).writerows(rows)
    found = dialect.repair(text.getvalue())
    assert found.delimiter == delimiter
    expected = [[str(cell) for cell in row] for row in rows]
    assert found.sample_rows(text.getvalue()) == expected[:400]


# --- records --------------------------------------------------------------------------------------------------------

CELLS = st.text('ab1 ,;"\n', max_size=6)


@settings(deadline=None)
@given(st.lists(st.lists(CELLS, min_size=2, max_size=4), max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_records_in_order_are_those_of_the_writer(rows, line_end):
    text = io.StringIO()
    csv.writer(text, lineterminator=line_end, quoting=csv.QUOTE_ALL).writerows(rows)
    found = records.repair(text.getvalue(), COMMA)
    assert found.rows == rows and not found.astray
    assert COMMA.is_regular(text.getvalue().encode())
    assert "".join(found.lines) == text.getvalue() and found.first_lines[-1] == len(found.lines)


@settings(deadline=None)
@given(
    st.text('ab",\n\r', max_size=40), st.sampled_from([COMMA, Dialect(",", '"', "\\"), Dialect(", ", "'", "", True)])
)
def test_every_line_belongs_to_one_record(text, found_dialect):
    found = read_records(text, found_dialect)
    assert len(found.rows) == len(found.first_lines) - 1 and found.first_lines[-1] == len(found.lines)
    assert found.first_lines == sorted(set(found.first_lines))
    assert "".join(found.lines).replace(found_dialect.mark, found_dialect.delimiter) == text


@settings(deadline=None)
@given(st.text('ab"",\n', max_size=60))
def test_where_all_quotes_are_in_order_a_strict_reader_finds_no_fault(text):
    # the other way round: is_regular may be careful, but must not pass what a reader would join
    assume(COMMA.is_regular(text.encode()))
    list(csv.reader(io.StringIO(text, newline=""), strict=True))


def test_quotes_in_text_are_characters():
    assert cells_of('1,"he said "no" twice",x', COMMA) == (["1", 'he said "no" twice', "x"], False)
    assert cells_of('1,"a ""b"" c",""', COMMA) == (["1", 'a "b" c', ""], False)
    assert cells_of('1,""https://x",2', COMMA) == (["1", '"https://x', "2"], False)
    assert cells_of('1,"open,2', COMMA) == (["1", '"open', "2"], True)
    assert cells_of('1,"x" ,2', COMMA) == (["1", "x", "2"], False)
    assert cells_of("1,'8\\'9\" long','won't'", Dialect(",", "'", '"'))[0][2] == "won't"


@given(st.text('"",;  a\n\\', max_size=60), st.sampled_from(["", '"', "\\"]), st.sampled_from([0, 2, 3]))
def test_a_record_with_a_quote_astray_takes_the_lines_that_close_it(text, escape, width):
    found_dialect = Dialect(",", '"', escape)
    found = read_records(text, found_dialect, width)
    for place in found.astray:
        first, used = found.first_lines[place], found.first_lines[place + 1] - found.first_lines[place]
        alone, is_open = cells_of(found.lines[first].rstrip("\r\n"), found_dialect)
        ways = [
            cells_of("".join(found.lines[first:end]).rstrip("\r\n"), found_dialect)
            for end in range(first + 2, first + 21)
        ]
        ways = ways[: len(found.lines) - first - 1]
        closed = next(((n, cells) for n, (cells, open_) in enumerate(ways, 2) if not open_), None)
        expected = (1, alone)
        if is_open and (not width or len(alone) != width) and closed:
            fits = len(closed[1]) == width if width else len(closed[1]) >= len(alone)
            expected = closed if fits else expected
        assert (used, found.rows[place]) == expected


def test_quotes_that_nothing_closes_are_characters_however_many():
    text = ',"a' * 200_000  # behind each the whole text was searched
    assert cells_of(text[1:], COMMA) == (['"a'] * 200_000, True)
    assert cells_of(text[1:], Dialect(",", '"', "\\")) == (['"a'] * 200_000, True)


def test_a_quote_that_never_closes_costs_no_row():
    lines = [f"{n},{chr(34) if n in (5, 8) else ''}name{n},{n}" for n in range(20)]
    found = read_records("\n".join(lines), COMMA, 3)
    assert found.rows == [[str(n), f"{chr(34) if n in (5, 8) else ''}name{n}", str(n)] for n in range(20)]
    assert found.astray <= {5, 8} and found.astray


def test_rows_between_two_quotes_astray_are_no_cell():
    lines = [f"{n},{chr(34) if n in (25, 26, 33, 36) else ''}name{n},{n}.5" for n in range(40)]
    columns = [ColumnModel(cells) for cells in zip(*(line.split(",") for line in lines[:20]), strict=True)]
    for part in (lines, lines[25:]):
        found = read_records("\n".join(part), COMMA, 3, columns=columns)
        assert found.rows == [line.split(",") for line in part]
    assert len(read_records("\n".join(lines), COMMA, 3).rows) == 40


def test_a_cell_of_several_lines_stays_one():
    text = 'id,text,n\n1,"first\nsecond, with comma\n\nlast",2\n3,"x",4\n'
    found = read_records(text, COMMA, 3)
    assert found.rows[1] == ["1", "first\nsecond, with comma\n\nlast", "2"] and len(found.rows) == 3
    assert found.text(1) == '1,"first\nsecond, with comma\n\nlast",2' and found.first_lines == [0, 1, 5, 6]


def test_a_cell_open_at_the_end_of_a_sample_is_left_out():
    text = 'id,t\n1,a\n2,"' + "line of text\n" * 100
    assert read_records(text, COMMA, 0, complete=False).rows == [["id", "t"], ["1", "a"]]
    rows = 'id,t\n1,a\n2,"b\n' + "3,c\n" * 100
    assert len(read_records(rows, COMMA, 0, complete=False).rows) == 103


@pytest.mark.parametrize(
    ("data", "regular"),
    [
        (b'a,"b","c ""q"" d"\n"",1\n', True),
        (b'a,""b",c\n', False),
        (b'a,5" pipe\n', False),
        (b'a,"b"c"\n', False),
        (b'a,"b\n', False),
        (b'"a"\r\n"b"', True),
        (b"plain,text\n", True),
    ],
)
def test_quotes_in_order_are_told_at_once(data, regular):
    assert COMMA.is_regular(data) is regular


def test_escaped_quotes_are_in_order():
    escaped = Dialect(",", '"', "\\")
    assert escaped.is_regular(b'a,"he said \\"no\\"",b\n') and not escaped.is_regular(b'a,"he said "no"",b\n')


def test_the_ways_to_read_a_row_hold_the_right_one():
    text = '30,"$80.08,Boots,"Great grip, dry.",x'
    assert ["30", '"$80.08', "Boots", "Great grip, dry.", "x"] in list(readings(text, COMMA))
