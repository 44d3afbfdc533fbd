"""Text files with one text a line, each file read by all ranks in parts; quotes and delimiters mean nothing.

    ham<TAB>Ok lar... "Joking" wif u, oni   ->   text 'Ok lar... "Joking" wif u, oni' | label ham

A file of any size is dealt by ranges of bytes, in any encoding and packed or not, as delimited text is (text_files).
"""

import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge import assembly
from hvdedge.errors import InputError
from hvdedge.options import Positive
from hvdedge.parallel import agree
from hvdedge.record_blocks import whole_lines
from hvdedge.sources import as_text, columns_as_read, each_once
from hvdedge.tables import Table
from hvdedge.text_files import Piece, TextFile, open_all
from hvdedge.workspace import Source

PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")


@dataclass
class _Counts:
    """How many lines of a file became rows, were empty, lack the separator, or have no label."""

    rows: int = 0
    empty: int = 0
    aside: int = 0
    unlabelled: int = 0


def read(
    source: Source,
    comm: MPI.Intracomm,
    *,
    separator: str = "",
    label: Literal["none", "file", "folder"] = "none",
    unpack_ratio: Positive = 200.0,
) -> Table:
    """Collective. Read text files as a table of a row a line, but for lines without anything but blanks.

    Args:
        separator: what stands between label and text, at its first place in a line; a line without it is set aside.
        label: file: the name of a line's file without its ending; folder: that of the folder that holds it.
        unpack_ratio: how many times its size a packed file may unpack to.
    Returns:
        This rank's rows, those of the lines that begin in its ranges of the files: `text`, as it stands there, `label`,
        if it is told, missing where nothing stands before the separator.
    Raises:
        InputError: on every rank, where options do not fit together, or no file holds a line that is a row.
    """
    if separator and label != "none":
        raise InputError(
            f"prepare.label: received {label!r} with separator = {separator!r}, allowed: one of both; leave one out"
        )
    if {*separator} & {*"\r\n"}:
        raise InputError(
            f"prepare.separator: received {separator!r}, which ends a line, allowed: what stands within one; change it"
        )
    source = each_once(source, comm)
    files, pieces, errors = open_all(source.paths, unpack_ratio, comm)
    if not files:
        raise InputError(errors[min(errors)])
    has_label = bool(separator) or label != "none"
    schema = pa.schema(
        [
            ("text", pa.string()),
            *([("label", pa.string())] if has_label else []),
            ("_file", pa.string()),
            ("_line", pa.int64()),
        ]
    )
    counts = {number: _Counts() for number in files}
    tables: list[Table] = []
    with agree(comm):
        batches = (
            batch
            for piece in pieces
            for batch in _batches(files[piece.number], piece, separator, label, source, schema, counts[piece.number])
        )
        tables.append(Table.from_batches(schema, batches, source.workspace))
    totals = np.array([[one.rows, one.empty, one.aside, one.unlabelled] for one in counts.values()], np.int64)
    comm.Allreduce(MPI.IN_PLACE, totals, op=MPI.SUM)
    _tell(files, errors, totals, separator, has_label, source)
    return tables[0]


def _batches(
    file: TextFile, piece: Piece, separator: str, label: str, source: Source, schema: pa.Schema, counts: _Counts
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a piece, set aside what is none, and count both."""
    name, told = as_text(source.name(file.path)), _label(file.path, label)
    for first, content in whole_lines(file, piece, source.workspace.memory_bytes):
        lines = content.decode("utf-8", "replace").removesuffix("\n").split("\n")
        numbers = np.array([n for n, line in enumerate(lines, start=first) if line.strip()], np.int64)
        texts = [lines[n - first] for n in numbers.tolist()]
        counts.empty += len(lines) - len(texts)
        labels: list[str | None] = [told] * len(texts)
        if separator:
            parts = [line.partition(separator) for line in texts]
            if source.workspace.known is not None:  # new rows, of which the label is what is asked
                parts = [(before, between, after) if between else ("", " ", before) for before, between, after in parts]
            is_row = np.array([bool(between) for _, between, _ in parts], bool)
            if not is_row.all():
                odd = [text for text, is_kept in zip(texts, is_row, strict=True) if not is_kept]
                files, rules = [name] * len(odd), ["no_separator"] * len(odd)
                source.workspace.set_aside(_file=files, _line=numbers[~is_row], text=odd, rule=rules)
                counts.aside += len(odd)
            numbers = numbers[is_row]
            texts = [text for _, between, text in parts if between]
            labels = [before.strip() or None for before, between, _ in parts if between]
            counts.unlabelled += labels.count(None)
        counts.rows += len(texts)
        columns = {"text": texts, "label": labels, "_file": [name] * len(texts), "_line": numbers}
        if texts:
            yield pa.record_batch([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def _label(path: pathlib.Path, label: str) -> str | None:
    """Return what the name of a file, or its folder, says of each of its lines."""
    if label == "folder":
        return as_text(path.parent.name)
    whole = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return as_text(whole.stem) if label == "file" else None


def _tell(
    files: dict[int, TextFile],
    errors: dict[int, str],
    totals: np.ndarray,
    separator: str,
    has_label: bool,
    source: Source,
) -> None:
    """Say in the record what each file held.

    Raises:
        InputError: where no line is a row.
    """
    rows, _, aside, unlabelled = totals.sum(axis=0).tolist()
    name = source.name(files[min(files)].path)
    if not rows:
        what = f"{aside} lines without {separator!r}" if aside else "no line but empty ones"
        remedy = "set prepare.separator to what parts label and text" if aside else "fill the file"
        raise InputError(f"{name}: received {what}, allowed: some with a text; {remedy}")
    source.workspace.metrics["files"] = [
        {
            **{"file": as_text(source.name(file.path)), "encoding": file.encoding.name, "delimiter": separator},
            **{"rows": its_rows, "rows_quarantined": its_aside, "rows_empty": its_empty},
            **{"broken_lines": file.survey.broken_lines},
        }
        for file, (its_rows, its_empty, its_aside, _) in zip(files.values(), totals.tolist(), strict=True)
    ]
    if aside:
        event = {"what": "lines_without_separator", "lines": aside, "action": "set them aside"}
        source.workspace.events.append(event)
    types = {"text": "text"} | ({"label": "category"} if has_label else {})
    source.workspace.metrics["columns"] = columns_as_read(types, {"label": unlabelled} if has_label else {})
    left_out = [{"file": source.name(source.paths[number]), "error": error} for number, error in errors.items()]
    assembly.tell_left_out(left_out, source.workspace)
