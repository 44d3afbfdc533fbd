"""The forms of numbers and days: each text has one shape, and its parts are those a reader sees."""

import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdedge import date_forms, number_forms


def texts(*cells):
    return pa.array(cells, pa.string())


def shapes(text, forms):
    return [name for name, pattern in forms.items() if number_forms.matches(texts(text), pattern)[0].as_py()]


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("0", "integer"),
        ("-12", "integer"),
        ("1709769600123456789", "integer"),
        ("9223372036854775808", "long"),
        ("12345678901234567890123", "long"),
        ("007", "zero_led"),
        ("1.234", "ambiguous_point"),
        ("1,234", "ambiguous_comma"),
        ("0.125", "point"),
        ("1234.567", "point"),
        ("7.00", "whole_point"),
        ("7,0", "whole_comma"),
        ("1.5e-3", "point"),
        ("1e-05", "point"),
        ("1E5", "bare_exponent"),
        ("3,25", "comma"),
        ("1,234,567", "grouped"),
        ("1 234", "grouped"),
        ("1'234.5", "grouped_point"),
        ("1.234,5", "grouped_comma"),
        ("1.234,567", "grouped_comma"),
        ("1,23,4", None),
        ("1..2", None),
        ("", None),
        ("-", None),
        ("12:30", None),
    ],
)
def test_the_first_shape_of_a_number_is_the_right_one(text, shape):
    assert (shapes(text, number_forms.SHAPES) or [None])[0] == shape


@given(st.text(st.sampled_from("0123456789.,-+eE :/T"), max_size=12))
def test_no_text_is_both_a_number_and_a_day(text):
    day = [shape for shape in shapes(text, date_forms.SHAPES) if shape != "week"]
    assert not (day and shapes(text, number_forms.SHAPES))


@given(st.text(st.sampled_from("0123456789.,-+eE"), min_size=1, max_size=10))
def test_every_plain_number_of_python_has_a_shape(text):
    """And what has one of the shapes without marks between thousands is a number for Python, decimal comma aside."""
    found = [shape for shape in shapes(text, number_forms.SHAPES) if not shape.startswith("grouped")]
    try:
        float(text.replace(",", ".") if text.count(",") + text.count(".") == 1 else text)
        is_number = True
    except ValueError:
        is_number = False
    far = re.search(r"[eE][+-]?\d{5,}", text)
    if not far and not re.fullmatch(r"[+-]?\d+[.,][eE].*|[+-]?[.,]?\d*[.,]", text):
        assert bool(found) <= is_number
        assert is_number <= bool(shapes(text, number_forms.SHAPES)) or "," in text


@pytest.mark.parametrize(
    ("text", "negative", "body", "exponent", "unit"),
    [
        ("12,5 %", False, "12,5", "", "%"),
        ("$ -5", True, "5", "", "$"),
        ("-$5", True, "5", "", "$"),
        ("($7.20)", True, "7.20", "", "$"),
        ("5-", True, "5", "", ""),
        ("1.5e3 kg", False, "1.5", "e3", "kg"),
        ("1 234 567 €", False, "1 234 567", "", "€"),
        ("CHF 1'000.-", False, "1'000.", "", "CHF"),
        ("$5 €", None, None, None, None),
        ("80 km/h", False, "80", "", "km/h"),
        ("3 m²", False, "3", "", "m²"),
        ("12 Main", False, "12", "", "Main"),
        ("12 Street", None, None, None, None),
        ("A12", None, None, None, None),
        ("", None, None, None, None),
    ],
)
def test_a_written_number_is_taken_apart(text, negative, body, exponent, unit):
    parts = {name: part[0].as_py() for name, part in number_forms.parts(texts(text)).items()}
    assert parts == {"negative": negative, "body": body, "exponent": exponent, "unit": unit}


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("2024-03-07", "iso"),
        ("2024/3/7", "iso"),
        ("7.3.24", "day"),
        ("2024-W10-4", "week"),
        ("2024-03-07T08:09:10.5Z", "timestamp"),
        ("7.3.2024 8:09 pm", "timestamp"),
        ("20240307 08:09", "timestamp"),
        ("08:09", "time"),
        ("8:09 a.m.", "time"),
        ("2024-03", None),
        ("20240307", None),
        ("7.3.", None),
    ],
)
def test_a_day_has_one_shape(text, shape):
    assert shapes(text, date_forms.SHAPES) == ([shape] if shape else [])


def test_months_are_known_by_their_names():
    names = texts(
        "January", "févr", "MÄRZ", "avril", "mayo", "giugno", "juli", "août", "Sept", "Okt", "november", "dez", "x"
    )
    assert date_forms.months(names).tolist() == [*range(1, 13), 0]


@pytest.mark.parametrize(
    ("text", "is_day"),
    [
        ("7 March 2024", True),
        ("Monday, 3 Mai 2021", True),
        ("Sept 3rd, 2021", True),
        ("12 university 2024", False),
        ("30 February 2024", False),
        ("Main Street 12, 2024", False),
        ("March", False),
    ],
)
def test_a_named_day_names_a_month(text, is_day):
    assert date_forms.is_named(texts(text)).tolist() == [is_day]
