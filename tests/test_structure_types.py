"""Types of columns and the reading of their cells: on examples written by hand, and on what Python wrote."""

import datetime
import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdedge.evidence import Evidence, mask, sampled, without
from hvdedge.structure import booleans, dates, missing, numbers, types


def texts(*cells):
    return pa.array(cells, pa.string())


# --- cells ----------------------------------------------------------------------------------------------------------


def test_missing_values_are_found_in_all_spellings():
    values = texts("", " NA ", "n/a", "NULL", "-", "?", "0", "none of it", "Nan", "\u00a0\u200b", None)
    assert missing.repair(values).to_pylist() == [None] * 6 + ["0", "none of it", None, None, None]


def test_truth_values_are_read():
    values = texts("yes", "No", " TRUE", "false", "maybe", None, "ja", "n", "1")
    assert booleans.repair(values).to_pylist() == [True, False, True, False, None, None, True, False, True]


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
        ("1,5e3", ".", 1500.0),
        ("1e100", ".", 1e100),
        ("1.234,50", ".", 1234.5),
        ("1,234.50", ",", 1234.5),
        ("1 234,5", ".", 1234.5),
        ("1\u202f234,5", ".", 1234.5),
        ("1'234", ".", 1234.0),
        ("1.234.567", ".", 1234567.0),
        ("1.234.567,8", ".", 1234567.8),
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
        ("EUR 12.00", ".", 12.0),
        ("80 km/h", ".", 80.0),
        ("-3 °C", ".", -3.0),
        ("(7.20)", ".", -7.2),
        ("($7.20)", ".", -7.2),
        ("5-", ".", -5.0),
        ("1.234,50-", ".", -1234.5),
        ("Fr. 5.-", ".", 5.0),
        ("(-5)", ".", None),
        ("-5-", ".", None),
        ("(5", ".", None),
        ("seven", ".", None),
        ("1.2.3", ".", None),
        ("1,23,456", ".", None),
        ("12 Main Street", ".", None),
        ("=1+1", ".", None),
        ("1e400", ".", None),
        ("inf", ".", None),
        ("0x1F", ".", None),
        ("", ".", None),
        (None, ".", None),
    ],
)
def test_numbers_are_read(text, decimal, number):
    assert numbers.repair(texts(text), decimal=decimal).to_pylist() == [number]


@pytest.mark.parametrize(
    ("scale", "integer", "expected"),
    [
        (None, False, [81.0, 0.5, 5.0, 5.0, None]),
        ("", False, [None, 0.5, 5.0, None, None]),
        ("%", False, [81.0, None, None, None, None]),
        ("k", True, [None, None, None, 5, None]),
    ],
)
def test_a_number_of_another_scale_than_its_column_is_none(scale, integer, expected):
    assert numbers.repair(texts("81 %", "0.5", "$5", "5k", None), scale=scale, integer=integer).to_pylist() == expected


def test_whole_numbers_are_read_exactly():
    values = texts("123456789012345678", "1709769600123456789", "7.0", "7,0 px", "7.5", "1e3", "-3", "007", "5-", None)
    result = numbers.repair(values, integer=True)
    assert result.type == pa.int64()
    expected = [123456789012345678, 1709769600123456789, 7, 7, None, None, -3, 7, -5, None]
    assert result.to_pylist() == expected


def test_no_number_of_more_than_64_bits_is_read_as_a_whole_one():
    assert numbers.repair(texts("9223372036854775808", "-99999999999999999999"), integer=True).null_count == 2


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64)))
def test_python_floats_are_read_as_they_were_written(values):
    assert numbers.repair(texts(*map(repr, values))).to_pylist() == values


@given(st.lists(st.integers(-(10**17), 10**17)), st.sampled_from(",.' "))
def test_marks_between_thousands_change_no_number(values, mark):
    cells = [f"{value:,}".replace(",", mark) for value in values]
    read = numbers.repair(texts(*cells), decimal="." if mark == "," else ",", integer=True)
    assert read.to_pylist() == values


@given(st.lists(st.integers(-(10**9), 10**9)), st.sampled_from(["({})", "{}-", "{} kg", "$ {}", "{} %"]))
def test_signs_of_accounting_and_units_change_no_number(values, form):
    negates = form in ("({})", "{}-")
    cells = [form.format(abs(value) if negates else value) for value in values]
    assert numbers.repair(texts(*cells), integer=True).to_pylist() == [-abs(v) if negates else v for v in values]


def test_dates_are_read_in_either_order():
    values = texts("2024-03-07", "07.03.2024", "7/3/24", "2024/3/7", "30.02.2024", "hello", None)
    march, july = datetime.date(2024, 3, 7), datetime.date(2024, 7, 3)
    assert dates.repair(values).to_pylist() == [march, march, march, march, None, None, None]
    assert dates.repair(values, day_first=False).to_pylist()[:4] == [march, july, july, march]


