"""A column's type, by the evidence of all its cells on all ranks in all files.

Each rank counts the shapes of the cells that it reads, one `Evidence` a file and column. The sums decide: all cells
must have a type's shapes but for two in a hundred, or one in ten or more, so that a stray value does not spoil a
column; with more of them the column is text, since they may be what a cleaner can mend. What one cell leaves open,
"03/04/2024" or "1,234", is settled by the other cells of its file, then by those of the other files.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hvdedge.evidence import Evidence
from hvdedge.number_forms import SCALES
from hvdedge.truth_words import DIGITS, LETTERS

Name = Literal["boolean", "integer", "float", "date", "time", "timestamp", "category", "text"]

MOST_STRAYS = 0.02
LEAST_CELLS = 10  # of which one may be a stray
MOST_FRACTIONS = 0.001  # of an integer column's numbers; more are no slips
MOST_ZERO_LED = 0.02  # more numbers like 007 are codes
CODE_DIGITS = 4  # or more, the same in ONE_WIDTH of the cells: with such numbers even one like 0815 tells of codes
ONE_WIDTH = 0.9
ONE_UNIT = 0.9  # of the cells with a unit have the same, or the column has none
UNIT, NO_UNIT = "unit ", "no unit"  # in `mixed`, units of numbers
OPEN_DAYS = "order of day and month not told, day first assumed"  # in `mixed`


@dataclass(frozen=True)
class FileFormat:
    """How one file writes a column.

    Attributes:
        decimal: its decimal mark.
        day_first: the order of its dates.
        is_plain: whether most of its cells are written as we would write them, so that another form is a slip and its
            repair a change.
        is_clean: whether all of its cells are, none missing.
        is_padded: whether most of its cells have outer blanks.
    """

    decimal: Literal[".", ","] = "."
    day_first: bool = True
    is_plain: bool = True
    is_clean: bool = False
    is_padded: bool = False


@dataclass(frozen=True)
class ColumnType:
    """A column's type, and the format of each file in the order of the evidence.

    Attributes:
        unit: what stands at most of its numbers.
        scale: the unit of SCALES that its numbers have, so that 5 is none of 5 %; "" for none of them.
        mixed: forms -> number of cells, where a column mixes what one column should not.
    """

    name: Name
    formats: tuple[FileFormat, ...]
    unit: str = ""
    mixed: tuple[tuple[str, int], ...] = ()
    scale: str = ""


def repair(
    files: Iterable[Evidence], file_decimals: Sequence[str | None] = (), placeholders: Mapping[str, int] | None = None
) -> ColumnType:
    """Return the type of a column, seen in several files.

    Args:
        files: the column's evidence, one a file; levels in any of them.
        file_decimals: the decimal mark that the other columns of each file show, None where they show none.
        placeholders: texts that stand for a missing value in this column, with their numbers of cells.
    """
    files = list(files)
    hints = list(file_decimals) or [None] * len(files)
    total = Evidence()
    for evidence in files:
        total.merge(evidence)
    for text, number in (placeholders or {}).items():
        total.counts["cells"] -= number
        if total.levels is not None:
            total.levels.pop(text, None)
    decimals = [evidence.decimal_mark or hint or "." for evidence, hint in zip(files, hints, strict=True)]
    name = _name(total, files, decimals)
    return ColumnType(
        name,
        tuple(_format(name, evidence, total, decimal) for evidence, decimal in zip(files, decimals, strict=True)),
        _unit(total) if name in ("integer", "float") else "",
        _mixed(name, total),
        _scale(total) if name in ("integer", "float") else "",
    )


def format_of(name: Name, evidence: Evidence, mark: str | None, usual: FileFormat) -> FileFormat:
    """Return how a file writes a column whose type is known, by its own cells, else as is `usual`.

    Args:
        mark: the decimal mark that the file's other columns show, None where they show none.
    """
    found = _format(name, evidence, Evidence(), evidence.decimal_mark or mark or usual.decimal)
    is_told = evidence.counts["day_first"] != evidence.counts["month_first"]
    return found if is_told else replace(found, day_first=usual.day_first)


def _format(name: Name, evidence: Evidence, total: Evidence, decimal: str) -> FileFormat:
    counts = evidence.counts
    plains = {"integer": "plain_integer", "float": "plain_float", "date": "plain_date", "timestamp": "plain_timestamp"}
    plain = plains.get(name, "cells")
    return FileFormat(
        "," if decimal == "," else ".",
        _day_first(evidence, total),
        2 * counts[plain] >= counts["cells"],
        name in plains and 0 < counts["rows"] == counts[plain] and (decimal != "," or name != "float"),
        2 * counts["blanks"] > counts["cells"],
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
    if cells <= 0:
        return "text"
    least = cells - most_strays(cells)
    if _are_truths(counts, least):
        return "boolean"
    if _are_numbers(total, least):
        numbers = total.numbers
        fractions = counts["point"] + counts["comma"] + counts["grouped_point"] + counts["grouped_comma"]
        fractions += counts["not_finite"] + counts["bare_exponent"]
        for evidence, decimal in zip(files, decimals, strict=True):
            fractions += evidence.counts["ambiguous_comma" if decimal == "," else "ambiguous_point"]
        wholes = counts["whole_point"] + counts["whole_comma"]
        return "float" if fractions > MOST_FRACTIONS * numbers or 2 * wholes > numbers else "integer"
    days = total.days
    if 2 * (days + counts["timestamp"]) >= cells:  # among days, whole numbers are days written otherwise
        days += counts["integer"]
    if days >= least:
        return "date"
    if counts["timestamp"] and days + counts["timestamp"] >= least:
        return "timestamp"
    if counts["time"] >= least:
        return "time"
    return "category" if total.levels and 2 * len(distinct(total.levels)) <= cells else "text"


def most_strays(cells: int) -> int:
    """Return how many of a column's cells may be of another type."""
    return max(int(MOST_STRAYS * cells), cells >= LEAST_CELLS)


