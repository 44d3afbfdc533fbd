"""Where a table begins in its records, and what its columns are called.

The table is as wide as most of its rows. It begins with the first row that is about as full as those; what stands
before is a preamble. Leading rows that are words where the column below holds numbers or dates are the header; where
all columns are words, the first row is one unless it looks like the rows below. A name above several columns belongs to
each of them.
"""

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

MOST_HEADER_ROWS = 4
BODY_ROWS = 200
VALUE = re.compile(r"\W*\d[\d.,:;'/ \u00a0T+-]*\W*[A-Za-zµ]{0,3}[²³]?\W*")
SEPARATOR = re.compile(r"\s*sep=", re.IGNORECASE)
DELIMITERS = ",;\t|: "
YEAR = re.compile(r"((?:19|20)\d\d)(?:[-/]\d\d(?:\d\d)?)?")
UNIT = re.compile(r"[\[(<].{0,12}[\])>]|%|‰|[$€£¥]|°[CF]|EUR|USD|GBP|CHF|[a-zµ]{1,3}[²³]?(?:/[a-z]{1,3}[²³]?)?")
NOTHING = re.compile(r"\W*|(?i:n/?a|nan|null|none|nil|missing)")


@dataclass(frozen=True)
class Header:
    """The rows before the data: how many are a preamble, how many the header, the columns' names (None: no header).

    `width` counts the columns; in each row `surplus` empty cells follow, as where every row ends in a delimiter.
    """

    preamble_rows: int
    header_rows: int
    names: tuple[str, ...] | None
    width: int
    surplus: int = 0


def find_header(rows: list[list[str]], header: Literal["auto"] | bool = "auto", row_width: int = 0) -> Header:
    """Return where the table begins in `rows`, the first ones of a file with its empty ones, and its columns' names.

    Args:
        rows: cells as text; the header's names come back without outer blanks, empty where the file names none.
        header: True where the file is known to have one, False where it is known to have none.
        row_width: how many cells most rows of the table have, 0 for unknown.
    """
    row_width = row_width or full_width(rows)
    width = without_surplus(rows, row_width)
    rows = [row[:width] if not any(row[width:]) else row for row in rows]
    start = _start(rows, width, header)
    if start and _names_all_but_first(rows[start - 1], width):
        start -= 1
        rows[start] = ["", *rows[start]]
    if start and _spans([row for row in rows[start - 1 :] if len(row) == width and any(row)]):
        start -= 1
    body = [row for row in rows[start:] if len(row) == width and any(row)]
    header_rows = 0 if header is False or not body else _header_rows(body, header is True)
    # rows of another width inside the header would shift the count, so they end it
    while any(len(row) != width for row in rows[start : start + header_rows]):
        header_rows -= 1
    names: tuple[str, ...] | None = None
    if header_rows:
        while start and _groups(rows[start - 1], width):
            start, header_rows = start - 1, header_rows + 1
        *upper, names = [tuple(" ".join(cell.split()) for cell in row) for row in rows[start : start + header_rows]]
        for row in reversed(upper):
            spread = _under(_spread(row, names), names)
            names = spread if len(set(spread)) == len(names) else _under(row, names)
    elif start and header is not False:
        names = _mended(rows[start - 1], {width, row_width})
        if names:
            start, header_rows, width = start - 1, 1, len(names)
    return Header(start, header_rows, names, width, row_width - width)


def _mended(row: list[str], widths: set[int]) -> tuple[str, ...] | None:
    """Return the names in a row of another width above the data, None where it gives not one a column.

    It may have a delimiter or a quote too many, or be cut at another delimiter.
    """
    text = ",".join(row)
    for cells in (row, *(text.split(mark) for mark in DELIMITERS)):
        names = tuple(" ".join(cell.strip("\"' ").split()) for cell in cells if cell.strip("\"' "))
        if (
            len(names) > 1
            and len(names) in widths
            and len(set(names)) == len(names)
            and not any(map(VALUE.fullmatch, names))
        ):
            return names
    return None


def full_width(rows: list[list[str]]) -> int:
    """Return the width that most rows have, of such the one seen first; 0 for no rows.

    Rows of one cell are comments, titles and prose where a tenth of the rows is wider in one way.
    """
    widths = Counter(len(row) for row in rows if any(cell.strip() for cell in row))
    wide = {width: count for width, count in widths.items() if width > 1 and 10 * count >= widths.total()}
    return max(wide or widths, key=widths.__getitem__, default=0)


def without_surplus(rows: list[list[str]], width: int) -> int:
    """Return `width` without the last columns that hold nothing, not even a name."""
    body = [row for row in rows if len(row) == width]
    while width > 1 and not any(row[width - 1].strip() for row in body):
        width -= 1
    return width


