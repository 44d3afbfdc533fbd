"""HDF5 files: rows along the first axis of their datasets, dealt in even blocks over the ranks.

    images (1000, 8, 8), labels (1000,)      ->   images [64 numbers] | labels
    train/x, train/y, test/x, test/y         ->   x | y | split, the rows of train before those of test
    x_train, y_train, x_test, y_test         ->   the same, as Keras names them

A name of several groups is joined by dots. Nothing outside the file is read, and of the file some megabytes at once.

Source: The HDF Group, HDF5 File Format Specification Version 3.0.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import msgspec
import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.columns import kind, shown
from hvdedge.contents import FREE_BYTES
from hvdedge.errors import InputError, one_line
from hvdedge.hdf5_files import BROKEN, MEMORY_SHARE, Found, find, open_file
from hvdedge.hdf5_texts import TextLengths
from hvdedge.joining import free_name
from hvdedge.options import Positive
from hvdedge.parallel import agree, allgather_json, bcast_json, block
from hvdedge.sources import columns_as_read, each_once
from hvdedge.splits import SPLITS, split_of
from hvdedge.tables import BATCH_ROWS, ORIGIN, Table
from hvdedge.workspace import Source

BATCH_BYTES = 1 << 22
MOST_TEXT_BYTES = 1 << 20  # of texts that are read at once, but for a row alone


@dataclass(frozen=True)
class _Segment:
    """The rows of a file that belong to one split, or all.

    Attributes:
        number: of the file.
        start: how many rows of the file stand before.
        columns: name -> the dataset that holds it.
    """

    number: int
    split: str
    start: int
    rows: int
    columns: dict[str, Found]


def read(
    source: Source, comm: MPI.Intracomm, *, datasets: tuple[str, ...] = (), unpack_ratio: Positive = 200.0
) -> Table:
    """Collective. Read the datasets of HDF5 files as columns of one table, several files one after the other.

    Args:
        datasets: paths or patterns of those that are read, or of groups; nothing: all that have as many rows as most.
        unpack_ratio: how many times its size a file's datasets may be in memory.
    Returns:
        This rank's block of the rows: a column a dataset, of numbers, truth values or texts; a list of as many numbers
        in each row for one of more dimensions. `split`, where groups or names tell train, validation, test. `_line` is
        the row's number in its file, from 1, those of train first.
    Raises:
        RankError: of an InputError, on every rank: where a file is none, or holds what is refused (hdf5_files), or
            datasets do not fit together.
    """
    source = each_once(source, comm)
    mine: dict[int, list] = {}
    with agree(comm):
        for number in range(comm.rank, len(source.paths), comm.size):
            found, without = find(source.paths[number], datasets, unpack_ratio, source.workspace.memory_bytes)
            parts, others = _segments(source, number, found, bool(datasets))
            mine[number] = [msgspec.to_builtins(parts), [*others, *(f"{name} (a single value)" for name in without)]]
    told = {int(number): parts for part in allgather_json(mine, comm) for number, parts in part.items()}
    segments: list[_Segment] = []
    for number in sorted(told):
        parts, left_out = told[number]
        segments += msgspec.convert(parts, list[_Segment])
        if left_out:
            event = {
                "what": "datasets_left_out",
                "file": source.name(source.paths[number]),
                "datasets": shown(left_out),
            }
            source.workspace.events.append(event)
    has_split = any(segment.split for segment in segments)
    types: dict[str, pa.DataType] = {}
    with agree(comm):
        types = _types(segments, source)
    split = [("split", pa.string())] if has_split else []
    schema = pa.schema([*types.items(), *split, ("_file", pa.string()), ("_line", pa.int64())])
    rows = block(sum(segment.rows for segment in segments), comm.size, comm.rank)

    def batches() -> Iterator[pa.RecordBatch]:
        first = 0
        for segment in segments:
            here = range(segment.rows)[max(rows.start - first, 0) : max(rows.stop - first, 0)]
            if here:
                yield from _batches(segment, here, source, schema, unpack_ratio)
            first += segment.rows

    counts: Counter = Counter()
    for segment in segments:
        counts[segment.number] += segment.rows
    source.workspace.metrics["files"] = bcast_json(
        [{"file": source.name(path), "rows": counts[number]} for number, path in enumerate(source.paths)], comm
    )
    missing = {name: sum(segment.rows for segment in segments if name not in segment.columns) for name in types}
    kinds = {name: kind(type_) for name, type_ in types.items()} | ({"split": "category"} if has_split else {})
    missing |= {"split": sum(segment.rows for segment in segments if not segment.split)} if has_split else {}
    source.workspace.metrics["columns"] = columns_as_read(kinds, missing)
    return Table(schema, rows.stop - rows.start, source.workspace, batches)


def _segments(source: Source, number: int, found: Sequence[Found], is_chosen: bool) -> tuple[list[_Segment], list[str]]:
    """Return the parts of a file that have as many rows each, and the datasets that are left out, with their rows.

    Raises:
        InputError: where it is not clear which belong together.
    """
    path = source.paths[number]
    places = _places([one.name for one in found])
    by_split: dict[str, dict[str, Found]] = {}
    taken = {*ORIGIN, "split"} if any(split for split, _ in places) else {*ORIGIN}
    for one, (split, name) in zip(found, places, strict=True):
        columns = by_split.setdefault(split, {})
        columns[free_name(name.replace("/", "."), {*columns, *taken})] = one
    left_out: list[Found] = []
    if len(by_split) > 1 and "" in by_split:
        others = by_split.pop("")
        if is_chosen:
            raise InputError(
                f"{path}: prepare.datasets: received {shown([one.name for one in others.values()])}, of no split, "
                "beside those of train, validation or test, allowed: one or the other; name fewer"
            )
        left_out += others.values()
    segments, start = [], 0
    for split in ("", *SPLITS):
        if split in by_split:
            columns = by_split[split]
            rows = _common_rows(source, number, columns, is_chosen)
            left_out += [one for one in columns.values() if one.shape[0] != rows]
            kept = {name: one for name, one in columns.items() if one.shape[0] == rows}
            segments.append(_Segment(number, split, start, rows, kept))
            start += rows
    return segments, _counted(left_out)


def _counted(found: Iterable[Found]) -> list[str]:
    return [f"{one.name} ({one.shape[0]})" for one in found]


def _places(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return split and name of the column of each dataset: by the group at the top, else by what Keras' habit tells."""
    parts = [name.split("/") for name in names]
    if any(len(its) > 1 and split_of(its[0]) for its in parts):
        return [
            (split_of(its[0]), "/".join(its[1:])) if len(its) > 1 and split_of(its[0]) else ("", "/".join(its))
            for its in parts
        ]
    told = [_of_name(name) for name in names]
    splits_of: dict[str, set[str]] = {}
    for split, column in told:
        splits_of.setdefault(column, set()).add(split)
    return [
        (split, column) if split and len(splits_of[column] - {""}) > 1 else ("", name)
        for name, (split, column) in zip(names, told, strict=True)
    ]


