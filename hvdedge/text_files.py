"""Text files dealt to the ranks by ranges of bytes: a file of any size is read by all, each in its own part.

    files      |---- a ----|--------------- b ---------------|- c -|
    ranks      0           .      1            .      2            .      the bytes of all files, in even parts
    pieces     a, b[0:..]         b[..:..]            b[..:], c          each begins with a line

A file smaller than `LEAST_PIECE_BYTES`, or of an encoding in which bytes are no text (UTF-16), is not split: it goes
where its middle falls. A packed file is split like any other; each rank unpacks what lies before its part, too, which
is much quicker than reading it as a table.
"""

import io
import pathlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from mpi4py import MPI

from hvdedge import contents
from hvdedge.contents import Content
from hvdedge.errors import InputError
from hvdedge.parallel import agree, allgather_json
from hvdedge.structure import encoding as encoding_
from hvdedge.structure.encoding import Encoding, Survey

LEAST_PIECE_BYTES = 1 << 20
LINE_STEP_BYTES = 1 << 16


@dataclass(frozen=True)
class TextFile:
    """A file that holds text.

    Attributes:
        size: the bytes of its text, unpacked, as UTF-8 where the encoding is wide.
        survey: what they hold; nothing is broken where the encoding gives each byte a meaning.
    """

    content: Content
    encoding: Encoding
    size: int
    survey: Survey

    @property
    def path(self) -> pathlib.Path:
        return self.content.path

    def open(self, start: int = 0) -> io.BufferedIOBase:
        """Return the file's bytes from `start` on, in which ASCII characters are themselves."""
        if not self.encoding.is_wide:
            return self.content.open(start)
        file = _Joined(self.encoding.utf8_chunks(self.content.chunks()))
        file.read(start)
        return file


@dataclass(frozen=True)
class Piece:
    """A part of a file that one rank reads: whole lines.

    Attributes:
        number: the file's place among the source's.
        start, stop: its bytes.
        first_line: the number of its first line in the file, from 1.
        is_last: whether the file ends with it.
    """

    number: int
    start: int
    stop: int
    first_line: int
    is_last: bool


def open_all(
    paths: Sequence[pathlib.Path], unpack_ratio: float, comm: MPI.Intracomm
) -> tuple[dict[int, TextFile], list[Piece], dict[int, str]]:
    """Collective. Look at all files, deal them to the ranks, and find their encodings.

    Returns:
        The files that are text by their number, this rank's pieces in order, and why the other files are none.
    """
    looked = _shared({n: _look(paths[n], unpack_ratio) for n in range(comm.rank, len(paths), comm.size)}, comm)
    errors = {n: found["error"] for n, found in looked.items() if "error" in found}
    good = {n: found for n, found in sorted(looked.items()) if "error" not in found}
    known = {n: Content(paths[n], found["packed"], found["member"], unpack_ratio) for n, found in good.items()}
    whole = {n for n, found in good.items() if found["is_wide"]}
    dealt = _deal({n: found["size"] for n, found in good.items()}, whole, comm.size)
    starts: dict[str, int] = {}
    with agree(comm):
        starts = {
            f"{n} {start}": _line_start(known[n], start, good[n]["size"]) if start else 0
            for n, start in dealt[comm.rank]
        }
    starts = {key: start for part in allgather_json(starts, comm) for key, start in part.items()}
    bounds = {n: [starts[f"{n} {at}"] for part in dealt for m, at in part if m == n] for n in good}
    pieces = []
    for number, nominal in dealt[comm.rank]:
        start = starts[f"{number} {nominal}"]
        later = [other for other in bounds[number] if other > start]
        if start < good[number]["size"] or not nominal:
            pieces.append(Piece(number, start, later[0] if later else good[number]["size"], 0, not later))

    counted = {
        f"{piece.number} {piece.start}": good[piece.number]["survey"] or _survey(known[piece.number], piece)
        for piece in pieces
    }
    surveys = {key: found for part in allgather_json(counted, comm) for key, found in part.items()}
    files: dict[int, TextFile] = {}
    before = {}
    for number, content in known.items():
        total = Survey()
        for start in sorted({start for start in bounds[number] if f"{number} {start}" in surveys}):
            found = surveys[f"{number} {start}"]
            if "error" in found:
                errors[number] = found["error"]
                break
            before[number, start] = total.lines
            total = total + Survey(**found)
        if number in errors:
            continue
        try:
            encoding = encoding_.repair(content.path, total, good[number]["guess"])
        except InputError as error:
            errors[number] = str(error)
            continue
        if not encoding.is_utf:
            total = replace(total, broken=0, broken_lines=0)
        files[number] = TextFile(content, encoding, good[number]["size"], total)
    mine = [
        Piece(piece.number, piece.start, piece.stop, before[piece.number, piece.start] + 1, piece.is_last)
        for piece in pieces
        if piece.number in files
    ]
    return files, mine, dict(sorted(errors.items()))


