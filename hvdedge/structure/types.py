"""A column's type, by the evidence of all its cells on all ranks in all files.

Each rank counts the shapes of the cells that it reads, one `Evidence` a file and column. The sums decide: a type needs
nine cells in ten, so that a stray value does not spoil a column. What one cell leaves open, "03/04/2024" or "1,234", is
settled by the other cells of its file, then by those of the other files.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Name = Literal["boolean", "integer", "float", "date", "time", "timestamp", "category", "text"]

LEAST_SHARE = 0.9
MOST_FRACTIONS = 0.001  # of an integer column's numbers; more are no slips
MOST_ZERO_LED = 0.02  # more numbers like 007 are codes
MOST_LEVELS = 256  # of a category
LONGEST_LEVEL = 64
MOST_UNITS = 20
_SIGN = r"[+\-−]?"
_DAY = r"\d{1,2}([-./])\d{1,2}[-./](\d{4}|\d{2})"
_ISO = r"\d{4}[-./]\d{1,2}[-./]\d{1,2}"
_CLOCK = r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?"
NUMBERS = {
    "integer": rf"^{_SIGN}(0|[1-9]\d{{0,17}})$",
    "zero_led": rf"^{_SIGN}0\d{{1,17}}$",
    "ambiguous_point": rf"^{_SIGN}[1-9]\d{{0,2}}\.\d{{3}}$",
    "ambiguous_comma": rf"^{_SIGN}[1-9]\d{{0,2}},\d{{3}}$",
    "whole_point": rf"^{_SIGN}\d+\.0*$",
    "whole_comma": rf"^{_SIGN}\d+,0*$",
    "point": rf"^{_SIGN}(\d*\.\d+|\d+(\.\d*)?[eE][+-]?\d{{1,2}})$",
    "comma": rf"^{_SIGN}\d*,\d+$",
    "grouped": rf"^{_SIGN}\d{{1,3}}([,.'’ \x{{a0}}\x{{202f}}]\d{{3}})+$",
    "grouped_point": rf"^{_SIGN}\d{{1,3}}([,'’ \x{{a0}}\x{{202f}}]\d{{3}})+\.\d*$",
    "grouped_comma": rf"^{_SIGN}\d{{1,3}}([.'’ \x{{a0}}\x{{202f}}]\d{{3}})+,\d*$",
}
DATES = {
    "iso": rf"^{_ISO}$",
    "day": rf"^{_DAY}$",
    "timestamp": rf"^({_ISO}|{_DAY})[T ]{_CLOCK}( ?(Z|UTC|[+-]\d\d:?\d\d))?$",
    "time": rf"^{_CLOCK}$",
}
WITH_UNIT = (
    r"^(?P<before>[$€£¥]?)(?P<sign>[+\-−]?)\s*(?P<more>[$€£¥]?)\s*"
    r"(?P<body>[\d.,][\d.,'’ \x{a0}]*?(?:[eE][+-]?\d+)?)\s*(?P<unit>[$€£¥%‰°]|[A-Za-zµ]{1,4}[²³]?|)$"
)
TRUTHS = "^(true|false|yes|no|on|off|ja|nein|oui|non|wahr|falsch|vrai|faux)$"


@dataclass
class Evidence:
    """What the cells of one column in one file look like.

    Attributes:
        counts: shape -> number of cells: those of NUMBERS and DATES, `boolean`, `unit` (a number with one),
            `day_first`, `month_first`, `cells` (all that are not missing), `plain_integer`, `plain_float` and
            `plain_date` (written as we would write them).
        levels: the distinct values, None once they are too many or too long for a category.
        units: unit -> number of cells.
    """

    counts: Counter = field(default_factory=Counter)
    levels: set[str] | None = field(default_factory=set)
    units: Counter = field(default_factory=Counter)

    def add(self, values: pa.Array, numbers: np.ndarray) -> None:
        """Count distinct `values`, text without null, of which the file has `numbers`, int64, more."""
        self.counts["cells"] += int(numbers.sum())
        self._add_levels(values)
        trimmed = pc.utf8_trim_whitespace(values)
        has_blanks = pc.not_equal(trimmed, values).to_numpy(zero_copy_only=False)
        is_value = pc.match_substring_regex(trimmed, r"^[+\-−$€£¥ ]*[.,]?\d").to_numpy(zero_copy_only=False)
        if is_value.any():
            mask = pa.array(is_value)
            self._add_values(trimmed.filter(mask), numbers[is_value], has_blanks[is_value])
        truths = pc.match_substring_regex(trimmed, TRUTHS, ignore_case=True).to_numpy(zero_copy_only=False)
        self.counts["boolean"] += int(numbers[truths].sum())

    def merge(self, other: "Evidence") -> None:
        """Add the cells that another rank has seen, or that stand in another file."""
        self.counts += other.counts
        self.units += other.units
        both = None if self.levels is None or other.levels is None else self.levels | other.levels
        self.levels = None if both is None or len(both) > MOST_LEVELS else both

    def to_json(self) -> list:
        """Return what JSON can hold, without the levels: few columns need them, and they are large."""
        return [self.counts, self.units]

    @classmethod
    def from_json(cls, value: list) -> "Evidence":
        """Return the evidence that `to_json` gave."""
        return cls(Counter(value[0]), set(), Counter(value[1]))

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
        return sum(self.counts[shape] for shape in NUMBERS)

    def _add_levels(self, values: pa.Array) -> None:
        if self.levels is None:
            return
        if len(values) > MOST_LEVELS or pc.max(pc.utf8_length(values)).as_py() > LONGEST_LEVEL:
            self.levels = None
            return
        self.levels.update(values.to_pylist())
        if len(self.levels) > MOST_LEVELS:
            self.levels = None

    def _add_values(self, values: pa.Array, numbers: np.ndarray, has_blanks: np.ndarray) -> None:
        """Count values that begin like a number; each is counted under the first shape that it has."""
        left = np.ones(len(values), bool)
        bare = pc.match_substring_regex(values, r"[\d.,]$").to_numpy(zero_copy_only=False)
        left &= ~self._count_numbers(values, numbers, has_blanks, left & bare)
        for shape, pattern in DATES.items():
            if not left.any():
                return
            hits = pc.match_substring_regex(values, pattern).to_numpy(zero_copy_only=False) & left
            left &= ~hits
            self.counts[shape] += int(numbers[hits].sum())
            if shape == "day" and hits.any():
                self._count_order(values.filter(pa.array(hits)), numbers[hits])
            if shape == "iso" and hits.any():
                plain = pc.match_substring_regex(values, r"^\d{4}-\d\d-\d\d$").to_numpy(zero_copy_only=False)
                self.counts["plain_date"] += int(numbers[hits & plain & ~has_blanks].sum())
        if left.any():
            self._count_units(values.filter(pa.array(left)), numbers[left])

    def _count_numbers(
        self, values: pa.Array, numbers: np.ndarray, has_blanks: np.ndarray, among: np.ndarray
    ) -> np.ndarray:
        found = np.zeros(len(values), bool)
        for shape, pattern in NUMBERS.items():
            left = among & ~found
            if not left.any():
                break
            hits = pc.match_substring_regex(values, pattern).to_numpy(zero_copy_only=False) & left
            found |= hits
            self.counts[shape] += int(numbers[hits].sum())
            if shape in ("integer", "whole_point", "ambiguous_point", "point"):
                signed = pc.match_substring_regex(values, r"^[+−]").to_numpy(zero_copy_only=False)
                plain = int(numbers[hits & ~has_blanks & ~signed].sum())
                self.counts["plain_float"] += plain
                self.counts["plain_integer"] += plain if shape == "integer" else 0
        return found

    def _count_order(self, days: pa.Array, numbers: np.ndarray) -> None:
        """Count days whose month is told by the other number being above 12."""
        parts = pc.extract_regex(days, r"^(?P<first>\d{1,2})[-./](?P<second>\d{1,2})")
        first, second = (pc.struct_field(parts, name).cast(pa.int64()).to_numpy() for name in ("first", "second"))
        self.counts["day_first"] += int(numbers[(first > 12) & (second <= 12)].sum())
        self.counts["month_first"] += int(numbers[(second > 12) & (first <= 12)].sum())

    def _count_units(self, values: pa.Array, numbers: np.ndarray) -> None:
        """Count numbers that a unit or a currency stands before or behind."""
        parts = pc.extract_regex(values, WITH_UNIT)
        is_one = parts.is_valid().to_numpy(zero_copy_only=False)
        if not is_one.any():
            return
        parts, numbers = parts.drop_null(), numbers[is_one]
        units = pc.binary_join_element_wise(*(pc.struct_field(parts, name) for name in ("before", "more", "unit")), "")
        bodies = pc.binary_join_element_wise(pc.struct_field(parts, "sign"), pc.struct_field(parts, "body"), "")
        bodies = pc.utf8_trim_whitespace(bodies)
        found = self._count_numbers(bodies, numbers, np.ones(len(bodies), bool), np.ones(len(bodies), bool))
        self.counts["unit"] += int(numbers[found].sum())
        for unit, number in zip(units.filter(pa.array(found)).to_pylist(), numbers[found].tolist(), strict=True):
            self.units[unit if unit in self.units or len(self.units) < MOST_UNITS else ""] += number


@dataclass(frozen=True)
class FileFormat:
    """How one file writes a column: its decimal mark, the order of a date, and whether most of its cells are written
    as we would write them, so that another form is a slip and its repair a change."""

    decimal: Literal[".", ","] = "."
    day_first: bool = True
    is_plain: bool = True


@dataclass(frozen=True)
class ColumnType:
    """A column's type, and the format of each file in the order of the evidence."""

    name: Name
    formats: tuple[FileFormat, ...]


