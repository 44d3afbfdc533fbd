"""A column's cells of text as values of its type, in one form, with the rule by which each one was changed.

Most cells are written as we would write them: Arrow reads those at once. Only the others are looked at, each distinct
text once.
"""

import datetime
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvdedge.number_forms import NOT_FINITE, matches
from hvdedge.structure import booleans, dates, missing, numbers, patterns, values
from hvdedge.structure.types import ColumnType, FileFormat

TYPES = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "date": pa.date32(),
    "time": pa.time32("s"),
    "timestamp": pa.timestamp("us"),
}
RULES = (
    *("", "missing", "number", "date", "type", "short_row", "not_finite", "sentinel"),
    *("blanks", "unicode", "spelling", "pattern"),
)
UNCHANGED, MISSING, NUMBER, DATE, TYPE, SHORT_ROW, TOO_LARGE, SENTINEL, BLANKS, UNICODE, SPELLING, PATTERN = range(12)
PLAIN = {  # type -> a cell that needs no entry in the change log
    "integer": r"^-?(0|[1-9]\d*)$",
    "float": r"^-?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$",
    "date": r"^\d{4}-\d\d-\d\d$",
    "timestamp": r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?$",
}
USUAL = {  # type -> a cell that Arrow reads as we do, and never fails on
    "integer": r"^-?(0|[1-9]\d{0,17}|[1-8]\d{18})$",
    "float": r"^-?(\d{1,18}(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?$",
    **dates.USUAL,
}
LENGTHS = {"date": (10,), "timestamp": (16, 19)}  # of what Arrow reads as a day: 2024-03-07 08:09:10
FIRST_DAY = datetime.date(1000, 1, 1)
DAY_MARKS = [ord(mark) for mark in "-./"]
GROUPED = {  # decimal mark -> the mark between thousands, and numbers with and without it
    ".": (",", r"^-?(\d{1,18}|[1-9]\d{0,2}(,\d{3})+)"),
    ",": (".", r"^-?(\d{1,18}|[1-9]\d{0,2}(\.\d{3})+)"),
}
MOST_KNOWN = 4096  # texts of a column that are kept with what they mean
DIGIT = re.compile(r"\d")
TOO_FAR = r"[eE]\+?\d{3,}$"


