"""A column's cells of text as values: each path that is quick must give what the careful one gives."""

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdedge import conversion
from hvdedge.conversion import RULES, Plan, convert
from hvdedge.structure import dates, missing, numbers
from hvdedge.structure.types import ColumnType, FileFormat

SLIPS, FORMAT = FileFormat(), FileFormat(is_plain=False)


def texts(*cells):
    return pa.array(cells, pa.string())


def plan(name, form=SLIPS, **options):
    return Plan(ColumnType(name, (form,)), missing.SPELLINGS, **options)


def converted(cells, plan):
    """Return the values, and the rules by their words."""
    found, rules = convert(texts(*cells), plan, 0)
    assert found.type == plan.arrow_type and len(found) == len(cells)
    return found.to_pylist(), [RULES[rule] for rule in (np.zeros(len(cells), int) if rules is None else rules)]


def test_without_a_type_cells_stay_and_only_lost_ones_are_told():
    assert converted(["007", None, " "], Plan(None)) == (["007", None, " "], ["", "short_row", ""])


def test_each_way_to_be_no_number_has_its_rule():
    cells = ["1.5", "1,234.5", "NA", "", "  ", "inf", "1e400", "x", None, "99"]
    found, rules = converted(cells, plan("float", sentinels=(99.0,)))
    assert found == [1.5, 1234.5, *[None] * 8]
    assert rules == ["", "number", "missing", "", "", *["not_finite"] * 2, "type", "short_row", "sentinel"]


@pytest.mark.parametrize("most", [0, 3, 4096])
def test_unusual_texts_mean_the_same_when_they_come_again(most, monkeypatch):
    monkeypatch.setattr(conversion, "MOST_KNOWN", most)
    cells = ["1.5", "1,234.5", "NA", "x", "inf", "7 kg", "1,234.5", "-", "8 kg", "NA", "x", "2.5", "1e400", "7 kg"]
    again = plan("float")
    parts = [converted(cells[n : n + 3], again) for n in range(0, len(cells), 3)]
    whole = converted(cells, plan("float"))
    assert [sum(part, []) for part in zip(*parts, strict=True)] == [*whole]


def test_a_form_that_is_the_files_own_is_no_change():
    cells = ["1.234,50", "7,5", "3", "NA", "x", "1.5 kg"]
    found, rules = converted(cells, plan("float", FileFormat(decimal=",", is_plain=False)))
    assert found == [1234.5, 7.5, 3.0, None, None, 1.5] and rules == ["", "", "", "missing", "type", ""]
    found, rules = converted(["07.03.2024", "2024-03-08", "30.02.2024"], plan("date", FORMAT))
    assert found == [datetime.date(2024, 3, 7), datetime.date(2024, 3, 8), None] and rules == ["", "", "type"]


def test_a_clean_file_with_a_day_that_cannot_be_is_read_all_the_same():
    found, rules = converted(["2024-02-29", "2024-02-30"], plan("date", FileFormat(is_clean=True)))
    assert found == [datetime.date(2024, 2, 29), None] and rules == ["", "type"]


def test_truth_values_and_categories_are_read_by_their_distinct_texts():
    assert converted(["y", "N", "?", "perhaps", None], plan("boolean")) == (
        [True, False, None, None, None],
        ["", "", "missing", "type", "short_row"],
    )
    found = converted(["a  b", "A B", "?", "x", None], plan("category", variants={"A B": "a b"}, placeholders=("x",)))
    assert found == (["a b", "a b", None, None, None], ["blanks", "spelling", "missing", "missing", "short_row"])
    assert converted(["a  b", "A B"], plan("category", formats=False)) == (["a  b", "A B"], ["", ""])


def test_text_is_missing_only_where_the_whole_cell_says_so():
    cells = ["n/a", " N/A ", "\u00a0-\u200b", "n/a or so", "", "x" * 50 + " ", "none", "gone"]
    found, rules = converted(cells, plan("text", placeholders=("gone",)))
    assert found == [None, None, None, "n/a or so", None, "x" * 50, None, None]
    assert rules == ["missing", "missing", "missing", "", "", "blanks", "missing", "missing"]


NUMBERS = st.one_of(
    st.integers(-(10**19), 10**19).map(str),
    st.integers(-(10**12), 10**12).map("{:,}".format),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1e9, 1e9).map("{:,.2f}".format),
    st.floats(-1e9, 1e9).map(lambda value: f"{value:,.2f}".translate(str.maketrans(",.", ".,"))),
    st.sampled_from(
        ["007", "-0", "1.", ".5", "+5", "1,23", "0,125", "1.234", "1,234", "5-", "(5)", "7 px", "1e5", "1e999"]
    ),
)


