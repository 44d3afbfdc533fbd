"""About how many different cells columns have, where there are too many to hold them.

Source: Flajolet et al. 2007, HyperLogLog.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.columns import CLOCKS, kind, known, to_floats, to_text
from hvdedge.hashes import hash_text
from hvdedge.parallel import allgather_bytes
from hvdedge.tables import Table

SKETCH_LOG2 = 14  # registers of a sketch: 16 KiB, a standard error of 0.8 %


def estimate(table: Table, names: Sequence[str], comm: MPI.Intracomm) -> dict[str, int]:
    """Collective. Return column -> about how many different values it has in all rows, missing ones aside."""
    if not names:
        return {}
    import datasketches

    sketches = {name: datasketches.hll_sketch(SKETCH_LOG2, datasketches.HLL_8, True) for name in names}
    for batch in table.select(list(names)).batches():
        for name in names:
            deque(map(sketches[name].update, _codes(known(batch.column(name)))), maxlen=0)  # a loop in C
    result = {}
    for name, sketch in sketches.items():
        union = datasketches.hll_union(SKETCH_LOG2)
        # a full sketch (True above) that was merged forgets the order in which it saw its values, and with it the
        # better estimate that one rank alone could give; merged twice, one rank's does so too: all estimate alike
        for part in 2 * allgather_bytes(bytes(sketch.serialize_compact()), comm):
            union.update(datasketches.hll_sketch.deserialize(part))
        result[name] = round(union.get_estimate())
    return result


def _codes(cells: pa.Array) -> list[int]:
    """Return a whole number for each cell, the same for equal ones: a number's own bits, else a hash of the text."""
    if pa.types.is_signed_integer(cells.type):
        return cells.to_numpy(zero_copy_only=False).tolist()
    if pa.types.is_floating(cells.type) or kind(cells.type) in CLOCKS:
        return (to_floats(cells) + 0.0).view(np.int64).tolist()  # -0 is 0
    return hash_text(to_text(cells)).view(np.int64).tolist()
