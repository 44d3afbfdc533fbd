"""Text in one form: composed characters (Unicode NFC), one blank between words and none around them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

WIDTHLESS = "[\u200b\u2060\ufeff]"  # joiners have a meaning in some scripts and stay
BLANKS = r"[ \t\x{a0}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}]"
# up to U+02FF all letters are composed; of the signs below it, U+00A0 is a blank
UNTIDY = rf"^\s|\s$|{BLANKS}{{2}}|[\t\x{{85}}\x{{a0}}]|[^\x00-\x{{2ff}}]"
HIGH, SIGNS, SPACE, TAB = 0xCC, 0xC2, 0x20, 0x09  # the first bytes of U+0300 and of U+0080 to U+00BF


def repair(values: pa.Array) -> pa.Array:
    """Return text in one form; nulls stay null. Line breaks inside stay, and what is only blanks becomes empty."""
    if is_tidy(values):
        return values
    found = np.flatnonzero(pc.fill_null(pc.match_substring_regex(values, UNTIDY), False))
    if not len(found):
        return values
    mended = pc.replace_substring_regex(values.take(pa.array(found)), WIDTHLESS, "")
    mended = pc.utf8_normalize(mended, "NFC")
    mended = pc.replace_substring_regex(mended, rf"{BLANKS}+", " ")
    mended = pc.utf8_trim_whitespace(mended)
    mask = np.zeros(len(values), bool)
    mask[found] = True
    return pc.replace_with_mask(values, pa.array(mask), mended)


def is_tidy(values: pa.Array) -> bool:
    """Tell quickly whether no text can need a repair; False may be wrong."""
    if not len(values):
        return True
    offsets = np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + len(values) + 1]
    if values.buffers()[2] is None or offsets[0] == offsets[-1]:
        return True
    data = np.frombuffer(values.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
    is_blank = data <= SPACE
    if data.max() >= HIGH or (data == SIGNS).any() or (is_blank[1:] & is_blank[:-1]).any() or (data == TAB).any():
        return False
    starts, ends = offsets[:-1] - offsets[0], offsets[1:] - offsets[0]
    filled = ends > starts
    return not (is_blank[starts[filled]].any() or is_blank[ends[filled] - 1].any())
