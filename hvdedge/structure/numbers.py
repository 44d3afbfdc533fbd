"""Numbers written as text: with blanks, units, a decimal comma, marks between thousands, ".0" behind whole ones."""

import re
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PLAIN = r"^[+-]?(\d{1,18}|\d+\.\d*|\.\d+|\d+(\.\d*)?[eE][+-]?\d{1,2})$"
WRITTEN = re.compile(
    r"\s*[$€£¥]?\s*([-+−]?)\s*[$€£¥]?\s*"
    r"(\d[\d.,'’ \u00a0\u202f]*|[.,]\d+)([eE][+-]?\d{1,2})?\s*(?:[$€£¥%‰°]|[A-Za-zµ]{1,4}[²³]?)?\s*"
)
GROUPS = re.compile(r"\d{1,3}(?:([.,'’ \u00a0\u202f])\d{3})(?:\1\d{3})*([.,]\d*)?")
LARGEST = 2**63 - 1


def repair(values: pa.Array, *, decimal: Literal[".", ","] = ".", integer: bool = False) -> pa.Array:
    """Return text as numbers: float64, or int64 where `integer`; null where it is none, or none of that kind.

    Args:
        values: text, best each one once; nulls stay null.
        decimal: what "1.234" and "1,234" mean, of which both readings are possible: the mark that is not it parts
            thousands. All other numbers tell by themselves.
    """
    is_plain = pc.fill_null(pc.match_substring_regex(values, PLAIN), False)
    if integer:
        is_plain = pc.and_(is_plain, pc.fill_null(pc.match_substring_regex(values, r"^[+-]?\d+$"), False))
    plain = pc.if_else(is_plain, pc.utf8_ltrim(values, "+"), None)
    if decimal == ",":  # "1.234" is plain only to look at
        twofold = pc.fill_null(pc.match_substring_regex(values, r"^[+-]?[1-9]\d{0,2}\.\d{3}$"), False)
        is_plain = pc.and_(is_plain, pc.invert(twofold))
        plain = pc.if_else(is_plain, plain, None)
    result = np.zeros(len(values), np.int64 if integer else np.float64)
    valid = is_plain.to_numpy(zero_copy_only=False).copy()
    result[valid] = plain.drop_null().cast(pa.int64() if integer else pa.float64()).to_numpy()
    for place in np.flatnonzero(~valid & values.is_valid().to_numpy(zero_copy_only=False)).tolist():
        number = _number(values[place].as_py(), decimal, integer)
        if number is not None:
            result[place], valid[place] = number, True
    if not integer:
        valid &= np.isfinite(result)
    return pa.array(result, mask=~valid)


def _number(text: str, decimal: str, integer: bool) -> int | float | None:
    """Return the number that `text` spells, or None."""
    found = WRITTEN.fullmatch(text)
    if not found:
        return None
    sign, body, exponent = found[1], found[2].strip("'’ \u00a0\u202f"), found[3] or ""
    whole, _, part = _plain(body, decimal).partition(".")
    if not (whole + part).isdigit():
        return None
    negative = sign in ("-", "−")
    if not integer:
        return float(f"{'-' if negative else ''}{whole or '0'}.{part or '0'}{exponent}")
    if part.strip("0") or exponent or int(whole or "0") > LARGEST:
        return None
    return -int(whole or "0") if negative else int(whole or "0")


def _plain(body: str, decimal: str) -> str:
    """Return digits with at most a decimal point; what is no number keeps a mark that is no digit."""
    groups = GROUPS.fullmatch(body)
    if groups and not (groups[2] and groups[2][0] == groups[1]):
        mark, rest = groups[1], groups[2] or ""
        once = mark in ".," and not rest and body.count(mark) == 1
        if not once or (mark != decimal and not body.startswith("0")):
            whole = body[: len(body) - len(rest)].replace(mark, "")
            return whole + rest.replace(",", ".")
    return body.replace(",", ".") if body.count(",") + body.count(".") == 1 else body