@settings(deadline=None)
@given(
    st.lists(NUMBERS, max_size=20), st.sampled_from(["integer", "float"]), st.sampled_from([".", ","]), st.booleans()
)
def test_numbers_are_what_the_careful_reading_gives(cells, name, decimal, is_plain):
    # no file of decimal commas is plain
    form = FileFormat(decimal=decimal, is_plain=is_plain and (decimal, name) != (",", "float"))
    found, _ = convert(texts(*cells), plan(name, form), 0)
    # one by one: no batch has a cell that spoils the quick way for the others
    expected = [numbers.repair(texts(cell), decimal=decimal, integer=name == "integer")[0] for cell in cells]
    assert found.to_pylist() == [value.as_py() for value in expected]


DAYS = st.dates(datetime.date(1000, 1, 1), datetime.date(2999, 12, 31))
FORMS = ["%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", "%Y/%m/%d", "%d %b %Y", "%Y-%m-%d 10:11:12", "%d.%m.%Y 10:11"]
ODD = [
    "2024-02-30",
    "31.04.2024",
    "29.02.2023",
    "1.2.24",
    "12/31/2024",
    "45358",
    "1234567890",
    "7.3.2024 10",
    "x" * 10,
    "?",
]


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.tuples(DAYS, st.sampled_from(FORMS)), st.sampled_from(ODD)), max_size=15),
    st.sampled_from(["date", "timestamp"]),
    st.booleans(),
    st.booleans(),
)
def test_days_are_what_the_careful_reading_gives(cells, name, day_first, is_plain):
    cells = [cell if isinstance(cell, str) else cell[0].strftime(cell[1]) for cell in cells]
    form = FileFormat(day_first=day_first, is_plain=is_plain)
    found, _ = convert(texts(*cells), plan(name, form), 0)
    expected = [dates.repair(texts(cell), to=name, day_first=day_first)[0] for cell in cells]
    assert found.to_pylist() == [value.as_py() for value in expected]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(DAYS, min_size=1, max_size=15), st.sampled_from("-./"), st.booleans(), st.sampled_from(["", " 10:11:12"])
)
def test_days_of_one_form_are_read_as_they_were_written(days, mark, day_first, clock):
    order = ("%d", "%m", "%Y") if day_first else ("%m", "%d", "%Y")
    cells = [day.strftime(mark.join(order)) + clock for day in days]
    form = FileFormat(day_first=day_first, is_plain=False)
    found, rules = convert(texts(None, *cells), plan("timestamp" if clock else "date", form), 0)
    assert found.cast(pa.date32(), safe=False).to_pylist() == [None, *days]
    assert not np.any(rules[1:])


@pytest.mark.parametrize("name", ["integer", "float", "date", "timestamp", "time", "boolean", "category", "text"])
def test_a_slice_and_a_batch_without_rows_are_columns_too(name):
    assert convert(texts(), plan(name), 0)[0].type == plan(name).arrow_type
    cells = texts("x", "1", "2024-01-02", "10:00", "yes", " a  b", "?", None)
    whole, _ = convert(cells, plan(name), 0)
    part, _ = convert(cells.slice(2, 5), plan(name), 0)
    assert part.to_pylist() == whole.to_pylist()[2:7]
    assert pc.all(pc.is_null(whole.slice(6))).as_py()


WORDS = (
    " invalid data",
    "\u00a0unknown",
    "\u212aELVIN",
    "fehlt",
    "e\u0301tat",
    "\u00c9TAT",
    "-",
    "",
    "\ufeffnone",
    "x y",
)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", " ", "\u00a0", "\u200b", "\t"]),
            st.sampled_from(WORDS + missing.SPELLINGS + ("apple",)),
        ),
        min_size=1,
        max_size=30,
    ),
    st.sets(st.sampled_from(WORDS), max_size=3),
    st.booleans(),
)
def test_missing_words_are_found_though_only_texts_that_begin_like_one_are_looked_at(cells, placeholders, formats):
    cells = [blank + (word.upper() if number % 2 else word) for number, (blank, word) in enumerate(cells)]
    column = plan("text", placeholders=tuple(sorted(placeholders)), formats=formats)
    found = converted(cells, column)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "_may_begin", lambda texts, words: np.ones(len(texts), bool))
        assert converted(cells, column) == found
