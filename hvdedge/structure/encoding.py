"""The encoding of a text file, from its bytes.

A byte order mark decides; then zero bytes in every other place, which only UTF-16 and UTF-32 write for Latin text;
then strict UTF-8 over the whole file, which other encodings pass by chance only in pure ASCII. A file that is UTF-8 but
for some lines stays UTF-8, and those lines are read as Windows-1252. The rest is a Windows or Latin-1 file, told apart
by the bytes 0x80 to 0x9F.

Each rank counts what its ranges of the file hold; the sums decide, the same on any number of ranks.
"""

import codecs
import pathlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import numpy as np

from hvdedge.errors import InputError

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# below a blank all but these are control characters that text does not hold; NUL is what a crash leaves in good files
HARMLESS = b"\0\t\n\v\f\r\x1b"
BLANK, DELETE, WINDOWS, LATIN, LEAD = 0x20, 0x7F, 0x80, 0xA0, 0xC0  # LEAD and above begin a character of UTF-8
MOST_CONTROLS = 0.005
MOST_BROKEN = 5  # times the characters beyond ASCII that are rightly written: more, and those are there by chance
ESCAPED = re.compile("[\udc80-\udcff]")
ESCAPED_LINE = re.compile("[\udc80-\udcff][^\n]*")
TWICE = b"\r\r\n"
MARK = b"\xef\xbb\xbf"  # what U+FEFF is in UTF-8


@dataclass
class Survey:
    """What some bytes of a file hold; surveys of its parts add up.

    Attributes:
        size: bytes.
        lines: line ends: \\n, \\r\\n, \\r, or \\r\\r\\n, which a file turned into Windows' form twice has.
        twice: those of the last kind.
        controls: control characters that text does not hold.
        inked: bytes other than blanks, line ends and NUL.
        wide: characters beyond ASCII that are rightly written UTF-8.
        broken: bytes that are not UTF-8.
        broken_lines: lines that hold such bytes.
        windows: bytes 0x80 to 0x9F.
        nuls, marks: NUL bytes; byte order marks.
    """

    size: int = 0
    lines: int = 0
    twice: int = 0
    controls: int = 0
    inked: int = 0
    wide: int = 0
    broken: int = 0
    broken_lines: int = 0
    windows: int = 0
    nuls: int = 0
    marks: int = 0

    def __add__(self, other: "Survey") -> "Survey":
        return Survey(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(Survey)))


