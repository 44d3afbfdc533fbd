"""Tables on 1 to 4 ranks: the rows in rank order are the same table, in memory and spilled, balanced or read back."""

import pytest

PROGRAM = """
import pathlib, sys, tempfile
import pyarrow as pa
from mpi4py import MPI
from hvdedge.parallel import MeteredComm, allgather_json
from hvdedge.tables import Table, balance, gather_table, part_path, read_parts
from hvdedge.workspace import Workspace
comm = MeteredComm(MPI.COMM_WORLD)
folder, rows, memory = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
work = Workspace(folder, pathlib.Path(tempfile.mkdtemp(dir=folder)), memory)
schema = pa.schema([("number", pa.int64()), ("text", pa.string())])
# all rows on the last rank but a few on the first: as uneven as files can be
first = min(3, rows) if comm.size > 1 else 0
mine = range(first, rows) if comm.rank == comm.size - 1 else range(first) if comm.rank == 0 else range(0)
parts = [mine[start:start + 1000] for start in range(0, len(mine), 1000)]
batches = [pa.record_batch([[*part], [f"row {n}" for n in part]], schema=schema) for part in parts]
table = balance(Table.from_batches(schema, batches, work), comm)
sizes = allgather_json(table.num_rows, comm)
assert max(sizes) - min(sizes) <= 1 and sum(sizes) == rows, sizes
everything = gather_table(table.to_arrow(), comm)
assert everything.column("number").to_pylist() == list(range(rows))
assert everything.column("text").to_pylist() == [f"row {n}" for n in range(rows)]
spilled = list(work.scratch.glob("*.arrow"))
assert bool(spilled) == (memory < 100 and table.num_rows > 0) or memory >= 100 or table.num_rows == 0
out = folder / "out"
out.mkdir(exist_ok=True)
table.write(part_path(out, comm.rank))
comm.Barrier()
again = read_parts(sorted(out.iterdir()), comm, work)
assert again.num_rows == table.num_rows and again.to_arrow().equals(table.to_arrow())
print("right")
"""


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize(("rows", "memory"), [(0, 10**6), (2, 10**6), (2500, 10**9), (2500, 80)])
def test_balanced_and_read_back_rows_are_the_same_table(mpirun, tmp_path, ranks, rows, memory):
    assert mpirun(ranks, PROGRAM, tmp_path, rows, memory).split() == ["right"] * ranks
