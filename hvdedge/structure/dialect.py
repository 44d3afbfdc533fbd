"""The dialect of a delimited text: which characters part and quote its cells.

Every dialect that the sample could have is tried. The right one cuts it into rows of few different widths and into
cells that look like data:

    score = sum over widths w of rows(w) * (w - 1) / w, over the number of widths, times the share of typed cells

Source: van den Burg, Nazabal and Sutton 2019, Wrangling messy CSV files by detecting row and type patterns.
"""

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass

DELIMITERS = ",;\t|:#^~& *="
QUOTES = "\"'`~"
SAMPLE_ROWS = 400
SAMPLE_CELLS = 20_000
LEAST_ROWS = 5
ONE_COLUMN = 0.05  # a row's weight where nothing parts it, so that one column is the answer when no other fits
TYPED = re.compile(
    r"""\s*(?:
      [-+]?[$€£¥]?\s?\d[\d.,' \u00a0]*(?:[eE][-+]?\d+)?\s?%?             # number, money, share
    | [-+]?[.,]\d+(?:[eE][-+]?\d+)?
    | \d{1,4}[-./]\d{1,2}[-./]\d{1,4}(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?\S{0,6})?  # date, timestamp
    | \d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?
    | [\w.+-]+@[\w-]+\.[\w.-]+
    | (?:https?|ftp)://\S+
    | (?:n/?a|-+|\?|\#N/A)
    | [\w ][\w .&/()+-]*                                                  # words
    )\s*""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Dialect:
    """Which characters part and quote cells; "" for none. `skips_blanks`: a blank after each delimiter is no data."""

    delimiter: str
    quote: str
    escape: str
    skips_blanks: bool = False

    def reader_options(self) -> dict:
        """Return the keyword arguments that make `csv.reader` read this dialect."""
        return {
            "delimiter": self.delimiter or "\uffff",  # which is no character, so no text holds it
            "quotechar": self.quote or None,
            "quoting": csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            "escapechar": "\\" if self.escape == "\\" else None,
            "doublequote": self.escape != "\\",
            "skipinitialspace": self.skips_blanks,
        }

    def sample_rows(self, sample: str) -> list[list[str]]:
        """Return the first rows of `sample`, empty ones included."""
        csv.field_size_limit(max(len(sample) + 1, csv.field_size_limit()))
        rows: list[list[str]] = []
        cells = 0
        for row in csv.reader(io.StringIO(sample, newline=""), **self.reader_options()):
            rows.append(row)
            cells += len(row)
            if len(rows) >= SAMPLE_ROWS or (cells >= SAMPLE_CELLS and len(rows) >= LEAST_ROWS):
                break
        return rows


def repair(sample: str) -> Dialect:
    """Return the dialect of the lines in `sample`, the beginning of a file.

    The dialect's escape is a backslash where one stands before a quote, the quote itself where it is doubled inside a
    quoted cell, and "" where the sample shows neither. Where no quote occurs at all, it is the usual one.
    """
    best, best_score = Dialect("", '"' if '"' in sample else "", ""), 0.0
    candidates = [
        Dialect(delimiter, quote, escape)
        for delimiter in [*(mark for mark in DELIMITERS if mark in sample), ""]
        for quote in _quotes(sample, delimiter)
        for escape in (["\\", ""] if quote and "\\" + quote in sample else [""])
    ]
    for candidate in candidates:
        dialect = _with_blanks(sample, candidate)
        rows = dialect.sample_rows(sample)
        consistency = _consistency(rows)
        if consistency > best_score:  # the share of typed cells is at most 1, so others cannot win
            score = consistency * _typed_share(rows)
            if score > best_score:
                best, best_score = dialect, score
    if not best.quote and '"' not in sample and best.delimiter != '"':
        best = Dialect(best.delimiter, '"', best.escape, best.skips_blanks)  # as later lines may have it
    return _with_escape(sample, best)


def _quotes(sample: str, delimiter: str) -> list[str]:
    """Return the quotes that both open and close a cell somewhere in the sample, or "" where there is none."""
    before, after = _edges(delimiter)
    found = [
        quote
        for quote in QUOTES
        if quote != delimiter
        and quote in sample
        and re.search(f"{before}[ ]*{quote}", sample)
        and re.search(f"{quote}[ ]*{after}", sample)
    ]
    # an apostrophe is a letter in most texts, so the way without it is tried too
    return found if found == ['"'] else [*found, ""]


def _edges(delimiter: str) -> tuple[str, str]:
    mark = re.escape(delimiter)
    return (rf"(?:^|[\r\n]|{mark})", rf"(?:[\r\n]|{mark}|$)") if delimiter else (r"(?:^|[\r\n])", r"(?:[\r\n]|$)")


def _with_blanks(sample: str, dialect: Dialect) -> Dialect:
    """Return `dialect`, skipping blanks after the delimiter where nearly every one has a blank behind it."""
    if not dialect.delimiter or dialect.delimiter in " \t":
        return dialect
    parts = len(re.findall(re.escape(dialect.delimiter), sample))
    blanks = len(re.findall(re.escape(dialect.delimiter) + "(?: |(?=[\r\n]|$))", sample))
    with_blank = len(re.findall(re.escape(dialect.delimiter) + " ", sample))
    skips = blanks >= 0.9 * parts and with_blank >= 0.5 * parts
    return Dialect(dialect.delimiter, dialect.quote, dialect.escape, skips)


def _consistency(rows: list[list[str]]) -> float:
    widths = Counter(len(row) for row in rows if row)
    if not widths:
        return 0.0
    return (
        sum(count * max((width - 1) / width, ONE_COLUMN) for width, count in widths.items())
        / len(widths)
        / widths.total()
    )


def _typed_share(rows: list[list[str]]) -> float:
    cells = Counter(cell for row in rows for cell in row)
    typed = sum(count for cell, count in cells.items() if not cell or TYPED.fullmatch(cell))
    return (typed + 1e-9) / max(cells.total(), 1)


def _with_escape(sample: str, dialect: Dialect) -> Dialect:
    if not dialect.quote or dialect.escape:
        return dialect
    before, after = _edges(dialect.delimiter)
    quote = dialect.quote
    # a doubled quote is a cell's content only between the edges of a quoted cell: not in "", the empty cell
    doubled = re.search(f"{before}[ ]*{quote}(?!{quote}[ ]*{after})(?:[^{quote}]*){quote}{quote}", sample)
    return Dialect(dialect.delimiter, quote, quote if doubled else "", dialect.skips_blanks)
