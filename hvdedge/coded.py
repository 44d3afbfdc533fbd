"""A table's columns as whole numbers, equal ones for equal cells, all rows of all ranks on each rank.

    rank 0  b a b     the rank that looks after hash(b)     rank 0  1 0 1 2 0     4 bytes a cell; in a file of
    rank 1  c a       and so on numbers the values          rank 1  1 0 1 2 0     scratch, where that is too much

Values are compared as what they are, as text; their hashes only say who numbers them.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.columns import kind, to_text
from hvdedge.hashes import hash_text
from hvdedge.parallel import allgather_rows, counts, exchange, exchange_runs
from hvdedge.tables import Table, from_bytes, to_bytes

COPIES = 3  # of a value, while its column is coded
VALUE = pa.schema([("value", pa.string())])


@dataclass(frozen=True)
class Coded:
    """All rows of a table.

    Attributes:
        names: its columns, without those of lists.
        codes: int32 (rows,) for each column, alike on every rank; empty cells have the same code, as null = null.
        distinct: how many codes each column has.
        rows: of all ranks.
    """

    names: list[str]
    codes: list[np.ndarray]
    distinct: list[int]
    rows: int


def encode(table: Table, comm: MPI.Intracomm, *, null_equals_null: bool = True) -> Coded:
    """Collective. Return all ranks' rows as codes; where null is no null, each empty cell has a code of its own.

    The profilers of a stage share it.
    """
    key, shared = f"coded, null_equals_null = {null_equals_null}", table.workspace.shared
    if key not in shared or shared[key][0] is not table:
        shared[key] = table, _encode(table, comm, null_equals_null)
    return shared[key][1]


def _encode(table: Table, comm: MPI.Intracomm, null_equals_null: bool) -> Coded:
    """Collective."""
    names = [name for name in table.columns if kind(table.schema.field(name).type) != "array"]
    total = int(counts(table.num_rows, comm).sum())
    in_memory = total * len(names) * 4 <= table.workspace.table_bytes
    at_once = np.array(_at_once(table, len(names)), np.int64)
    comm.Allreduce(MPI.IN_PLACE, at_once, op=MPI.MIN)
    codes: list[np.ndarray] = []
    distinct: list[int] = []
    for start in range(0, len(names), int(at_once)):
        chosen = names[start : start + int(at_once)]
        parts: dict[str, list[pa.Array]] = {name: [pa.array([], pa.string()).dictionary_encode()] for name in chosen}
        for batch in table.select(chosen).batches():
            for name in chosen:
                parts[name].append(to_text(batch.column(name)).dictionary_encode())
        for name in chosen:
            mine, count = _numbered(pa.chunked_array(parts.pop(name)), null_equals_null, comm)
            whole = allgather_rows(mine, comm)
            if not in_memory:
                path = table.workspace.scratch / f"codes-{len(codes)}-{null_equals_null}.npy"
                held = np.lib.format.open_memmap(path, "w+", np.int32, (total,))
                held[:] = whole
                whole = held
            codes.append(whole)
            distinct.append(count)
    return Coded(names, codes, distinct, total)


def _at_once(table: Table, columns: int) -> int:
    """Return how many columns are read at once, as their different values may be held."""
    first = next(iter(table.batches()), None)
    if first is None or not columns:
        return max(columns, 1)
    size_bytes = first.nbytes / max(first.num_rows, 1) * table.num_rows / len(first.columns)
    return int(np.clip(table.workspace.table_bytes / (COPIES * max(size_bytes, 1)), 1, columns))


def _numbered(parts: pa.ChunkedArray, null_equals_null: bool, comm: MPI.Intracomm) -> tuple[np.ndarray, int]:
    """Collective. Return this rank's cells of a column as codes, int32, and how many codes there are."""
    cells = parts.unify_dictionaries().combine_chunks()
    cells = cells.chunk(0) if isinstance(cells, pa.ChunkedArray) else cells
    values = cells.dictionary
    owner = (hash_text(values) % np.uint64(comm.size)).astype(np.int64)
    order = np.argsort(owner, kind="stable")
    sizes = np.bincount(owner, minlength=comm.size)
    sorted_values, ends = values.take(pa.array(order)), np.cumsum(sizes)
    sent = [
        to_bytes([pa.record_batch([sorted_values.slice(end - size, size)], VALUE)], VALUE)
        for size, end in zip(sizes.tolist(), ends.tolist(), strict=True)
    ]
    asked = [pa.Table.from_batches(from_bytes(part), VALUE)["value"] for part in exchange(sent, comm)]
    owned = pa.chunked_array([chunk for part in asked for chunk in part.chunks], pa.string())
    owned = owned.combine_chunks().dictionary_encode()
    held = counts(len(owned.dictionary), comm)
    answers = np.asarray(owned.indices).astype(np.int64) + held[: comm.rank].sum()
    numbers = np.empty(len(values), np.int64)
    numbers[order] = exchange_runs(answers, np.array([len(part) for part in asked]), comm)[0]
    is_null = np.asarray(cells.indices.is_null())
    places = np.asarray(cells.indices.fill_null(0))
    nulls = counts(int(is_null.sum()), comm)
    known = int(held.sum())
    own = nulls[: comm.rank].sum() + np.cumsum(is_null) - 1 if not null_equals_null else 0
    found = np.where(is_null, known + own, numbers[places] if len(numbers) else 0).astype(np.int32)
    return found, known + (int(nulls.sum()) if not null_equals_null else int(nulls.any()))
