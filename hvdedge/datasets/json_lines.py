"""JSON lines: one object a line, each file read by all ranks in parts; values become cells of text, typed by evidence.

A file that is one list of objects is read, too, by one rank (json_documents).

    {"id": 1, "who": {"name": "Ann"}, "tags": ["a", "b"]}   ->   id 1 | who.name Ann | tags ["a","b"]

Columns stand in the order in which their keys come; a key that a line lacks is a missing value. A line that is no
object is set aside. NaN and Infinity, which JSON lacks and many programs write, are values as in delimited text.
"""

import codecs
import contextlib
import json
import math
from collections.abc import Iterator

import msgspec
import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge import assembly, joining
from hvdedge.errors import InputError
from hvdedge.json_documents import is_document, items
from hvdedge.options import Positive
from hvdedge.parallel import agree, allgather_json
from hvdedge.record_blocks import most_line_bytes, whole_lines
from hvdedge.sources import each_once
from hvdedge.tables import Table
from hvdedge.text_files import Piece, TextFile, open_all
from hvdedge.workspace import Source

BLOCK_BYTES = 1 << 20
HEAD_BYTES = 1 << 16
MOST_COLUMNS = 10_000
NOT_FINITE = {"NaN": None, "Infinity": "Infinity", "-Infinity": "-Infinity"}


def _number(text: str) -> float | str:
    """Return a number of JSON; as text where it is too large for one."""
    return float(text) if math.isfinite(float(text)) else text


def _keys_apart(pairs: list[tuple[str, object]]) -> dict:
    """Return an object; of a key that comes again, each value under a name of its own."""
    result: dict = {}
    for key, value in pairs:
        result[joining.free_name(key, result)] = value
    return result


DECODER = json.JSONDecoder(parse_constant=NOT_FINITE.get, parse_float=_number, object_pairs_hook=_keys_apart)


def read(
    source: Source,
    comm: MPI.Intracomm,
    *,
    types: bool = True,
    missing: tuple[str, ...] = (
        "",
        "na",
        "n/a",
        "#n/a",
        "n.a.",
        "<na>",
        "nan",
        "null",
        "(null)",
        "\\n",
        "none",
        "nil",
        "missing",
        "-",
        "--",
        "---",
        "–",
        "—",
        "?",
        ".",
    ),
    formats: bool = True,
    sentinels: bool = True,
    unpack_ratio: Positive = 200.0,
) -> Table:
    """Collective. Read files of one JSON object a line, or of a list of objects, as one table, types repaired.

    Where several files are read, one that holds no objects is told in `metrics.files` and left out.

    Args:
        types: False keeps each value as text.
        missing: what means a missing value beside null, outer blanks and case aside.
        formats: whether text is brought into one form: Unicode, blanks, spellings of a category, patterns.
        sentinels: whether numbers such as 9999 that stand out of their column's distribution are missing values.
        unpack_ratio: how many times its size a packed file may unpack to.
    Returns:
        This rank's rows: those that begin in its ranges of the files.
    Raises:
        RankError: on every rank, where no file holds objects, or one cannot be read to its end.
    """
    source = each_once(source, comm)
    files, pieces, errors = open_all(source.paths, unpack_ratio, comm)
    found: list[list] = []
    with agree(comm):
        found = [[piece.number, *_keys(files[piece.number], piece, source)] for piece in pieces]
    keys: dict[int, dict[str, None]] = {number: {} for number in files}
    objects = dict.fromkeys(files, 0)
    for number, names, count, error in [entry for part in allgather_json(found, comm) for entry in part]:
        keys[number].update(dict.fromkeys(names))
        objects[number] += count
        if error:
            errors.setdefault(number, error)
    for number, names in keys.items():
        path = source.paths[number]
        if not objects[number]:
            errors.setdefault(
                number,
                f"{path}: received no line that is a JSON object, expected one object a line, or a list of objects; "
                "convert it",
            )
        if len(names) > MOST_COLUMNS:
            errors.setdefault(
                number, f"{path}: received {len(names)} different keys, allowed: {MOST_COLUMNS}; convert it first"
            )
    if len(errors) == len(source.paths):
        raise InputError(errors[min(errors)])
    parts = []
    with agree(comm):
        spellings = missing if types else None
        parts = [
            _read(files[piece.number], piece, list(keys[piece.number]), source, spellings)
            for piece in pieces
            if piece.number not in errors
        ]
    table = assembly.assemble(parts, source, comm, types=types, missing=missing, formats=formats, sentinels=sentinels)
    left_out = [{"file": source.name(source.paths[number]), "error": errors[number]} for number in sorted(errors)]
    assembly.tell_left_out(left_out, source.workspace)
    return table


