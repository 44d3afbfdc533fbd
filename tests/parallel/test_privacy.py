"""Privacy gives the same table, log and counts on 1, 2, 3 and 4 ranks, and a key that one rank has serves all."""

import json

TREAT = """
    import hashlib, json, os, pathlib, sys, tempfile
    import numpy as np
    import pyarrow as pa
    from mpi4py import MPI

    from hvdedge.cleaning import privacy
    from hvdedge.errors import InputError
    from hvdedge.parallel import MeteredComm, block
    from hvdedge.tables import Table, gather_table
    from hvdedge.workspace import CHANGES, Workspace

    comm = MeteredComm(MPI.COMM_WORLD)
    scratch = pathlib.Path(tempfile.mkdtemp())
    if comm.rank == comm.size - 1:
        os.environ["HVDEDGE_PRIVACY_KEY"] = "sixteen letters!!"
    else:
        os.environ.pop("HVDEDGE_PRIVACY_KEY", None)

    def treat(count, memory, **options):
        draw = np.random.default_rng(1)
        rows = pa.table({
            "name": [f"person {number % 90}" for number in range(count)],
            "age": pa.array(draw.integers(0, 100, count), mask=draw.random(count) < 0.1),
            "town": pa.array([["Ulm", "Jena", None][number] for number in draw.integers(0, 3, count)], pa.string()),
            "born": pa.array(draw.integers(0, 9000, count), pa.int32()).cast(pa.date32()),
            "_file": ["a"] * count,
            "_line": np.arange(count),
        })
        workspace = Workspace(scratch, scratch, memory)
        mine = block(count, comm.size, comm.rank)
        if comm.size == 3:  # the middle rank of three has no rows
            mine = [slice(0, count // 3), slice(count // 3, count // 3), slice(count // 3, count)][comm.rank]
        part = rows.slice(mine.start, mine.stop - mine.start).combine_chunks()
        table = Table.from_batches(rows.schema, part.to_batches(max_chunksize=100), workspace)
        table = privacy.clean(table, comm, hash=("name",), generalise=("age", "born"), dates="year", mask=("town",),
                              quasi=("age", "town"), k=20, **options)
        text = pa.schema([field.with_type(pa.string()) for field in table.schema])
        whole = gather_table(table.to_arrow().cast(text), comm)
        log = gather_table(pa.Table.from_batches(workspace.changes, CHANGES), comm)
        return {
            "rows": whole.num_rows,
            "cells": hashlib.sha256(str(whole.to_pydict()).encode()).hexdigest(),
            "log": hashlib.sha256("".join(sorted(map(str, log.to_pylist()))).encode()).hexdigest(),
            "metrics": workspace.metrics["privacy"],
        }

    found = [treat(count, 64_000_000, suppress=suppress) for count in (700, 0, 2, 5) for suppress in (False, True)]
    found.append(treat(700, 100_000, suppress=True))
    if comm.rank == 0:
        print(json.dumps(found))
"""


def test_privacy_is_the_same_on_any_number_of_ranks_also_on_more_than_there_are_rows(mpirun):
    first, *others = [json.loads(mpirun(ranks, TREAT)) for ranks in (1, 2, 3, 4)]
    assert others == [first] * 3
    kept, suppressed = first[:2]
    assert kept["rows"] == 700
    assert 0 < kept["metrics"]["rows_below_k"] == 700 - suppressed["rows"]
    assert first[-1] == suppressed  # spilled to disk


def test_different_keys_end_all_ranks_with_one_line(mpirun):
    program = """
        import os, pathlib, tempfile
        import pyarrow as pa
        from mpi4py import MPI
        from hvdedge.cleaning import privacy
        from hvdedge.errors import InputError
        from hvdedge.parallel import MeteredComm
        from hvdedge.tables import Table
        from hvdedge.workspace import Workspace
        comm = MeteredComm(MPI.COMM_WORLD)
        scratch = pathlib.Path(tempfile.mkdtemp())
        rows = pa.table({"name": ["a"], "_file": ["f"], "_line": [1]})
        table = Table.from_batches(rows.schema, rows.to_batches(), Workspace(scratch, scratch, 10**7))
        os.environ["HVDEDGE_PRIVACY_KEY"] = f"key number {comm.rank} of some length"
        try:
            privacy.clean(table, comm, hash=("name",))
        except InputError as error:
            assert "different keys" in str(error) and "length" not in str(error)
            print("refused")
    """
    assert mpirun(3, program).split() == ["refused"] * 3
