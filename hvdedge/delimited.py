"""Reading delimited text as its dialect says, and as its writer may have meant it where a quote is astray.

Python's own reader does the work wherever the quotes are in order. A line in which they are not is read leniently: a
quote closes its cell only before a delimiter or the end of the line, any other quote inside is a character like others:

    1,"he said "no" twice",x    ->  1 | he said "no" twice | x
    1,"a name,2                 ->  1 | "a name | 2              (a quote that never closes is a character)
"""

import csv
import functools
import io
import itertools
import re
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hvdedge.cell_kinds import ColumnModel, kind_of

NO_CHARACTER = "\uffff"  # which no text holds
STANDS_FOR_DELIMITER = "\ue000"  # of several characters; private use, so no text should hold it
RECENT_ROWS = 30
MOST_LINES_ASTRAY = 20  # of one record whose quotes are astray
LINE_ENDS = "\r\n"


@dataclass(frozen=True)
class Dialect:
    """Which characters part and quote cells; "" for none.

    Where a delimiter has several characters, blanks in runs part cells, or columns are aligned without any delimiter,
    what reads the text is to get `simplified(text)`, in which one character does: `reader_options` name that one.

    Attributes:
        delimiter, quote, escape: what a user would call so.
        skips_blanks: a blank after each delimiter is no data.
        runs: blanks in a run are one delimiter, those at the ends of a line none.
        cuts: the places at which each line is cut into columns of fixed width.
    """

    delimiter: str
    quote: str
    escape: str
    skips_blanks: bool = False
    runs: bool = False
    cuts: tuple[int, ...] = ()

    @property
    def mark(self) -> str:
        """The one character that parts cells in `simplified` text."""
        if len(self.delimiter) == 1:
            return self.delimiter
        return STANDS_FOR_DELIMITER if self.delimiter or self.cuts else NO_CHARACTER

    @property
    def is_simple(self) -> bool:
        """Whether text in this dialect is `simplified` as it is."""
        return len(self.delimiter) < 2 and not self.runs and not self.cuts

    def simplified(self, text: str) -> str:
        """Return `text`, whole lines, with one character between cells; twice does no more than once."""
        if self.runs:
            return re.sub(r"(^|[\r\n]) | (?=[\r\n]|$)", r"\1", re.sub(" +", " ", text))
        if self.cuts:
            return "".join(map(self._cut, split_lines(text)))
        return text.replace(self.delimiter, self.mark) if len(self.delimiter) > 1 else text

    def simplified_bytes(self, data: bytes) -> bytes:
        """Return `simplified` UTF-8 text."""
        if self.runs or self.cuts:
            return self.simplified(data.decode("utf-8", "replace")).encode("utf-8", "replace")
        return data.replace(self.delimiter.encode(), self.mark.encode()) if len(self.delimiter) > 1 else data

    def _cut(self, line: str) -> str:
        body = line.rstrip("\r\n")
        if self.mark in body or not body.strip():
            return line
        edges = [0, *self.cuts, max(len(body), self.cuts[-1])]
        cells = [body[start:end].strip() for start, end in itertools.pairwise(edges)]
        return self.mark.join(cells) + line[len(body) :]

    def reader_options(self) -> dict:
        """Return the keyword arguments that make `csv.reader` read this dialect from `simplified` text."""
        escapes = self.escape not in ("", self.quote)
        return {
            "delimiter": self.mark,
            "quotechar": self.quote or None,
            "quoting": csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            "escapechar": self.escape if escapes else None,
            "doublequote": not escapes,
            "skipinitialspace": self.skips_blanks,
        }

    def is_regular(self, data: bytes) -> bool:
        """Tell whether each quote in `data`, simplified UTF-8 text of whole records, opens, closes or is doubled.

        Where it is not so, Arrow and csv.reader join cells or rows without a word.
        """
        if not self.quote or self.quote.encode() not in data:
            return True
        buffer = np.frombuffer(data, np.uint8)
        places = np.flatnonzero(buffer == ord(self.quote))
        if self.escape not in ("", self.quote):
            escape = ord(self.escape)
            if escape in data:
                if (buffer[np.maximum(np.flatnonzero(buffer == escape) - 1, 0)] == escape).any():
                    return False  # an escaped escape: the slow way tells what it is
                places = places[buffer[np.maximum(places - 1, 0)] != escape]
        if len(places) % 2:
            return False
        opening, closing = places[::2], places[1::2]
        mark = self.mark.encode()
        # `opening` stands at a beginning, behind a line end or a delimiter, or doubles the quote before it
        before = buffer[np.maximum(opening - 1, 0)]
        good = (opening == 0) | (before == 10) | (before == 13) | (before == mark[-1])
        good[1:] |= closing[:-1] == opening[1:] - 1
        if self.skips_blanks:
            good |= before == 32
        after = buffer[np.minimum(closing + 1, len(buffer) - 1)]
        good_end = (closing == len(buffer) - 1) | (after == 10) | (after == 13) | (after == mark[0])
        good_end[:-1] |= opening[1:] == closing[:-1] + 1
        return bool(good.all() and good_end.all())

    def sample_rows(self, sample: str, most_rows: int = 400, most_cells: int = 20_000) -> list[list[str]]:
        """Return the first rows of `sample`, empty ones included."""
        csv.field_size_limit(max(len(sample) + 1, csv.field_size_limit()))
        rows: list[list[str]] = []
        cells = 0
        for row in csv.reader(io.StringIO(self.simplified(sample), newline=""), **self.reader_options()):
            rows.append(row)
            cells += len(row)
            if len(rows) >= most_rows or (cells >= most_cells and len(rows) >= 5):
                break
        return rows


