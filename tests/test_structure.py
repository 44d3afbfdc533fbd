"""Structure repairs: each on examples written by hand, and on what Python's own writers make of generated cells."""

import csv
import datetime
import io
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdedge.errors import InputError
from hvdedge.structure import booleans, dates, dialect, encoding, header, missing, numbers, ragged, types

WORDS = st.text("abcdefghäöüéKLMN ", min_size=1, max_size=8).map(str.strip).filter(bool)


def texts(*cells):
    return pa.array(cells, pa.string())


def written(tmp_path, content: bytes):
    path = tmp_path / "some.csv"
    path.write_bytes(content)
    return path


# --- encoding -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "codec", "name"),
    [
        ("id,name\n1,Anna\n", "ascii", "utf-8"),
        ("id,name\n1,Zoë\n", "utf-8", "utf-8"),
        ("id,name\n1,Zoë\n", "utf-8-sig", "utf-8-sig"),
        ("id,name\n1,Zoë\n", "utf-16", "utf-16"),
        ("id,name\n1,Zoë\n", "utf-16-be", "utf-16-be"),
        ("id,name\n1,Zoë\n", "utf-16-le", "utf-16-le"),
        ("id,name\n1,Zoë\n", "utf-32", "utf-32"),
        ("id,name\n1,Zoë\n", "latin-1", "latin-1"),
        ("id,name\n1,Zoë – „so“\n", "cp1252", "cp1252"),
    ],
)
def test_the_encoding_is_found_and_gives_the_text_back(tmp_path, text, codec, name):
    path = written(tmp_path, text.encode(codec))
    found = encoding.repair(path)
    assert found == encoding.Encoding(name)
    with found.open(path) as file:
        assert found.mend(file.read()) == text


def test_a_utf8_file_with_a_broken_byte_stays_utf8_and_says_so(tmp_path):
    good = "Äpfel,Öl,Übung\n" * 20
    path = written(tmp_path, good.encode() + b"M\xfcnchen,\x93,x\n")
    found = encoding.repair(path)
    assert found == encoding.Encoding("utf-8", broken_bytes=2)
    with found.open(path) as file:
        assert found.mend(file.read()) == good + "München,“,x\n"


def test_an_encoding_far_behind_the_beginning_counts(tmp_path):
    path = written(tmp_path, b"a,b\n" * 600_000 + "é,ü\n".encode("latin-1"))
    assert encoding.repair(path).name == "latin-1"


def test_nuls_and_inner_marks_are_no_text(tmp_path):
    path = written(tmp_path, b"\xef\xbb\xbfa,b\n1,\xef\xbb\xbf2\n3,\x004\n" + b"\0" * 50)
    found = encoding.repair(path)
    with found.open(path) as file:
        assert found.mend(file.read()) == "a,b\n1,2\n3,4\n"


@pytest.mark.parametrize(
    ("content", "received"),
    [
        (b"", "an empty file"),
        (b"\r\n \n\n", "only empty lines"),
        (b"\x1f\x8b\x08\0\0", "a gzip file"),
        (b"PK\x03\x04rest", "a zip file"),
        (bytes(np.random.default_rng(1).integers(0, 256, 5000, np.uint8)), "binary data"),
    ],
)
def test_what_is_no_text_is_one_clear_line(tmp_path, content, received):
    path = written(tmp_path, content)
    with pytest.raises(InputError, match=received) as error:
        encoding.repair(path)
    assert str(error.value).startswith(f"{path}: received {received}") and "\n" not in str(error.value)


def test_a_folder_or_nothing_is_no_file(tmp_path):
    with pytest.raises(InputError, match="received a folder, expected a file"):
        encoding.repair(tmp_path)
    with pytest.raises(InputError, match="a path where nothing is"):
        encoding.repair(tmp_path / "none.csv")


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
    ],
)
def test_the_dialect_is_found(sample, delimiter, quote, escape):
    found = dialect.repair(sample)
    assert (found.delimiter, found.quote, found.escape) == (delimiter, quote, escape)


def test_a_blank_behind_each_delimiter_is_no_data():
    found = dialect.repair('a, b, c\n1, "x, y", 3\n2, "z", 4\n')
    assert found.skips_blanks and found.sample_rows('5, "x, y", 6') == [["5", "x, y", "6"]]


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
    assert found.sample_rows(text.getvalue()) == expected[: dialect.SAMPLE_ROWS]