def _of_name(name: str) -> tuple[str, str]:
    """Return split and the rest of a name such as x_train or test_labels."""
    group, _, last = name.rpartition("/")
    first, _, rest = last.partition("_")
    before, _, end = last.rpartition("_")
    split, column = (split_of(end), before) if split_of(end) and before else (split_of(first), rest)
    return (split, f"{group}/{column}".lstrip("/")) if split and column else ("", name)


def _common_rows(source: Source, number: int, columns: dict[str, Found], is_chosen: bool) -> int:
    """Return how many rows the datasets have, or more of them than have any other number."""
    counts = Counter(one.shape[0] for one in columns.values()).most_common()
    is_clear = len(counts) == 1 or (counts[0][1] > max(counts[1][1], 1) and not is_chosen)
    if not is_clear:
        raise InputError(
            f"{source.paths[number]}: received datasets of different lengths, {shown(_counted(columns.values()))}, "
            "allowed: as many rows in each; name some by prepare.datasets"
        )
    return counts[0][0]


def _types(segments: Sequence[_Segment], source: Source) -> dict[str, pa.DataType]:
    """Return the type of each column that holds it in all files and splits.

    Raises:
        InputError: where there is none.
    """
    first: dict[str, tuple[_Segment, Found]] = {}
    types: dict[str, Any] = {}
    for segment in segments:
        for name, one in segment.columns.items():
            before, known = first.setdefault(name, (segment, one))
            is_number = one.kind not in ("text", "boolean")
            if known.shape[1:] != one.shape[1:] or (one.kind != known.kind and not (is_number and types[name])):
                raise InputError(
                    f"{source.paths[segment.number]}: {one.name}: received rows of {_spelled(one)} beside "
                    f"{_spelled(known)} of {known.name} in {source.name(source.paths[before.number])}, allowed: rows "
                    "of one kind and shape; name some by prepare.datasets, or read the files apart"
                )
            both = np.result_type(one.kind, types.get(name) or one.kind) if is_number else None
            types[name] = both
    return {name: _arrow(one, types[name]) for name, (_, one) in first.items()}


def _spelled(one: Found) -> str:
    return f"{one.kind} {'x'.join(map(str, one.shape[1:]))}".strip()


