"""Label noise is found alike on 1, 2, 3 and 4 ranks, bit for bit; the middle one of three has no rows."""

import json

import pytest

CLEAN = """
    import hashlib, json, pathlib, sys, tempfile
    from mpi4py import MPI

    import digit_rows
    from hvdedge.cleaning import labels
    from hvdedge.parallel import MeteredComm, block
    from hvdedge.tables import Table, gather_table
    from hvdedge.workspace import QUARANTINE, Workspace

    comm = MeteredComm(MPI.COMM_WORLD)
    count = int(sys.argv[1])
    scratch = pathlib.Path(tempfile.mkdtemp())
    workspace = Workspace(scratch, scratch, 64_000_000)
    rows = digit_rows.make(scratch, copies=0).slice(0, count)
    wrong = [label if label is None or row % 20 else (label + 1 + row // 20 % 9) % 10
             for row, label in enumerate(rows["label"].to_pylist())]
    rows = rows.set_column(rows.schema.get_field_index("label"), "label", [wrong]).unify_dictionaries()
    mine = block(count, comm.size, comm.rank)
    if comm.size == 3:
        mine = [slice(0, count // 3), slice(count // 3, count // 3), slice(count // 3, count)][comm.rank]
    part = rows.slice(mine.start, mine.stop - mine.start).combine_chunks()
    table = Table.from_batches(rows.schema, part.to_batches(333), workspace)
    table = labels.clean(table, comm, remove=True, features=64, seed=2)
    whole = gather_table(table.to_arrow().select(["_file", "_line"]), comm)
    told = gather_table(Table.from_batches(QUARANTINE, workspace.quarantine, workspace).to_arrow(), comm)
    if comm.rank == 0:
        print(json.dumps([whole.to_pydict(), sorted(map(str, told.to_pylist())), workspace.metrics["labels"]]))
"""


@pytest.mark.parametrize("count", [1000, 2])
def test_noise_is_found_alike_on_any_number_of_ranks(count, mpirun):
    first, *others = [json.loads(mpirun(ranks, CLEAN, count)) for ranks in (1, 2, 3, 4)]
    assert len(first[0]["_line"]) == count - first[2]["rows_removed"]
    assert count == 2 or first[2]["noisy"] >= 20
    assert others == [first] * 3
