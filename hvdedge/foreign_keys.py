"""Foreign keys among inclusion dependencies: which column is meant to refer to which key, the likeliest first.

An inclusion dependency may hold by chance, of small numbers above all. Three things speak for a reference, each from 0
to 1, and their mean, names counted twice, is the score:

    used       the share of the key's values that are referred to
    alike      how alike the names are: of the column and the key, or of the column and the key's table
    repeated   1 - different values / cells of the column: many rows refer to one; 0 where the column is a key itself

Source: Rostin et al. 2009, A machine learning approach to foreign key discovery (coverage, column name, references).
"""

import re
from collections.abc import Iterable

import numpy as np
from mpi4py import MPI

from hvdedge.columns import to_text
from hvdedge.hashes import hash_text
from hvdedge.inclusions import Inclusion, Places
from hvdedge.parallel import frequencies
from hvdedge.tables import Table


def rank(where: Places, found: Iterable[Inclusion], own: str, comm: MPI.Intracomm) -> list[dict]:
    """Collective. Return the inclusions of one column in one that has each value once, by falling score.

    Args:
        where: the columns by name.
        own: what the table without a name is called.
    Returns:
        {column, of, used, alike, repeated, score} of each, the same on every rank.
    """
    single = [(left[0], right[0]) for left, right in found if len(left) == 1]
    sizes = {name: _sizes(*where[name][1:], comm) for name in dict.fromkeys(name for pair in single for name in pair)}
    keys = []
    for left, right in single:
        (different, cells), (values, key_cells) = sizes[left], sizes[right]
        if values < key_cells:
            continue
        used, repeated = different / values, 1 - different / cells
        alike = _alike(where, left, right, own, is_key=not repeated)
        score = (used + 2 * alike + repeated) / 4
        keys.append({"column": left, "of": right, "used": used, "alike": alike, "repeated": repeated, "score": score})
    return sorted(keys, key=lambda one: (-one["score"], one["column"], one["of"]))


def _sizes(table: Table, name: str, comm: MPI.Intracomm) -> tuple[int, int]:
    """Collective. Return how many different values a column has, and how many cells that are not empty."""
    hashes = [hash_text(to_text(batch.column(0))) for batch in table.select([name]).batches()]
    known = np.concatenate([np.empty(0, np.uint64), *hashes])
    known = known[known != 0]
    _, different = frequencies(known, comm)
    cells = np.array(len(known), np.int64)
    comm.Allreduce(MPI.IN_PLACE, cells, op=MPI.SUM)
    return different, int(cells)


def _alike(where: Places, left: str, right: str, own: str, is_key: bool) -> float:
    """Return the likeness of the names; an `id` that is a key of one table is not alike the `id` of another one."""
    from rapidfuzz import fuzz

    (of, _, column), (into, _, key) = where[left], where[right]
    title = into or own
    names = [f"{title}_{key}", *([title] if of != into else []), *([] if is_key and of != into else [key])]
    return max(fuzz.ratio(_folded(column), _folded(name)) for name in names) / 100


def _folded(name: str) -> str:
    return re.sub(r"\W+|(?<=[a-z])(?=[A-Z])", "_", name).lower()
