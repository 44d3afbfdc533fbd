"""How many rows share what could tell a person: the sizes of the groups of equal rows, over all ranks.

A row's group is named by 64 bits, the sum of a hash of each of its cells. Every rank counts its own groups; group g is
added up by rank g mod size, which tells the sum to those that asked. Two groups have the same name once in 2**64 pairs.
A rank holds about 50 bytes for each of its rows.

Source: Sweeney 2002, k-anonymity: a model for protecting privacy.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.columns import to_text
from hvdedge.parallel import frequencies
from hvdedge.tables import Table

NAME_BYTES = 8


def group_sizes(table: Table, names: Sequence[str], comm: MPI.Intracomm) -> tuple[np.ndarray, int]:
    """Collective. Return for each of this rank's rows how many rows of all are equal to it, and how many groups exist.

    Args:
        names: the columns that are looked at; an empty cell is equal to another empty one.
    """
    keys, row = np.zeros(table.num_rows, np.uint64), 0
    for batch in table.select(list(names)).batches():
        for name in names:
            keys[row : row + batch.num_rows] += _hashes(name, batch.column(name))
        row += batch.num_rows
    return frequencies(keys, comm)


def _hashes(name: str, column: pa.Array) -> np.ndarray:
    """Return a hash of each cell, of its column's name and its text: uint64 (rows,)."""
    cells = to_text(column).dictionary_encode()
    texts = [b"\1" + text.encode() for text in cells.dictionary.to_pylist()] + [b"\0"]
    made = b"".join(hashlib.blake2b(text, digest_size=NAME_BYTES, key=name.encode()[:64]).digest() for text in texts)
    places = cells.indices.fill_null(len(texts) - 1).to_numpy(zero_copy_only=False)
    return np.frombuffer(made, np.uint64)[places]
