"""Tables between the stages: Arrow batches in memory while they are small, on disk when they are not.

A stage's table is one Parquet part a rank (`cleaned/part-00003.parquet`). Read back, its rows are dealt anew in
blocks over however many ranks the next stage has, in the same order. The columns `_file` and `_line` say where a
row came from; every stage carries them along.
"""

import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mpi4py import MPI

from hvdedge.errors import InputError
from hvdedge.parallel import allgather_bytes, block, counts, exchange
from hvdedge.spool import Spool
from hvdedge.workspace import Workspace

ORIGIN = ("_file", "_line")
SPLIT = "_split"  # the column with the split that extract dealt a row to
BATCH_ROWS = 8192
ARRAY_BYTES = 1 << 22  # of arrays in a batch; Parquet's reader takes several times as much on the way
EVEN = 1.1  # times the mean: so many rows on one rank are not worth moving all of them


class Table:
    """This rank's rows of a table, to be read batch by batch as often as needed.

    Every rank has the same schema; a rank may have no rows. `chosen` yields some columns of what `source` yields, for
    less than it costs to read all.
    """

    def __init__(
        self,
        schema: pa.Schema,
        num_rows: int,
        workspace: Workspace,
        source: Callable[[], Iterator[pa.RecordBatch]],
        chosen: Callable[[list[str]], Iterator[pa.RecordBatch]] | None = None,
    ):
        self.schema = schema
        self.num_rows = num_rows
        self.workspace = workspace
        self._source = source
        self._chosen = chosen or (lambda names: (batch.select(names) for batch in source()))

    @classmethod
    def from_batches(cls, schema: pa.Schema, batches: Iterable[pa.RecordBatch], workspace: Workspace) -> "Table":
        """Take in `batches`, spilling to the scratch folder once they are larger than a table may be in memory."""
        spool = Spool(schema, workspace.scratch, workspace.table_bytes)
        for batch in batches:
            spool.append(batch)
        return cls(schema, spool.num_rows, workspace, lambda: iter(spool), spool.select)

    @classmethod
    def chain(cls, tables: Sequence["Table"]) -> "Table":
        """Return the rows of several tables of one schema, one after the other, on this rank."""
        first = tables[0]
        num_rows = sum(table.num_rows for table in tables)
        return cls(
            first.schema, num_rows, first.workspace, lambda: (batch for table in tables for batch in table.batches())
        )

    @property
    def columns(self) -> list[str]:
        """The names of the columns that hold data: all but the row's origin."""
        return [name for name in self.schema.names if name not in ORIGIN]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield this rank's rows in order."""
        return self._source()

    def to_arrow(self) -> pa.Table:
        """Return this rank's rows in memory; for those who know that they fit."""
        return pa.Table.from_batches(self.batches(), self.schema)

    def select(self, names: list[str]) -> "Table":
        """Return the columns `names` only, in that order, reading nothing yet."""
        schema = pa.schema([self.schema.field(name) for name in names])
        return Table(schema, self.num_rows, self.workspace, lambda: self._chosen(names), self._chosen)

    def map(self, function: Callable[[pa.RecordBatch], pa.RecordBatch], schema: pa.Schema | None = None) -> "Table":
        """Return a table of `function(batch)` for each batch; `schema` where it differs from this one's."""
        return Table.from_batches(schema or self.schema, map(function, self.batches()), self.workspace)

    def filter(self, keep: np.ndarray) -> "Table":
        """Return the rows where `keep`, a boolean for each of this rank's rows, is true."""

        def kept() -> Iterator[pa.RecordBatch]:
            start = 0
            for batch in self.batches():
                yield batch.filter(pa.array(keep[start : start + batch.num_rows]))
                start += batch.num_rows

        return Table.from_batches(self.schema, kept(), self.workspace)

    def append(self, name: str, values: np.ndarray) -> "Table":
        """Return the rows with one more column, a value for each of this rank's rows."""
        field = pa.field(name, pa.from_numpy_dtype(values.dtype))

        def longer() -> Iterator[pa.RecordBatch]:
            start = 0
            for batch in self.batches():
                yield batch.append_column(field, pa.array(values[start : start + batch.num_rows]))
                start += batch.num_rows

        return Table(self.schema.append(field), self.num_rows, self.workspace, longer)

    def write(self, path: pathlib.Path) -> None:
        """Write this rank's rows as one Parquet part, also when there are none."""
        batches = self.batches()
        first = next(batches, None)
        repeating = _repeating(first) if first is not None else True
        with pq.ParquetWriter(path, self.schema, compression="zstd", use_dictionary=repeating) as writer:
            for batch in chain(() if first is None else (first,), batches):
                writer.write_batch(batch)


