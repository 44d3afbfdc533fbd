"""IDX files, as MNIST is published: images, and a label for each in a file of its own, packed by gzip or not.

    0, 0, code of the type, number of dimensions | size of each, 4 bytes | values; all big-endian, the last fastest

`train-images-idx3-ubyte.gz` belongs to `train-labels-idx1-ubyte.gz`: their names differ by these words alone.

Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits (the format's description).
"""

import fnmatch
import gzip
import io
import itertools
import math
import pathlib
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.errors import InputError, one_line
from hvdedge.parallel import agree, allgather_json, bcast_json, block
from hvdedge.sources import columns_as_read, each_once
from hvdedge.tables import BATCH_ROWS, Table
from hvdedge.workspace import Source

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP = b"\x1f\x8b"
BATCH_BYTES = 1 << 22
MOST_VALUES = 1 << 16  # of an image: each becomes a column
WORDS = re.compile(r"images|labels|idx\d+|\.gz$", re.IGNORECASE)
BROKEN = OSError, EOFError, zlib.error, struct.error


@dataclass
class _Values:
    """A file's header: what each value is, the size of each dimension, and where the values begin."""

    path: pathlib.Path
    type: np.dtype
    shape: tuple[int, ...]
    start: int

    @property
    def row_values(self) -> int:
        return math.prod(self.shape[1:])


def read(source: Source, comm: MPI.Intracomm, *, test: str = "t10k*") -> Table:
    """Collective. Read images and labels of IDX files as one table.

    Args:
        test: a pattern for the names of the files whose rows are for the test; all others are for training.
    Returns:
        This rank's block of the rows: `label`, where there are labels, `split` ("train" or "test"), and the values of
        an image, `p0` and on, in as many digits as the last one has; `_line` is the image's number in its file, from 1.
    Raises:
        RankError: on every rank, where a file is not as its header says, or images and labels do not fit together.
    """
    source = each_once(source, comm)
    headers: dict[int, tuple[str, tuple[int, ...], int]] = {}
    with agree(comm):
        for number in range(comm.rank, len(source.paths), comm.size):
            headers[number] = _header(source.paths[number])
    found = {int(number): header for part in allgather_json(headers, comm) for number, header in part.items()}
    files = [
        _Values(path, np.dtype(found[number][0]), tuple(found[number][1]), found[number][2])
        for number, path in enumerate(source.paths)
    ]
    with agree(comm):
        pairs = _paired(files, source)
    type_ = pa.from_numpy_dtype(np.result_type(*(images.type for images, _ in pairs)).newbyteorder("="))
    width = len(str(pairs[0][0].row_values - 1))
    names = [f"p{place:0{width}d}" for place in range(pairs[0][0].row_values)]
    label = [] if pairs[0][1] is None else [("label", pa.int64())]
    origin = [("_file", pa.string()), ("_line", pa.int64())]
    schema = pa.schema([*label, ("split", pa.string()), *((name, type_) for name in names), *origin])
    rows = block(sum(images.shape[0] for images, _ in pairs), comm.size, comm.rank)

    mine = [*_overlapping(pairs, rows)]

    def batches() -> Iterator[pa.RecordBatch]:
        for images, labels, here in mine:
            split = "test" if fnmatch.fnmatch(images.path.name, test) else "train"
            yield from _batches(images, labels, here, source.name(images.path), split, schema)

    with agree(comm):  # so that what is wrong is told before anything is made of it
        for images, labels, here in mine:
            for file in (images, labels) if labels else (images,):
                for _ in _rows(file, here, _at_once(file)):
                    pass
    source.workspace.metrics["files"] = bcast_json(
        [{"file": source.name(images.path), "rows": images.shape[0]} for images, _ in pairs], comm
    )
    types = {"label": "integer"} if label else {}
    types |= {"split": "category"} | dict.fromkeys(names, "float" if pa.types.is_floating(type_) else "integer")
    source.workspace.metrics["columns"] = columns_as_read(types)
    return Table(schema, rows.stop - rows.start, source.workspace, batches)


def _open(path: pathlib.Path) -> BinaryIO:
    file = open(path, "rb")  # noqa: SIM115 - closed by who reads it
    is_packed = file.read(2) == GZIP
    file.seek(0)
    return io.BufferedReader(gzip.GzipFile(fileobj=file)) if is_packed else file  # type: ignore[arg-type]


