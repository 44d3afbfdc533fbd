"""A table's columns as whole numbers, equal ones for equal cells, all rows of all ranks on each rank.

    rank 0  b a b     the rank that looks after hash(b)     rank 0  1 0 1 2 0     4 bytes a cell; in a file of
    rank 1  c a       and so on numbers the values          rank 1  1 0 1 2 0     scratch, where that is too much

Values are compared as what they are, as text; their hashes only say who numbers them.
"""

import pathlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.columns import kind, to_text
from hvdedge.hashes import hash_text
from hvdedge.parallel import allgather_rows, counts, exchange, exchange_runs
from hvdedge.tables import Table, from_bytes, to_bytes

COPIES = 4  # of a value, while its column is coded
SENT_COPIES = 16  # of a value, while the ranks agree on its number
LEAST_ROOM = 1 << 23  # bytes for these, as a round takes its time
VALUE = pa.schema([("value", pa.string()), ("column", pa.int32())])


@dataclass(frozen=True)
class Coded:
    """All rows of a table.

    Attributes:
        names: its columns, without those of lists.
        codes: int32 (rows,) for each column, alike on every rank; empty cells have the same code, as null = null.
        distinct: how many codes each column has.
        missing: how many of its cells are empty.
        longest: how many characters its longest value has, as text.
        rows: of all ranks.
        scratch, room_bytes: where what is made of them may go, and what of it may be held.
    """

    names: list[str]
    codes: list[np.ndarray]
    distinct: list[int]
    missing: list[int]
    longest: list[int]
    rows: int
    scratch: pathlib.Path
    room_bytes: int


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
    missing: list[int] = []
    lengths: list[int] = []
    for start in range(0, len(names), int(at_once)):
        chosen = names[start : start + int(at_once)]
        parts: dict[str, list[pa.Array]] = {name: [pa.array([], pa.string()).dictionary_encode()] for name in chosen}
        for batch in table.select(chosen).batches():
            for name in chosen:
                parts[name].append(to_text(batch.column(name)).dictionary_encode())
        cells = [_joined(parts.pop(name)) for name in chosen]
        numbers, known = _numbered([each.dictionary for each in cells], table.workspace.table_bytes, comm)
        nulls = counts(np.array([each.indices.null_count for each in cells], np.int64), comm)
        missing += nulls.sum(axis=0).tolist()
        lengths += counts(np.array([_longest(each.dictionary) for each in cells]), comm).max(axis=0).tolist()
        for column, each in enumerate(cells):
            apart = 0 if null_equals_null else 1
            null = known[column] + apart * nulls[: comm.rank, column].sum()
            whole = allgather_rows(_codes(each, numbers[column], null, apart), comm)
            if not in_memory:
                path = table.workspace.scratch / f"codes-{len(codes)}-{null_equals_null}.npy"
                held = np.lib.format.open_memmap(path, "w+", np.int32, (total,))
                held[:] = whole
                whole = held
            codes.append(whole)
        distinct += (known + (nulls.any(axis=0) if null_equals_null else nulls.sum(axis=0))).tolist()
    workspace = table.workspace
    return Coded(names, codes, distinct, missing, lengths, total, workspace.scratch, workspace.table_bytes)


def _at_once(table: Table, columns: int) -> int:
    """Return how many columns are read at once, as their different values may be held."""
    first = next(iter(table.batches()), None)
    if first is None or not columns:
        return max(columns, 1)
    size_bytes = first.nbytes / max(first.num_rows, 1) * table.num_rows / len(first.columns)
    return int(np.clip(table.workspace.table_bytes / (COPIES * max(size_bytes, 1)), 1, columns))


def _longest(texts: pa.Array) -> int:
    """Return the characters of the longest one."""
    return pc.max(pc.utf8_length(texts)).as_py() or 0


def _joined(parts: list[pa.DictionaryArray]) -> pa.DictionaryArray:
    """Return the parts of a column as one."""
    cells = pa.chunked_array(parts).unify_dictionaries().combine_chunks()
    return cells.chunk(0) if isinstance(cells, pa.ChunkedArray) else cells


def _codes(cells: pa.DictionaryArray, numbers: np.ndarray, null: int, apart: int) -> np.ndarray:
    """Return cells as codes, int32: `numbers` of their values; empty ones `null` and on, `apart` from each other."""
    found = np.append(numbers, null).astype(np.int32)[np.asarray(cells.indices.fill_null(len(numbers)))]
    if apart and cells.indices.null_count:
        found[np.asarray(cells.indices.is_null())] += np.arange(cells.indices.null_count, dtype=np.int32)
    return found


def _numbered(values: list[pa.Array], room_bytes: int, comm: MPI.Intracomm) -> tuple[list[np.ndarray], np.ndarray]:
    """Collective. Return a number for each value of each column, int64, and how many each column has on all ranks.

    Values travel in as many rounds, by their hashes, as it takes to hold what is under way in `room_bytes`.
    """
    sizes = [len(each) for each in values]
    everything = pa.concat_arrays(values)
    hashes = hash_text(everything)
    owner = (hashes % np.uint64(comm.size)).astype(np.int32)
    column = np.repeat(np.arange(len(values), dtype=np.int32), sizes)
    rounds = -(-everything.nbytes * SENT_COPIES // max(room_bytes, LEAST_ROOM))
    rounds = max(int(counts(rounds, comm).max()), 1)
    turns = (hashes // np.uint64(comm.size) % np.uint64(rounds)).astype(np.int32)
    numbers, known = np.empty(len(everything), np.int64), np.zeros(len(values), np.int64)
    for turn in range(rounds):
        chosen = np.flatnonzero(turns == turn)
        chosen = chosen[np.argsort(owner[chosen], kind="stable")]
        rows = pa.record_batch([everything.take(pa.array(chosen)), pa.array(column[chosen])], VALUE)
        to_each = np.bincount(owner[chosen], minlength=comm.size)
        starts = np.cumsum(to_each) - to_each
        sent = [to_bytes([rows.slice(*run)], VALUE) for run in zip(starts.tolist(), to_each.tolist(), strict=True)]
        del rows  # what is sent need not be held twice
        asked = [pa.Table.from_batches(from_bytes(part), VALUE) for part in exchange(sent, comm)]
        del sent
        owned = pa.concat_tables(asked)
        of_column = owned["column"].to_numpy().astype(np.int64)
        alike = owned["value"].combine_chunks().dictionary_encode().indices
        kinds, place = np.unique(of_column * len(owned) + np.asarray(alike), return_inverse=True)
        here = np.bincount(kinds // max(len(owned), 1), minlength=len(values))
        held = counts(here, comm)
        first = known + held[: comm.rank].sum(axis=0) - (np.cumsum(here) - here)
        numbers[chosen] = exchange_runs(place + first[of_column], np.array([len(part) for part in asked]), comm)[0]
        known += held.sum(axis=0)
    return np.split(numbers, np.cumsum(sizes)[:-1]), known
