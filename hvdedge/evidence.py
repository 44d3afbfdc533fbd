"""What the cells of a column look like, counted, so that ranks and files can agree on its type.

Everything that is counted is a property of one cell (and of its line's number), so that the sums are the same however
the rows are dealt. A column of few distinct values is looked at value by value; in one of many, cells whose shape is
plain to see are counted at once by one expression each, and only the others are looked at more closely.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvdedge import date_forms, number_forms
from hvdedge.number_forms import matches
from hvdedge.truth_words import DIGITS, LETTERS, PAIRS

MOST_LEVELS = 256  # of a category
MOST_WORDS = 64  # that are told one by one where a column has more values than a category
LONGEST_LEVEL = 64
MOST_UNITS = 20
MOST_MASKS = 256
LONGEST_MASK = 24  # characters of a cell whose pattern is looked at
SAMPLED_LINES = 2000  # of a file are looked at for patterns, and then one in SAMPLED_EACH
SAMPLED_EACH = 16  # a power of two
CARD_DIGITS = range(13, 20)
BLANK = ord(" ")
_WHOLE = r"(0|[1-8]\d{0,11}|9|9\d{0,5}[0-8]\d{0,5})"  # short, not led by zero, not all nines
# what may stand behind the point: not 0, not of three digits
_PART = r"([1-9]|\d[1-9]|[1-9]0|[1-9]\d{3,16}|\d[1-9]\d{2,15}|\d\d[1-9]\d{1,14}|\d{3,16}[1-9])"
USUAL = {  # shape -> a part of its texts that needs no closer look; disjoint
    "integer": rf"^-?{_WHOLE}$",
    "point": rf"^-?({_WHOLE}\.{_PART}|(0|[1-8]\d{{3,11}})\.([1-9]\d\d|\d[1-9]\d|\d\d[1-9]))$",
    "comma": rf"^-?({_WHOLE},{_PART}|(0|[1-8]\d{{3,11}}),([1-9]\d\d|\d[1-9]\d|\d\d[1-9]))$",
    "grouped_point": r"^-?\d{1,3}(,\d{3})+\.\d{1,9}$",
    "grouped_comma": r"^-?\d{1,3}(\.\d{3})+,\d{1,9}$",
    "day": r"^\d\d[-./]\d\d[-./]\d{4}$",
    "day_timestamp": r"^\d\d[-./]\d\d[-./]\d{4}[T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$",
    "iso": r"^[12]\d{3}-\d\d-\d\d$",
    "timestamp": r"^[12]\d{3}-\d\d-\d\d[T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?$",
    "code": r"^[A-Za-z]{1,2}\d[A-Za-z0-9]*$",
    "prose": r"^[^\d\s+\-−$€£¥(.,'\"][^\d]{14,}[^\d\s]$",
    "serial": r"^(\+?\(?\d{1,6}\)?[\-/ ]\d{5,}|\(?\d{3,6}\)?[\-/ ]\d{3}-\d{3,})$",
    "sentence": r"^[A-Za-zÀ-ÿ]{2}.*\d.*[a-zà-ÿ]{3}$",
    "address": r"^\d{1,6} [A-Za-zÀ-ÿ.]+ .*[a-zà-ÿ]{3}$",
    "long_text": r"(?s)^\S.{64,}\S$",
}
PLAIN_COUNTS = {
    "integer": ("plain_integer", "plain_float"),
    "point": ("plain_float",),
    "iso": ("plain_date",),
    "timestamp": ("plain_timestamp",),
}
TRIES = 2  # batches in which a shape is looked for that does not occur
TEXTS = ("code", "prose", "serial", "sentence", "address", "long_text")
NUMBER_SHAPES = tuple(shape for shape in number_forms.SHAPES if shape not in ("long", "bare_exponent"))
BOOLEAN_WORDS = tuple(dict.fromkeys(word for pair in PAIRS for word in pair))


@dataclass
class Evidence:
    """What the cells of one column in one file look like.

    Attributes:
        counts: what -> number of cells: the shapes of numbers and dates, `named` (a month by its name), `not_finite`,
            `hexadecimal`, `boolean`, `boolean:y` and the like, `unit` (a number with one), `accounting`, `day_first`,
            `month_first`, `card`, `cells` (all that are not missing), `rows` (all), `blanks` (with outer blanks),
            `sampled` (looked at for masks), `plain_integer`, `plain_float`, `plain_date` and `plain_timestamp`
            (written as we would write them).
        levels: distinct value -> cells, None once they are too many or too long for a category.
        words: the same of values that are no numbers, dates or the like.
        masks: pattern (see `mask`) -> cells of a sample, None once there are too many.
        units: unit -> number of cells, None once they are too many.
        nines: 9999, -999 and the like -> number of cells.
        left_bytes: the size of the values that `see` kept for `settle`.
    """

    counts: Counter = field(default_factory=Counter)
    levels: dict[str, int] | None = field(default_factory=dict)
    words: dict[str, int] | None = field(default_factory=dict)
    masks: dict[str, int] | None = field(default_factory=dict)
    units: dict[str, int] | None = field(default_factory=dict)
    nines: Counter = field(default_factory=Counter)
    left_bytes: int = field(default=0, repr=False, compare=False)
    _left: list[tuple[pa.Array, np.ndarray]] = field(default_factory=list, repr=False, compare=False)
    _hits: Counter = field(default_factory=Counter, repr=False, compare=False)  # what is quickest here
    _tries: Counter = field(default_factory=Counter, repr=False, compare=False)

    def see(self, cells: pa.Array, sample: pa.Array, is_usual: Mapping[str, bool]) -> None:
        """Count a batch of cells of text, nulls are none; those that need a closer look are kept for `settle`.

        Args:
            sample: places of those to be looked at for patterns, see `sampled`.
            is_usual: for each shape of USUAL, whether such a text cannot spell a missing value.
        """
        self.counts["rows"] += len(cells)
        if self.masks is not None:
            looked_at = cells.take(sample).drop_null()
            self.counts["sampled"] += len(looked_at)
            self._add_masks(looked_at)
        cells = cells.drop_null()
        self.counts["blanks"] += _with_outer_blanks(cells)
        if self.levels is None:
            cells = self._take_usual(cells, is_usual)
        if len(cells):
            encoded = cells.dictionary_encode()
            self._left.append((encoded.dictionary, np.bincount(encoded.indices.to_numpy())))
            self.left_bytes += encoded.dictionary.nbytes

    def settle(self, find_missing: Callable[[pa.Array], pa.Array]) -> None:
        """Count the cells that `see` kept: many at once, because a look costs much the same for few as for many.

        Args:
            find_missing: turns distinct values into the same with null where they spell a missing one.
        """
        if not self._left:
            return
        encoded = pa.concat_arrays([values for values, _ in self._left]).dictionary_encode()
        counts = np.concatenate([numbers for _, numbers in self._left])
        self._left, self.left_bytes = [], 0
        values = find_missing(encoded.dictionary)
        numbers = np.bincount(encoded.indices.to_numpy(), counts).astype(np.int64)  # float64: exact below 2**53
        if values.null_count:
            is_value = values.is_valid()
            values, numbers = values.filter(is_value), numbers[is_value.to_numpy(zero_copy_only=False)]
        if len(values):
            self.add(values, numbers)

    def add(self, values: pa.Array, numbers: np.ndarray) -> None:
        """Count distinct `values`, text without null, of which the file has `numbers`, int64, more."""
        self.counts["cells"] += int(numbers.sum())
        self.levels = _with_values(self.levels, values, numbers, MOST_LEVELS)
        trimmed = pc.utf8_trim_whitespace(values)
        is_trim = np.asarray(pc.equal(trimmed, values))
        is_word = np.ones(len(values), bool)
        is_number = np.asarray(matches(trimmed, r"^[(+\-−]?\s*[.,]?\d"))
        has_digit = is_number | np.asarray(matches(trimmed, r"\d"))
        if is_number.any():
            among = pa.array(is_number)
            found = self._add_numbers(trimmed.filter(among), numbers[is_number], is_trim[is_number])
            is_word[is_number] = ~found
        named = has_digit & is_word
        if named.any():
            is_word[named] = ~self._add_named(trimmed.filter(pa.array(named)), numbers[named])
        left = has_digit & is_word
        if left.any():
            is_word[left] = ~self._add_written(trimmed.filter(pa.array(left)), numbers[left])
        bare = ~has_digit
        if bare.any():
            is_word[bare] = ~self._add_bare(trimmed.filter(pa.array(bare)), numbers[bare])
        if is_number.any():  # 1 and 0 among words of truth
            for digit in DIGITS[0]:
                self.counts[f"boolean:{digit}"] += int(numbers[np.asarray(pc.equal(trimmed, digit))].sum())
        if self.words is not None and is_word.any():
            self.words = _with_values(self.words, values.filter(pa.array(is_word)), numbers[is_word], MOST_WORDS)

    def merge(self, other: "Evidence") -> None:
        """Add the cells that another rank has seen, or that stand in another file."""
        self.counts += other.counts
        self.units = _merged(self.units, other.units, MOST_UNITS)
        self.nines += other.nines
        self.levels = _merged(self.levels, other.levels, MOST_LEVELS)
        self.words = _merged(self.words, other.words, MOST_WORDS)
        self.masks = _merged(self.masks, other.masks, MOST_MASKS)

    def to_json(self) -> list:
        """Return what JSON can hold, without levels, words and masks: few columns need them, and they are large."""
        return [self.counts, self.units, self.nines]

    @classmethod
    def from_json(cls, value: list) -> "Evidence":
        """Return the evidence that `to_json` gave."""
        return cls(Counter(value[0]), units=value[1], nines=Counter(value[2]))

    @property
    def decimal_mark(self) -> Literal[".", ","] | None:
        """The decimal mark that the column's numbers in this file show, None where they show none."""
        counts = self.counts
        points = counts["point"] + counts["whole_point"] + counts["grouped_point"]
        commas = counts["comma"] + counts["whole_comma"] + counts["grouped_comma"]
        if points == commas:
            return None
        return "," if commas > points else "."

    @property
    def numbers(self) -> int:
        """How many cells are numbers."""
        return sum(self.counts[shape] for shape in NUMBER_SHAPES)

    @property
    def days(self) -> int:
        """How many cells are days that no number can be."""
        return sum(self.counts[shape] for shape in ("iso", "day", "week", "named"))

    def _take_usual(self, cells: pa.Array, is_usual: Mapping[str, bool]) -> pa.Array:
        """Count the cells whose shape is plain to see, most frequent shapes first; return the others."""
        shapes = [shape for shape in USUAL if is_usual[shape] and (self.words is None or shape not in TEXTS)]
        for shape in sorted(shapes, key=lambda shape: -self._hits[shape]):
            if not len(cells):
                break
            if self._tries[shape] >= TRIES and not self._hits[shape]:
                continue
            found = pc.match_substring_regex(cells, USUAL[shape])
            count = pc.sum(found).as_py() or 0
            self._tries[shape] += 1
            self._hits[shape] += count
            if not count:
                continue
            self.counts["cells"] += count
            if shape not in TEXTS:
                self.counts["timestamp" if shape == "day_timestamp" else shape] += count
            for plain in PLAIN_COUNTS.get(shape, ()):
                self.counts[plain] += count
            if shape == "integer":
                self._count_digits(cells)
            if shape in ("day", "day_timestamp"):
                self._count_order(cells.filter(found))
            cells = cells.filter(pc.invert(found)) if count < len(cells) else cells.slice(0, 0)
        return cells

    def _count_digits(self, cells: pa.Array) -> None:
        """Count the cells 1 and 0, which may be truth values."""
        widths = pc.binary_length(cells).to_numpy()
        if (widths == 1).any():
            single = cells.filter(pa.array(widths == 1))
            for digit in DIGITS[0]:
                self.counts[f"boolean:{digit}"] += pc.sum(pc.equal(single, digit)).as_py() or 0

    def _count_order(self, cells: pa.Array) -> None:
        """Count days of two digits, two digits and a year as `_add_order` does."""
        starts = np.frombuffer(cells.buffers()[1], np.int32)[cells.offset : cells.offset + len(cells)]
        data = np.frombuffer(cells.buffers()[2], np.uint8)
        first, second = (10 * data[starts + at].astype(int) + data[starts + at + 1] - 11 * 48 for at in (0, 3))
        self.counts["day_first"] += int(((first > 12) & (second <= 12)).sum())
        self.counts["month_first"] += int(((second > 12) & (first <= 12)).sum())

    def _add_masks(self, cells: pa.Array) -> None:
        short = pc.less_equal(pc.binary_length(cells), LONGEST_MASK)
        found = mask(cells.filter(short)).value_counts()
        has_digit = matches(found.field(0), "9")
        values, numbers = found.field(0).filter(has_digit), found.field(1).filter(has_digit).to_numpy()
        if len(values):
            self.masks = _with_values(self.masks, values, numbers, MOST_MASKS)

    def _add_numbers(self, values: pa.Array, numbers: np.ndarray, is_trim: np.ndarray) -> np.ndarray:
        """Count trimmed values that begin like a number; return which were some."""
        found = np.zeros(len(values), bool)
        bare = np.asarray(matches(values, r"^[+\-−]?[\d.,'’ \x{a0}\x{202f}\x{2009}]+([eE][+\-]?\d+)?$"))
        if bare.any():
            among = np.flatnonzero(bare)
            found[among] = self._add_shapes(values.take(pa.array(among)), numbers[among], is_trim[among])
        for shape, pattern in date_forms.SHAPES.items():
            left = np.flatnonzero(~found)
            if not len(left):
                return found
            hits = np.asarray(matches(values.take(pa.array(left)), pattern))
            if not hits.any():
                continue
            places = left[hits]
            found[places] = True
            self.counts[shape] += int(numbers[places].sum())
            if shape == "day":
                self._add_order(values.take(pa.array(places)), numbers[places])
            if shape in ("iso", "timestamp"):
                plain = date_forms.PLAIN_DATE if shape == "iso" else date_forms.PLAIN_TIMESTAMP
                is_plain = np.asarray(matches(values.take(pa.array(places)), plain)) & is_trim[places]
                name = "plain_date" if shape == "iso" else "plain_timestamp"
                self.counts[name] += int(numbers[places][is_plain].sum())
                if shape == "timestamp":
                    self._add_order(values.take(pa.array(places)), numbers[places])
        left = np.flatnonzero(~found)
        hits = np.asarray(matches(values.take(pa.array(left)), number_forms.HEXADECIMAL))
        self.counts["hexadecimal"] += int(numbers[left[hits]].sum())
        found[left[hits]] = True
        return found

    def _add_shapes(self, values: pa.Array, numbers: np.ndarray, is_trim: np.ndarray | None) -> np.ndarray:
        """Count bare numbers, each under the first shape that it has; those with a unit have no plain form."""
        found = np.zeros(len(values), bool)
        for shape, pattern in number_forms.SHAPES.items():
            left = np.flatnonzero(~found)
            if not len(left):
                break
            hits = left[np.asarray(matches(values.take(pa.array(left)), pattern))]
            if not len(hits):
                continue
            found[hits] = True
            self.counts[shape] += int(numbers[hits].sum())
            texts = values.take(pa.array(hits))
            if shape in ("integer", "long"):
                self._add_integers(texts, numbers[hits])
            if is_trim is not None and shape in ("integer", "whole_point", "ambiguous_point", "point"):
                signed = np.asarray(matches(texts, r"^[+−]"))
                plain = int(numbers[hits][is_trim[hits] & ~signed].sum())
                self.counts["plain_float"] += plain
                self.counts["plain_integer"] += plain if shape == "integer" else 0
        nines = np.asarray(matches(values, number_forms.NINES))
        for value, number in zip(values.filter(pa.array(nines)).to_pylist(), numbers[nines].tolist(), strict=True):
            self.nines[value] += number
        return found

    def _add_integers(self, values: pa.Array, numbers: np.ndarray) -> None:
        widths = pc.binary_length(values).to_numpy()
        may_be_card = (widths >= CARD_DIGITS.start) & (widths < CARD_DIGITS.stop)
        may_be_card &= np.asarray(matches(values, r"^\d+$"))
        if may_be_card.any():
            is_card = _is_card(values.filter(pa.array(may_be_card)))
            self.counts["card"] += int(numbers[may_be_card][is_card].sum())

    def _add_order(self, days: pa.Array, numbers: np.ndarray) -> None:
        """Count days whose month is told by the other number being above 12."""
        parts = pc.extract_regex(days, r"^(?P<first>\d{1,2})(?P<mark>[-./])(?P<second>\d{1,2})[-./]")
        is_one = parts.is_valid().to_numpy(zero_copy_only=False)
        parts, numbers = parts.drop_null(), numbers[is_one]
        first, second = (pc.struct_field(parts, name).cast(pa.int64()).to_numpy() for name in ("first", "second"))
        self.counts["day_first"] += int(numbers[(first > 12) & (second <= 12)].sum())
        self.counts["month_first"] += int(numbers[(second > 12) & (first <= 12)].sum())

    def _add_named(self, values: pa.Array, numbers: np.ndarray) -> np.ndarray:
        """Count days with the name of a month; return which were some."""
        result = np.zeros(len(values), bool)
        if not pc.any(matches(values, rf"{date_forms.NAME}.*\d|\d.*{date_forms.NAME}")).as_py():
            return result
        for shape, pattern in (("named", date_forms.NAMED), ("timestamp", date_forms.NAMED_TIMESTAMP)):
            hits = date_forms.is_named(values, pattern) & ~result
            self.counts[shape] += int(numbers[hits].sum())
            result |= hits
        return result

    def _add_written(self, values: pa.Array, numbers: np.ndarray) -> np.ndarray:
        """Count numbers that a unit, a currency or a sign of accounting stands at; return which were some."""
        parts = number_forms.parts(values)
        is_one = parts["body"].is_valid().to_numpy(zero_copy_only=False)
        if not is_one.any():
            return is_one
        among = pa.array(is_one)
        bodies, units = parts["body"].filter(among), parts["unit"].filter(among)
        bodies = pc.binary_join_element_wise(bodies, parts["exponent"].filter(among), "")
        found = self._add_shapes(bodies, numbers[is_one], None)
        has_unit = np.asarray(pc.not_equal(units, ""))
        self.counts["unit"] += int(numbers[is_one][found & has_unit].sum())
        self.counts["accounting"] += int(numbers[is_one][found & ~has_unit].sum())
        kept = found & has_unit
        if kept.any():
            seen = units.filter(pa.array(kept)).dictionary_encode()
            cells = np.bincount(seen.indices.to_numpy(), weights=numbers[is_one][kept]).astype(np.int64)
            self.units = _with_values(self.units, seen.dictionary, cells, MOST_UNITS)
        is_one = is_one.copy()
        is_one[is_one] = found
        return is_one

    def _add_bare(self, values: pa.Array, numbers: np.ndarray) -> np.ndarray:
        """Count words of truth and infinities; return which were some."""
        infinite = np.asarray(matches(values, number_forms.NOT_FINITE))
        self.counts["not_finite"] += int(numbers[infinite].sum())
        folded = pc.utf8_lower(values)
        truths = np.asarray(pc.is_in(folded, value_set=pa.array(BOOLEAN_WORDS)))
        self.counts["boolean"] += int(numbers[truths].sum())
        result = infinite | truths
        if pc.any(pc.equal(pc.binary_length(folded), 1)).as_py():
            for letter in {letter for pair in LETTERS for letter in pair}:
                self.counts[f"boolean:{letter}"] += int(numbers[np.asarray(pc.equal(folded, letter))].sum())
        return result