@dataclass(frozen=True)
class Records:
    """Rows of cells, and where each came from.

    Attributes:
        rows: the cells of each record, empty records included.
        first_lines: the physical line, from 0, on which each record begins; one more at the end: the number of lines.
        astray: the places of records in which a quote is astray, so that their cells may be cut otherwise, too.
        lines: the physical lines with their ends, delimiters simplified.
    """

    rows: list[list[str]]
    first_lines: list[int]
    astray: set[int]
    lines: list[str]

    def text(self, place: int) -> str:
        """Return the text of the record at `place`, without its line end."""
        return "".join(self.lines[self.first_lines[place] : self.first_lines[place + 1]]).rstrip(LINE_ENDS)


def split_lines(text: str) -> list[str]:
    """Return the physical lines of `text` with their ends: \\n, \\r\\n or \\r, and no other sign that Unicode has."""
    return list(io.StringIO(text, newline=""))


def read_records(
    text: str, dialect: Dialect, width: int = 0, complete: bool = True, columns: Sequence[ColumnModel] = ()
) -> Records:
    """Return the records of `text`, which begins with a record.

    Args:
        text: whole lines as in the file, or simplified.
        width: how many cells a row should have, 0 for unknown; it tells a cell of several lines from a quote astray.
        complete: False where the file goes on behind `text`: a cell that is open at its end, and that does not look
            like rows as those before, is left out with its row.
        columns: the models of the table's columns; without them the records before tell how a row looks.
    """
    csv.field_size_limit(max(len(text) + 1, csv.field_size_limit()))
    lines = split_lines(dialect.simplified(text))
    records = Records([], [], set(), lines)
    place = 0
    while place < len(lines):
        place, is_open = _read_strictly(records, dialect, width, place, columns)
        if is_open and not complete and place and not _goes_on(records, dialect, place):
            del lines[place:]
        if place < len(lines):
            cells, used = _read_leniently(lines, place, dialect, width)
            records.astray.add(len(records.rows))
            records.rows.append(cells)
            records.first_lines.append(place)
            place += used
    records.first_lines.append(len(lines))
    return records


def _goes_on(records: Records, dialect: Dialect, place: int) -> bool:
    """Tell whether the lines from `place` on are rows like those before, so that a quote there is astray."""
    usual = Counter(len(row) for row in records.rows[-50:] if row).most_common(1)
    lines = [line for line in records.lines[place + 1 : place + 51] if line.strip()]
    like = sum(len(cells_of(line.rstrip(LINE_ENDS), dialect)[0]) == usual[0][0] for line in lines) if usual else 0
    return 2 * like >= len(lines)


