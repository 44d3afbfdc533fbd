"""Who has which training row: the values of a column, numbered alike on all ranks."""

import numpy as np
from mpi4py import MPI

from hvdedge.class_labels import split_codes
from hvdedge.columns import shown, to_text
from hvdedge.errors import InputError
from hvdedge.parallel import agree, allgather_json
from hvdedge.tables import SPLIT, Table

MOST = 10_000  # clients, whose names every rank holds


def find_clients(table: Table, column: str, label: str, comm: MPI.Intracomm) -> tuple[np.ndarray, list[str]]:
    """Collective. Return the client's number of each of this rank's training rows, int32 (rows,), and all names.

    Raises:
        InputError: on every rank, where a training row has no client, or clients are too many.
    """
    found: list[str] = []
    with agree(comm):
        for batch in table.select([*dict.fromkeys([SPLIT, label, column])]).batches():
            codes, _ = split_codes(batch, label)
            values = to_text(batch.column(column)).to_pylist()
            found += [value for value, code in zip(values, codes, strict=True) if code == 0]
        if None in found:
            raise InputError(
                f"extract.client: received {column!r}, which is empty in training rows, allowed: a column with a value "
                "in each; name another one, or let clean fill or drop them"
            )
        own = sorted({*found})
        if len(own) > MOST:
            raise InputError(
                f"extract.client: received {column!r} with {len(own)} values such as {shown(own[:3])}, allowed: at "
                f"most {MOST} clients; name another column"
            )
    names = sorted({name for names in allgather_json(own, comm) for name in names})
    return np.searchsorted(names, found).astype(np.int32) if found else np.empty(0, np.int32), names
