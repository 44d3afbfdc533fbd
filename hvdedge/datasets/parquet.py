"""Parquet files: typed tables as they are, rows dealt in even blocks over the ranks, columns joined by name."""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mpi4py import MPI

from hvdedge.columns import kind
from hvdedge.errors import InputError, one_line
from hvdedge.parallel import agree, allgather_json, bcast_json, block
from hvdedge.sources import each_once
from hvdedge.tables import BATCH_ROWS, ORIGIN, Table
from hvdedge.workspace import Source

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
DAY = 86_400
FIRST, END = -719_162 * DAY, 2_932_897 * DAY  # the years 1 and 10000, in seconds from 1970

Log = Callable[[str, pa.Array, pa.Array], None]  # column, the numbers of its lines, their cells


def read(source: Source, comm: MPI.Intracomm) -> Table:
    """Collective. Read Parquet files as one table, each column in the type that holds it in all files.

    A column that a file lacks is missing there; one whose types have no common one becomes text. What Python cannot
    hold is changed: durations become seconds, nanoseconds microseconds, 16 bits of a float 32; the event
    `type_changed` tells so. A date or timestamp outside the years 1 to 9999 becomes missing (rule `year`).

    Returns:
        This rank's block of the rows; `_line` is the row's number in its file, from 1.
    Raises:
        RankError: on every rank, where a file cannot be read or is not Parquet.
    """
    source = each_once(source, comm)
    mine: dict[int, int] = {}
    with agree(comm):
        for number in range(comm.rank, len(source.paths), comm.size):
            mine[number] = _open(source.paths[number]).metadata.num_rows
    sizes = {int(number): size for part in allgather_json(mine, comm) for number, size in part.items()}
    schema = pa.schema([])
    with agree(comm):
        schemas = [_open(path).schema_arrow for path in source.paths]
        for path, one in zip(source.paths, schemas, strict=True):
            if len({*one.names}) < len(one.names):
                twice = next(name for name in one.names if one.names.count(name) > 1)
                raise InputError(f"{path}: received two columns called {twice!r}, allowed: each name once; rename one")
        schema = _schema(schemas)
    changes = {
        (field.name, str(field.type), str(_held_type(field.type)))
        for one in schemas
        for field in one
        if field.name not in ORIGIN and field.type != _held_type(field.type)
    }
    source.workspace.events += [
        {"what": "type_changed", "column": name, "from": given, "to": held} for name, given, held in sorted(changes)
    ]
    rows = block(sum(sizes.values()), comm.size, comm.rank)

    def batches(log: Callable[[str], Log] | None = None) -> Iterator[pa.RecordBatch]:
        start = 0
        for number, path in enumerate(source.paths):
            if start < rows.stop and start + sizes[number] > rows.start:
                name = source.name(path)
                yield from _overlapping(path, name, start, rows, schema, log and log(name))
            start += sizes[number]

    table = Table(schema, rows.stop - rows.start, source.workspace, batches)
    empty, changed = np.zeros((2, len(table.columns)), np.int64)

    def log(file: str) -> Log:
        def tell(name: str, lines: pa.Array, cells: pa.Array) -> None:
            changed[table.columns.index(name)] += len(cells)
            source.workspace.log_changes(
                _file=[file] * len(cells),
                _line=lines,
                column=[name] * len(cells),
                before=cells.cast(pa.string()),
                after=pa.nulls(len(cells), pa.string()),
                rule=["year"] * len(cells),
            )

        return tell

    with agree(comm):
        for batch in batches(log):
            empty += [column.null_count for column in batch.columns[: len(empty)]]
    for counts in (empty, changed):
        comm.Allreduce(MPI.IN_PLACE, counts, op=MPI.SUM)
    source.workspace.metrics["files"] = bcast_json(
        [{"file": source.name(path), "rows": sizes[number]} for number, path in enumerate(source.paths)], comm
    )
    source.workspace.metrics["columns"] = {
        name: {"type": kind(schema.field(name).type), "missing": int(absent), "changed": int(lost)}
        | ({"emptied": int(lost)} if lost else {})
        for name, absent, lost in zip(table.columns, empty, changed, strict=True)
    }
    return table