def _start(rows: list[list[str]], width: int, header: Literal["auto"] | bool) -> int:
    """Return the first row that is about as full as the table's rows are, and no title above its header."""
    filled = sorted(sum(bool(cell.strip()) for cell in row) for row in rows if len(row) == width and any(row))
    least = max(filled[len(filled) // 2] / 2, 1) if filled else 1
    for place, row in enumerate(rows):
        is_full = len(row) == width and sum(bool(cell.strip()) for cell in row) >= least
        if is_full and not _is_comment(row, rows, place) and not _is_above(rows, place, width, header):
            return place
    return 0


def _is_above(rows: list[list[str]], place: int, width: int, header: Literal["auto"] | bool) -> bool:
    """Tell whether a row stands above the table: `sep=;`, as spreadsheets write it, or a title above the header.

    In a table of two columns a title fills as much of its row as many rows of data do; it is one where a header stands
    below it, and what parts it from that is an empty row, a column of values, or that no other row is like it.
    """
    row = rows[place]
    if not place and SEPARATOR.match(row[0]) and not any(row[1:]):
        return True
    if header is False or not _is_alone(row):
        return False
    near = rows[place + 1 : place + 1 + 2 * BODY_ROWS]
    below = [row for row in near if len(row) == width and any(cell.strip() for cell in row)]
    body = list(itertools.dropwhile(_is_alone, below))
    if not body or not _header_rows(body, False):
        return False
    is_parted = not any(cell.strip() for cell in rows[place + 1])
    has_values = any(map(_holds_values, zip(*body[1:], strict=True)))
    return is_parted or has_values or not any(map(_is_alone, body))


def _is_alone(row: list[str]) -> bool:
    """Tell whether a row of several cells holds words in the first one and nothing else."""
    first, *others = (cell.strip() for cell in row)
    return bool(first and others) and not any(others) and not VALUE.fullmatch(first)


def _names_all_but_first(row: list[str], width: int) -> bool:
    """Tell whether `row` names all columns but the first, which holds the rows' names, as R writes it."""
    return len(row) == width - 1 > 1 and all(cell.strip() and not VALUE.fullmatch(cell) for cell in row)


def _groups(row: list[str], width: int) -> bool:
    """Tell whether `row`, above a header, is part of it: it names some groups of columns."""
    cells = [cell for cell in row if cell.strip()]
    return len(row) == width and len(cells) > 1 and not any(VALUE.fullmatch(cell) for cell in cells)


def _spans(body: list[list[str]]) -> bool:
    """Tell whether the first row names groups of columns, as merged cells are exported: once, above their first column.

    Under it the names of columns come again, above values, and are different only together with their groups.
    """
    if len(body) < 3:
        return False
    upper, names = ([cell.strip() for cell in row] for row in body[:2])
    again = [place for place, name in enumerate(names) if names.count(name) > 1]
    columns = list(zip(*body[2:BODY_ROWS], strict=True))
    return (
        bool(again)
        and all(names[place] and _holds_values(columns[place]) for place in again)
        and not any(VALUE.fullmatch(name) and not YEAR.fullmatch(name) for name in names)
        and len(set(_under(_spread(upper, names), names))) == len(names)
    )


def _spread(upper: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the cells of `upper` with gaps filled from the left, the last one as far as names come again."""
    last = max((place for place, name in enumerate(names) if name and name in names[:place]), default=0)
    spread = list(upper)
    for place in range(1, last + 1):
        spread[place] = spread[place] or spread[place - 1]
    return tuple(spread)


def _under(upper: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(" ".join(filter(None, pair)) for pair in zip(upper, names, strict=True))


def _is_comment(row: list[str], rows: list[list[str]], place: int) -> bool:
    """Tell whether a row of a one-column file is one of the comments at its top."""
    return len(row) == 1 and row[0].lstrip().startswith("#") and place + 1 < len(rows)


def _header_rows(body: list[list[str]], known: bool) -> int:
    """Return how many of the first rows are header; `known`: at least one is."""
    if _spans(body):
        return 1 + _header_rows(body[1:], True)
    columns = list(zip(*body[1:BODY_ROWS], strict=True))
    values = [place for place, cells in enumerate(columns) if _holds_values(cells[-len(cells) * 3 // 4 :])]
    if values:
        count = 0
        while count < min(MOST_HEADER_ROWS, len(body) - 1 + known) and _names(body[count], values):
            count += 1
        if not count and len(values) < len(columns) and _are_years([body[0][place] for place in values]):
            count = 1
        if count and count < min(MOST_HEADER_ROWS, len(body) - 1) and _are_units(body[count]):
            count += 1
        return max(count, int(known))
    count = int(known or _is_unlike(body[0], columns))
    return 2 if count and len(body) > 2 and _are_units(body[1]) else count


def _holds_values(cells: tuple[str, ...]) -> bool:
    filled = [cell for cell in cells if not NOTHING.fullmatch(cell)]
    return bool(filled) and sum(bool(VALUE.fullmatch(cell)) for cell in filled) >= 0.6 * len(filled)


def _names(row: list[str], values: list[int]) -> bool:
    """Tell whether `row` holds words in the columns `values`, in which the rows below hold values."""
    cells = [row[place] for place in values if not NOTHING.fullmatch(row[place])]
    words = sum(not VALUE.fullmatch(cell) for cell in cells)
    return words > len(cells) - words


def _are_years(cells: list[str]) -> bool:
    """Tell whether the cells are years in order, as the columns of a table over time are called."""
    years = [YEAR.fullmatch(cell.strip()) for cell in cells]
    numbers = [int(year[1]) for year in years if year]
    steps = {second - first for first, second in itertools.pairwise(numbers)}
    return len(numbers) == len(cells) > 1 and len(steps) == 1 and steps != {0}


def _are_units(row: list[str]) -> bool:
    """Tell whether a row of words below the header holds nothing but units."""
    filled = [cell.strip() for cell in row if cell.strip()]
    return any(not cell.isalpha() for cell in filled) and all(map(UNIT.fullmatch, filled))


def _is_unlike(first: list[str], columns: list[tuple[str, ...]]) -> bool:
    """Tell whether the first row, of words as all others, names the columns: all its cells filled, different, and
    none of them comes again in its column."""
    if not columns:  # a single row: a header without data, unless it holds values
        return not any(VALUE.fullmatch(cell) for cell in first)
    names = [cell.strip() for cell in first]
    again = any(name in (cell.strip() for cell in cells) for name, cells in zip(names, columns, strict=True))
    return all(names) and len(set(names)) == len(names) and not again
