"""One pattern a column of phone numbers, postcodes, serial numbers: "(030) 123-4567" where the others are 030-123-4567.

A pattern is a text with its digits as 9 and its letters as A. Two patterns say the same where only the marks and
blanks between differ; what is rewritten keeps its digits and letters.
"""

import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LEAST_SHARE = 0.5  # of the cells have the pattern
LEAST_SIGNS = 5  # digits and letters: with fewer, marks may have a meaning (1-2, 1.2)
LEAST_DIGITS = 2
_MARKS = r"[ ()\-./]"


def repair(values: pa.Array, pattern: str) -> pa.Array:
    """Return text in the pattern where only marks and the case of letters tell it from it, any other as it is."""
    expected = "".join({"9": r"\d", "A": "[A-Za-z]"}.get(sign, re.escape(sign)) for sign in pattern)
    is_other = pc.invert(pc.fill_null(pc.match_substring_regex(values, f"^{expected}$"), True))
    places = np.flatnonzero(is_other)
    if not len(places):
        return values
    encoded = values.take(pa.array(places)).dictionary_encode()
    bare = _bare(pattern)
    texts = [_written(text, pattern, bare) for text in encoded.dictionary.to_pylist()]
    mended = pa.array(texts, pa.string()).take(encoded.indices)
    return pc.replace_with_mask(values, is_other, mended)


def choose(masks: Mapping[str, int], cells: int) -> str:
    """Return the pattern that a column shows, or nothing.

    Args:
        masks: patterns of the cells that were looked at, their blanks in one form -> how many have them.
        cells: how many were looked at.
    """
    pattern, number = max(sorted(masks.items()), key=lambda item: item[1], default=("", 0))
    bare = _bare(pattern)
    is_known = re.fullmatch(rf"(9|A|{_MARKS}|\+)*", pattern) and len(bare) >= LEAST_SIGNS
    return pattern if is_known and bare.count("9") >= LEAST_DIGITS and number >= LEAST_SHARE * cells else ""


def _bare(pattern: str) -> str:
    return re.sub(_MARKS, "", pattern)


def _written(text: str, pattern: str, bare: str) -> str:
    signs = re.sub(_MARKS, "", text)
    shape = re.sub(r"[A-Za-z]", "A", re.sub(r"\d", "9", signs))
    if shape != bare:
        return text
    left = iter(signs)
    return "".join(next(left) if sign in "9A+" else sign for sign in pattern)
