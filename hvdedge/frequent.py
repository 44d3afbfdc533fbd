"""The most frequent texts over all ranks, counted exactly in bounded memory.

Where the different texts do not fit, they are counted in several passes over the rows, each taking the texts whose hash
is of its turn: so the result is the same for any number of ranks and any memory.
"""

from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.columns import summed
from hvdedge.hashes import hash_text
from hvdedge.parallel import exchange
from hvdedge.tables import from_bytes, gather_table, to_bytes

COUNTED = pa.schema([("value", pa.string()), ("count", pa.int64())])
FALLING = [("count", "descending"), ("value", "ascending")]


def frequent(
    batches: Callable[[], Iterable[tuple[pa.Array, np.ndarray]]],
    most: int,
    least: int,
    limit_bytes: int,
    comm: MPI.Intracomm,
) -> pa.Table:
    """Collective. Return the most frequent texts and their counts (value, count), by falling count, then rising text.

    Args:
        batches: gives texts of this rank's rows, no null among them, and how often each is there; called once a pass.
        most: how many at most.
        least: how often a text has to be there.
        limit_bytes: what the texts that a rank counts in a pass may take; it holds about three times that.
    """
    passes, turn, found = 1, 0, COUNTED.empty_table()
    while turn < passes:
        mine = _count(batches(), passes, turn, limit_bytes)
        is_over = np.array(mine is None)
        comm.Allreduce(MPI.IN_PLACE, is_over, op=MPI.LOR)
        if is_over:
            passes, turn, found = 2 * passes, 0, COUNTED.empty_table()
            continue
        assert mine is not None
        owners = hash_text(mine["value"].combine_chunks()) // np.uint64(passes) % np.uint64(comm.size)
        parts = [mine.filter(pa.array(owners == rank)) for rank in range(comm.size)]
        arrived = exchange([to_bytes(part.to_batches(), COUNTED) for part in parts], comm)
        owned = _sum([pa.Table.from_batches(from_bytes(part), COUNTED) for part in arrived])
        owned = owned.filter(pa.array(np.asarray(owned["count"]) >= least)).sort_by(FALLING).slice(0, most)
        found = pa.concat_tables([found, gather_table(owned, comm)]).sort_by(FALLING).slice(0, most)
        turn += 1
    return found.combine_chunks()


def _count(batches: Iterable[tuple[pa.Array, np.ndarray]], passes: int, turn: int, limit_bytes: int) -> pa.Table | None:
    """Return this rank's texts of a turn with their counts; None where they take more than `limit_bytes`."""
    parts, held_bytes = [COUNTED.empty_table()], 0
    for texts, counts in batches:
        is_turn = pa.array(hash_text(texts) % np.uint64(passes) == turn)
        parts.append(pa.table([texts, pa.array(counts)], schema=COUNTED).filter(is_turn))
        held_bytes += parts[-1].nbytes
        if held_bytes > 2 * limit_bytes:
            parts = [_sum(parts)]
            held_bytes = parts[0].nbytes
            if held_bytes > limit_bytes:
                return None
    return _sum(parts)


def _sum(parts: list[pa.Table]) -> pa.Table:
    return summed(parts).cast(COUNTED)