# --- header ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "preamble_rows", "header_rows", "names"),
    [
        (["id,price", "1,2", "3,4"], 0, 1, ("id", "price")),
        (["1,2,3", "4,5,6", "7,8,9"], 0, 0, None),
        (["a report", "", "id,price,x", "1,2,3", "3,4,5"], 2, 1, ("id", "price", "x")),
        (["id,price", ",EUR", "1,2", "3,4", "5,6"], 0, 2, ("id", "price EUR")),
        (["name,town", "Anna,Bern", "Bert,Bern", "Cleo,Rome"], 0, 1, ("name", "town")),
        (["Anna,Bern", "Bert,Bern", "Cleo,Rome"], 0, 0, None),
        (["id,name,price"], 0, 1, ("id", "name", "price")),
        (["id,price,", "1,2,", "3,4,"], 0, 1, ("id", "price")),
        (["x,y,x", "first,1,2,3", "second,4,5,6", "third,7,8,9"], 0, 1, ("", "x", "y", "x")),
        ([",,,", ",,SPENDING,", "no,who,how much,", "1,A,5,", "2,B,6,", "3,C,7,"], 2, 1, ("no", "who", "how much")),
        ([" id ,net  price", "1,2", "3,4"], 0, 1, ("id", "net price")),
    ],
)
def test_the_header_is_found(lines, preamble_rows, header_rows, names):
    found = header.repair([line.split(",") if line else [] for line in lines])
    assert (found.preamble_rows, found.header_rows, found.names) == (preamble_rows, header_rows, names)


def test_a_known_header_is_not_guessed():
    rows = [["2019", "2020"], ["1", "2"], ["3", "4"]]
    assert header.repair(rows).names is None
    assert header.repair(rows, True).names == ("2019", "2020")
    assert header.repair([["a", "b"], ["1", "2"]], False).header_rows == 0


def test_a_delimiter_at_the_end_of_each_row_is_a_surplus():
    found = header.repair([["a", "b", ""], ["1", "2", ""], ["3", "4", ""]])
    assert (found.width, found.surplus) == (2, 1)


# --- ragged rows ----------------------------------------------------------------------------------------------------


def test_ragged_rows_are_filled_cut_or_set_aside():
    rows = [["1", "2", "3"], ["4"], ["5", "6", "7", "", ""], ["8", "9", "10", "oh"], [], ["", "", ""], ["see page 3"]]
    found = ragged.repair(rows, 3)
    assert found.rows == [["1", "2", "3"], ["4", None, None], ["5", "6", "7"]]
    assert found.kept == [0, 1, 2]
    assert found.short == {1: 1} and found.long == {2: 5}
    assert found.aside == {3: "long_row", 6: "note"} and found.empty == 2


def test_a_surplus_that_every_row_has_is_no_change():
    assert ragged.repair([["1", "2", ""], ["3", "4", "", ""]], 2, surplus=1).long == {1: 4}


@given(st.lists(st.lists(st.sampled_from(["", "1", "x y"]), max_size=5), max_size=20), st.integers(1, 4))
def test_no_row_is_lost_and_all_that_stay_are_of_one_width(rows, width):
    found = ragged.repair(rows, width)
    assert len(found.rows) + len(found.aside) + found.empty == len(rows)
    for cells, place in zip(found.rows, found.kept, strict=True):
        kept = [cell for cell in cells if cell is not None]
        assert len(cells) == width and kept == rows[place][:width]
    assert not set(found.aside) & set(found.kept)


# --- cells ----------------------------------------------------------------------------------------------------------


def test_missing_values_are_found_in_all_spellings():
    values = texts("", " NA ", "n/a", "NULL", "-", "?", "0", "none of it", "Nan", None)
    assert missing.repair(values).to_pylist() == [None] * 6 + ["0", "none of it", None, None]


def test_truth_values_are_read():
    values = texts("yes", "No", " TRUE", "false", "maybe", None, "ja")
    assert booleans.repair(values).to_pylist() == [True, False, True, False, None, None, True]


@pytest.mark.parametrize(
    ("text", "decimal", "number"),
    [
        ("7", ".", 7.0),
        (" 7 ", ".", 7.0),
        ("+7", ".", 7.0),
        ("7.0", ",", 7.0),
        ("7,0", ".", 7.0),
        ("7 px", ".", 7.0),
        ("-1.5e3", ".", -1500.0),
        ("1.234,50", ".", 1234.5),
        ("1,234.50", ",", 1234.5),
        ("1 234,5", ".", 1234.5),
        ("1'234", ".", 1234.0),
        ("1.234.567", ".", 1234567.0),
        ("1,234", ".", 1234.0),
        ("1,234", ",", 1.234),
        ("1.234", ".", 1.234),
        ("1.234", ",", 1234.0),
        ("0,125", ".", 0.125),
        (".5", ".", 0.5),
        (",5", ".", 0.5),
        ("$ 5", ".", 5.0),
        ("-5 €", ".", -5.0),
        ("−5", ".", -5.0),
        ("12,5%", ".", 12.5),
        ("seven", ".", None),
        ("1.2.3", ".", None),
        ("12 Main Street", ".", None),
        ("1e400", ".", None),
        ("inf", ".", None),
        ("", ".", None),
        (None, ".", None),
    ],
)
def test_numbers_are_read(text, decimal, number):
    assert numbers.repair(texts(text), decimal=decimal).to_pylist() == [number]


def test_whole_numbers_are_read_exactly():
    values = texts("123456789012345678", "7.0", "7,0 px", "7.5", "1e3", "-3", "007", None)
    result = numbers.repair(values, integer=True)
    assert result.type == pa.int64()
    assert result.to_pylist() == [123456789012345678, 7, 7, None, None, -3, 7, None]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64)))
