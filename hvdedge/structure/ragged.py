"""Rows of the wrong width or with a quote astray: filled, cut, aligned with their columns, or set aside."""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field

from hvdedge.alignment import Aligner
from hvdedge.delimited import Dialect
from hvdedge.table_shape import REPEATED_HEADER, RULES, TOTAL_ROW, Layout

FOR_SURE = (REPEATED_HEADER, TOTAL_ROW)  # the other rules ask for few cells, as a row cut at another delimiter has


@dataclass
class Ragged:
    """The repaired rows, all of one width, and what was done; rows are told by their place in what was given.

    Attributes:
        rows: the rows that stay, None in cells that they lacked.
        kept: the place of each row that stays.
        short: place -> number of cells that the row had.
        long: place -> number of cells that the row had, where the surplus was empty and is cut.
        aligned: place -> rule by which the row's cells were put under their columns.
        aside: place -> rule by which the row cannot be read as a record.
        empty: how many rows hold nothing at all.
    """

    rows: list[list[str | None]]
    kept: list[int]
    short: dict[int, int] = field(default_factory=dict)
    long: dict[int, int] = field(default_factory=dict)
    aligned: dict[int, str] = field(default_factory=dict)
    aside: dict[int, str] = field(default_factory=dict)
    empty: int = 0


def repair(
    rows: Sequence[list[str]],
    layout: Layout,
    texts: Callable[[int], str] | None = None,
    astray: Set[int] = frozenset(),
    dialect: Dialect | None = None,
    aligner: Aligner | None = None,
) -> Ragged:
    """Return the table's rows among `rows`, each with the layout's width.

    Headers again, totals, titles and notes are set aside by their rule. A row of another width, or with a quote astray,
    is aligned with the columns where their kinds of cells make that clear. Else one with too few cells gets None in the
    missing ones, surplus empty cells are cut (`surplus` of them are no change), and a row with other surplus cells
    ("long_row") is set aside, because which of its cells is the wrong one is not known.

    Args:
        rows: records from anywhere in the data.
        layout: the table's.
        texts: gives the text of the record at a place, as `Records.text` does.
        astray: the places of records with a quote astray, as `Records.astray`.
        dialect: the file's.
        aligner: for the layout and the dialect, where there is one already.
    """
    result = Ragged([], [])
    width, surplus = layout.width, layout.surplus
    quote = dialect.quote if dialect else ""
    for place, row in enumerate(rows):
        count = len(row)
        if not any(row):
            result.empty += 1
            continue
        is_astray = place in astray
        is_regular = count == width or (width < count <= width + surplus and not any(row[width:]))
        if is_regular and texts and dialect and quote and (is_astray or any(quote in cell for cell in row)):
            aligner = aligner or Aligner(layout.columns, layout.usual, dialect)
            if layout.quotes_in_text and aligner.is_usual(row):
                is_astray = False
            elif not is_astray:
                is_astray = not dialect.is_regular(texts(place).encode())
        rule = layout.rule(row)
        cells: list[str | None] = [*row]
        if not is_astray and (is_regular or rule in FOR_SURE):
            if rule:
                result.aside[place] = RULES[rule]
                continue
        else:
            aligner = aligner or Aligner(layout.columns, layout.usual, dialect)
            bare = row[: max(width, count - surplus)] if surplus and not any(row[count - surplus :]) else row
            found = aligner.align(bare, texts(place) if texts else None, is_astray)
            if found and rule and found[0][:count] == row:
                found = None  # a note is no row that lost its other cells
            if found:
                cells, why = [*found[0]], found[1]
                if count < width and found[0][:count] == row:
                    result.short[place] = count
                    cells[count:] = [None] * (width - count)
                elif found[0] != row[:width] or place in astray:
                    result.aligned[place] = why
                elif count > width + surplus:
                    result.long[place] = count
            elif rule:
                result.aside[place] = RULES[rule]
                continue
            elif count < width:
                result.short[place] = count
                cells += [None] * (width - count)
            elif any(cell.strip() for cell in row[width:]):
                result.aside[place] = "long_row"
                continue
            elif count > width + surplus:
                result.long[place] = count
        del cells[width:]
        result.rows.append(cells)
        result.kept.append(place)
    return result
