"""The encoding of a text file, from its bytes.

A byte order mark decides; then zero bytes in every other place, which only UTF-16 and UTF-32 write for Latin text;
then strict UTF-8 over the whole file, which other encodings pass by chance only in pure ASCII. A file that is UTF-8 but
for a few bytes stays UTF-8. The rest is a Windows or Latin-1 file, told apart by the bytes 0x80 to 0x9F.
"""

import codecs
import io
import pathlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from hvdedge.errors import InputError

CHUNK_BYTES = 1 << 20
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
OTHER_FORMATS = (
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"PK\x03\x04", "a zip file"),
    (b"PAR1", "a Parquet file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"%PDF", "a PDF file"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"SQLite format 3", "a database"),
    (b"version https://git-lfs", "a Git LFS pointer"),
)
# control characters that text does not hold; without NUL, which a crash leaves in good files
CONTROLS = bytes(set(range(1, 32)) - set(b"\t\n\v\f\r\x1b")) + b"\x7f"
WINDOWS = bytes(range(0x80, 0xA0))
MOST_CONTROLS = 0.005
MOST_BROKEN = 0.1
ESCAPED = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class Encoding:
    """How to decode a file: Python's name of the codec, and how many of its bytes do not fit it."""

    name: str
    broken_bytes: int = 0

    def open(self, path: pathlib.Path) -> io.TextIOWrapper:
        """Open a file to read its text with its own line ends; `mend` what is read."""
        errors = "replace" if self.name.startswith(("utf-16", "utf-32")) else "surrogateescape"
        return io.TextIOWrapper(_open_bytes(path), self.name, errors=errors, newline="")

    def mend(self, text: str) -> str:
        """Return text of the file with its broken bytes read as Windows-1252, without NULs and byte order marks."""
        if text.isascii():
            return text.replace("\0", "")
        return ESCAPED.sub(_as_windows, text).replace("\0", "").replace("\ufeff", "")


def repair(path: pathlib.Path) -> Encoding:
    """Return the encoding of the file at `path`, after reading it once, in pieces.

    Raises:
        InputError: where it cannot be read, is empty, or is not text.
    """
    with _open_bytes(path) as file:
        head = file.read(CHUNK_BYTES)
        if not head:
            raise InputError(f"{path}: received an empty file, expected a table as text; remove the file or fill it")
        for start, what in OTHER_FORMATS:
            if head.startswith(start):
                raise InputError(f"{path}: received {what}, expected a table as text; unpack or convert it first")
        name = next((name for mark, name in MARKS if head.startswith(mark)), None) or _by_zeros(head)
        if _fits(path, _chunks(file, head), name):
            return Encoding(name or "utf-8")
        return _not_utf8(path, _chunks(file, None), name)


def _open_bytes(path: pathlib.Path) -> io.BufferedReader:
    """Open a file to read bytes, or say on one line why it cannot be read."""
    try:
        if not path.is_file():
            raise InputError(f"{path}: received {_what_is(path)}, expected a file; correct the source")
        return open(path, "rb")  # noqa: SIM115  the caller closes it
    except OSError as error:
        cause = f"received a file that cannot be read ({error.strerror}), expected a readable one; change its rights"
        raise InputError(f"{path}: {cause}") from None


def _what_is(path: pathlib.Path) -> str:
    if path.is_dir():
        return "a folder"
    return "something that is no file" if path.exists() else "a path where nothing is"


def _chunks(file: io.BufferedReader, head: bytes | None) -> Iterator[bytes]:
    """Yield the whole file: `head`, which was read already, and the rest; or all anew without it."""
    if head is None:
        file.seek(0)
    else:
        yield head
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _by_zeros(head: bytes) -> str | None:
    """Return the UTF-16 or UTF-32 without a mark that `head` is, or None."""
    head = head[: len(head) // 4 * 4][:4096]
    if not head:
        return None
    zeros = [head[place::4].count(0) / (len(head) // 4) > 0.5 for place in range(4)]
    names = {(False, True, True, True): "utf-32-le", (True, True, True, False): "utf-32-be"}
    names |= {(False, True, False, True): "utf-16-le", (True, False, True, False): "utf-16-be"}
    return names.get((zeros[0], zeros[1], zeros[2], zeros[3]))


def _fits(path: pathlib.Path, chunks: Iterator[bytes], name: str | None) -> bool:
    """Tell whether the file's bytes fit the codec `name` (None: UTF-8).

    Raises:
        InputError: where they do, but are control characters or blanks only.
    """
    wide = name is not None and name.startswith(("utf-16", "utf-32"))
    decoder = codecs.getincrementaldecoder(name or "utf-8")("replace" if wide else "strict")
    controls = total = 0
    blank = True
    try:
        for chunk in chunks:
            text = decoder.decode(chunk)
            controls += _count_controls(text.encode("utf-8", "ignore") if wide else chunk)
            total += len(text)
            blank = blank and not text.strip(" \t\r\n\0\ufeff")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    _check_text(path, controls, total)
    if blank:
        raise InputError(f"{path}: received only empty lines, expected a table as text; remove the file or fill it")
    return True


def _not_utf8(path: pathlib.Path, chunks: Iterator[bytes], name: str | None) -> Encoding:
    """Return what a file is that is not strictly UTF-8: nearly so, or so by its mark, or of one byte a character."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    broken = wide = controls = total = 0
    windows = False
    for chunk in chunks:
        text = decoder.decode(chunk)
        bad = 0 if text.isascii() else len(ESCAPED.findall(text))
        broken += bad
        wide += len(text) - len(text.encode("ascii", "ignore")) - bad
        controls += _count_controls(chunk)
        total += len(chunk)
        windows = windows or len(chunk) != len(chunk.translate(None, WINDOWS))
    _check_text(path, controls, total)
    if name is not None or broken <= MOST_BROKEN * wide:
        return Encoding(name or "utf-8", broken)
    return Encoding("cp1252" if windows else "latin-1")


def _count_controls(chunk: bytes) -> int:
    return len(chunk) - len(chunk.translate(None, CONTROLS))


def _check_text(path: pathlib.Path, controls: int, total: int) -> None:
    if controls > MOST_CONTROLS * total:
        raise InputError(
            f"{path}: received binary data ({controls} control characters in {total}), expected a table as text; "
            "convert it first"
        )


def _as_windows(match: re.Match) -> str:
    byte = bytes([ord(match[0]) - 0xDC00])
    try:
        return byte.decode("cp1252")
    except UnicodeDecodeError:  # five bytes mean nothing there
        return byte.decode("latin-1")