def test_python_floats_are_read_as_they_were_written(values):
    usual = [value for value in values if value == 0 or 1e-90 < abs(value) < 1e90]
    assert numbers.repair(texts(*map(repr, usual))).to_pylist() == usual


@given(st.lists(st.integers(-(10**17), 10**17)), st.sampled_from(",.' "))
def test_marks_between_thousands_change_no_number(values, mark):
    cells = [f"{value:,}".replace(",", mark) for value in values]
    read = numbers.repair(texts(*cells), decimal="." if mark == "," else ",", integer=True)
    assert read.to_pylist() == values


def test_dates_are_read_in_either_order():
    values = texts("2024-03-07", "07.03.2024", "7/3/24", "2024/3/7", "30.02.2024", "hello", None)
    march, july = datetime.date(2024, 3, 7), datetime.date(2024, 7, 3)
    assert dates.repair(values).to_pylist() == [march, march, march, march, None, None, None]
    assert dates.repair(values, day_first=False).to_pylist()[:4] == [march, july, july, march]


def test_timestamps_and_times_are_read():
    values = texts("2024-03-07T08:09:10.5Z", "07.03.2024 08:09", "2024-03-07 08:00+02:00", "2024-03-07", "25:00")
    assert dates.repair(values, to="timestamp").to_pylist() == [
        datetime.datetime(2024, 3, 7, 8, 9, 10, 500_000),
        datetime.datetime(2024, 3, 7, 8, 9),
        datetime.datetime(2024, 3, 7, 6, 0),
        datetime.datetime(2024, 3, 7),
        None,
    ]
    assert dates.repair(texts("8:09", "08:09:10", "25:00"), to="time").to_pylist() == ["08:09:00", "08:09:10", None]


@given(st.lists(st.dates(datetime.date(1000, 1, 1))), st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y"]))
def test_every_day_is_read_as_it_was_written(days, form):
    assert dates.repair(texts(*(day.strftime(form) for day in days))).to_pylist() == days


# --- types ----------------------------------------------------------------------------------------------------------


def evidence(*cells):
    found = types.Evidence()
    for cell in dict.fromkeys(cells):
        found.add(texts(cell), np.array([cells.count(cell)]))
    return found


@pytest.mark.parametrize(
    ("cells", "name"),
    [
        (["1", "2", "-3", "+4"], "integer"),
        (["1", "2", "7.0", "8,0", " 9 ", "3 px", "4", "5", "6", "7"], "integer"),
        (["1.0", "2.0", "3.0"], "float"),
        (["1", "2.5", "3"], "float"),
        (["1,5", "2,5", "1.000,25"], "float"),
        (["1.5 kg", "2 kg", "3.25 kg"], "float"),
        (["12A", "13B", "14C"], "text"),
        (["007", "008", "123"], "text"),
        (["12345678901234567890", "12345678901234567891"], "text"),
        (["yes", "no", "Yes"], "boolean"),
        (["2024-01-02", "03.04.2024"], "date"),
        (["2024-01-02 10:00", "2024-01-03"], "timestamp"),
        (["10:00", "11:30:05"], "time"),
        (["red", "blue", "red", "blue"], "category"),
        (["red", "blue", "green"], "text"),
        (["1"] * 19 + ["oops"], "integer"),
        (["1"] * 5 + ["a", "b", "c", "d"], "text"),
        ([], "text"),
    ],
)
def test_the_type_is_what_nine_cells_in_ten_have(cells, name):
    assert types.repair([evidence(*cells)]).name == name


def test_each_file_has_its_own_decimal_mark_and_order_of_day_and_month():
    german = evidence("1.234", "7,5", "2.500")
    english = evidence("1,234", "7.5", "2,500")
    found = types.repair([german, english, evidence("1,234")], [None, None, ","])
    assert found.name == "float"
    assert [form.decimal for form in found.formats] == [",", ".", ","]
    days = [evidence("13.04.2024"), evidence("04/13/2024"), evidence("01/02/2024"), evidence("02/13/2024")]
    assert [form.day_first for form in types.repair(days).formats] == [True, False, False, False]


def test_a_form_that_most_cells_of_a_file_have_is_no_slip():
    found = types.repair([evidence("1,5", "2,5", "3.5"), evidence("1.5", "2.5", "3,5")])
    assert [form.is_plain for form in found.formats] == [False, True]


CELLS = st.sampled_from(["1", "2", "1.5", "1,5", "1,234", "7 px", "yes", "no", "2024-01-02", "1.2.2024", "x", "y"])


@settings(deadline=None)
@given(st.lists(CELLS, max_size=30), st.integers(0, 30))
def test_evidence_of_two_parts_sums_to_the_whole(cells, cut):
    whole, first, second = evidence(*cells), evidence(*cells[:cut]), evidence(*cells[cut:])
    sent = types.Evidence.from_json(json.loads(json.dumps(second.to_json())))
    sent.levels = second.levels
    first.merge(sent)
    assert types.repair([first]) == types.repair([whole])
    assert +first.counts == +whole.counts and first.levels == whole.levels
