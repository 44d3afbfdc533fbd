"""The cleaners give the same rows, log and metrics on 1, 2, 3 and 4 ranks, bit for bit."""

import json

import digit_rows

CLEAN = """
    import hashlib, json, pathlib, sys, tempfile
    import pyarrow as pa
    from mpi4py import MPI

    import digit_rows
    from hvdedge.cleaning import duplicates, errors
    from hvdedge.parallel import MeteredComm, block
    from hvdedge.tables import Table, gather_table
    from hvdedge.workspace import CHANGES, Workspace

    comm = MeteredComm(MPI.COMM_WORLD)
    truth, memory = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    scratch = pathlib.Path(tempfile.mkdtemp())
    with tempfile.TemporaryDirectory() as folder:
        rows = digit_rows.make(pathlib.Path(folder))

    def clean(count):
        workspace = Workspace(scratch, scratch, memory)
        mine = block(count, comm.size, comm.rank)
        if comm.size == 3:  # the middle rank of three has no rows
            mine = [slice(0, count // 3), slice(count // 3, count // 3), slice(count // 3, count)][comm.rank]
        batches = rows.slice(mine.start, mine.stop - mine.start).to_batches(max_chunksize=300)
        table = Table.from_batches(rows.schema, batches, workspace)
        table = errors.clean(table, comm, truth=str(truth / "cells.csv"))
        table = duplicates.clean(table, comm, id="scan", threshold=0.95, seed=3, truth=str(truth / "duplicates.csv"))
        workspace.metrics["duplicates"].pop("pairs_by_rank")
        text = pa.schema([field.with_type(pa.string()) for field in table.schema])
        whole = gather_table(table.to_arrow().cast(text), comm)
        log = gather_table(pa.Table.from_batches(workspace.changes, CHANGES), comm)
        return {
            "rows": whole.num_rows,
            "cells": hashlib.sha256(str(whole.to_pydict()).encode()).hexdigest(),
            "log": hashlib.sha256("".join(sorted(map(str, log.to_pylist()))).encode()).hexdigest(),
            "metrics": workspace.metrics,
        }

    found = [clean(int(count)) for count in sys.argv[3:]]
    if comm.rank == 0:
        print(json.dumps(found))
"""


def test_digits_are_cleaned_alike_on_any_number_of_ranks_also_on_more_than_there_are_rows(mpirun, tmp_path):
    digit_rows.make(tmp_path)
    counts = [1917, 0, 2, 5]
    first, *others = [json.loads(mpirun(ranks, CLEAN, tmp_path, 64_000_000, *counts)) for ranks in (1, 2, 3, 4)]
    assert first[0]["rows"] < 1917 - 100
    assert first[0]["metrics"]["errors"]["f1"] == 1.0
    assert first[0]["metrics"]["duplicates"]["f1"] > 0.98
    assert [found["rows"] for found in first[1:]] == counts[1:]
    assert others == [first] * 3


def test_tables_that_spill_to_disk_are_cleaned_alike(mpirun, tmp_path):
    digit_rows.make(tmp_path)
    in_memory, spilled = (json.loads(mpirun(2, CLEAN, tmp_path, memory, 1917)) for memory in (64_000_000, 100_000))
    for (found,) in (in_memory, spilled):
        found["metrics"]["errors"].pop("left_out")  # tells what is too much for the memory
    assert in_memory == spilled