def _repeating(batch: pa.RecordBatch) -> list[str]:
    """Return the columns in which values come again; a dictionary of the others costs time and room."""
    flat = [name for name in batch.schema.names if not pa.types.is_nested(batch.schema.field(name).type)]
    return [name for name in flat if 2 * len(batch.column(name).unique()) <= batch.num_rows]


def part_path(folder: pathlib.Path, rank: int, suffix: str = ".parquet") -> pathlib.Path:
    """Return the path of a rank's part of what `folder` holds."""
    return folder / f"part-{rank:05d}{suffix}"


def batch_rows(schema: pa.Schema) -> int:
    """Return how many rows a batch should have, so that arrays in it do not take more than some megabytes."""
    row_bits = sum(
        type_.list_size * type_.value_type.bit_width
        for type_ in schema.types
        if pa.types.is_fixed_size_list(type_) and pa.types.is_primitive(type_.value_type)
    )
    return max(min(BATCH_ROWS, 8 * ARRAY_BYTES // max(row_bits, 1)), 1)


def read_parts(parts: Sequence[pathlib.Path], comm: MPI.Intracomm, workspace: Workspace) -> Table:
    """Return this rank's block of the rows in Parquet parts, in the order of the parts.

    Raises:
        InputError: where one cannot be read.
    """
    try:
        schema = pq.read_schema(parts[0])
        sizes = [pq.read_metadata(part).num_rows for part in parts]
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{parts[0].parent}: received a table that cannot be read ({error}); run its stage again"
        ) from None
    mine = block(sum(sizes), comm.size, comm.rank)
    at_once = batch_rows(schema)

    def rows(names: list[str]) -> Iterator[pa.RecordBatch]:
        start = 0
        for part, size in zip(parts, sizes, strict=True):
            if start < mine.stop and start + size > mine.start:
                for batch in pq.ParquetFile(part).iter_batches(at_once, columns=names or None):
                    here = _overlap(batch, start, mine)
                    start += batch.num_rows
                    if here.num_rows:
                        yield here.select(names)
            else:
                start += size

    return Table(schema, mine.stop - mine.start, workspace, lambda: rows(schema.names), rows)


def balance(table: Table, comm: MPI.Intracomm) -> Table:
    """Collective. Return the same rows in the same order, dealt in even blocks over the ranks; as they are, if near.

    Rows travel in rounds of one batch a rank; what each rank sent is kept apart, in memory or scratch, because the
    order of arrival is not the order of the rows.
    """
    held = counts(table.num_rows, comm)
    total, position = int(held.sum()), int(held[: comm.rank].sum())
    if held.max() * comm.size <= EVEN * total:
        return table
    mine = table.batches()
    limit_bytes = table.workspace.table_bytes // comm.size
    arrived = [Spool(table.schema, table.workspace.scratch, limit_bytes) for _ in range(comm.size)]
    while True:
        batch = next(mine, None)
        more = np.array(batch is not None, np.int64)
        comm.Allreduce(MPI.IN_PLACE, more, op=MPI.MAX)
        if not more:
            break
        parts = [b""] * comm.size
        if batch is not None:
            pieces = [_overlap(batch, position, block(total, comm.size, rank)) for rank in range(comm.size)]
            parts = [to_bytes([piece], table.schema) if piece.num_rows else b"" for piece in pieces]
            position += batch.num_rows
        for sender, part in enumerate(exchange(parts, comm)):
            for moved in from_bytes(part):
                arrived[sender].append(moved)
    num_rows = sum(sent.num_rows for sent in arrived)
    return Table(table.schema, num_rows, table.workspace, lambda: (batch for sent in arrived for batch in sent))


def gather_table(table: pa.Table, comm: MPI.Intracomm) -> pa.Table:
    """Collective. Return all ranks' rows, in rank order, on every rank; for small tables, such as a change log."""
    parts = allgather_bytes(to_bytes(table.to_batches(), table.schema), comm)
    return pa.Table.from_batches([batch for part in parts for batch in from_bytes(part)], table.schema)


def to_bytes(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> bytes:
    """Return `batches` as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def from_bytes(stream: bytes) -> list[pa.RecordBatch]:
    """Return the batches of an Arrow stream; none for no bytes at all."""
    return list(pa.ipc.open_stream(stream)) if stream else []


def _overlap(batch: pa.RecordBatch, start: int, rows: slice) -> pa.RecordBatch:
    """Return the rows of `batch`, whose first has the global number `start`, that lie in `rows`."""
    first = max(rows.start - start, 0)
    return batch.slice(first, max(min(rows.stop - start, batch.num_rows) - first, 0))
