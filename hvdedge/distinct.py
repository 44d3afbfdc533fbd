"""About how many different cells columns have, where there are too many to hold them.

Each cell has a hash, a number from 0 to 2**64 that looks drawn by chance, the same for equal cells. Of n different ones
the `KEPT` smallest are kept; where the largest of these is h, n is about (KEPT - 1) 2**64 / h. Up to `KEPT` the number
is exact. Sketches of any parts of the rows, in any order, join to that of all rows.

Source: Beyer et al. 2007, On synopses for distinct-value estimation under multiset operations (KMV).
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.columns import CLOCKS, kind, known, to_floats, to_text
from hvdedge.hashes import hash_text, mix
from hvdedge.parallel import allgather_rows
from hvdedge.tables import Table

KEPT = 1 << 14  # hashes of a column: 128 KiB, a standard error of 1 / sqrt(KEPT), 0.8 %


def estimate(table: Table, names: Sequence[str], comm: MPI.Intracomm) -> dict[str, int]:
    """Collective. Return column -> about how many different values it has in all rows, missing ones aside."""
    sketches = {name: np.empty(0, np.uint64) for name in names}
    for batch in table.select(list(names)).batches() if names else ():
        for name, kept in sketches.items():
            sketches[name] = _joined(kept, mix(_codes(known(batch.column(name)))))
    result = {}
    for name, kept in sketches.items():
        whole = _joined(np.empty(0, np.uint64), allgather_rows(kept, comm))
        result[name] = len(whole) if len(whole) < KEPT else round((KEPT - 1) * 2.0**64 / float(whole[-1]))
    return result


def _joined(kept: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Return the `KEPT` smallest of both, each once, sorted."""
    if len(kept) == KEPT:
        hashes = hashes[hashes < kept[-1]]
    both = np.sort(np.concatenate([kept, hashes]))  # several times as fast as numpy's unique
    return both[np.diff(both, prepend=both[:1] + np.uint64(1)) != 0][:KEPT]


def _codes(cells: pa.Array) -> np.ndarray:
    """Return a uint64 for each cell, the same for equal ones only: a number's own bits; of other cells, their hash."""
    if pa.types.is_integer(cells.type):
        return cells.to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)
    if pa.types.is_floating(cells.type) or kind(cells.type) in CLOCKS:
        return to_floats(cells).view(np.uint64)
    return hash_text(to_text(cells))