def _open(path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{path}: received no Parquet file that can be read ({one_line(error)}), expected one; get it again"
        ) from None


def _schema(schemas: list[pa.Schema]) -> pa.Schema:
    types: dict[str, pa.DataType] = {}
    for schema in schemas:
        for field in schema:
            if field.name in ORIGIN:
                continue
            held = _held_type(field.type)
            known = types.setdefault(field.name, held)
            if known != held:
                types[field.name] = _common(field.name, known, held)
    return pa.schema([*types.items(), ("_file", pa.string()), ("_line", pa.int64())])


def _common(name: str, one: pa.DataType, other: pa.DataType) -> pa.DataType:
    try:
        schemas = [pa.schema([(name, type)]) for type in (one, other)]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return pa.string()


def _held_type(type: pa.DataType) -> pa.DataType:
    if pa.types.is_duration(type):
        return pa.float64()
    if pa.types.is_float16(type):
        return pa.float32()
    if pa.types.is_timestamp(type) and type.unit == "ns":
        return pa.timestamp("us", type.tz)
    return pa.time64("us") if pa.types.is_time64(type) else type


def _held(column: pa.Array) -> pa.Array:
    """Return a column in its `_held_type`, null for the dates and timestamps of no year that Python has."""
    type = _held_type(column.type)
    if pa.types.is_duration(column.type):
        numbers = column.cast(pa.int64()).cast(type, safe=False)
        return pc.divide(numbers, float(PER_SECOND[column.type.unit]))
    column = column.cast(type, safe=False)  # nanoseconds are cut off
    if not (pa.types.is_date(type) or pa.types.is_timestamp(type)):
        return column
    is_days = pa.types.is_date32(type)
    numbers = column.cast(pa.int32() if is_days else pa.int64())
    second = 1 if is_days else PER_SECOND["ms" if pa.types.is_date(type) else type.unit]
    margin = DAY if pa.types.is_timestamp(type) and type.tz not in (None, "UTC") else 0  # local time may be ahead
    first, end = ((edge * second // (DAY if is_days else 1)) for edge in (FIRST + margin, END - margin))
    inside = pc.and_(pc.greater_equal(numbers, first), pc.less(numbers, end))
    return pc.if_else(inside, column, pa.scalar(None, type))


def _overlapping(
    path, name: str, start: int, rows: slice, schema: pa.Schema, log: Log | None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file, whose first has the global number `start`, that lie in `rows`."""
    file = _open(path)
    for group in range(file.num_row_groups):
        size = file.metadata.row_group(group).num_rows
        if start < rows.stop and start + size > rows.start:
            at = start
            for batch in file.iter_batches(BATCH_ROWS, row_groups=[group]):
                first, last = max(rows.start - at, 0), min(rows.stop - at, batch.num_rows)
                if first < last:
                    before = _before(file, group) + at - start + first
                    yield _shaped(batch.slice(first, last - first), name, schema, before, log)
                at += batch.num_rows
        start += size


def _before(file: pq.ParquetFile, group: int) -> int:
    return sum(file.metadata.row_group(number).num_rows for number in range(group))


def _shaped(batch: pa.RecordBatch, name: str, schema: pa.Schema, before: int, log: Log | None) -> pa.RecordBatch:
    columns = []
    lines = pa.array(np.arange(before + 1, before + 1 + batch.num_rows))
    for field in schema:
        if field.name == "_file":
            columns.append(pa.repeat(pa.scalar(name, pa.string()), batch.num_rows))
        elif field.name == "_line":
            columns.append(lines)
        elif field.name in batch.schema.names:
            given = batch.column(field.name)
            held = _held(given)
            if log and held.null_count > given.null_count:
                lost = pc.and_(given.is_valid(), held.is_null())
                log(field.name, lines.filter(lost), given.filter(lost))
            columns.append(held.cast(field.type))
        else:
            columns.append(pa.nulls(batch.num_rows, field.type))
    return pa.record_batch(columns, schema=schema)