@pytest.mark.parametrize(
    "text",
    [
        *(" 2024-03-07 ", "20240307", "7 March 2024", "Mar 7, 2024", "07-Mar-24", "Thu, 7 Mar 2024", "March 7th 2024"),
        *(
            "7. März 2024",
            "7 mars 2024",
            "7 de marzo de 2024",
            "7 marzo 2024",
            "7 maart 2024",
            "2024-Mar-07",
            "2024-W10-4",
        ),
    ],
)
def test_days_with_words_are_read(text):
    assert dates.repair(texts(text)).to_pylist() == [datetime.date(2024, 3, 7)]


def test_june_and_july_differ_in_french():
    assert [day.month for day in dates.repair(texts("1 juin 2020", "1 juillet 2020", "1 juil. 2020")).to_pylist()] == [
        6,
        7,
        7,
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("2024-02-30", "2023-02-29", "31.04.2024", "0000-00-00", "2024-13-01", "1.2-2024", "5/1/1", "2021-W53-1"),
        *("30 February 2024", "12 university 2024", "45358", "1709769600", "March 2024"),
    ],
)
def test_what_is_no_day_of_the_calendar_is_none(text):
    assert dates.repair(texts(text)).to_pylist() == [None]


def test_two_digits_of_a_year_turn_at_69():
    assert [day.year for day in dates.repair(texts("1.2.68", "1.2.69")).to_pylist()] == [2068, 1969]


def test_timestamps_and_times_are_read():
    values = texts(
        *("2024-03-07T08:09:10.5Z", "07.03.2024 08:09", "2024-03-07 08:00+02:00", "2024-03-07", "25:00"),
        *("Thu, 07 Mar 2024 10:00:00 +0100", "7/3/2024 3:04 PM", "2024-03-07 12:00 am", "2024-03-07 24:00"),
        *("07/Mar/2024:10:00:00 +0000", "2024-02-30 10:00"),
    )
    day = datetime.datetime(2024, 3, 7)
    assert dates.repair(values, to="timestamp").to_pylist() == [
        *(day.replace(hour=8, minute=9, second=10, microsecond=500_000), day.replace(hour=8, minute=9)),
        *(day.replace(hour=6), day, None, day.replace(hour=9), day.replace(hour=15, minute=4), day, None),
        *(day.replace(hour=10), None),
    ]
    found = dates.repair(texts("8:09", "08:09:10", "25:00", "3:04 pm", "12:30 AM", "13:00 pm"), to="time").to_pylist()
    assert [time and time.isoformat() for time in found] == ["08:09:00", "08:09:10", None, "15:04:00", "00:30:00", None]


FORMS = ["%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%d %B %Y", "%b %d, %Y", "%G-W%V-%u", "%Y%m%d"]


@given(st.lists(st.dates(datetime.date(1000, 1, 1))), st.sampled_from(FORMS))
def test_every_day_is_read_as_it_was_written(days, form):
    assert dates.repair(texts(*(day.strftime(form) for day in days))).to_pylist() == days


@given(st.lists(st.datetimes(datetime.datetime(1000, 1, 1))), st.sampled_from(["T", " "]))
def test_every_moment_is_read_as_it_was_written(moments, mark):
    assert dates.repair(texts(*(moment.isoformat(mark) for moment in moments)), to="timestamp").to_pylist() == moments


# --- types ----------------------------------------------------------------------------------------------------------


def evidence(*cells, batches=1):
    found = Evidence()
    spellings = missing.SPELLINGS
    for part in np.array_split(np.arange(len(cells)), batches):
        column = texts(*(cells[place] for place in part))
        found.see(column, sampled(part + 2), without(spellings))
        if not part.size or part[0] % 2 == 0:  # some batches are settled at once, some with the next
            found.settle(lambda values: missing.repair(values, spellings))
    found.settle(lambda values: missing.repair(values, spellings))
    return found


CARDS = ["4111111111111111", "5500005555555559", "340000000000009", "30000000000004", "6011000000000004"]


