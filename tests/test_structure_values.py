"""One form of values: text, categories, patterns, and what stands for a missing value without being told to."""

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdedge.structure import patterns, placeholders, sentinels, values, variants


def texts(*cells):
    return pa.array(cells, pa.string())


# --- text -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("tidy text", "tidy text"),
        (" Anna  Maria ", "Anna Maria"),
        ("cafe\u0301", "caf\u00e9"),
        ("\u00a0caf\u00e9\u200b", "caf\u00e9"),
        ("a\tb", "a b"),
        ("a\u3000b", "a b"),
        ("two\nlines", "two\nlines"),
        ("\ufeffBOM", "BOM"),
        ("ＡＢＣ", "ＡＢＣ"),
        ("ab\u202ecd", "ab\u202ecd"),
        ("\x1b[2Jred", "\x1b[2Jred"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("   ", ""),
        ("", ""),
        (None, None),
    ],
)
def test_text_gets_one_form(text, mended):
    assert values.repair(texts("x", text, "y")).to_pylist() == ["x", mended, "y"]


@given(st.lists(st.text(st.sampled_from("ab éé\u0301 \t\u00a0\u200b\n"), max_size=8), max_size=20), st.integers(0, 3))
def test_text_in_one_form_stays_as_it_is(cells, start):
    once = values.repair(texts(*cells).slice(min(start, len(cells))))
    assert values.repair(once).to_pylist() == once.to_pylist()
    for cell in once.to_pylist():
        assert cell == unicodedata.normalize("NFC", cell).strip() and "  " not in cell and "\u200b" not in cell


@given(st.lists(st.text(max_size=6), max_size=10))
def test_tidy_text_is_known_at_a_glance(cells):
    column = texts(*cells)
    if values.is_tidy(column):
        assert values.repair(column).to_pylist() == cells == [unicodedata.normalize("NFC", cell) for cell in cells]


# --- categories -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("levels", "changes"),
    [
        ({"Berlin": 5, "berlin": 2, "BERLIN": 1, "Bern": 3}, {"berlin": "Berlin", "BERLIN": "Berlin"}),
        ({"New York": 5, "new-york": 2, "New_York": 1}, {"new-york": "New York", "New_York": "New York"}),
        ({"café": 3, "Ｃａｆé": 1}, {"Ｃａｆé": "café"}),
        ({"straße": 2, "STRASSE": 1}, {"STRASSE": "straße"}),
        ({"Red": 1, "red": 1, "RED": 1}, {"red": "Red", "RED": "Red"}),
        ({"A+": 2, "A-": 1, "A": 3}, {}),
        ({"<=50K": 2, ">50K": 2}, {}),
        ({"1-2": 2, "1 2": 1}, {}),
        ({"m": 50, "M": 40}, {}),
        ({"m": 50, "M": 1}, {"M": "m"}),
        ({}, {}),
    ],
)
def test_spellings_of_a_category_get_the_most_frequent_one(levels, changes):
    assert variants.repair(levels) == changes


@given(st.dictionaries(st.sampled_from(["a b", "A B", "A-b", "c", "C", "dd", "Dd", "DD"]), st.integers(1, 100)))
def test_spellings_lead_to_one_that_stays(levels):
    changes = variants.repair(levels)
    assert not set(changes.values()) & set(changes)
    assert all(levels[best] >= levels[spelling] for spelling, best in changes.items())


# --- patterns -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("212-555-0101", "212-555-0101"),
        ("(212) 555-0101", "212-555-0101"),
        ("212.555.0101", "212-555-0101"),
        ("2125550101", "212-555-0101"),
        ("212-555-010", "212-555-010"),
        ("212-555-010x", "212-555-010x"),
        ("unknown", "unknown"),
        (None, None),
    ],
)
def test_what_differs_by_its_marks_is_written_in_the_pattern(text, written):
    assert patterns.repair(texts(text, "212-555-0101"), "999-999-9999").to_pylist() == [written, "212-555-0101"]