@dataclass
class Plan:
    """How a column is converted, alike on all ranks.

    Attributes:
        type: None where the cells stay the text that they are.
        spellings: what means a missing value, trimmed and in lower case.
        placeholders: texts that do so in this column.
        sentinels: numbers that do so.
        formats: whether text is brought into one form.
        variants: spelling of a category -> the one that it gets.
        pattern: what the column's texts look like, see structure/patterns.py.
        known: place of a file -> unusual texts that were read before, their values and rules.
    """

    type: ColumnType | None
    spellings: tuple[str, ...] = ()
    placeholders: tuple[str, ...] = ()
    sentinels: tuple[float, ...] = ()
    formats: bool = True
    variants: Mapping[str, str] = field(default_factory=dict)
    pattern: str = ""
    known: dict[int, tuple[pa.Array, pa.Array, np.ndarray]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def arrow_type(self) -> pa.DataType:
        """The type of the column's values."""
        return TYPES.get(self.type.name, pa.string()) if self.type else pa.string()

    def find_missing(self, texts: pa.Array) -> pa.Array:
        """Return `texts` with null where they stand for a missing value."""
        found = missing.repair(texts, self.spellings)
        if self.placeholders:
            found = pc.if_else(pc.is_in(found, value_set=pa.array(self.placeholders, pa.string())), None, found)
        return found


def convert(text: pa.Array, plan: Plan, order: int) -> tuple[pa.Array, np.ndarray | None]:
    """Return a column's values, and for each cell the rule, a place in RULES, by which it was changed.

    Args:
        text: cells; a null was lost with the end of its row.
        order: the place of their file among the formats of the column's type.
    Returns:
        Values of `plan.arrow_type`; int8, None where nothing was changed.
    """
    lost = text.is_null().to_numpy(zero_copy_only=False) if text.null_count else None
    if plan.type is None:
        return text, None if lost is None else (lost * SHORT_ROW).astype(np.int8)
    form, name = plan.type.formats[order], plan.type.name
    if name in USUAL:
        found, rules = _measured(text, plan, name, form, order)
    elif name == "boolean" or name == "category":
        found, rules = _by_distinct(text, plan, name, form)
    else:
        found, rules = _texts(text, plan, form)
    if lost is not None:
        rules = np.zeros(len(text), np.int8) if rules is None else rules
        rules[lost] = SHORT_ROW
    return found, rules if rules is not None and rules.any() else None


def _measured(
    text: pa.Array, plan: Plan, name: str, form: FileFormat, order: int
) -> tuple[pa.Array, np.ndarray | None]:
    """Return numbers, days or times."""
    found, rules = None, None
    scale = plan.type.scale if plan.type else ""
    if form.is_clean and not scale and not text.null_count:
        try:
            found = text.cast(plan.arrow_type)
        except pa.ArrowInvalid:  # 30 February
            found = None
    if found is None:
        none = pc.and_(text.is_valid(), False), pa.nulls(len(text), plan.arrow_type)
        usual, found = none if scale else _usual(text, plan, name, form)
        rest = np.flatnonzero(pc.and_(text.is_valid(), pc.invert(usual)))
        if len(rest):
            encoded = text.take(pa.array(rest)).dictionary_encode()
            read, rule = _read_once(encoded.dictionary, plan, name, form, order)
            places = encoded.indices.to_numpy()
            rules = np.zeros(len(text), np.int8)
            rules[rest] = rule[places]
            mask = np.zeros(len(text), bool)
            mask[rest] = True
            found = pc.replace_with_mask(found, pa.array(mask), read.take(encoded.indices))
    if plan.sentinels:
        stands = np.asarray(pc.is_in(found, value_set=pa.array(plan.sentinels).cast(found.type)))
        if stands.any():
            rules = np.zeros(len(text), np.int8) if rules is None else rules
            rules[stands] = SENTINEL
            found = pc.if_else(pa.array(stands), None, found)
    return found, rules


def _usual(text: pa.Array, plan: Plan, name: str, form: FileFormat) -> tuple[pa.Array, pa.Array]:
    """Return which cells Arrow reads as we do, and what it reads."""
    spelled = [text for spelling in plan.spellings if DIGIT.search(spelling) for text in (spelling, spelling.upper())]
    is_value = pc.invert(pc.is_in(text, value_set=pa.array(spelled, pa.string()))) if spelled else text.is_valid()
    if name in LENGTHS:  # quicker than a look at each sign
        usual = pc.and_(is_value, pc.is_in(pc.binary_length(text), value_set=pa.array(LENGTHS[name], pa.int32())))
        try:
            texts = pc.if_else(usual, text, None)
            found = (texts if form.is_plain else _year_first(texts, form.day_first)).cast(TYPES[name])
            if not pc.any(pc.less(found, pa.scalar(FIRST_DAY).cast(found.type))).as_py():
                return usual, found
        except pa.ArrowInvalid:  # 30 February, or other text of that length
            pass
    if name in ("integer", "float") and not form.is_plain:  # the marks are the file's format and no change
        mark, pattern = GROUPED[form.decimal]
        pattern += rf"(\{form.decimal}\d*)?$" if name == "float" else "$"
        usual = pc.and_(is_value, matches(text, pattern))
        texts = pc.replace_substring(pc.if_else(usual, text, None), mark, "")
        return usual, pc.replace_substring(texts, ",", ".").cast(TYPES[name])
    usual = pc.and_(is_value, matches(text, USUAL[name]))
    texts = pc.if_else(usual, text, None)
    return usual, dates.repair(texts, to="time") if name == "time" else texts.cast(TYPES[name])


def _year_first(texts: pa.Array, day_first: bool) -> pa.Array:
    """Return days such as 07.03.2024, with or without a time, as 2024-03-07; other text comes out wrong or as it is.

    Raises:
        ArrowInvalid: where that cannot be told from the text.
    """
    known = texts.drop_null()
    widths = pc.binary_length(known).to_numpy()
    data = np.frombuffer(pc.binary_join(pa.ListArray.from_arrays([0, len(known)], known), "")[0].as_buffer(), np.uint8)
    starts = np.cumsum(widths) - widths
    marks = data[starts + 2], data[starts + 5]
    if not (np.isin(marks[0], DAY_MARKS) & (marks[0] == marks[1])).all():
        raise pa.ArrowInvalid("other days")
    order = (6, 7, 8, 9, 2, 3, 4, 5, 0, 1) if day_first else (6, 7, 8, 9, 2, 0, 1, 5, 3, 4)
    turned = data.copy()
    for to, at in enumerate(order):
        turned[starts + to] = data[starts + at]
    for to in (4, 7):
        turned[starts + to] = ord("-")
    offsets = np.append(starts, len(data)).astype(np.int32)
    found = pa.Array.from_buffers(pa.string(), len(known), [None, pa.py_buffer(offsets), pa.py_buffer(turned)])
    places = np.cumsum(texts.is_valid().to_numpy(zero_copy_only=False)) - 1
    return found.take(pa.array(places, mask=texts.is_null().to_numpy(zero_copy_only=False)))


def _read_once(raw: pa.Array, plan: Plan, name: str, form: FileFormat, order: int) -> tuple[pa.Array, np.ndarray]:
    """Return distinct texts as `_read` does, which takes as long for a few as for hundreds, and the same come again."""
    texts, values, rules = plan.known.get(order) or (raw.slice(0, 0), pa.nulls(0, TYPES[name]), np.zeros(0, np.int8))
    new = raw.filter(pc.invert(pc.is_in(raw, value_set=texts)))
    if len(new):
        read, rule = _read(new, plan, name, form)
        texts, values = pa.concat_arrays([texts, new]), pa.concat_arrays([values, read])
        rules = np.concatenate([rules, rule])
        if len(texts) <= MOST_KNOWN:
            plan.known[order] = texts, values, rules
    places = pc.index_in(raw, value_set=texts)
    return values.take(places), rules[np.asarray(places)]


def _read(raw: pa.Array, plan: Plan, name: str, form: FileFormat) -> tuple[pa.Array, np.ndarray]:
    """Return distinct texts as numbers, days or times, with their rules."""
    known = plan.find_missing(raw)
    if name in ("integer", "float"):
        scale = plan.type.scale if plan.type else None
        read = numbers.repair(known, decimal=form.decimal, integer=name == "integer", scale=scale)
        rule = NUMBER
    else:
        to: Any = name
        read, rule = dates.repair(known, to=to, day_first=form.day_first), DATE
    rules = np.zeros(len(raw), np.int8)
    if form.is_plain and name in PLAIN:
        rules[~np.asarray(matches(raw, PLAIN[name]))] = rule
    is_missing = known.is_null().to_numpy(zero_copy_only=False)
    rules[is_missing] = _missing_rules(raw.filter(pa.array(is_missing)))
    strays = ~is_missing & read.is_null().to_numpy(zero_copy_only=False)
    rules[strays] = TYPE
    if name == "float" and strays.any():
        trimmed = pc.utf8_trim_whitespace(raw)
        rules[strays & np.asarray(pc.or_(matches(trimmed, NOT_FINITE), matches(trimmed, TOO_FAR)))] = TOO_LARGE
    return read, rules


def _missing_rules(raw: pa.Array) -> np.ndarray:
    """Return the rule of texts that mean nothing: none where nothing is written."""
    return np.where(np.asarray(matches(raw, r"[^\s\x{a0}\x{200b}\x{feff}]")), MISSING, UNCHANGED)


def _by_distinct(text: pa.Array, plan: Plan, name: str, form: FileFormat) -> tuple[pa.Array, np.ndarray | None]:
    """Return truth values or categories."""
    encoded = text.dictionary_encode()
    raw = encoded.dictionary
    known = plan.find_missing(raw)
    is_missing = known.is_null().to_numpy(zero_copy_only=False)
    rules = np.zeros(len(raw), np.int8)
    if name == "boolean":
        read = booleans.repair(known)
        rules[~is_missing & read.is_null().to_numpy(zero_copy_only=False)] = TYPE
    else:
        read, rules = _in_form(known, plan, form)
    rules[is_missing] = _missing_rules(raw.filter(pa.array(is_missing)))
    result = read.take(encoded.indices)
    if not rules.any():
        return result, None
    return result, np.append(rules, np.int8(UNCHANGED))[pc.fill_null(encoded.indices, len(rules)).to_numpy()]


def _texts(text: pa.Array, plan: Plan, form: FileFormat) -> tuple[pa.Array, np.ndarray | None]:
    """Return text with many different values."""
    found, rules = _in_form(text, plan, form)
    trimmed = found if plan.formats else pc.utf8_trim(found, missing.BLANKS)
    words = (*plan.spellings, *plan.placeholders)
    longest = 4 * max(map(len, words), default=-1)  # bytes
    is_short = pc.fill_null(pc.less_equal(pc.binary_length(trimmed), longest), False)
    short = np.flatnonzero(np.asarray(is_short) & _may_begin(text, words))
    if len(short):
        encoded = text.take(pa.array(short)).dictionary_encode()
        is_missing = plan.find_missing(encoded.dictionary).is_null().to_numpy(zero_copy_only=False)
        if is_missing.any():
            raw = encoded.dictionary
            rule = np.zeros(len(raw), np.int8)
            rule[is_missing] = _missing_rules(raw.filter(pa.array(is_missing)))
            places = encoded.indices.to_numpy()
            gone = short[is_missing[places]]
            rules[gone] = rule[places][is_missing[places]]
            mask = np.zeros(len(text), bool)
            mask[gone] = True
            found = pc.if_else(pa.array(mask), None, found)
    return found, rules


def _may_begin(texts: pa.Array, words: Sequence[str]) -> np.ndarray:
    """Return which texts may be one of some words, whatever their case, blanks and composition, by their first byte."""
    begins = np.zeros(256, bool)
    begins[: ord(" ") + 1] = begins[128:] = True  # blanks, letters of several bytes
    for word in words:
        first = unicodedata.normalize("NFD", word.strip(missing.BLANKS))[:1]
        begins[[case.encode()[0] for case in (first.lower(), first.upper()) if case]] = True
    if not len(texts) or texts.buffers()[2] is None or not texts.buffers()[2].size:
        return np.ones(len(texts), bool)
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(texts.buffers()[2], np.uint8)
    return (offsets[1:] == offsets[:-1]) | begins[data[np.minimum(offsets[:-1], len(data) - 1)]]


def _in_form(text: pa.Array, plan: Plan, form: FileFormat) -> tuple[pa.Array, np.ndarray]:
    """Return text in one form, with its rules."""
    rules = np.zeros(len(text), np.int8)
    if not plan.formats:
        return text, rules
    found = values.repair(text)
    if found is not text:
        changed = np.flatnonzero(pc.fill_null(pc.not_equal(found, text), False))
        if len(changed):
            before = text.take(pa.array(changed))
            is_unicode = np.asarray(pc.not_equal(pc.utf8_normalize(before, "NFC"), before))
            rules[changed] = np.where(is_unicode, UNICODE, BLANKS)
            if form.is_padded:
                is_trim = np.asarray(pc.equal(pc.utf8_trim_whitespace(before), found.take(pa.array(changed))))
                rules[changed[is_trim]] = UNCHANGED
    if plan.variants:
        spelled = pa.array(list(plan.variants), pa.string())
        places = pc.index_in(found, value_set=spelled)
        is_variant = places.is_valid()
        if pc.any(is_variant).as_py():
            rules[np.asarray(is_variant)] = SPELLING
            found = pc.if_else(is_variant, pa.array(list(plan.variants.values()), pa.string()).take(places), found)
    if plan.pattern:
        written = patterns.repair(found, plan.pattern)
        if written is not found:
            rules[np.asarray(pc.fill_null(pc.not_equal(written, found), False))] = PATTERN
            rules[np.asarray(pc.fill_null(pc.equal(written, text), False))] = UNCHANGED  # a spelling put back
            found = written
    return found, rules