def _header(path: pathlib.Path) -> tuple[str, tuple[int, ...], int]:
    """Return the type, the shape, and where the values begin."""
    try:
        with _open(path) as file:
            zeros, code, dimensions = struct.unpack(">HBB", file.read(4))
            if zeros or code not in TYPES or not dimensions:
                raise InputError(
                    f"{path}: received a file that begins with {zeros:#06x}, {code:#04x} and {dimensions} dimensions, "
                    f"allowed: IDX files, with 0, a code of {', '.join(f'{code:#04x}' for code in TYPES)} and at least "
                    "1; leave it out"
                )
            shape = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
    except BROKEN as error:
        raise InputError(f"{path}: received no IDX file ({one_line(error)}), expected one; get it again") from None
    values = math.prod(shape[1:])
    if not 0 < values <= MOST_VALUES:
        raise InputError(
            f"{path}: received images of {' x '.join(map(str, shape[1:]))} values, allowed: 1 to {MOST_VALUES} in all; "
            "make them smaller"
        )
    return TYPES[code], shape, 4 + 4 * dimensions


def _paired(files: list[_Values], source: Source) -> list[tuple[_Values, _Values | None]]:
    """Return the images with their labels."""
    images = [file for file in files if len(file.shape) > 1]
    labels = {WORDS.sub("", file.path.name): file for file in files if len(file.shape) == 1}
    if not images:
        raise InputError(
            f"prepare.source: received {', '.join(source.name(file.path) for file in files)}, which hold one dimension"
            ", allowed: with images of two or more; name their files, too"
        )
    pairs = [(file, labels.pop(WORDS.sub("", file.path.name), None)) for file in images]
    for image, label in pairs:
        alike = pairs[0][0]
        if image.shape[1:] != alike.shape[1:]:
            raise InputError(
                f"{image.path}: received images of {image.shape[1:]} values beside {alike.shape[1:]} in "
                f"{source.name(alike.path)}, allowed: one size; read them apart"
            )
        if (label is None) != (pairs[0][1] is None) or (label is None and labels):
            alone = [source.name((image if label is None else alike).path), *map(str, labels)]
            raise InputError(
                f"prepare.source: received {alone[0]} without labels, allowed: a file of labels for each or for none, "
                "whose name differs by 'labels' for 'images'; name it, too"
            )
        if label is not None and label.shape[0] != image.shape[0]:
            raise InputError(
                f"{label.path}: received {label.shape[0]} labels for {image.shape[0]} images, allowed: as many; get "
                "both again"
            )
    if labels:
        raise InputError(
            f"{next(iter(labels.values())).path}: received labels without images, allowed: with the file of theirs; "
            "name it, too"
        )
    return pairs


def _overlapping(
    pairs: list[tuple[_Values, _Values | None]], rows: slice
) -> Iterator[tuple[_Values, _Values | None, range]]:
    """Yield the pairs that have some of the rows of all pairs, and which of their own."""
    first = 0
    for images, labels in pairs:
        here = range(images.shape[0])[max(rows.start - first, 0) : max(rows.stop - first, 0)]
        if here:
            yield images, labels, here
        first += images.shape[0]


def _at_once(values: _Values) -> int:
    return max(min(BATCH_ROWS, BATCH_BYTES // (values.row_values * values.type.itemsize)), 1)


def _batches(
    images: _Values, labels: _Values | None, rows: range, name: str, split: str, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    at_once = _at_once(images)
    told = itertools.repeat(None) if labels is None else _rows(labels, rows, at_once)
    start = rows.start
    for part, its_labels in zip(_rows(images, rows, at_once), told, strict=False):
        count = len(part)
        columns = {
            "split": pa.repeat(pa.scalar(split), count),
            "_file": pa.repeat(pa.scalar(name), count),
            "_line": pa.array(np.arange(start + 1, start + 1 + count)),
        }
        if its_labels is not None:
            columns["label"] = pa.array(its_labels[:, 0].astype(np.int64))
        pixels = iter(np.ascontiguousarray(part.T))
        yield pa.record_batch(
            [
                columns[field.name]
                if field.name in columns
                else pa.array(next(pixels).astype(field.type.to_pandas_dtype()))
                for field in schema
            ],
            schema=schema,
        )
        start += count


def _rows(values: _Values, rows: range, at_once: int) -> Iterator[np.ndarray]:
    """Yield rows, (rows, values), of a file; a packed one is unpacked up to them, and nothing of it is kept."""
    row_bytes = values.row_values * values.type.itemsize
    try:
        with _open(values.path) as file:
            file.seek(values.start + rows.start * row_bytes)
            for start in range(rows.start, rows.stop, at_once):
                count = min(at_once, rows.stop - start)
                content = file.read(count * row_bytes)
                if len(content) < count * row_bytes:
                    raise EOFError(f"it ends in row {start + len(content) // row_bytes + 1} of {values.shape[0]}")
                yield np.frombuffer(content, values.type).reshape(count, values.row_values)
            if rows.stop == values.shape[0] and file.read(1):
                raise EOFError(f"more follows after its {values.shape[0]} rows")
    except BROKEN as error:
        raise InputError(
            f"{values.path}: received a file that is not as its header says ({one_line(error)}), allowed: whole ones; "
            "get it again"
        ) from None