@dataclass(frozen=True)
class Encoding:
    """How to decode a file: Python's name of the codec, and whether its bytes are plain UTF-8 that needs no mending."""

    name: str
    is_clean: bool = True

    @property
    def is_wide(self) -> bool:
        """Whether a character takes several bytes, ASCII too, so that bytes are no text until decoded."""
        return self.name.startswith(("utf-16", "utf-32"))

    @property
    def is_utf(self) -> bool:
        """Whether bytes can be broken; those of Windows-1252 and Latin-1 each mean a character."""
        return self.name.startswith("utf")

    def to_utf8(self, data: bytes) -> bytes:
        """Return bytes of whole lines as UTF-8, broken lines read as Windows-1252, without NULs and byte order marks.

        Bytes of a wide encoding come from `utf8_chunks` and are UTF-8 already.
        """
        if self.is_clean:
            return data
        if self.name in ("latin-1", "cp1252") and not data.isascii():
            data = _decoded(data, self.name).encode()
        elif not data.isascii():
            text = data.decode("utf-8", "surrogateescape")
            data = ESCAPED.sub(_as_windows, text).encode("utf-8", "replace") if not _is_utf8(text) else data
        return data.replace(b"\0", b"").replace(MARK, b"").replace(TWICE, b"\r\n")

    def utf8_chunks(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield a file of a wide encoding as UTF-8, from its beginning on."""
        decoder = codecs.getincrementaldecoder(self.name)("replace")
        for chunk in chunks:
            yield decoder.decode(chunk).encode("utf-8", "replace")
        yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def survey(chunks: Iterable[bytes]) -> Survey:
    """Return what the bytes in `chunks`, in order, hold."""
    result = Survey()
    carry = b""
    for chunk in chunks:
        data = carry + chunk
        end = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 2)) + 1  # so that no line end is cut in two
        end -= data[end - 1 : end + 2] == TWICE
        if not end:
            end = 0 if len(data) < 1 << 22 else len(data)
        carry = data[end:]
        _count(result, data[:end])
    _count(result, carry)
    return result


def count_lines(data: bytes) -> int:
    """Return how many line ends there are in UTF-8 text."""
    ends = int(np.count_nonzero(np.frombuffer(data, np.uint8) == 10))  # quicker than to count bytes that are frequent
    if b"\r" not in data:
        return ends
    return ends + data.count(b"\r") - data.count(b"\r\n") - data.count(TWICE)


def guess(head: bytes) -> str | None:
    """Return the encoding that the first bytes of a file tell: by a byte order mark, or wide by its zeros; or None."""
    return next((name for mark, name in MARKS if head.startswith(mark)), None) or _by_zeros(head)


def repair(path: pathlib.Path, found: Survey, name: str | None) -> Encoding:
    """Return the encoding of a file.

    Args:
        path: for messages.
        found: what all its bytes hold, as UTF-8 where the encoding is wide.
        name: what `guess` told.
    Raises:
        InputError: where it is not text, or holds nothing.
    """
    if found.controls > MOST_CONTROLS * found.size:
        raise InputError(
            f"{path}: received binary data ({found.controls} control characters in {found.size}), expected a table as "
            "text; convert it first"
        )
    if not found.inked:
        raise InputError(f"{path}: received only empty lines, expected a table as text; remove the file or fill it")
    is_clean = not (found.broken or found.nuls or found.marks or found.twice)
    if name is not None or found.broken <= MOST_BROKEN * found.wide:
        return Encoding(name or "utf-8", is_clean)
    return Encoding("cp1252" if found.windows else "latin-1", is_clean=False)


def _count(result: Survey, data: bytes) -> None:
    if not data:
        return
    signs = np.frombuffer(data, np.uint8)
    result.size += len(data)
    result.lines += count_lines(data)
    result.twice += data.count(TWICE) if b"\r" in data else 0
    result.controls += int(np.count_nonzero(signs < BLANK)) + data.count(DELETE)
    result.controls -= sum(int(np.count_nonzero(signs == sign)) for sign in HARMLESS if sign in data)
    result.nuls += data.count(b"\0") if b"\0" in data else 0
    if not result.inked:
        result.inked += bool(data.translate(None, b" \t\r\n\0\v\f").replace(MARK, b""))
    if data.isascii():
        return
    high = signs[signs >= WINDOWS]
    result.marks += data.count(MARK) if MARK[0] in data else 0
    result.windows += int(np.count_nonzero(high < LATIN))
    try:
        data.decode()
        result.wide += int(np.count_nonzero(high >= LEAD))  # quicker than to count them in text
    except UnicodeDecodeError:
        text = data.decode("utf-8", "surrogateescape")
        broken = len(ESCAPED.findall(text))
        result.broken += broken
        result.broken_lines += len(ESCAPED_LINE.findall(text))
        result.wide += len(text) - len(text.encode("ascii", "ignore")) - broken


def _by_zeros(head: bytes) -> str | None:
    """Return the UTF-16 or UTF-32 without a mark that `head` is, or None."""
    head = head[: len(head) // 4 * 4][:4096]
    if not head:
        return None
    zeros = [head[place::4].count(0) / (len(head) // 4) > 0.5 for place in range(4)]
    names = {(False, True, True, True): "utf-32-le", (True, True, True, False): "utf-32-be"}
    names |= {(False, True, False, True): "utf-16-le", (True, False, True, False): "utf-16-be"}
    return names.get((zeros[0], zeros[1], zeros[2], zeros[3]))


def _is_utf8(text: str) -> bool:
    return ESCAPED.search(text) is None


def _decoded(data: bytes, name: str) -> str:
    text = data.decode(name, "surrogateescape")
    return text if _is_utf8(text) else ESCAPED.sub(_as_windows, text)


def _as_windows(match: re.Match) -> str:
    byte = bytes([ord(match[0]) - 0xDC00])
    try:
        return byte.decode("cp1252")
    except UnicodeDecodeError:  # five bytes mean nothing there
        return byte.decode("latin-1")
