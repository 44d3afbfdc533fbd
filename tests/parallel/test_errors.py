"""Errors are found and mended alike on 1, 2, 3 and 4 ranks, bit for bit; the middle one of three has no rows."""

import json

import pytest

CLEAN = """
    import hashlib, json, pathlib, random, sys, tempfile
    import numpy as np
    import pyarrow as pa
    from mpi4py import MPI

    from hvdedge.cleaning import errors
    from hvdedge.parallel import MeteredComm, block
    from hvdedge.tables import Table, gather_table
    from hvdedge.workspace import CHANGES, QUARANTINE, Workspace

    comm = MeteredComm(MPI.COMM_WORLD)
    memory, count, batch_rows = (int(word) for word in sys.argv[1:4])
    options = json.loads(sys.argv[4])
    draw = random.Random(4)
    place = [draw.randrange(30) for _ in range(count)]
    columns = {
        "zip": pa.array([draw.randrange(10**4) if draw.random() < 0.02 else 20000 + 31 * p for p in place]),
        "town": [f"town{'abcdefghij'[p % 10] * 3}{'klm'[p // 10] * 2}" for p in place],
        "land": pa.array([None if draw.random() < 0.03 else "nesw"[p % 4] * 4 for p in place]).dictionary_encode(),
        "kind": [draw.choice(["general store", "shoe shop", "bakery"]) for _ in place],
        "x": np.random.default_rng(1).normal(size=count),
        "y": np.random.default_rng(2).normal(size=count),
        "_file": ["a"] * count,
        "_line": np.arange(count) + 2,
    }
    for name in ("town", "kind"):
        for row in draw.sample(range(count), count // 30):
            word = columns[name][row]
            at = draw.randrange(len(word))
            columns[name][row] = word[:at] + "q" + word[at + 1 :]
    if "dependencies" in options:
        columns["agent"] = [f"agent{p}" for p in place]
    for row in range(count) if "dependencies" in options else ():
        if row % 40 == 0:  # breaks the rules in all groups
            columns["agent"][row], columns["town"][row] = "everywhere", columns["town"][row] + "xyz"
        elif place[row] == 7 and row % 3 == 0:  # breaks them in one
            columns["agent"][row], columns["town"][row] = "here", "some town"
    columns["x"][: count // 200] *= 1000
    rows = pa.table(columns)
    mine = block(count, comm.size, comm.rank)
    if comm.size == 3:
        mine = [slice(0, count // 3), slice(count // 3, count // 3), slice(count // 3, count)][comm.rank]
    part = rows.slice(mine.start, mine.stop - mine.start).unify_dictionaries().combine_chunks()
    scratch = pathlib.Path(tempfile.mkdtemp())
    workspace = Workspace(scratch, scratch, memory)
    table = Table.from_batches(rows.schema, part.to_batches(batch_rows), workspace)
    table = errors.clean(table, comm, **options)
    text = pa.schema([field.with_type(pa.string()) for field in table.schema])
    whole = gather_table(table.to_arrow().cast(text), comm)
    log = [
        sorted(map(str, gather_table(pa.Table.from_batches(spool, schema), comm).to_pylist()))
        for spool, schema in ((workspace.changes, CHANGES), (workspace.quarantine, QUARANTINE))
    ]
    if comm.rank == 0:
        digest = hashlib.sha256(str(whole.to_pydict()).encode()).hexdigest()
        print(json.dumps([digest, log, workspace.metrics["errors"]]))
"""


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dependencies": ["zip -> town", "zip, kind -> town", "zip -> land", "town -> zip"], "outliers": "robust_z"},
        {"outliers": "isolation", "trees": 20, "score": 0.65, "confidence": 0.97, "seed": 5},
    ],
)
def test_errors_are_mended_alike_on_any_number_of_ranks(options, mpirun):
    arguments = (64_000_000, 2400, 500, json.dumps(options))
    first, *others = [json.loads(mpirun(ranks, CLEAN, *arguments)) for ranks in (1, 2, 3, 4)]
    assert first[2]["changed"] > 100
    assert {"dependency", "out_of_range", "spelling"} & {*first[2]["rules"]}
    assert others == [first] * 3
    if "dependencies" in options:
        told = {one["dependency"]: one for one in first[2]["dependencies"]}["zip -> town"]
        assert told["violations"] > told["exceptions"] > 50  # of 60, as a zip in fifty is one of its own


@pytest.mark.parametrize("count", [0, 3])
def test_there_may_be_more_ranks_than_rows(count, mpirun):
    first, *others = [mpirun(ranks, CLEAN, 64_000_000, count, 500, "{}") for ranks in (1, 4)]
    assert json.loads(first)[2]["changed"] == 0
    assert others == [first]


def test_tables_that_spill_to_disk_are_mended_alike(mpirun):
    in_memory, spilled = (mpirun(2, CLEAN, memory, 2400, 100, "{}") for memory in (10_000_000, 100_000))
    assert in_memory == spilled


def test_a_truth_or_rules_that_are_not_there_end_all_ranks_with_one_line(mpirun, tmp_path):
    program = """
        import pathlib, sys
        from mpi4py import MPI
        import digit_rows
        from hvdedge.cleaning import errors
        from hvdedge.errors import RankError
        from hvdedge.parallel import MeteredComm
        from hvdedge.workspace import Workspace
        comm = MeteredComm(MPI.COMM_WORLD)
        folder = pathlib.Path(sys.argv[1])
        rows = digit_rows.make(folder / str(comm.rank), originals=50, copies=5)
        table = digit_rows.deal(rows, comm, Workspace(folder, folder, 10**7))
        for options, line in (
            ({"truth": str(folder / "none")}, "received a truth file that cannot be read"),
            ({"constraints": str(folder / "none")}, "received constraints that cannot be read"),
        ):
            try:
                errors.clean(table, comm, **options)
            except RankError as error:
                assert error.is_input and line in error.cause
                print("refused")
    """
    for rank in range(3):
        (tmp_path / str(rank)).mkdir()
    assert mpirun(3, program, tmp_path).split() == ["refused"] * 6