@pytest.mark.parametrize(
    ("cells", "name"),
    [
        (["1", "2", "-3", "+4"], "integer"),
        (["1", "2", "7.0", "8,0", " 9 ", "3 px", "4", "5", "6", "7"], "integer"),
        (["1.0", "2.0", "3.0"], "float"),
        (["1", "2.5", "3"], "float"),
        (["1,5", "2,5", "1.000,25"], "float"),
        (["1.5 kg", "2 kg", "3.25 kg"], "float"),
        (["1.5k", "2", "3.25", "4"], "text"),
        (["81%", "0.47", "90 %", "0.5"], "text"),
        ([f"{n}%" for n in range(10, 20)] + [f"0.{n}" for n in range(10, 99)], "text"),
        ([f"{n} %" for n in range(99)] + ["0.5"], "float"),
        ([f"{n}k" for n in range(1, 96)] + [f"{n}M" for n in range(1, 6)], "text"),
        (["$ 5", "(7.20)", "5-"], "float"),
        (["12A", "13B", "14C"], "text"),
        (["inf", "-Infinity", "nan", "1e400", "-0.0", "0x1F"], "float"),
        (["007", "008", "123"], "text"),
        (["0815", *map(str, range(2000, 2099))], "text"),
        (["01", *map(str, range(50, 150))], "integer"),
        (["12345678901234567890", "12345678901234567891"], "text"),
        (["1709769600000000000", "1709769600000000001"], "integer"),
        (CARDS, "text"),
        (["1E5", "2E7", "123"], "text"),
        (["1E5", "2.5", "3.5", "123"], "float"),
        (["yes", "no", "Yes"], "boolean"),
        (["y", "N", "y"], "boolean"),
        (["j", "n", "n"], "boolean"),
        (["t", "f", "g", "t", "f", "g"], "category"),
        (["n", "n", "n"], "category"),
        (["true", "false", "1", "true"], "boolean"),
        (["1", "0", "1"], "integer"),
        (["2024-01-02", "03.04.2024"], "date"),
        (["2024-01-02", "3 March 2024", "20240307", "45358", "2024-02-30"], "date"),
        (["20240307", "20240308"], "integer"),
        (["1709769600", "1709769601"], "integer"),
        (["2024-01-02 10:00", "2024-01-03"], "timestamp"),
        (["Thu, 07 Mar 2024 10:00:00 +0100"], "timestamp"),
        (["10:00", "11:30:05"], "time"),
        (["10:00"] * 49 + ["25:00"], "time"),
        (["55:19", "75:30", "31:02"], "text"),
        ([f"{hour}:30:00" for hour in range(41)], "text"),
        (["10:60", "11:75"], "text"),
        (["13:00 pm", "0:30 am", "14:00 am"], "text"),
        ([f"2024-01-02 {hour}:00" for hour in range(20, 30)], "text"),
        (["red", "blue", "red", "blue"], "category"),
        (["red", "Red", "RED ", "red"], "category"),
        (["red", "blue", "green"], "text"),
        (["1"] * 19 + ["oops"], "integer"),
        (["1"] * 98 + ["oops", "ouch"], "integer"),
        (["1", "2"] * 20 + ["x", "y", "z"], "category"),
        (["1"] * 5 + ["a", "b", "c", "d"], "text"),
        (["=1+1", "+1+1", "-2+3"], "text"),
        ([], "text"),
    ],
)
def test_the_type_is_what_all_but_strays_have(cells, name):
    assert types.repair([evidence(*cells)]).name == name


@pytest.mark.parametrize("form", ["2024-01-02 {}:00", "02.01.2024 {}:15:10"])
def test_a_time_that_no_day_has_makes_no_timestamp_also_among_many_values(form):
    column = Evidence()
    hours = [f"{hour:02d}" for hour in range(100)]
    for cells in ([f"{day} x" for day in range(300)], [form.format(hour) for hour in hours]):  # no category any more
        values = texts(*cells)
        column.see(values, pa.array(np.arange(len(cells))), without(missing.SPELLINGS))
        column.settle(lambda found: found)
    assert column.levels is None and column.counts["timestamp"] == 24


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
    assert [form.is_clean for form in found.formats] == [False, False]
    assert types.repair([evidence("1.5", "2.5")]).formats[0].is_clean


def test_one_unit_is_told_and_so_are_mixed_forms():
    assert types.repair([evidence("5 %", "6%", "7 %")]).unit == "%"
    assert types.repair([evidence("5", "6", "7 px")]).unit == ""
    assert dict(types.repair([evidence("81%", "90%", "0.5", "3‰")]).mixed) == {"no unit": 1, "unit %": 2, "unit ‰": 1}
    assert types.repair([evidence("12A", "13B", "14K", "15 Main Street")]).mixed == ()
    mixed = types.repair([evidence("1.5", "2.5", "3,5")]).mixed
    assert dict(mixed) == {"decimal point": 2, "decimal comma": 1}
    assert dict(types.repair([evidence("13.04.2024", "04/13/2024")]).mixed) == {"day first": 1, "month first": 1}
    assert dict(types.repair([evidence("03/04/2024")]).mixed) == {
        "order of day and month not told, day first assumed": 1
    }
    assert types.repair([evidence("1.5", "2.5")]).mixed == ()


