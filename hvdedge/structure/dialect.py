"""The dialect of a delimited text: which characters part and quote its cells.

Every dialect that the samples could have is tried on rows from over the whole file. The right one cuts them into rows
of few different widths, into columns each of one kind of cells, and its quotes stand at the edges of cells:

    score = sum over widths w of (share of rows)^2 (w - 1) / w  *  typed cells  *  alike cells  *  quotes at edges

Source: van den Burg, Nazabal and Sutton 2019, Wrangling messy CSV files by detecting row and type patterns;
Garcia 2024, Detecting CSV file dialects by table uniformity measurement and data type inference.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hvdedge.aligned_columns import find_cuts as fixed_width
from hvdedge.cell_kinds import kind_of
from hvdedge.delimited import Dialect, read_records, split_lines

__all__ = ["Dialect", "repair"]

STRONG = ",;\t|"
WEAK = {  # delimiter -> what it is worth beside a strong one: these stand in text, numbers and times, too
    " ": 0.6,
    ":": 0.5,
    "#": 0.8,
    "^": 0.9,
    "~": 0.9,
    "&": 0.6,
    "*": 0.6,
    "=": 0.5,
    "!": 0.4,
    "$": 0.4,
    "%": 0.4,
    "/": 0.2,
    "¦": 1.0,
    "§": 1.0,
    "¬": 1.0,
    "\x01": 1.0,
    "\x02": 1.0,
    "\x1e": 1.0,
    "\x1f": 1.0,
}
LONG = (
    "||",
    ";;",
    "::",
    "\t\t",
    "~|~",
    "|~|",
    "^|^",
    "~~",
    "^^",
    "##",
    "%%",
    "$$",
    "@@",
    "&&",
    "<>",
    "=>",
    "->",
    "|;|",
)
QUOTES = "\"'`~"
PIECES = 8
PIECE_CHARS = 12_000
PIECE_ROWS = 120
PIECE_CELLS = 3_000
ONE_COLUMN = 0.05  # a row's weight where nothing parts it, so that one column is the answer when no other fits
LINES_INSIDE = 50
COMMENT = re.compile(r"[ \t]*(?:#|//)")
SEPARATOR = re.compile(r"\ufeff?\"?sep=(.+?)\"?[\r\n]", re.IGNORECASE)


@dataclass(frozen=True)
class _Sample:
    """Pieces of a file in runs of whole lines, without comments, and all of it as one text."""

    pieces: tuple[str, ...]
    text: str


def repair(samples: str | Sequence[str]) -> Dialect:
    """Return the dialect of the text that `samples` are from.

    The dialect's escape is a backslash where one stands before a quote, the quote itself where it is doubled inside a
    quoted cell, '"' where that is doubled in cells that are quoted otherwise, and "" where the samples show none. Where
    no quote occurs at all, it is the usual one. A first line `sep=;`, as spreadsheets write it, decides.

    Args:
        samples: runs of whole lines from over the whole file, the first one its beginning.
    """
    samples = [samples] if isinstance(samples, str) else samples
    told = SEPARATOR.match(samples[0])
    for head in () if told else (samples[0], _whole_lines(samples[0], 0)):
        inside = _inside_quote(head)
        if inside:
            return inside
    sample = _thinned([samples[0][told.end() :], *samples[1:]] if told else samples)
    delimiters = [told[1]] if told else _delimiters(sample.text)
    best, best_score = Dialect(told[1] if told else "", '"' if '"' in sample.text else "", ""), 0.0
    for delimiter in delimiters:
        weight = 1.0 if told or len(delimiter) > 1 else WEAK.get(delimiter, 1.0)
        for quote in _quotes(sample.text, delimiter):
            fitting = _quotes_at_edges(sample.text, delimiter, quote)
            for escape in _escapes(sample.text, quote):
                dialect = _with_blanks(sample.text, Dialect(delimiter, quote, escape))
                rows = _rows(sample, dialect)
                most = _consistency(rows) * weight * fitting
                if most > best_score:  # the other factors are at most 1, so others cannot win
                    score = most * _typed_share(rows) * _alike_share(rows)
                    if score > best_score:
                        best, best_score = dialect, score
    if not best.quote and best.delimiter != '"':
        usual = replace(best, quote='"')  # as later lines may have it
        if '"' not in sample.text or all(
            read_records(piece, usual).rows == read_records(piece, best).rows for piece in sample.pieces
        ):
            best = usual
    if best.delimiter in ("", " ") or (best.delimiter in WEAK and not told):
        best = _aligned(sample, best)
    return _with_escape(sample.text, best)


def _aligned(sample: _Sample, dialect: Dialect) -> Dialect:
    """Return the dialect of columns that runs of blanks part, where the text looks like that; else `dialect`."""
    lines = [line for line in split_lines(sample.text) if line.strip()]
    spaced = sum("  " in line.strip() for line in lines)
    if 2 * spaced < len(lines) or len(lines) < 3 or '"' in sample.text or "\t" in sample.text:
        return dialect
    words = Counter(len(line.split()) for line in lines)
    width, count = words.most_common(1)[0]
    if width > 1 and count >= 0.9 * len(lines):
        return Dialect(" ", '"', "", runs=True)
    cuts = fixed_width(lines)
    return Dialect("", "", "", cuts=cuts) if cuts else dialect


def _inside_quote(sample: str) -> Dialect | None:
    """Return the dialect where the sample ends in a cell that is longer than it: its text says nothing."""
    place = sample.rfind('"')
    mark = sample[place - 1 : place]
    if place < 2 or mark not in STRONG or sample.count('"') % 2 == 0:
        return None
    *before, last = sample[:place].splitlines()
    behind = sample[place:].splitlines()[1:]
    count = last.count(mark)
    if len(behind) < LINES_INSIDE or not before or before[-1].count(mark) < count:
        return None
    like = sum(line.count(mark) >= count for line in behind)
    return Dialect(mark, '"', "") if 2 * like < len(behind) else None


def _thinned(samples: Sequence[str]) -> _Sample:
    """Return the beginning and pieces from over all samples, in all about PIECES * PIECE_CHARS characters."""
    total = sum(map(len, samples))
    if total <= 2 * PIECE_CHARS:
        pieces = [*samples]
    else:
        pieces = [_whole_lines(samples[0], 0)]
        each = max(total // PIECES, PIECE_CHARS)
        for number, sample in enumerate(samples):
            for start in range(each if number == 0 else 0, len(sample) - 1, each):
                piece = _whole_lines(sample, start)
                inside = sample.count('"', 0, sample.find(piece, start)) % 2
                pieces.append("" if inside else piece)
    kept = [_without_comments(piece) for piece in pieces]
    if sum(map(len, kept)) * 20 < sum(map(len, pieces)):
        kept = pieces
    kept = [piece for piece in kept if piece.strip()]
    return _Sample(tuple(kept), "\n".join(kept))


def _whole_lines(text: str, start: int) -> str:
    """Return about PIECE_CHARS characters of whole lines behind `start`; "" where a line is much longer."""
    if start:
        found = re.compile(r"\n|\r(?!\n)").search(text, start, start + PIECE_CHARS)
        if not found:
            return ""
        start = found.end()
    if len(text) - start <= PIECE_CHARS:
        return text[start:]
    end = max(text.rfind("\n", start, start + PIECE_CHARS), text.rfind("\r", start, start + PIECE_CHARS))
    return text[start : end + 1] if end >= 0 else text[start : start + 8 * PIECE_CHARS].partition("\n")[0]


def _without_comments(text: str) -> str:
    if "#" not in text and "//" not in text:
        return text
    lines = io.StringIO(text, newline="").readlines()
    left = [line for line in lines if not COMMENT.match(line)]
    return "".join(left) if len(left) >= 2 else text


def _delimiters(text: str) -> list[str]:
    found = [mark for mark in STRONG if mark in text]
    long = [mark for mark in LONG if mark in text and _stands_alone(mark, text)]
    found = [mark for mark in found if not any(mark == other[0] for other in long)]
    return [*long, *found, *(mark for mark in WEAK if mark in text), ""]


def _stands_alone(mark: str, text: str) -> bool:
    """Tell whether `mark` stands in most lines, and its first character nowhere else."""
    lines = [line for line in re.split(r"[\r\n]+", text[: 4 * PIECE_CHARS]) if line.strip()]
    having = sum(mark in line for line in lines)
    return text.count(mark[0]) == text.count(mark) * mark.count(mark[0]) and 2 * having > len(lines)


def _quotes(text: str, delimiter: str) -> list[str]:
    """Return the quotes that both open and close a cell somewhere in the sample, and "" where they may be letters."""
    before, after = _edges(delimiter)
    found = [
        quote
        for quote in QUOTES
        if quote not in delimiter
        and quote in text
        and re.search(f"{before} *{quote}", text)
        and re.search(f"{quote} *{after}", text)
    ]
    # an apostrophe is a letter in most texts, so the way without it is tried too
    return found if found == ['"'] else [*found, ""]


def _escapes(text: str, quote: str) -> tuple[str, ...]:
    """Return the escapes to try besides doubling, which "" stands for; of two that do as well the first is taken."""
    escaped = text.count("\\" + quote) if quote else 0
    if not escaped:
        return ("",)
    doubled = text.count('""') if quote != '"' else text.count('"""')  # what apostrophes quote may double the other
    return ("",) if doubled > escaped else ("\\", "")


