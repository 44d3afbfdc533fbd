"""The rows as they were before clean, dealt out as the rows that clean made of them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.hashes import hash_text, look_up
from hvdedge.parallel import allgather_rows
from hvdedge.splits import LEFT_OUT, SPLITS
from hvdedge.tables import ORIGIN, SPLIT, Table


def same_split(prepared: Table, cleaned: Table, changes: Table, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return the split of each prepared row: that of its cleaned record, the test rows left out.

    A duplicate has the split of the row that it was merged into, so that no copy of a test row is trained on; a row
    that clean took out is in none. Every rank holds 16 bytes for each row of all ranks.

    Args:
        prepared, cleaned: this rank's rows before and after clean, these with the column `_split`.
        changes: this rank's part of the log of clean.
    Returns:
        uint8 (prepared rows,): a place in SPLITS, or LEFT_OUT.
    """
    duplicates = [batch.filter(pc.equal(batch.column("rule"), "duplicate")) for batch in changes.batches()]
    merged = _pairs([(_origins(batch), hash_text(batch.column("after"))) for batch in duplicates], comm)
    dealt = [
        (_origins(batch), np.asarray(batch.column(SPLIT), np.uint64))
        for batch in cleaned.select([*ORIGIN, SPLIT]).batches()
    ]
    split = _pairs(dealt, comm)
    own = [_origins(batch) for batch in prepared.select([*ORIGIN]).batches()]
    rows = np.concatenate([np.empty(0, np.uint64), *own])
    kept = look_up(rows, merged[:, 0], merged[:, 1], rows)
    codes = look_up(kept, split[:, 0], split[:, 1], LEFT_OUT).astype(np.uint8)
    codes[codes == SPLITS.index("test")] = LEFT_OUT
    return codes


def _origins(batch: pa.RecordBatch) -> np.ndarray:
    """Return a hash of where each row came from, written as the log of clean names a row: file:line."""
    file, line = (pc.cast(batch.column(name), pa.string()) for name in ORIGIN)
    return hash_text(pc.binary_join_element_wise(file, line, ":"))


def _pairs(parts: list[tuple[np.ndarray, np.ndarray]], comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return (key, value) of all ranks by rising key, uint64 (pairs, 2)."""
    mine = np.concatenate([np.empty((0, 2), np.uint64), *(np.stack(part, axis=1) for part in parts)])
    pairs = allgather_rows(mine, comm)
    return pairs[np.argsort(pairs[:, 0], kind="stable")]
