"""Inclusion dependencies: the values of some columns are all among those of others.

    value  hash(value) % ranks    its columns, as bits     A <= B: all values of A have the bit of B
    "x"    rank 1                 A B .
    "y"    rank 0                 . B C                    rank by rank, and over all ranks by a bitwise and

Values are compared as text, empty cells left out. Where the different ones turn out to be too many for a rank's memory
they are looked at in several passes over the table, each with its part of the hashes.

For several columns on each side, a pair of column lists is a candidate if all its parts hold; the values are the rows'
cells side by side. A column is not held against itself, so (a, b) <= (a, c) is not among them. The columns may be of
several tables, each list of one: B of the table C is "C.B", a column of the table without a name is "B".

Source: Bauckmann, Leser and Naumann 2010, Efficient and exact computation of inclusion dependencies for data
integration (SPIDER); De Marchi, Lopes and Petit 2009, Unary and n-ary inclusion dependency discovery.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.columns import kind, to_text
from hvdedge.discovery import Clock
from hvdedge.errors import InputError
from hvdedge.hashes import hash_text
from hvdedge.hitting_sets import Stopped
from hvdedge.parallel import exchange
from hvdedge.tables import Table, from_bytes, to_bytes

Columns = tuple[str, ...]
Inclusion = tuple[Columns, Columns]
Places = Mapping[str, tuple[str, Table, str]]
HELD_COPIES = 4  # of a value at once
LEAST_ROOM = 1 << 20  # bytes for the values, as a pass takes its time
MOST_PASSES = 1 << 12
LARGE = 16  # values that fill the room
MOST_CANDIDATES = 1 << 20
VALUES = pa.schema([("value", pa.string()), ("column", pa.int32())])


def places(tables: Mapping[str, Table], where: str) -> Places:
    """Return the name of each column, those of lists left out -> its table's name, that table, its name there.

    Raises:
        InputError: where two columns have one name; `where` is the option that names the tables.
    """
    found: dict[str, tuple[str, Table, str]] = {}
    for title, table in tables.items():
        for column in table.columns:
            name = f"{title}.{column}" if title else column
            if name in found:
                other, _, its = found[name]
                raise InputError(
                    f"{where}: received a column {column!r} of the table {title!r} and a column {its!r} of "
                    f"{f'the table {other!r}' if other else 'the pipeline'}, both called {name!r}, allowed: names that "
                    "differ; rename a file"
                )
            if kind(table.schema.field(column).type) != "array":
                found[name] = title, table, column
    return found


def find(where: Places, comm: MPI.Intracomm, *, maximal: int = 1, seconds: float = 0.0) -> tuple[list[Inclusion], int]:
    """Collective. Return all inclusion dependencies within and across tables, sorted, and up to how many columns all
    are there.

    Args:
        where: the columns of all tables, as `places` gives them.
        maximal: columns on each side, at most.
        seconds: when to stop with what is found by then; 0 for never. It also stops before `MOST_CANDIDATES`.
    """
    clock = Clock(seconds)
    found: list[Inclusion] = []
    try:
        level = _included(where, [(name,) for name in where], clock, comm)
        for size in range(1, maximal + 1):
            found += level
            if size == maximal or not level:
                break
            candidates = _joined(where, level, clock, comm)
            needed = list(dict.fromkeys(side for candidate in candidates for side in candidate))
            holds = {*_included(where, needed, clock, comm)} if candidates else set()
            level = [candidate for candidate in candidates if candidate in holds]
    except Stopped:
        return sorted(found), len(found[-1][0]) if found else 0
    return sorted(found), maximal


def _joined(where: Places, level: Sequence[Inclusion], clock: Clock, comm: MPI.Intracomm) -> list[Inclusion]:
    """Collective. Return the candidates of one column more, all parts of which hold; the left side rising.

    Raises:
        Stopped: on all ranks, where the time is over on one or there are too many.
    """
    known, size = {*level}, len(level[0][0])
    alike: dict[Inclusion, list[Inclusion]] = {}
    for left, right in level:
        alike.setdefault((left[:-1], right[:-1]), []).append((left, right))
    candidates: list[Inclusion] = []
    is_over = False
    for left, right in level:
        is_over = is_over or clock.is_over() or len(candidates) > MOST_CANDIDATES
        for other, target in () if is_over else alike[left[:-1], right[:-1]]:
            if other[-1] <= left[-1] or target[-1] in right:
                continue
            if where[other[-1]][0] != where[left[0]][0] or where[target[-1]][0] != where[right[0]][0]:
                continue
            whole, into = (*left, other[-1]), (*right, target[-1])
            parts = ((whole[:at] + whole[at + 1 :], into[:at] + into[at + 1 :]) for at in range(size + 1))
            if all(part in known for part in parts):
                candidates.append((whole, into))
    _agree_to_go_on(is_over, comm)
    return candidates


def _agree_to_go_on(is_over: bool, comm: MPI.Intracomm) -> None:
    """Collective. Raise Stopped on all ranks, where it is over on one."""
    told = np.array(is_over, np.int64)
    comm.Allreduce(MPI.IN_PLACE, told, op=MPI.MAX)
    if told:
        raise Stopped


def _included(where: Places, groups: list[Columns], clock: Clock, comm: MPI.Intracomm) -> list[Inclusion]:
    """Collective. Return which of the column lists `groups` have all their values among those of which others.

    Raises:
        Stopped: on all ranks, where the time is over on one.
    """
    words = -(-len(groups) // 64)
    within = np.full((len(groups), words), np.iinfo(np.uint64).max, np.uint64)
    is_filled = np.zeros(len(groups), np.int64)
    turn, passes = 0, 1
    while turn < passes:
        _agree_to_go_on(clock.is_over(), comm)
        owned = _owned(where, groups, turn, passes, comm)
        if owned is None:
            turn, passes = 0, 2 * passes  # what was looked at before may be looked at again
            continue
        values, columns = owned
        masks = np.zeros((len(values.dictionary), words), np.uint64)
        places = np.asarray(values.indices)
        np.bitwise_or.at(masks, (places, columns // 64), np.uint64(1) << (columns % 64).astype(np.uint64))
        for number in range(len(groups)):
            own = masks[places[columns == number]]
            is_filled[number] |= len(own) > 0
            within[number] &= np.bitwise_and.reduce(own, axis=0, initial=np.iinfo(np.uint64).max)
        turn += 1
    comm.Allreduce(MPI.IN_PLACE, within, op=MPI.BAND)
    comm.Allreduce(MPI.IN_PLACE, is_filled, op=MPI.MAX)
    return [
        (group, other)
        for number, group in enumerate(groups)
        for place, other in enumerate(groups)
        if place != number and is_filled[number] and within[number, place // 64] >> np.uint64(place % 64) & np.uint64(1)
    ]


def _by_table(where: Places, groups: list[Columns]) -> list[tuple[Table, dict[int, Columns]]]:
    """Return each table of which there are groups, and their places with the columns' names there."""
    found: dict[str, tuple[Table, dict[int, Columns]]] = {}
    for number, group in enumerate(groups):
        title, table, _ = where[group[0]]
        found.setdefault(title, (table, {}))[1][number] = tuple(where[name][2] for name in group)
    return list(found.values())