def _shared(found: dict[int, dict], comm: MPI.Intracomm) -> dict[int, dict]:
    return {int(number): value for part in allgather_json(found, comm) for number, value in part.items()}


def _look(path: pathlib.Path, unpack_ratio: float) -> dict:
    """Return what the file is, its size and, where it must be read whole for that, its survey; or its error."""
    try:
        content = contents.look(path, unpack_ratio)
        with content.open() as file:
            name = encoding_.guess(file.read(contents.HEAD_BYTES))
        is_wide = Encoding(name or "").is_wide
        survey = None
        size = content.path.stat().st_size
        if content.packed or is_wide:
            chunks = content.chunks()
            found = encoding_.survey(Encoding(name or "").utf8_chunks(chunks) if is_wide else chunks)
            size, survey = found.size, asdict(found)
        return {
            **{"packed": content.packed, "member": content.member, "size": size},
            **{"guess": name, "is_wide": is_wide, "survey": survey if is_wide else None},
        }
    except InputError as error:
        return {"error": str(error)}


def _survey(content: Content, piece: Piece) -> dict:
    try:
        return asdict(encoding_.survey(content.chunks(piece.start, piece.stop)))
    except InputError as error:
        return {"error": str(error)}


def _deal(sizes: dict[int, int], whole: set[int], ranks: int) -> list[list[tuple[int, int]]]:
    """Return for each rank its pieces, (file, first byte) before it is moved to the next line, in order."""
    total = max(sum(sizes.values()), 1)
    dealt: list[list[tuple[int, int]]] = [[] for _ in range(ranks)]
    before = 0
    for number, size in sizes.items():
        if number in whole or size < 2 * LEAST_PIECE_BYTES:
            dealt[min((2 * before + size) * ranks // (2 * total), ranks - 1)].append((number, 0))
        else:
            dealt[min(before * ranks // total, ranks - 1)].append((number, 0))
            for rank in range(before * ranks // total + 1, ranks):
                start = -(-total * rank // ranks) - before
                if start >= size - LEAST_PIECE_BYTES:
                    break
                dealt[rank].append((number, start))
        before += size
    return dealt


def _line_start(content: Content, start: int, size: int) -> int:
    """Return where the first line begins that begins at byte `start` or behind it."""
    at = start - 1
    with content.open(at) as file:
        data = b""
        while at + len(data) < size:
            data += file.read(LINE_STEP_BYTES) or b""
            newline, carriage = data.find(b"\n"), data.find(b"\r", 0, len(data) - 2)
            if newline >= 0 and (carriage < 0 or newline < carriage):
                return at + newline + 1
            if carriage >= 0:
                behind = next(end for end in (b"\r\n", b"\n", b"") if data.startswith(end, carriage + 1))
                return at + carriage + 1 + len(behind)
            if not data or at + len(data) >= size:
                break
    return size


class _Joined(io.BufferedIOBase):
    """A file to read from, of pieces of bytes."""

    def __init__(self, chunks):
        self._chunks = chunks
        self._held = b""

    def read(self, size: int | None = -1, /) -> bytes:
        size = -1 if size is None else size
        parts, have = [self._held], len(self._held)
        while size < 0 or have < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            parts.append(chunk)
            have += len(chunk)
        data = b"".join(parts)
        self._held = data[size:] if size >= 0 else b""
        return data[:size] if size >= 0 else data