def _arrow(one: Found, number: np.dtype | None) -> pa.DataType:
    if number is None:
        return pa.string() if one.kind == "text" else pa.bool_()
    type_ = pa.from_numpy_dtype(number)
    return type_ if len(one.shape) == 1 else pa.list_(type_, int(np.prod(one.shape[1:])))


def _batches(
    segment: _Segment, rows: range, source: Source, schema: pa.Schema, unpack_ratio: float
) -> Iterator[pa.RecordBatch]:
    path = source.paths[segment.number]
    row_bytes = sum(one.row_bytes for one in segment.columns.values())
    most = source.workspace.memory_bytes // MEMORY_SHARE // max(len(segment.columns), 1)
    bands = [one.band_bytes for one in segment.columns.values()]
    most_text = max(unpack_ratio * path.stat().st_size, FREE_BYTES)
    at_once = max(min(BATCH_ROWS, BATCH_BYTES // max(row_bytes, 1)), 1)
    start, text_bytes = rows.start, 0
    with open_file(path, min(max(bands), most)) as file:
        data = {name: _dataset(path, file, one) for name, one in segment.columns.items()}
        texts = {
            segment.columns[name].name: TextLengths(path, one) for name, one in data.items() if one.dtype == object
        }
        while start < rows.stop:
            stop = min(start + at_once, rows.stop)
            if texts:
                sizes = np.sum([_told(path, name, one, start, stop) for name, one in texts.items()], axis=0)
                stop, size = _fitting(path, sizes, start, source.workspace.memory_bytes // MEMORY_SHARE)
                text_bytes += size
            if text_bytes > most_text:
                raise InputError(
                    f"{path}: received texts of more than {unpack_ratio:g} times the file's size, the limit; if it is "
                    "sound, raise prepare.unpack_ratio"
                )
            columns = []
            for field in schema:
                if field.name in data:
                    one = segment.columns[field.name]
                    columns.append(_cells(path, one, data[field.name], start, stop, field.type))
                elif field.name == "_line":
                    columns.append(pa.array(np.arange(segment.start + start + 1, segment.start + stop + 1)))
                elif field.name == "_file" or (field.name == "split" and segment.split):
                    text = source.name(path) if field.name == "_file" else segment.split
                    columns.append(pa.repeat(pa.scalar(text), stop - start))
                else:
                    columns.append(pa.nulls(stop - start, field.type))
            start = stop
            yield pa.record_batch(columns, schema=schema)


def _dataset(path: Any, file: h5py.File, one: Found) -> h5py.Dataset:
    dataset = file[one.path]
    if not isinstance(dataset, h5py.Dataset) or dataset.shape != tuple(one.shape):
        raise InputError(f"{path}: {one.name}: received another dataset than before, allowed: one that stays as it is")
    return dataset


def _told(path: Any, name: str, lengths: TextLengths, start: int, stop: int) -> np.ndarray:
    """Return the lengths of some texts, in bytes."""
    try:
        return lengths.read(start, stop)
    except BROKEN as error:
        raise _broken(path, name, start, stop, error) from None


def _fitting(path: Any, sizes: np.ndarray, start: int, most: int) -> tuple[int, int]:
    """Return behind which row those end that are read at once, and how many bytes their texts have.

    Raises:
        InputError: where a row has more than `most`.
    """
    count = max(int(np.searchsorted(np.cumsum(sizes), MOST_TEXT_BYTES, side="right")), 1)
    size = int(sizes[:count].sum())
    if size > max(most, MOST_TEXT_BYTES):
        raise InputError(
            f"{path}: received texts of {size} bytes in row {start + 1}, allowed: {most}, a part of memory; raise "
            "memory, or leave them out by prepare.datasets"
        )
    return start + count, size


def _broken(path: Any, name: str, start: int, stop: int, error: Exception) -> InputError:
    return InputError(
        f"{path}: {name}: received rows {start + 1} to {stop} that cannot be read ({one_line(error)}), expected whole "
        "ones; get the file again"
    )


def _cells(path: Any, one: Found, dataset: h5py.Dataset, start: int, stop: int, type_: pa.DataType) -> pa.Array:
    """Return some rows as cells of a column."""
    try:
        values = dataset[start:stop]
    except BROKEN as error:
        raise _broken(path, one.name, start, stop, error) from None
    if one.kind == "text":
        texts = (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values)
        return pa.array(texts, pa.string())
    if one.kind == "boolean":
        return pa.array(values.astype(bool))
    is_list = pa.types.is_fixed_size_list(type_)
    numbers = values.reshape(-1).astype((type_.value_type if is_list else type_).to_pandas_dtype())
    return pa.FixedSizeListArray.from_arrays(pa.array(numbers), type_.list_size) if is_list else pa.array(numbers)