def distinct(levels: Iterable[str]) -> set[str]:
    """Return values as they are compared: case, blanks and the forms of Unicode aside."""
    return {
        " ".join(unicodedata.normalize("NFKC", re.sub("[\u200b\u2060\ufeff]", "", level)).split()).casefold()
        for level in levels
    }


def _are_truths(counts: Mapping[str, int], least: float) -> bool:
    words = counts["boolean"]
    if words >= least:
        return True
    single = {letter: counts[f"boolean:{letter}"] for pair in (*LETTERS, *DIGITS) for letter in pair}
    for true, false in LETTERS:
        both = single[true] + single[false]
        if words + both >= least and (words or (single[true] and single[false])):
            return True
    return 2 * words >= least and words + single["1"] + single["0"] >= least


def _are_numbers(total: Evidence, least: float) -> bool:
    counts, cells = total.counts, total.counts["cells"]
    numbers = total.numbers
    has_fractions = counts["point"] + counts["comma"] + counts["not_finite"] > MOST_FRACTIONS * numbers
    odd = counts["not_finite"] + (counts["bare_exponent"] if has_fractions else 0)
    odd += counts["hexadecimal"] if 2 * counts["hexadecimal"] <= numbers + odd else 0
    if not numbers or max(_by_scale(total).values()) + odd < least:  # 1.5 and 1.5k in one column
        return False
    if counts["zero_led"] > MOST_ZERO_LED * numbers or counts["card"] >= least:
        return False
    if counts["zero_led"] and _are_as_wide(total.masks):
        return False
    units = counts["unit"]
    kinds = total.units or {}
    most = max(kinds.values(), default=0)
    return not (units > (1 - ONE_UNIT) * cells and most < ONE_UNIT * units)


def _by_scale(total: Evidence) -> dict[str, int]:
    """Return how many numbers have each unit that changes them, "" for none of these."""
    kinds = total.units or {}
    scaled = {scale: kinds[scale] for scale in SCALES if kinds.get(scale)}
    return {"": total.numbers - sum(scaled.values()), **scaled}


def _scale(total: Evidence) -> str:
    counts = _by_scale(total)
    return max(counts, key=counts.__getitem__)


def _are_as_wide(masks: Mapping[str, int] | None) -> bool:
    """Tell whether nearly all cells have the same number of digits, as codes have."""
    mask, count = max((masks or {"": 0}).items(), key=lambda item: item[1])
    is_wide = set(mask) == {"9"} and len(mask) >= CODE_DIGITS
    return is_wide and count >= ONE_WIDTH * sum((masks or {}).values())


def _unit(total: Evidence) -> str:
    counts = total.counts
    if 2 * counts["unit"] < counts["cells"]:
        return ""
    unit, number = max(sorted((total.units or {"": 0}).items()), key=lambda item: item[1])
    return unit if number >= ONE_UNIT * counts["unit"] else ""


def _mixed(name: Name, total: Evidence) -> tuple[tuple[str, int], ...]:
    """Return the forms between which a column has no one convention."""
    counts = total.counts
    groups: list[dict[str, int]] = []
    if name in ("integer", "float"):
        points, commas = counts["point"] + counts["grouped_point"], counts["comma"] + counts["grouped_comma"]
        groups = [
            {"decimal point": points, "decimal comma": commas},
            {f"{UNIT}{unit}": number for unit, number in sorted((total.units or {}).items())},
        ]
    elif name in ("category", "text"):
        scaled = _by_scale(total)
        bare = scaled.pop("") - counts["unit"] + sum(scaled.values())
        if bare + sum(scaled.values()) >= counts["cells"] - most_strays(counts["cells"]):
            groups = [{NO_UNIT: bare, **{f"{UNIT}{scale}": number for scale, number in scaled.items()}}]
    elif name in ("date", "timestamp"):
        groups = [{"day first": counts["day_first"], "month first": counts["month_first"]}]
        if counts["day"] and not counts["day_first"] + counts["month_first"]:
            return ((OPEN_DAYS, counts["day"]),)
    seen = [{form: number for form, number in group.items() if number} for group in groups]
    return tuple(item for group in seen if len(group) > 1 for item in group.items())
