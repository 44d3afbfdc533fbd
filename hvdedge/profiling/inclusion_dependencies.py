"""Which columns hold only values of others: inclusion dependencies, and the foreign keys among them.

See `hvdedge.inclusions` for how they are found.
"""

import numpy as np
from mpi4py import MPI

from hvdedge import inclusions
from hvdedge.columns import to_text
from hvdedge.hashes import hash_text
from hvdedge.inclusions import Inclusion
from hvdedge.options import Count, NonNegative
from hvdedge.parallel import frequencies
from hvdedge.tables import Table


def profile(table: Table, comm: MPI.Intracomm, *, maximal: Count = 1, time_limit: NonNegative = 300.0) -> dict:
    """Collective. Find all inclusion dependencies between columns of the table.

    Args:
        table: this rank's rows.
        maximal: columns on each side, at most.
        time_limit: seconds after which it stops with what is found by then; 0 for none.
    Returns:
        The same on every rank: inclusion_dependencies, a list of [[names], [names that hold their values]];
        foreign_keys, those of one column whose right side has each value once, the most used one first: {column, of,
        used: the share of the right side's values that the left side has}; complete: true, or the size up to which
        none is missing.
    """
    found, size = inclusions.find(table, comm, maximal=maximal, seconds=time_limit)
    return {
        "inclusion_dependencies": [[list(left), list(right)] for left, right in found],
        "foreign_keys": _foreign_keys(table, found, comm),
        "complete": {"inclusion_dependencies": True if size == maximal else size},
    }


def _foreign_keys(table: Table, found: list[Inclusion], comm: MPI.Intracomm) -> list[dict]:
    """Collective."""
    single = [(left[0], right[0]) for left, right in found if len(left) == 1]
    told: dict[str, tuple[int, int]] = {}  # column -> different values, cells
    for name in dict.fromkeys(name for pair in single for name in pair):
        hashes = [hash_text(to_text(batch.column(0))) for batch in table.select([name]).batches()]
        known = np.concatenate([np.empty(0, np.uint64), *hashes])
        known = known[known != 0]
        held, different = frequencies(known, comm)
        cells = np.array(len(known), np.int64)
        comm.Allreduce(MPI.IN_PLACE, cells, op=MPI.SUM)
        told[name] = different, int(cells)
    keys = [(left, right, told[left][0] / told[right][0]) for left, right in single if told[right][0] == told[right][1]]
    best = sorted(keys, key=lambda one: (-one[2], one))
    return [{"column": left, "of": right, "used": used} for left, right, used in best]