def _read_strictly(
    records: Records, dialect: Dialect, width: int, start: int, columns: Sequence[ColumnModel]
) -> tuple[int, bool]:
    """Add records from line `start` on until one has a quote astray; return the line of that one, and whether it is
    because its quote is open at the end of all lines."""
    # only a reader that knows doubled quotes minds what stands behind a closing one
    options = {**dialect.reader_options(), "strict": True, "doublequote": True}
    reader = csv.reader(itertools.islice(records.lines, start, None), **options)
    place = start
    while True:
        try:
            row = next(reader, None)
        except csv.Error:
            return place, start + reader.line_num >= len(records.lines)
        if row is None:
            return len(records.lines), False
        end = start + reader.line_num
        if end - place > 1 and _swallows(records, dialect, width, place, end, columns):
            return place, False
        records.rows.append(row)
        records.first_lines.append(place)
        place = end


def _swallows(
    records: Records, dialect: Dialect, width: int, place: int, end: int, columns: Sequence[ColumnModel]
) -> bool:
    """Tell whether the record of the lines from `place` to `end` is several rows of the table, each on a line, that two
    quotes astray made one."""
    if width < 2:
        return False
    seen: list[Container[str]] = [model.kinds for model in columns]
    if not columns:
        recent = [row for row in records.rows[-RECENT_ROWS:] if len(row) == width]
        seen = [{kind_of(cell) for cell in cells} for cells in zip(*recent, strict=True)]
        if end - place < 3 and len(recent) < RECENT_ROWS // 2:
            return False
    for line in records.lines[place:end]:
        cells, _ = cells_of(line.rstrip(LINE_ENDS), dialect)
        if len(cells) != width:
            return False
        like = [kind_of(cell) in kinds for cell, kinds in zip(cells, seen, strict=False) if dialect.quote not in cell]
        if not all(like) or not cells[0]:
            return False
    return True


def _read_leniently(lines: list[str], place: int, dialect: Dialect, width: int) -> tuple[list[str], int]:
    """Return the cells of the record that begins at line `place`, and how many lines it takes."""
    text = lines[place]
    alone: list[str] = []
    opened = _add_cells(alone, text.rstrip(LINE_ENDS), 0, dialect)
    if opened is None or (width and len(alone) == width):
        return alone, 1
    cells = [*alone]
    closer, _ = _closers(dialect.quote, dialect.mark)
    for used in range(2, MOST_LINES_ASTRAY + 1):
        if place + used > len(lines):
            break
        line = lines[place + used - 1]
        text += line
        if not closer.search(line.rstrip(LINE_ENDS)):
            continue  # what was open stays open
        known, at = opened
        del cells[known:]
        opened = _add_cells(cells, text.rstrip(LINE_ENDS), at, dialect)
        if opened is None:
            if (len(cells) == width) if width else (len(cells) >= len(alone)):
                return cells, used
            break
    return alone, 1


def cells_of(
    text: str,
    dialect: Dialect,
    literal: tuple[int, ...] = (),
    closing: tuple[int, ...] = (),
    quoted: set[int] | None = None,
) -> tuple[list[str], bool]:
    """Return the cells of one record, read leniently, and whether a quote stayed open (and was taken as a character).

    Args:
        text: the record, simplified, without its line end.
        literal: places of quotes that open no cell but are characters.
        closing: places of runs of quotes that close their cell, although doubled.
        quoted: gets the numbers of the cells that are quoted.
    """
    cells: list[str] = []
    opened = _add_cells(cells, text, 0, dialect, literal, closing, quoted)
    return cells, opened is not None


