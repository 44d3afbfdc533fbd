"""Which columns of several files are the same one: by their names first, then by what their cells look like.

    a.csv   id   email    birth        b.csv   ID   E-Mail   Geburtstag
            |    |        |                    |    |        |
            +----|--------|--- by name --------+    |        |
                 +--------|--- by name -------------+        |
                          +--- by content -------------------+

Columns of the same file never become one. By content only those are compared that a file lacks, and only where the
files have half of their columns in common: what looks alike in tables of different things is not the same.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hvdedge import date_forms
from hvdedge.cell_kinds import NUMBERS, TEXTS, kind_of, mask_of
from hvdedge.evidence import Evidence
from hvdedge.structure import numbers as numbers_

MOST_COMPARED = 64  # columns that some file lacks; with more of them names alone decide
LEAST_LIKENESS = 0.5
CLEAR = 0.2  # by which a column is liker than any other of the same file
LEAST_COMMON = 0.5  # of the columns of the narrower file
LEAST_CELLS = 5
LEAST_NUMBERS = 10  # different ones: the few of a rating or a flag are everywhere
LEAST_SHARED = 3  # values of a category
KINDS = {"number": NUMBERS, "text": TEXTS, "date": {"date", "timestamp"}}


@dataclass
class Column:
    """A column of the table.

    Attributes:
        names: what the files call it, that of the first file first.
        at: file -> the column's place in it.
    """

    names: list[str]
    at: dict[int, int]

    @property
    def first(self) -> tuple[int, int]:
        """The first file that has it, and its place there."""
        return next(iter(self.at.items()))


def by_name(files: Mapping[int, Sequence[str]]) -> tuple[list[Column], list[Column]]:
    """Return the columns of files whose names are the same but for case, accents and marks between letters and digits.

    Args:
        files: the names in each file, different from one another but for such marks.
    Returns:
        All columns in the order of the files, and those of them that files spell differently.
    """
    found: dict[str, Column] = {}
    for number, names in files.items():
        for place, name in enumerate(names):
            found.setdefault(name, Column([name], {})).at[number] = place
    columns = _merged(_merged(found.values(), folded), _bare)
    return columns, [column for column in columns if len(column.names) > 1]


def free_name(name: str, taken: Container[str], key: Callable[[str], str] = str) -> str:
    """Return `name`, or the first of "name_2", "name_3", ... whose key is not taken."""
    found, number = name, 1
    while key(found) in taken:
        number += 1
        found = f"{name}_{number}"
    return found


def folded(name: str) -> str:
    """Return a name without case and blanks, in which the names of one file differ."""
    return " ".join(name.split()).casefold()


def _bare(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name).casefold()
    return "".join(filter(str.isalnum, letters)) or name


def _merged(columns: Iterable[Column], key: Callable[[str], str]) -> list[Column]:
    """Return the columns, those of the same key made one where no file has two of them."""
    groups: dict[str, list[Column]] = {}
    for column in columns:
        groups.setdefault(key(column.names[0]), []).append(column)
    result = []
    for group in groups.values():
        numbers = [number for column in group for number in column.at]
        result += [_one(group)] if len(set(numbers)) == len(numbers) else group
    return sorted(result, key=lambda column: column.first)


def _one(group: Sequence[Column]) -> Column:
    names = list(dict.fromkeys(name for column in group for name in column.names))
    return Column(names, dict(sorted(item for column in group for item in column.at.items())))


def to_compare(columns: Sequence[Column], count: int) -> list[Column]:
    """Return the columns that some of `count` files lack and another one may have; none where they are too many."""
    open_ones = [column for column in columns if len(column.at) < count]
    return open_ones if len(open_ones) <= MOST_COMPARED else []


def by_content(
    columns: Sequence[Column], samples: Mapping[tuple[int, int], Sequence[str]]
) -> tuple[list[Column], list[Column]]:
    """Return the columns, those made one whose cells are alike, and of these what was made one.

    Args:
        samples: file, place -> cells of a column, for the columns to compare.
    """
    open_ones = [column for column in columns if column.first in samples]
    profiles = [_Profile(samples[column.first]) for column in open_ones]
    scores = {
        (one, other): profiles[one].likeness(profiles[other])
        for one in range(len(open_ones))
        for other in range(len(open_ones))
        if open_ones[one].at.keys().isdisjoint(open_ones[other].at)
    }

    def is_clear(one: int, other: int) -> bool:
        rivals = [n for n in range(len(open_ones)) if n != other and open_ones[n].at.keys() & open_ones[other].at]
        return scores[one, other] - max((scores.get((one, n), 0.0) for n in rivals), default=0.0) >= CLEAR

    pairs = [
        (one, other)
        for (one, other), score in sorted(scores.items(), key=lambda item: -item[1])
        if one < other and score >= LEAST_LIKENESS and is_clear(one, other) and is_clear(other, one)
    ]
    both = Counter(frozenset((open_ones[one].first[0], open_ones[other].first[0])) for one, other in pairs)
    joined = dict(enumerate(open_ones))
    for one, other in pairs:
        first, second = open_ones[one].first[0], open_ones[other].first[0]
        widths = [sum(number in column.at for column in columns) for number in (first, second)]
        common = (
            sum(first in column.at and second in column.at for column in columns) + both[frozenset((first, second))]
        )
        if common >= LEAST_COMMON * min(widths) and joined[one].at.keys().isdisjoint(joined[other].at):
            whole = _one([joined[one], joined[other]])
            joined = {n: whole if column in (joined[one], joined[other]) else column for n, column in joined.items()}
    known = [column for column in columns if column.first not in samples]
    found = {column.first: column for column in joined.values()}
    told = [column for column in found.values() if column not in open_ones]
    return sorted([*known, *found.values()], key=lambda column: column.first), told


def apart(columns: Iterable[Column], files: Iterable[int]) -> list[list[int]]:
    """Return the groups of files between which no column is shared, largest first."""
    groups = {number: [number] for number in files}
    for column in columns:
        whole = sorted({number for one in column.at for number in groups[one]})
        groups |= dict.fromkeys(whole, whole)
    return sorted({group[0]: group for group in groups.values()}.values(), key=lambda group: (-len(group), group))


class _Profile:
    """What some cells of a column look like."""

    def __init__(self, cells: Sequence[str]):
        filled = [cell.strip() for cell in cells if kind_of(cell) not in ("empty", "missing")]
        self.cells = len(filled)
        years = _years(filled)
        kinds = Counter(_kind(cell, year) for cell, year in zip(filled, years, strict=True))
        self.kind = kinds.most_common(1)[0][0] if filled else "empty"
        self.values = {cell.casefold() for cell in filled}
        masks = Counter(map(mask_of, filled))
        self.masks = {mask: n / self.cells for mask, n in masks.items() if mask.strip("a ") and len(mask) > 1}
        self.low = self.high = np.nan
        if self.kind == "number":
            self.low, self.high = _span(filled)
        if self.kind == "date" and years.any():  # a year more at each end, so that files of one year each are alike
            self.low, self.high = np.quantile(years[years > 0], [0.1, 0.9]).round() + (-1, 2)

    def likeness(self, other: "_Profile") -> float:
        """Return how alike the cells are, from 0 to 1."""
        if self.kind != other.kind or min(self.cells, other.cells) < LEAST_CELLS:
            return 0.0
        if self.kind in ("number", "date"):
            shared = min(self.high, other.high) - max(self.low, other.low)
            whole = max(self.high, other.high) - min(self.low, other.low)
            return float(shared / whole) if shared > 0 else 0.0
        if self.kind in ("mail", "address"):
            return 1.0
        shared = len(self.values & other.values)
        share = shared / min(len(self.values), len(other.values)) if shared >= LEAST_SHARED else 0.0
        return max(share, sum(min(n, other.masks.get(mask, 0.0)) for mask, n in self.masks.items()))


def _years(cells: Sequence[str]) -> np.ndarray:
    """Return the years of cells that are days in any of the forms that prepare reads, 0 for others: int64."""
    texts = pa.array(cells, pa.string())
    years = np.zeros(len(cells), np.int64)
    for day_first in (True, False):
        days, _, is_day, _ = date_forms.read(texts, day_first)
        years[is_day] = days[is_day].astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
    return years


def _kind(cell: str, year: int) -> str:
    kind = kind_of(cell)
    if year and kind in TEXTS:  # with the name of a month, or a week
        return "date"
    if kind == "address":
        return "mail" if "@" in cell else kind
    return next((name for name, kinds in KINDS.items() if kind in kinds), kind)


def _span(cells: Sequence[str]) -> tuple[float, float]:
    """Return between which numbers most cells lie; NaN where they are too few different ones."""
    values = pa.array(sorted(set(cells)), pa.string())
    evidence = Evidence()
    evidence.add(values, np.ones(len(values), np.int64))
    numbers = numbers_.repair(values, decimal=evidence.decimal_mark or ".").drop_null().to_numpy()
    if len(numbers) < LEAST_NUMBERS:
        return np.nan, np.nan
    low, high = np.quantile(numbers, [0.1, 0.9])
    return float(low), float(high)