def _edges(delimiter: str) -> tuple[str, str]:
    mark = re.escape(delimiter)
    return (rf"(?:^|[\r\n]|{mark})", rf"(?:[\r\n]|{mark}|$)") if delimiter else (r"(?:^|[\r\n])", r"(?:[\r\n]|$)")


def _quotes_at_edges(text: str, delimiter: str, quote: str) -> float:
    """Return the share of quotes that stand at the edge of a cell or are doubled; 1 where there are none.

    With no quote or an apostrophe, a text whose double quotes all stand at edges is not understood: 0.5.
    """
    before, after = _edges(delimiter)
    mark = quote or '"'
    total = text.count(mark)
    if not total:
        return 1.0
    body = text.replace("\\" + mark, "")
    doubled = len(re.findall(f"(?<!{mark}){mark}{mark}(?!{mark})", body))
    opening = len(re.findall(f"{before} *{mark}(?!{mark})", body))
    closing = len(re.findall(f"(?<!{mark}){mark} *{after}", body))
    single = body.count(mark) - 2 * doubled
    share = min((opening + closing) / single, 1.0) if single > 0 else 1.0
    if not quote:
        return 0.5 if share > 0.9 else 1.0
    return max(share, 0.05) ** 1.3 if quote == '"' else max(share, 0.05) ** 0.5


