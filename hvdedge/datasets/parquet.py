"""Parquet files: typed tables as they are, rows dealt in even blocks over the ranks, columns joined by name."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mpi4py import MPI

from hvdedge.columns import kind
from hvdedge.errors import InputError, one_line
from hvdedge.parallel import agree, allgather_json, bcast_json, block
from hvdedge.sources import each_once
from hvdedge.tables import BATCH_ROWS, ORIGIN, Table
from hvdedge.workspace import Source


def read(source: Source, comm: MPI.Intracomm) -> Table:
    """Collective. Read Parquet files as one table, each column in the type that holds it in all files.

    A column that a file lacks is missing there; one whose types have no common one becomes text.

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
    rows = block(sum(sizes.values()), comm.size, comm.rank)

    def batches() -> Iterator[pa.RecordBatch]:
        start = 0
        for number, path in enumerate(source.paths):
            if start < rows.stop and start + sizes[number] > rows.start:
                yield from _overlapping(path, source.name(path), start, rows, schema)
            start += sizes[number]

    table = Table(schema, rows.stop - rows.start, source.workspace, batches)
    empty = np.zeros(len(schema) - len(ORIGIN), np.int64)
    with agree(comm):
        for batch in table.batches():
            empty += [column.null_count for column in batch.columns[: len(empty)]]
    comm.Allreduce(MPI.IN_PLACE, empty, op=MPI.SUM)
    source.workspace.metrics["files"] = bcast_json(
        [{"file": source.name(path), "rows": sizes[number]} for number, path in enumerate(source.paths)], comm
    )
    source.workspace.metrics["columns"] = {
        name: {"type": kind(schema.field(name).type), "missing": int(count), "changed": 0}
        for name, count in zip(table.columns, empty, strict=True)
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
            known = types.setdefault(field.name, field.type)
            if known != field.type:
                types[field.name] = _common(field.name, known, field.type)
    return pa.schema([*types.items(), ("_file", pa.string()), ("_line", pa.int64())])


def _common(name: str, one: pa.DataType, other: pa.DataType) -> pa.DataType:
    try:
        schemas = [pa.schema([(name, type)]) for type in (one, other)]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return pa.string()


def _overlapping(path, name: str, start: int, rows: slice, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file, whose first has the global number `start`, that lie in `rows`."""
    file = _open(path)
    for group in range(file.num_row_groups):
        size = file.metadata.row_group(group).num_rows
        if start < rows.stop and start + size > rows.start:
            at = start
            for batch in file.iter_batches(BATCH_ROWS, row_groups=[group]):
                first, last = max(rows.start - at, 0), min(rows.stop - at, batch.num_rows)
                if first < last:
                    yield _shaped(
                        batch.slice(first, last - first), name, schema, _before(file, group) + at - start + first
                    )
                at += batch.num_rows
        start += size


def _before(file: pq.ParquetFile, group: int) -> int:
    return sum(file.metadata.row_group(number).num_rows for number in range(group))


def _shaped(batch: pa.RecordBatch, name: str, schema: pa.Schema, before: int) -> pa.RecordBatch:
    columns = []
    for field in schema:
        if field.name == "_file":
            columns.append(pa.repeat(pa.scalar(name, pa.string()), batch.num_rows))
        elif field.name == "_line":
            columns.append(pa.array(np.arange(before + 1, before + 1 + batch.num_rows)))
        elif field.name in batch.schema.names:
            columns.append(batch.column(field.name).cast(field.type))
        else:
            columns.append(pa.nulls(batch.num_rows, field.type))
    return pa.record_batch(columns, schema=schema)