def test_letters_and_digits_of_a_pattern_stay():
    assert patterns.repair(texts("ab 123-4", "AB-1234", "A1-2345"), "AA-9999").to_pylist() == [
        "ab-1234",
        "AB-1234",
        "A1-2345",
    ]
    assert patterns.repair(texts("49 30 123456"), "+99 (99) 999999").to_pylist() == ["49 30 123456"]


@pytest.mark.parametrize(
    ("masks", "cells", "pattern"),
    [
        ({"999-999-9999": 60, "(999) 999-9999": 40}, 100, "999-999-9999"),
        ({"999-999-9999": 40, "(999) 999-9999": 40}, 100, ""),
        ({"9-9": 100}, 100, ""),
        ({"AAAA-AAAA": 100}, 100, ""),
        ({"999:999": 100}, 100, ""),
        ({}, 10, ""),
    ],
)
def test_a_pattern_is_what_most_cells_show(masks, cells, pattern):
    assert patterns.choose(masks, cells) == pattern


# --- what stands for nothing ----------------------------------------------------------------------------------------


def test_words_for_the_unknown_are_missing_among_numbers_only():
    words = {"unknown": 3, "Not Available": 1, "noValueSet": 2, "studio": 9}
    measured, named = placeholders.repair([(words, True), (words, False)])
    assert measured == {"unknown": 3, "Not Available": 1, "noValueSet": 2}
    assert named == {"noValueSet": 2}


def test_a_text_that_stands_in_several_columns_of_numbers_is_missing():
    found = placeholders.repair([({"XX": 2, "one": 2}, True), ({"XX": 5}, True), ({"XX": 7, "YY": 7}, False)])
    assert found == [{"XX": 2}, {"XX": 5}, {}]
    assert placeholders.repair([({"XX": 2}, True), ({"XX": 1}, True)]) == [{}, {}]
    assert placeholders.repair([({"<=5": 9}, True), ({"<=5": 9}, True)]) == [{}, {}]


def test_an_odd_text_in_columns_without_another_value_in_common_is_missing():
    odd = "emptyField998877"
    columns = [({"a": 5, odd: 3}, False), ({"b": 5, odd: 2}, False), (None, False)]
    assert placeholders.repair(columns) == [{odd: 3}, {odd: 2}, {}]
    assert placeholders.repair([({"a": 5, odd: 3}, False), ({"a": 5, odd: 2}, False)]) == [{}, {}]
    assert placeholders.repair([({"a": 5, "Other": 3}, False), ({"b": 5, "Other": 2}, False)]) == [{}, {}]
    assert placeholders.repair([({"a": 5, odd: 3}, False)]) == [{}]


@pytest.mark.parametrize("text", ["no value", "NO_DATA", "noValueSetHere123156456", "value missing", "#REF!", "#N/A"])
def test_what_only_programs_write_is_missing_everywhere(text):
    assert placeholders.repair([({text: 1, "a": 9}, False)]) == [{text: 1}]


@pytest.mark.parametrize("text", ["no", "none of these", "value", "Nova", "number one", "missing person", "not bad"])
def test_common_words_are_values(text):
    assert placeholders.repair([({text: 5, "a": 9}, False)]) == [{}]


@pytest.mark.parametrize(
    ("candidates", "numbers", "lowest", "highest", "found"),
    [
        ({9999.0: 5}, 100, 0, 120, [9999.0]),
        ({-999.0: 5, 9999.0: 2}, 100, -20, 45, [-999.0, 9999.0]),
        ({99999.0: 159}, 32561, 0, 41310, []),  # adult's capital gains: rare
        ({99.0: 30}, 100, 1, 98, []),
        ({9999.0: 1}, 100, 0, 120, []),
        ({9999.0: 4}, 1000, 0, 120, []),
        ({99.0: 5}, 10, 0, 0, []),
        ({99.0: 5}, 5, float("inf"), float("-inf"), []),
        ({99.0: 5}, 20, 1, 5, [99.0]),
    ],
)
def test_nines_are_sentinels_where_they_stand_out(candidates, numbers, lowest, highest, found):
    assert sentinels.repair(candidates, numbers, lowest, highest) == found