def _held(
    where: Places, groups: list[Columns], turn: int, passes: int, comm: MPI.Intracomm
) -> list[list[pa.Array]] | None:
    """Return the values of this rank's rows in a pass, by column list; None where they are too many to be held."""
    tables, mask_bytes = _by_table(where, groups), 8 * -(-len(groups) // 64)
    room_bytes = max((table.workspace.table_bytes for table, _ in tables), default=0) // HELD_COPIES
    room_bytes = max(room_bytes, LEAST_ROOM)
    held: list[list[pa.Array]] = [[pa.array([], pa.string())] for _ in groups]
    held_bytes, most_bytes = 0, room_bytes
    for table, chosen in tables:
        for batch in table.select(list(dict.fromkeys(name for group in chosen.values() for name in group))).batches():
            for number, group in chosen.items():
                values = _values(batch, group).unique().drop_null()
                due = values if passes == 1 else values.filter(_is_due(hash_text(values), turn, passes, comm))
                held[number].append(due)
                held_bytes += due.nbytes + mask_bytes * len(due)
            if held_bytes > most_bytes:
                held = [[pa.chunked_array(parts).unique()] for parts in held]
                held_bytes = sum(part.nbytes + mask_bytes * len(part) for [part] in held)
                most_bytes = max(room_bytes, 2 * held_bytes)
                lengths = np.concatenate([pc.binary_length(part).to_numpy() for [part] in held])
                parted = int(lengths[lengths < room_bytes / LARGE].sum()) + (4 + mask_bytes) * len(lengths)
                if 2 * parted > room_bytes and passes < MOST_PASSES:  # more passes do not part a large value
                    return None
    return held


def _owned(
    where: Places, groups: list[Columns], turn: int, passes: int, comm: MPI.Intracomm
) -> tuple[pa.DictionaryArray, np.ndarray] | None:
    """Collective. Return the different values that this rank looks after in a pass, and the column list of each; None
    on all ranks where those of one do not fit into its memory."""
    held = _held(where, groups, turn, passes, comm)
    is_short = np.array(held is None, np.int64)
    comm.Allreduce(MPI.IN_PLACE, is_short, op=MPI.MAX)
    if held is None or is_short:
        return None
    sent: list[list[pa.RecordBatch]] = [[] for _ in range(comm.size)]
    for number, parts in enumerate(held):
        values = pa.chunked_array(parts).unique()
        hashes = hash_text(values)
        for rank in range(comm.size):
            mine = values.filter(pa.array(hashes % np.uint64(comm.size) == rank))
            sent[rank].append(pa.record_batch([mine, pa.array(np.full(len(mine), number, np.int32))], VALUES))
    arrived = exchange([to_bytes(batches, VALUES) for batches in sent], comm)
    owned = pa.Table.from_batches([batch for part in arrived for batch in from_bytes(part)], VALUES)
    return owned["value"].combine_chunks().dictionary_encode(), owned["column"].to_numpy()


def _is_due(hashes: np.ndarray, turn: int, passes: int, comm: MPI.Intracomm) -> pa.Array:
    return pa.array(hashes // np.uint64(comm.size) % np.uint64(passes) == turn)


def _values(batch: pa.RecordBatch, group: Columns) -> pa.Array:
    """Return the cells of some columns side by side, each with its length before it; null where one is empty."""
    texts = [to_text(batch.column(name)) for name in group]
    if len(texts) == 1:
        return texts[0]
    parts = [pc.binary_join_element_wise(pc.binary_length(text).cast(pa.string()), text, ":") for text in texts]
    return pc.binary_join_element_wise(*parts, " ")
