"""A raw file's bytes, unpacked where it is packed, from any place on.

What a file is, is told by its first bytes and never by its name. A packed file is unpacked while it is read, to memory
only, and no further than `unpack_ratio` times its size: a bomb ends in an error, and nothing is written beside it.
"""

import bz2
import gzip
import io
import lzma
import pathlib
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa

from hvdedge.errors import InputError, one_line

CHUNK_BYTES = 1 << 20
HEAD_BYTES = 1 << 12
FREE_BYTES = 1 << 23  # unpacked bytes that need no ratio
PACKED = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ", "xz"), (b"PK", "zip"))
OTHER_FORMATS = (
    (b"PAR1", "a Parquet file", 'set prepare.reader = "parquet"'),
    (b"\x89HDF", "an HDF5 file", 'set prepare.reader = "hdf5"'),
    (b"%PDF", "a PDF file", "convert it first"),
    (b"\x89PNG", "an image", 'remove it, or set prepare.reader = "image_folder"'),
    (b"\xff\xd8\xff", "an image", 'remove it, or set prepare.reader = "image_folder"'),
    (b"SQLite format 3", "a database", "export its tables first"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet", "export it as CSV first"),
    (b"version https://git-lfs", "a Git LFS pointer", "type 'git lfs pull' to get the file itself"),
)
UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException, NotImplementedError)


@dataclass(frozen=True)
class Content:
    """A file and how it is packed: "" for not at all, else gzip, bzip2, zstd, xz, or zip with one `member`."""

    path: pathlib.Path
    packed: str = ""
    member: str = ""
    unpack_ratio: float = 200.0

    def open(self, start: int = 0) -> io.BufferedIOBase:
        """Return the unpacked bytes from `start` on, as a file to `read(size)` from.

        Raises:
            InputError: here or at reading, where the file cannot be read, is cut or damaged, or unpacks to too much.
        """
        return _Reader(self, start)

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` to `stop`, or the end, in pieces."""
        left = float("inf") if stop is None else stop - start
        with self.open(start) as file:
            while left > 0 and (chunk := file.read(int(min(CHUNK_BYTES, left)))):
                left -= len(chunk)
                yield chunk


def look(path: pathlib.Path, unpack_ratio: float) -> Content:
    """Return what kind of content the file at `path` is, by its first bytes.

    Raises:
        InputError: where it cannot be read, is empty, or is of a format that is no text.
    """
    content = Content(path, unpack_ratio=unpack_ratio)
    with content.open() as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise InputError(f"{path}: received an empty file, expected a table as text; remove the file or fill it")
    packed = next((name for magic, name in PACKED if head.startswith(magic)), "")
    if packed:
        member = _only_member(path) if packed == "zip" else ""
        content = Content(path, packed, member, unpack_ratio)
        with content.open() as file:
            head = file.read(HEAD_BYTES)
        if not head:
            raise InputError(f"{path}: received a {packed} file of nothing, expected a table as text; remove the file")
    for magic, what, remedy in OTHER_FORMATS:
        if head.startswith(magic):
            raise InputError(f"{path}: received {what}, expected a table as text; {remedy}")
    return content


def _only_member(path: pathlib.Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir() and info.file_size]
    except UNREADABLE as error:
        raise _damaged(path, "zip", error) from None
    names = [name for name in names if not name.startswith("__MACOSX/")]
    if len(names) != 1:
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        raise InputError(
            f"{path}: received a zip file of {len(names)} members ({shown}), allowed: one; unpack it, name its folder"
        )
    return names[0]


def _damaged(path: pathlib.Path, packed: str, error: BaseException) -> InputError:
    what = f"a {packed} file that is cut or damaged" if packed else "a file that cannot be read"
    return InputError(f"{path}: received {what} ({one_line(error)}), expected a whole one; get it again")


class _Reader(io.BufferedIOBase):
    """Reads a content's bytes; errors of reading and unpacking become one clear line."""

    def __init__(self, content: Content, start: int):
        self._content = content
        self._raw = _open_file(content.path)
        try:
            self._file = self._unpacked()
            self._most = float("inf")
            if content.packed:
                self._most = max(content.path.stat().st_size * content.unpack_ratio, FREE_BYTES)
        except UNREADABLE as error:
            self._raw.close()
            raise _damaged(content.path, content.packed, error) from None
        self._at = 0
        if content.packed:
            while self._at < start and self.read(min(CHUNK_BYTES, start - self._at)):
                pass
        else:
            self._raw.seek(start)

    def _unpacked(self) -> Any:
        match self._content.packed:
            case "gzip":
                return gzip.GzipFile(fileobj=self._raw)
            case "bzip2":
                return bz2.BZ2File(self._raw)
            case "xz":
                return lzma.LZMAFile(self._raw)
            case "zstd":
                return pa.CompressedInputStream(pa.PythonFile(self._raw, mode="r"), "zstd")
            case "zip":
                return zipfile.ZipFile(self._raw).open(self._content.member)
        return self._raw

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            data = self._file.read(size) if size is not None and size >= 0 else self._file.read()
        except (*UNREADABLE, RuntimeError) as error:  # a RuntimeError asks for a password
            raise _damaged(self._content.path, self._content.packed, error) from None
        self._at += len(data)
        if self._at > self._most:
            raise InputError(
                f"{self._content.path}: received a {self._content.packed} file that unpacks to more than "
                f"{self._content.unpack_ratio:g} times its size, the limit; if it is sound, raise prepare.unpack_ratio"
            )
        return bytes(data)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _open_file(path: pathlib.Path) -> IO[bytes]:
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
