"""Rows of the wrong width: short ones are filled, surplus empty cells cut, and what is neither is set aside."""

import re
from dataclasses import dataclass, field

WORD = re.compile(r"[^\W\d_]+")
NOTE_WORDS = 2


@dataclass
class Ragged:
    """The repaired rows, all of one width, and what was done; rows are told by their place in what was given.

    Attributes:
        rows: the rows that stay, None in cells that they lacked.
        kept: the place of each row that stays.
        short: place -> number of cells that the row had.
        long: place -> number of cells that the row had, where the surplus was empty and is cut.
        aside: place -> rule by which the row cannot be read as a record.
        empty: how many rows hold nothing at all.
    """

    rows: list[list[str | None]]
    kept: list[int]
    short: dict[int, int] = field(default_factory=dict)
    long: dict[int, int] = field(default_factory=dict)
    aside: dict[int, str] = field(default_factory=dict)
    empty: int = 0


def repair(rows: list[list[str]], width: int, surplus: int = 0) -> Ragged:
    """Return `rows` with `width` cells each.

    A row with too few cells gets None in the missing ones; a single cell of several words in a table of more than two
    columns is a remark between the rows ("note"). Surplus empty cells are cut, and `surplus` of them are no change; a
    row with other surplus cells ("long_row") is set aside, because which of its cells is the wrong one is not known.
    """
    result = Ragged([], [])
    for place, row in enumerate(rows):
        count = len(row)
        if not any(row):
            result.empty += 1
            continue
        cells: list[str | None] = [*row]
        if count < width:
            if count == 1 and width > 2 and len(WORD.findall(row[0])) >= NOTE_WORDS:
                result.aside[place] = "note"
                continue
            result.short[place] = count
            cells += [None] * (width - count)
        elif count > width:
            if any(cell.strip() for cell in row[width:]):
                result.aside[place] = "long_row"
                continue
            if count != width + surplus:
                result.long[place] = count
            del cells[width:]
        result.rows.append(cells)
        result.kept.append(place)
    return result