def repair(files: Iterable[Evidence], file_decimals: Iterable[str | None] = ()) -> ColumnType:
    """Return the type of a column, seen in several files.

    Args:
        files: the column's evidence, one a file.
        file_decimals: the decimal mark that the other columns of each file show, None where they show none.
    """
    files = list(files)
    hints = list(file_decimals) or [None] * len(files)
    total = Evidence()
    for evidence in files:
        total.merge(evidence)
    decimals = [evidence.decimal_mark or hint or "." for evidence, hint in zip(files, hints, strict=True)]
    orders = [_day_first(evidence, total) for evidence in files]
    name = _name(total, files, decimals)
    plain = {"integer": "plain_integer", "float": "plain_float", "date": "plain_date"}.get(name, "cells")
    return ColumnType(
        name,
        tuple(
            FileFormat("," if decimal == "," else ".", order, 2 * evidence.counts[plain] >= evidence.counts["cells"])
            for evidence, decimal, order in zip(files, decimals, orders, strict=True)
        ),
    )


def _day_first(evidence: Evidence, total: Evidence) -> bool:
    """Return whether a file's dates name the day first: by its own, then by all files; else as most of the world."""
    for counts in (evidence.counts, total.counts):
        if counts["day_first"] != counts["month_first"]:
            return counts["day_first"] > counts["month_first"]
    return True