def test_placeholders_do_not_count_as_cells():
    column = evidence(*["1", "2"] * 5, *["unknown"] * 10)
    assert types.repair([column]).name == "category"
    assert types.repair([column], placeholders={"unknown": 10}).name == "integer"


def test_patterns_are_digits_and_letters():
    assert mask(texts("030-12 AB", "", "Zoë 1")).to_pylist() == ["999-99 AA", "", "AAë 9"]
    assert mask(texts("x", "ab-1", "2").slice(1, 2)).to_pylist() == ["AA-9", "9"]


def test_nines_are_counted_however_usual_the_column_is():
    cells = [*map(str, range(400)), "9999", "9999", "-999", "99.9", "9999999012"]
    found = evidence(*cells, batches=5)
    assert found.nines == {"9999": 2, "-999": 1, "99.9": 1, "99": 1}
    assert found.counts["cells"] == len(cells) and found.numbers == len(cells)


CELLS = st.sampled_from(
    [
        *(
            "1",
            "2",
            "1.5",
            "1,5",
            "1,234",
            "7 px",
            "yes",
            "no",
            "2024-01-02",
            "1.2.2024",
            "x",
            "y",
            "NA",
            "",
            " 1",
            "0815",
        ),
        *(
            "A12",
            "B1234",
            "a long text without a digit",
            "9999",
            "2024-01-02T10:00",
            "7 March 2024",
            "1e5",
            "(5)",
            "5-",
        ),
    ]
)


@settings(deadline=None)
@given(st.lists(CELLS, max_size=30), st.integers(0, 30))
def test_evidence_of_two_parts_sums_to_the_whole(cells, cut):
    whole, first, second = evidence(*cells), evidence(*cells[:cut]), evidence(*cells[cut:])
    sent = Evidence.from_json(json.loads(json.dumps(second.to_json())))
    sent.levels, sent.words, sent.masks = second.levels, second.words, second.masks
    first.merge(sent)
    assert types.repair([first]) == types.repair([whole])
    assert +first.counts == +whole.counts and first.levels == whole.levels and first.words == whole.words


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 10**6), st.integers(1, 12), st.sampled_from(["{}", "{}.5", "C{}", "2024-01-02 {}", "{}.25", "12,{}"])
)
def test_evidence_does_not_depend_on_batches_where_values_are_many(first, batches, form):
    """From 257 distinct values on, batches are looked at in another way."""
    cells = [form.format(first + n) for n in range(300)] + [
        "NA",
        "x",
        "7 px",
        "1,5",
        "9999",
        "",
        " 5",
        "99.9",
        "1.234",
    ] * 3
    whole, parts = evidence(*cells), evidence(*cells, batches=batches)
    assert whole.units == parts.units
    for name in ("counts", "nines"):
        assert +getattr(whole, name) == +getattr(parts, name)
    # masks are counted by their lines, which are the same
    assert (whole.levels, whole.words, whole.masks) == (parts.levels, parts.words, parts.masks)


def test_every_usual_text_is_counted_under_the_same_shape_by_the_closer_look():
    """The quick look and the slow one must agree, or the sums would depend on who looks."""
    random = np.random.default_rng(5)
    signs = list("0123456789.-") + [",", "e"]
    cells = ["".join(random.choice(signs, random.integers(1, 12))) for _ in range(4000)]
    words = [
        "12",
        "Mar",
        "March",
        "kg",
        "inf",
        "EUR",
        "Main",
        "street",
        "2024",
        "-",
        "/",
        " ",
        " ",
        "10:00",
        "pm",
        "030",
        "12345",
    ]
    cells += ["".join(random.choice(words, random.integers(1, 7))) for _ in range(6000)]
    cells += [f"{random.normal() * 10 ** random.integers(0, 6):.{random.integers(0, 7)}f}" for _ in range(2000)]
    quick, slow = Evidence(levels=None, words=None), Evidence(levels=None, words=None)
    quick.see(texts(*cells), sampled(np.arange(len(cells))), without(()))
    quick.settle(lambda values: values)
    distinct = dict.fromkeys(cells)
    slow.add(texts(*distinct), np.array([cells.count(cell) for cell in distinct]))
    left_out = {"rows", "blanks", "sampled"}
    assert {k: v for k, v in quick.counts.items() if v and k not in left_out} == {
        k: v for k, v in slow.counts.items() if v
    }
    assert quick.nines == slow.nines


def test_floats_in_exact_counts_match_what_python_reads():
    """Of texts made of digits and marks, a shape of numbers has what float() takes, a few forms of ours aside."""
    for cell in ("1", "-1", "1.5", "0.125", "1234.567", "1e-5", "1.5E+10", ".5", "5.", "-0.0"):
        found = Evidence()
        found.add(texts(cell), np.array([1]))
        assert found.numbers == 1 and math.isfinite(float(cell))
