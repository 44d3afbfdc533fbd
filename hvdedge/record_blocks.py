"""Blocks of whole records from a range of a delimited file, although cells may hold line breaks.

Where a range begins, a quoted cell may be open. Both states are tried: the text behind is read as if no cell were open,
and as if one were; quotes that stand where quotes belong tell which is right. Each rank goes on behind its range to the
end of its last record. So the end of each range says where the next begins; where a rank has guessed otherwise, it
reads again from there.

Source: Ge et al. 2019, Speculative distributed CSV data parsing for big data analytics.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hvdedge.cell_kinds import ColumnModel
from hvdedge.delimited import MOST_LINES_ASTRAY, Dialect, Records, read_records
from hvdedge.errors import InputError
from hvdedge.structure.encoding import count_lines
from hvdedge.text_files import Piece, TextFile

LOOK_BYTES = 1 << 16
SMALL_BYTES = 1 << 16  # what is read at a time around a quote that is astray
LINES_BYTES = 1 << 20  # of whole lines that are read at a time
MOST_LINE_BYTES = 1 << 23
WHOLE_LINES = Dialect("", "", "")  # nothing parts or quotes
TRIES = 20  # lines from the end that are looked at one by one, quicker than all at once


@dataclass(frozen=True)
class Block:
    """Some records.

    Attributes:
        data: their text as UTF-8, line ends as in the file, delimiters simplified.
        first_line: the number of its first line in the file.
        lines: how many line ends it holds.
        records: the records as read leniently, where a quote is astray; else None.
    """

    data: bytes
    first_line: int
    lines: int
    records: Records | None


def find_start(file: TextFile, piece: Piece, dialect: Dialect) -> int:
    """Return where the first record of a piece begins, told from the text behind it alone."""
    if not piece.start or not dialect.quote:
        return piece.start
    with file.open(piece.start) as source:
        data = source.read(LOOK_BYTES)
    if dialect.quote.encode() not in data:
        return piece.start
    if (cut := even_end(data, dialect)) and dialect.is_regular(dialect.simplified_bytes(data[:cut])):
        return piece.start
    quoted = dialect.quote.encode() + data
    cut = even_end(quoted, dialect)
    if not cut or not dialect.is_regular(dialect.simplified_bytes(quoted[:cut])):
        return piece.start
    places, ends = _quotes(quoted, dialect), line_ends(quoted, False)
    return piece.start + int(ends[np.searchsorted(places, ends) % 2 == 0][0])  # one more for its end, less the quote


class Blocks:
    """The records that begin in a range of a file, in order.

    Args:
        start, stop: bytes, both where a line begins; a record begins at `start`.
        first_line: the number of the line there.
        width, columns: how many cells a row should have, and what they look like.
        block_bytes: how much is read at a time.
        most_bytes: of a line or a cell with line breaks; a quote that does not close within them is a character.
    Attributes:
        end: behind the last record given so far; after all, where the first record behind the range begins.
    """

    def __init__(
        self,
        file: TextFile,
        start: int,
        stop: int,
        first_line: int,
        dialect: Dialect,
        *,
        width: int,
        columns: Sequence[ColumnModel] = (),
        block_bytes: int,
        most_bytes: int,
    ):
        self.end = start
        self._file = file
        self._stop = stop
        self._line = first_line
        self._dialect = dialect
        self._width = width
        self._columns = columns
        self._block_bytes = block_bytes
        self._most_bytes = most_bytes
        self._buffer = b""

    def __iter__(self) -> Iterator[Block]:
        with self._file.open(self.end) as source:
            is_over = self.end >= self._stop
            while not is_over:
                room = self._stop - self.end - len(self._buffer)
                chunk = source.read(min(self._block_bytes, room)) if room > 0 else b""
                self._buffer += chunk
                if chunk and len(chunk) < room:
                    yield from self._take(is_last=False)
                    continue
                is_over = True
                if room > len(chunk) or self._stop >= self._file.size:
                    yield from self._take(is_last=True)
                else:
                    yield from self._finish(source)

    def _take(self, is_last: bool) -> Iterator[Block]:
        """Yield the whole records in the buffer, all of it where it is the file's last."""
        while self._buffer:
            buffer = self._buffer
            cut = len(buffer) if is_last else even_end(buffer, self._dialect)
            if cut and self._is_regular(buffer[:cut]):
                yield self._block(cut)
                return
            if not cut and len(buffer) < self._most_bytes:
                return
            small = buffer if len(buffer) <= SMALL_BYTES or not cut else buffer[:SMALL_BYTES]
            is_rest = is_last and len(small) == len(buffer)
            cut = len(small) if is_rest else even_end(small, self._dialect)
            if cut and self._is_regular(small[:cut]):
                yield self._block(cut)
                continue
            # a quote is astray: what is held back may hang together with what comes
            ends = line_ends(small, is_rest)
            if not is_rest and len(ends) <= 2 * MOST_LINES_ASTRAY:
                if len(small) < len(buffer):
                    ends = line_ends(buffer, is_last)
                    is_rest = is_last
                if not len(ends):
                    self._check_line(buffer)
                    return
                if not is_rest and len(ends) <= 2 * MOST_LINES_ASTRAY and len(buffer) < self._most_bytes:
                    return
            yield from self._lenient(ends, len(buffer) if is_rest else 0)
            if not is_last and len(self._buffer) < self._block_bytes:
                return

    def _lenient(self, ends: np.ndarray, rest: int) -> Iterator[Block]:
        """Yield the records of the lines that end at `ends`, all with `rest` bytes, else those that cannot go on."""
        if rest:
            yield self._block(rest, lenient=True)
            return
        held = min(MOST_LINES_ASTRAY, len(ends) // 2)
        records = self._records(self._buffer[: int(ends[-1]) + 1])
        last = len(ends) - held
        firsts = [first for first in records.first_lines if first <= last]
        if firsts[-1]:
            yield self._block(int(ends[firsts[-1] - 1]) + 1, lenient=True)

    def _finish(self, source: io.BufferedIOBase) -> Iterator[Block]:
        """Yield the records that begin before the end of the range, reading on to the end of the last one."""
        inside = self._stop - self.end
        while True:
            if self._is_regular(self._buffer[:inside]):
                yield self._block(inside)
                return
            chunk = source.read(SMALL_BYTES)
            self._buffer += chunk
            ends = line_ends(self._buffer, not chunk)
            even = ends[np.searchsorted(_quotes(self._buffer, self._dialect), ends) % 2 == 0] + 1
            even = even[even >= inside]
            if len(even) and self._is_regular(self._buffer[: int(even[0])]):
                yield self._block(int(even[0]))
                return
            if chunk and len(self._buffer) < inside + SMALL_BYTES:
                continue
            if len(even) or not chunk or len(self._buffer) > inside + self._most_bytes:
                break
        records = self._records(self._buffer)
        within = int(np.searchsorted(ends, inside))  # lines that end in the range
        first = next((first for first in records.first_lines if first >= within), len(ends))
        cut = int(ends[first - 1]) + 1 if 0 < first <= len(ends) else len(self._buffer)
        yield self._block(cut, lenient=True)

    def _is_regular(self, data: bytes) -> bool:
        return self._dialect.is_regular(self._dialect.simplified_bytes(data))

    def _records(self, data: bytes) -> Records:
        text = self._file.encoding.to_utf8(data).decode("utf-8", "replace")
        return read_records(text, self._dialect, self._width, columns=self._columns)

    def _block(self, cut: int, lenient: bool = False) -> Block:
        data, self._buffer = self._buffer[:cut], self._buffer[cut:]
        lines = count_lines(data)
        records = self._records(data) if lenient else None
        mended = self._dialect.simplified_bytes(self._file.encoding.to_utf8(data))
        block = Block(mended, self._line, lines, records)
        self._line += lines
        self.end += cut
        return block

    def _check_line(self, buffer: bytes) -> None:
        if len(buffer) >= self._most_bytes:
            raise InputError(
                f"{self._file.path}: line {self._line}: received a line of more than {self._most_bytes} bytes, allowed "
                "is a 16th of the memory limit; raise memory, or convert the file"
            )


def _quotes(data: bytes, dialect: Dialect) -> np.ndarray:
    """Return the places of quotes, escaped ones left out."""
    buffer = np.frombuffer(data, np.uint8)
    places = np.flatnonzero(buffer == ord(dialect.quote)) if dialect.quote else np.empty(0, np.int64)
    if dialect.escape not in ("", dialect.quote) and dialect.escape.encode() in data:
        places = places[buffer[np.maximum(places - 1, 0)] != ord(dialect.escape)]
    return places


def line_ends(data: bytes, is_last: bool) -> np.ndarray:
    """Return the places of the last byte of each line end; a \\r at the end of the data may be half of one."""
    buffer = np.frombuffer(data, np.uint8)
    carriages = data.count(b"\r")
    if not carriages or carriages == data.count(b"\r\n"):
        return np.flatnonzero(buffer == 10)
    alone = buffer == 13
    alone[:-1] &= buffer[1:] != 10
    alone[:-2] &= ~((buffer[1:-1] == 13) & (buffer[2:] == 10))
    if not is_last:
        alone[-2:] = False
    return np.flatnonzero((buffer == 10) | alone)


def even_end(data: bytes, dialect: Dialect, is_last: bool = False) -> int:
    """Return where the last line ends that has an even number of quotes before its end; 0 for none."""
    if not dialect.quote or dialect.quote.encode() not in data:
        if b"\r" not in data:
            return data.rfind(b"\n") + 1
        ends = line_ends(data, is_last)
        return int(ends[-1]) + 1 if len(ends) else 0
    quotes = _quotes(data, dialect)
    end = len(data)
    for _ in range(TRIES if b"\r" not in data else 0):
        end = data.rfind(b"\n", 0, end)
        if end < 0 or np.searchsorted(quotes, end) % 2 == 0:
            return end + 1
    ends = line_ends(data, is_last)
    even = ends[np.searchsorted(quotes, ends) % 2 == 0]
    return int(even[-1]) + 1 if len(even) else 0


def whole_lines(file: TextFile, piece: Piece, memory_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a piece, whatever stands in them, some at once: the number of the first, and all as UTF-8.

    Each line ends in a line feed, whatever it ends with in the file; the file's last one may have no end.
    """
    blocks = Blocks(
        file,
        piece.start,
        piece.stop,
        piece.first_line,
        WHOLE_LINES,
        width=1,
        block_bytes=min(LINES_BYTES, memory_bytes // 64),
        most_bytes=most_line_bytes(memory_bytes),
    )
    for block in blocks:
        yield block.first_line, block.data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def most_line_bytes(memory_bytes: int) -> int:
    """Return how long a line may be where so much may be held."""
    return min(MOST_LINE_BYTES, memory_bytes // 16)
