"""About how many different cells columns have, where there are too many to hold them.

Each cell has a hash, a number from 0 to 2**64 that looks drawn by chance, the same for equal cells. Of n different ones
the `KEPT` smallest are kept; where the largest of these is h, n is about (KEPT - 1) 2**64 / h. Up to `KEPT` the number
is exact. Sketches of any parts of the rows, in any order, join to that of all rows.

Source: Beyer et al. 2007, On synopses for distinct-value estimation under multiset operations (KMV).
"""

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.columns import CLOCKS, kind, to_floats, to_text
from hvdedge.hashes import hash_text
from hvdedge.mixing import mix
from hvdedge.parallel import allgather_rows

KEPT = 1 << 14  # hashes of a column: 128 KiB, a standard error of 1 / sqrt(KEPT), 0.8 %


class Sketch:
    """The smallest hashes of a column so far."""

    def __init__(self) -> None:
        self._kept = np.empty(0, np.uint64)

    def add(self, cells: pa.Array) -> None:
        """Take in cells, of which all are `columns.known`."""
        self._join(mix(_codes(cells)))

    def estimate(self, comm: MPI.Intracomm) -> int:
        """Collective. Return about how many different cells all ranks have taken in."""
        self._join(allgather_rows(self._kept, comm))
        return len(self._kept) if len(self._kept) < KEPT else round((KEPT - 1) * 2.0**64 / float(self._kept[-1]))

    def _join(self, hashes: np.ndarray) -> None:
        if len(self._kept) == KEPT:
            hashes = hashes[hashes < self._kept[-1]]
        both = np.sort(np.concatenate([self._kept, hashes]))  # several times as fast as numpy's unique
        self._kept = both[np.diff(both, prepend=both[:1] + np.uint64(1)) != 0][:KEPT]


def _codes(cells: pa.Array) -> np.ndarray:
    """Return a uint64 for each cell, the same for equal ones only: a number's own bits; of other cells, their hash."""
    if pa.types.is_integer(cells.type):
        return cells.to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)
    if pa.types.is_floating(cells.type) or kind(cells.type) in CLOCKS:
        return to_floats(cells).view(np.uint64)
    return hash_text(to_text(cells))