def without(spellings: Iterable[str]) -> dict[str, bool]:
    """Return for each shape of USUAL whether none of the spellings of a missing value is such a text."""
    texts = pa.array([text for spelling in spellings for text in (spelling, spelling.upper())], pa.string())
    return {shape: not pc.any(matches(texts, pattern)).as_py() for shape, pattern in USUAL.items()}


def is_measured(files: Iterable[Evidence]) -> bool:
    """Tell whether at least half of a column's cells are numbers, days, times or truth values."""
    measured = cells = 0
    for evidence in files:
        counts = evidence.counts
        measured += evidence.numbers + evidence.days + counts["timestamp"] + counts["time"] + counts["boolean"]
        cells += counts["cells"]
    return 2 * measured >= cells > 0


def sampled(lines: np.ndarray) -> pa.Array:
    """Return the places of the cells to be looked at for patterns, by the numbers of their lines, int64."""
    return pa.array(np.flatnonzero((lines < SAMPLED_LINES) | (lines & (SAMPLED_EACH - 1) == 0)))


def mask(values: pa.Array) -> pa.Array:
    """Return the patterns of text: digits as 9, letters as A, everything else as it is; no nulls."""
    if not len(values) or values.buffers()[2] is None:
        return values
    signs = np.arange(256, dtype=np.uint8)
    for first, last, sign in (("0", "9", "9"), ("a", "z", "A"), ("A", "Z", "A")):
        signs[ord(first) : ord(last) + 1] = ord(sign)
    data = signs[np.frombuffer(values.buffers()[2], np.uint8)]
    buffers = [None, values.buffers()[1], pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string(), len(values), buffers, null_count=0, offset=values.offset)


