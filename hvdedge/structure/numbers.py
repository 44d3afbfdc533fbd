"""Numbers written as text: with blanks, units, a decimal comma, marks between thousands, in the ways of accounting."""

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvdedge.number_forms import SCALES, matches, parts

PLAIN_INTEGER = r"^[+-]?(0*[1-8]?\d{1,18})$"
PLAIN = r"^[+-]?(\d{1,18}|\d+\.\d*|\.\d+|\d+(\.\d*)?[eE][+-]?\d{1,2}|\d*\.\d+[eE][+-]?\d{1,2})$"


def repair(
    values: pa.Array, *, decimal: Literal[".", ","] = ".", integer: bool = False, scale: str | None = None
) -> pa.Array:
    """Return text as numbers: float64, or int64 where `integer`; null where it is none, or none of that kind.

    A minus may stand behind, "(7.20)" is negative, a unit or currency is dropped. What is not finite or has more than
    64 bits is none.

    Args:
        values: text; nulls stay null.
        decimal: what "1.234" and "1,234" mean, of which both readings are possible: the mark that is not it parts
            thousands. All other numbers tell by themselves.
        scale: the unit of SCALES that all numbers have, "" for none of them; others are none. None for any.
    """
    read, type = (_to_integers, pa.int64()) if integer else (_to_floats, pa.float64())
    usual = matches(values, PLAIN_INTEGER if integer else PLAIN)
    if decimal == "," and not integer:  # "1.234" is plain only to look at
        usual = pc.and_(usual, pc.invert(matches(values, r"^[+-]?[1-9]\d{0,2}\.\d{3}$")))
    if scale:
        usual = pc.and_(usual, False)
    result = read(pc.if_else(usual, values, None))
    rest = np.flatnonzero(pc.and_(values.is_valid(), pc.invert(usual)))
    if not len(rest):
        return result
    found = parts(pc.utf8_trim_whitespace(values.take(pa.array(rest))))
    digits = _plain_digits(found["body"], decimal)
    if scale is not None:
        is_right = pc.equal(found["unit"], scale) if scale else pc.invert(pc.is_in(found["unit"], pa.array(SCALES)))
        digits = pc.if_else(is_right, digits, None)
    sign = pc.if_else(found["negative"], "-", "")
    exponent = found["exponent"]
    if integer:
        digits = pc.if_else(pc.equal(exponent, ""), pc.replace_substring_regex(digits, r"\.0*$", ""), None)
        digits = pc.if_else(matches(digits, r"^\d+$"), digits, None)
        exponent = pc.if_else(digits.is_valid(), "", None)
    numbers = read(pc.binary_join_element_wise(sign, digits, exponent, ""))
    filled = np.zeros(len(values), type.to_pandas_dtype())
    is_valid = result.is_valid().to_numpy(zero_copy_only=False).copy()
    filled[is_valid] = result.drop_null().to_numpy()
    is_valid[rest] = numbers.is_valid().to_numpy(zero_copy_only=False)
    filled[rest] = pc.fill_null(numbers, 0).to_numpy()
    return pa.array(filled, mask=~is_valid)


def _plain_digits(bodies: pa.Array, decimal: str) -> pa.Array:
    """Return digits with at most a decimal point; null where the marks are those of no number."""
    result = pc.if_else(matches(bodies, r"^(\d+\.?\d*|\.\d+)$"), bodies, None)
    with_comma = matches(bodies, r"^(\d+,\d*|,\d+)$")
    result = pc.if_else(with_comma, pc.replace_substring(bodies, ",", "."), result)
    for mark, other in ((".", ","), (",", "."), *((mark, "[.,]") for mark in "'’ \u00a0\u202f\u2009")):
        shape = rf"^\d{{1,3}}([{mark}]\d{{3}})+({other}\d*)?$"
        if mark in ".,":  # one group and nothing behind it may as well be a decimal mark
            once = matches(bodies, rf"^[1-9]\d{{0,2}}[{mark}]\d{{3}}$")
            many = matches(bodies, rf"^\d{{1,3}}(([{mark}]\d{{3}}){{2,}}({other}\d*)?|[{mark}]\d{{3}}{other}\d*)$")
            is_grouped = pc.or_(many, once) if mark != decimal else many
        else:
            is_grouped = matches(bodies, shape)
        if pc.any(is_grouped).as_py():
            whole = pc.replace_substring(bodies, mark, "")
            result = pc.if_else(is_grouped, pc.replace_substring(whole, ",", "."), result)
    return result


def _to_floats(texts: pa.Array) -> pa.Array:
    far = matches(texts, r"[eE][+-]?\d{3,}$")
    if pc.any(far).as_py():  # beyond what fits, Arrow raises
        near = pc.if_else(far, None, texts)
        values = pc.fill_null(_to_floats(near), np.nan).to_numpy().copy()
        for place in np.flatnonzero(far):
            values[place] = float(texts[int(place)].as_py())
        return pa.array(values, mask=~np.isfinite(values))
    values = pc.utf8_ltrim(texts, "+").cast(pa.float64())
    return pc.if_else(pc.is_finite(values), values, None)


def _to_integers(texts: pa.Array) -> pa.Array:
    texts = pc.replace_substring_regex(pc.utf8_ltrim(texts, "+"), r"^(-?)0+(\d)", r"\1\2")
    fits = matches(texts, r"^-?(\d{1,18}|[1-8]\d{18})$")
    return pc.if_else(fits, texts, None).cast(pa.int64())