def _with_blanks(text: str, dialect: Dialect) -> Dialect:
    """Return `dialect`, skipping blanks after the delimiter where nearly every one has a blank behind it."""
    if not dialect.delimiter or dialect.delimiter in " \t":
        return dialect
    parts = text.count(dialect.delimiter)
    with_blank = text.count(dialect.delimiter + " ")
    if with_blank < 0.5 * parts:
        return dialect
    blanks = len(re.findall(re.escape(dialect.delimiter) + "(?: |(?=[\r\n]|$))", text))
    return replace(dialect, skips_blanks=blanks >= 0.9 * parts)


def _rows(sample: _Sample, dialect: Dialect) -> list[list[str]]:
    """Return rows from all pieces, empty ones left out."""
    rows: list[list[str]] = []
    csv.field_size_limit(max(len(sample.text) + 1, csv.field_size_limit()))
    for piece in sample.pieces:
        simple = dialect.simplified(piece)
        if not dialect.is_regular(simple.encode("utf-8", "replace")):
            lines = split_lines(simple)[: 2 * PIECE_ROWS]
            rows += [row for row in read_records("".join(lines), dialect).rows if any(row)]
            continue
        text = io.StringIO(simple, newline="")
        cells = count = 0
        for row in csv.reader(text, **dialect.reader_options()):
            if any(row):
                rows.append(row)
                cells += len(row)
                count += 1
                if count >= PIECE_ROWS * (2 if len(sample.pieces) < 3 else 1) or cells >= PIECE_CELLS and count >= 5:
                    break
    return rows


def _consistency(rows: list[list[str]]) -> float:
    widths = Counter(map(len, rows))
    total = widths.total()
    if not total:
        return 0.0
    return sum((count / total) ** 2 * max((width - 1) / width, ONE_COLUMN) for width, count in widths.items())


def _typed_share(rows: list[list[str]]) -> float:
    cells = Counter(cell for row in rows for cell in row)
    typed = sum(count for cell, count in cells.items() if kind_of(cell) != "text")
    return (typed + 0.5) / (cells.total() + 1)


def _alike_share(rows: list[list[str]]) -> float:
    """Return how alike the cells of a column are, from 0.5: the mean share of the most frequent kind of a column."""
    width = Counter(map(len, rows)).most_common(1)[0][0]
    body = [row for row in rows if len(row) == width][:PIECE_ROWS]
    if len(body) < 3:
        return 0.75
    shares = []
    for cells in zip(*body, strict=True):
        kinds = Counter(map(kind_of, cells))
        empty = kinds.pop("empty", 0) + kinds.pop("missing", 0)
        kinds["number"] = kinds.pop("integer", 0) + kinds.pop("decimal", 0) + kinds.pop("grouped", 0)
        kinds["letters"] = kinds.pop("word", 0) + kinds.pop("words", 0)
        shares.append((max(kinds.values()) + empty) / len(body))
    return 0.5 + sum(shares) / len(shares) / 2


def _with_escape(text: str, dialect: Dialect) -> Dialect:
    if not dialect.quote or dialect.escape:
        return dialect
    before, after = _edges(dialect.delimiter)
    quote = dialect.quote
    if quote != '"' and '""' in text and not re.search('(?<!")"(?!")', text):
        return replace(dialect, escape='"')
    # a doubled quote is a cell's content only between the edges of a quoted cell: not in "", the empty cell
    doubled = re.search(f"{before} *{quote}(?!{quote} *{after})(?:[^{quote}]*){quote}{quote}", text)
    return replace(dialect, escape=quote if doubled else "")