def _with_outer_blanks(cells: pa.Array) -> int:
    """Return how many cells begin or end with a blank."""
    offsets = np.frombuffer(cells.buffers()[1], np.int32)[cells.offset : cells.offset + len(cells) + 1]
    if not len(cells) or offsets[0] == offsets[-1]:
        return 0
    data = np.frombuffer(cells.buffers()[2], np.uint8)
    is_filled = offsets[1:] > offsets[:-1]
    first = data[np.minimum(offsets[:-1], len(data) - 1)]
    last = data[offsets[1:] - 1]
    return int((((first == BLANK) | (last == BLANK)) & is_filled).sum())


def _with_values(known: dict[str, int] | None, values: pa.Array, numbers: np.ndarray, most: int) -> dict | None:
    """Return the counts of values with more of them, None once they are more than `most` or too long."""
    if known is None or len(values) > most or pc.max(pc.utf8_length(values)).as_py() > LONGEST_LEVEL:
        return None
    for value, number in zip(values.to_pylist(), numbers.tolist(), strict=True):
        known[value] = known.get(value, 0) + number
    return known if len(known) <= most else None


def _merged(one: dict[str, int] | None, other: dict[str, int] | None, most: int) -> dict[str, int] | None:
    if one is None or other is None:
        return None
    both = {value: one.get(value, 0) + other.get(value, 0) for value in [*one, *other]}
    return both if len(both) <= most else None


def _is_card(values: pa.Array) -> np.ndarray:
    """Return where the check digit of a card's number is right.

    Source: Luhn 1960, Computer for verifying numbers (US patent 2950048).
    """
    padded = pc.utf8_lpad(values, CARD_DIGITS.stop - 1, "0")
    digits = np.frombuffer("".join(padded.to_pylist()).encode(), np.uint8).reshape(len(values), -1).astype(int) - 48
    doubled = digits.copy()
    doubled[:, -2::-2] = digits[:, -2::-2] * 2 - 9 * (digits[:, -2::-2] > 4)
    return doubled.sum(axis=1) % 10 == 0