def _add_cells(
    cells: list[str],
    text: str,
    place: int,
    dialect: Dialect,
    literal: tuple[int, ...] = (),
    closing: tuple[int, ...] = (),
    quoted: set[int] | None = None,
) -> tuple[int, int] | None:
    """Add the cells of `text` from `place` on, where one begins; see `cells_of`.

    Returns:
        How many cells stand before the first one whose quote stayed open, and its place; None where none did.
    """
    mark, quote = dialect.mark, dialect.quote
    opened = None
    while True:
        if dialect.skips_blanks:
            while text[place : place + 1] == " ":
                place += 1
        if quote and text.startswith(quote, place) and place not in literal:
            cell, end = _quoted(text, place, dialect, closing, opened is not None)
            if end >= 0:
                if quoted is not None:
                    quoted.add(len(cells))
                cells.append(cell)
                if end >= len(text):
                    return opened
                place = end + 1
                continue
            opened = opened or (len(cells), place)
        end = text.find(mark, place)
        if end < 0:
            cells.append(text[place:])
            return opened
        cells.append(text[place:end])
        place = end + 1


def _quoted(text: str, start: int, dialect: Dialect, closing: tuple[int, ...], is_open: bool) -> tuple[str, int]:
    """Return the cell whose quote opens at `start`, and the place of the delimiter behind it; -1 if it never closes.

    Where a quote before this one `is_open`, nothing from there on closes a cell, but for quotes right
    behind the one that opens it: to look again behind each would take the square of the text's length.
    """
    quote = dialect.quote
    if dialect.escape not in ("", quote):
        return ("", -1) if is_open else _escaped(text, start + 1, dialect)
    at_once, later = _closers(quote, dialect.mark)
    found = at_once.match(text, start + 1) or (None if is_open else later.search(text, start + 1))
    while found and not (len(found[1]) % 2 or found.start() in closing):
        found = None if is_open else later.search(text, found.end(1))
    if not found:
        return "", -1
    inside = text[start + 1 : found.start()]
    if quote in inside:
        inside = _runs(quote).sub(lambda run: quote * ((len(run[0]) + 1) // 2), inside)
    return inside + quote * (len(found[1]) // 2), found.end()


def _escaped(text: str, place: int, dialect: Dialect) -> tuple[str, int]:
    """As `_quoted`, of a cell that begins at `place`, where quotes in it are escaped and not doubled."""
    quote, escape, mark = dialect.quote, dialect.escape, dialect.mark
    parts = []
    while True:
        found = text.find(quote, place)
        escaped = text.find(escape, place, found if found >= 0 else len(text))
        if escaped >= 0 and escaped + 1 < len(text):
            parts += [text[place:escaped], text[escaped + 1]]
            place = escaped + 2
            continue
        if found < 0:
            return "", -1
        rest = found + 1
        while mark != " " and text.startswith(" ", rest):
            rest += 1
        if rest >= len(text) or text.startswith(mark, rest):
            return "".join([*parts, text[place:found]]), rest
        parts += [text[place:found], quote]
        place = found + 1


@functools.cache
def _closers(quote: str, mark: str) -> tuple[re.Pattern, re.Pattern]:
    """Return what matches a run of quotes before a delimiter or the end: right here, and from here on."""
    run = f"({re.escape(quote)}++){'' if mark == ' ' else ' *'}(?={re.escape(mark)}|\\Z)"
    return re.compile(run), re.compile(f"(?<!{re.escape(quote)}){run}")


@functools.cache
def _runs(quote: str) -> re.Pattern:
    return re.compile(f"{re.escape(quote)}+")


def readings(text: str, dialect: Dialect) -> Iterator[list[str]]:
    """Yield the ways to cut a record with a quote astray: as it is read at first, then with each quote that opens a
    cell taken as a character, then with each doubled quote before a delimiter taken as a cell's end."""
    yield cells_of(text, dialect)[0]
    quote, mark = dialect.quote, dialect.mark
    if not quote:
        return
    openings = [place for place in _places(text, quote) if place == 0 or text[place - 1] in (mark, " ")]
    for place in openings:
        yield cells_of(text, dialect, literal=(place,))[0]
    if dialect.escape in ("", quote):
        for place in _places(text, quote * 2):
            if text[place + 2 : place + 3] in ("", mark):
                yield cells_of(text, dialect, closing=(place,))[0]
    if len(openings) > 1:
        yield cells_of(text, replace(dialect, quote=""))[0]


def _places(text: str, part: str) -> list[int]:
    found = []
    place = text.find(part)
    while place >= 0:
        found.append(place)
        place = text.find(part, place + 1)
    return found
