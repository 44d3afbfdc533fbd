"""Dependencies are the same on 1, 2, 3 and 4 ranks, one of three without rows, in memory and spilled."""

import json

import pytest

FIND = """
    import json, pathlib, sys, tempfile
    import numpy as np
    import pyarrow as pa
    from mpi4py import MPI
    from hvdedge import difference_sets
    from hvdedge.parallel import MeteredComm, block
    from hvdedge.profiling import functional_dependencies, inclusion_dependencies, unique_columns
    from hvdedge.tables import Table
    from hvdedge.workspace import Workspace

    comm = MeteredComm(MPI.COMM_WORLD)
    memory, difference_sets.ALL_CELLS = int(sys.argv[1]), int(sys.argv[2])
    scratch = pathlib.Path(tempfile.mkdtemp())
    draw = np.random.default_rng(5)
    base = draw.integers(0, 6, (700, 4))
    columns = {f"c{n}": pa.array(base[:, n % 4] * (n + 1) // (1 + n % 3) + (n == 5) * draw.integers(0, 3, 700))
               for n in range(8)}
    columns["text"] = pa.array([f"v{value}" if value else None for value in base[:, 1]])
    columns["id"] = pa.array(np.arange(700).astype(str))
    rows = pa.table(columns)
    mine = block(700, comm.size, comm.rank)
    if comm.size == 3:
        mine = [slice(0, 350), slice(350, 350), slice(350, 700)][comm.rank]
    part = rows.slice(mine.start, mine.stop - mine.start)
    table = Table.from_batches(rows.schema, part.to_batches(max_chunksize=100), Workspace(scratch, scratch, memory))
    found = functional_dependencies.profile(table, comm)
    found |= {"near": functional_dependencies.profile(table, comm, error=0.05, maximal_left=2)}
    found |= unique_columns.profile(table, comm) | inclusion_dependencies.profile(table, comm, maximal=2)
    across = inclusion_dependencies.profile(table, comm, maximal=2, tables=tuple(sys.argv[3:]))
    found |= {"across": across, "read": table.workspace.metrics.get("tables")}
    told = json.dumps(found)
    assert comm.bcast(told) == told
    if comm.rank == 0:
        print(told)
"""


@pytest.mark.parametrize("cells", [10**9, -1])
def test_dependencies_are_the_same_on_any_number_of_ranks(mpirun, cells):
    first, *others = [json.loads(mpirun(ranks, FIND, 64_000_000, cells)) for ranks in (1, 2, 3, 4)]
    assert others == [first] * 3
    assert len(first["functional_dependencies"]) > 10
    assert first["inclusion_dependencies"]


def test_a_table_that_spills_has_the_same_dependencies(mpirun):
    in_memory, spilled = (mpirun(2, FIND, memory, -1) for memory in (64_000_000, 80_000))  # 700 rows take 16 bytes each
    assert in_memory == spilled


def test_dependencies_across_tables_are_the_same_on_any_number_of_ranks(mpirun, tmp_path):
    path, small = tmp_path / "base.csv", tmp_path / "small.csv"
    path.write_text("key;value\n" + "".join(f"{number};v{number % 9}\n" for number in range(900)))
    small.write_text("id\n3\n")  # fewer rows than ranks
    first, *others = [json.loads(mpirun(ranks, FIND, 64_000_000, -1, path, small)) for ranks in (1, 2, 3, 4)]
    assert others == [first] * 3
    across = first["across"]["inclusion_dependencies"]
    assert (
        [["id"], ["base.key"]] in across and [["small.id"], ["id"]] in across and [["text"], ["base.value"]] in across
    )
    assert {name: its["rows"] for name, its in first["read"].items()} == {"base": 900, "small": 1}