def _name(total: Evidence, files: list[Evidence], decimals: list[str]) -> Name:
    counts = total.counts
    cells = counts["cells"]
    least = LEAST_SHARE * cells
    if not cells:
        return "text"
    if counts["boolean"] >= least:
        return "boolean"
    numbers = total.numbers
    units = counts["unit"]
    units_differ = units > (1 - LEAST_SHARE) * cells and max(total.units.values()) < LEAST_SHARE * units
    if numbers >= least and counts["zero_led"] <= MOST_ZERO_LED * numbers and not units_differ:
        fractions = counts["point"] + counts["comma"] + counts["grouped_point"] + counts["grouped_comma"]
        for evidence, decimal in zip(files, decimals, strict=True):
            fractions += evidence.counts["ambiguous_comma" if decimal == "," else "ambiguous_point"]
        wholes = counts["whole_point"] + counts["whole_comma"]
        return "float" if fractions > MOST_FRACTIONS * numbers or 2 * wholes > numbers else "integer"
    dates = counts["iso"] + counts["day"]
    if dates >= least:
        return "date"
    if dates + counts["timestamp"] >= least:
        return "timestamp"
    if counts["time"] >= least:
        return "time"
    return "category" if total.levels is not None and 2 * len(total.levels) <= cells else "text"
