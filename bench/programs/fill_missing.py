"""Fill gaps.npy with `method = "auto"` on all ranks, write filled.npy, print the seconds of the slowest rank."""

import pathlib
import sys
import tempfile
import time

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.cleaning import missing
from hvdedge.parallel import MeteredComm, block
from hvdedge.tables import Table, gather_table
from hvdedge.workspace import Workspace


def main() -> None:
    """Do as the module says; the folder is the only argument."""
    comm = MeteredComm(MPI.COMM_WORLD)
    folder = pathlib.Path(sys.argv[1])
    gaps = np.load(folder / "gaps.npy")
    mine = gaps[block(len(gaps), comm.size, comm.rank)]
    columns = {f"c{number}": pa.array(column, from_pandas=True) for number, column in enumerate(mine.T)}
    rows = pa.table({**columns, "_file": ["gaps.npy"] * len(mine), "_line": np.arange(len(mine))})
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(folder, pathlib.Path(scratch), 256_000_000)
        table = Table.from_batches(rows.schema, rows.to_batches(8192), workspace)
        comm.Barrier()
        start = time.perf_counter()
        table = missing.clean(table, comm)
        took = np.array(time.perf_counter() - start)
        comm.Allreduce(MPI.IN_PLACE, took, op=MPI.MAX)
        whole = gather_table(table.to_arrow(), comm)
    if comm.rank == 0:
        np.save(folder / "filled.npy", np.stack([whole[name].to_numpy() for name in columns], axis=1))
        print("seconds", float(took))


if __name__ == "__main__":
    main()