def _objects(file: TextFile, piece: Piece, source: Source) -> Iterator[tuple[int, str, dict | None]]:
    """Yield number of the line, text and object of each item of a piece; None for what is no object.

    A document cannot be parted: all of it belongs to the first piece.
    """
    most_bytes = most_line_bytes(source.workspace.memory_bytes)
    with file.open() as opened:
        head = file.encoding.to_utf8(opened.read(HEAD_BYTES)).decode("utf-8", "replace")
    if not is_document(head, file.survey.lines):
        for first, content in whole_lines(file, piece, source.workspace.memory_bytes):
            for number, line in enumerate(content.split(b"\n"), start=first):
                if line.strip():
                    yield number, line.decode("utf-8", "replace"), _object(line)
    elif not piece.start:
        name = "utf-8" if file.encoding.is_wide else file.encoding.name
        with file.open() as opened, codecs.getreader(name)(opened, "replace") as text:
            for number, item in items(lambda size: text.read(size, size), str(file.path), most_bytes):
                yield number, item, _object(item.encode())


def _object(line: bytes) -> dict | None:
    """Return the object that a line is, or None; NaN is null, and Infinity text, which no number column takes."""
    try:
        value = msgspec.json.decode(line)
        is_whole = line.count(b'":') <= _keys_in(value)  # else a key may come twice, of which msgspec keeps one value
    except (msgspec.DecodeError, RecursionError):
        value, is_whole = None, False
    if not is_whole:
        with contextlib.suppress(ValueError, RecursionError):  # Python's own reader is slower, but knows them
            value = msgspec.json.decode(json.dumps(DECODER.decode(line.decode())))
    return value if isinstance(value, dict) else None


def _keys_in(value: object) -> int:
    if isinstance(value, dict):
        return len(value) + sum(_keys_in(item) for item in value.values() if isinstance(item, dict | list))
    return sum(map(_keys_in, value)) if isinstance(value, list) else 0


def _keys(file: TextFile, piece: Piece, source: Source) -> tuple[list[str], int, str]:
    """Return the keys of a piece in the order in which they come, how many objects it has, and why it is none."""
    keys: dict[str, None] = {}
    count = 0
    try:
        for _, _, value in _objects(file, piece, source):
            if value is not None:
                count += 1
                keys.update(dict.fromkeys(_flat(value)))
                if len(keys) > MOST_COLUMNS:
                    break
    except InputError as error:
        return [], 0, str(error)
    return list(keys), count, ""


def _read(
    file: TextFile, piece: Piece, names: list[str], source: Source, missing: tuple[str, ...] | None
) -> assembly.Piece:
    part = assembly.Piece.empty(piece.number, names, len(names), source.workspace, missing)
    name = source.name(file.path)
    rows: list[dict[str, str | None]] = []
    numbers: list[int] = []
    aside: list[tuple[int, str]] = []
    total = size = 0

    def flush() -> None:
        nonlocal total, size
        columns = [pa.array([row.get(key) for row in rows], pa.string()).fill_null("") for key in names]
        part.add(pa.record_batch([*columns, pa.array(numbers, pa.int64())], schema=part.cells.schema))
        total, size = total + len(rows), 0
        rows.clear()
        numbers.clear()

    for number, text, value in _objects(file, piece, source):
        if value is None:
            aside.append((number, text))
            continue
        rows.append(_flat(value))
        numbers.append(number)
        size += len(text) + 8 * len(names)
        if size >= BLOCK_BYTES:
            flush()
    if rows:
        flush()
    if aside:
        lines, texts = zip(*aside, strict=True)
        source.workspace.set_aside(
            _file=[name] * len(aside),
            _line=np.array(lines, np.int64),
            text=texts,
            rule=["no_object"] * len(aside),
            column=[None] * len(aside),
        )
    part.metrics = {
        **{"file": name, "encoding": file.encoding.name, "delimiter": "", "quote": "", "escape": ""},
        "facts": {"preamble_rows": 0, "header_rows": 0, "broken_bytes": file.survey.broken},
        **{"rows": total, "rows_quarantined": len(aside), "rows_ragged": 0},
    }
    return part


def _flat(value: dict, before: str = "") -> dict[str, str | None]:
    """Return key -> text of an object, keys of objects in it joined by dots; null is None; a second key is key_2."""
    result: dict[str, str | None] = {}
    for key, item in value.items():
        if isinstance(item, dict) and item:
            for name, text in _flat(item, f"{before}{key}.").items():
                result[joining.free_name(name, result)] = text
        else:
            result[joining.free_name(before + key, result)] = _text(item)
    return result


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()
