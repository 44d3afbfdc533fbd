"""Every way to fill empty cells gives the same cells, log and metrics on 1, 2, 3 and 4 ranks, bit for bit."""

import json

FILL = """
    import hashlib, json, pathlib, sys, tempfile
    import numpy as np
    import pyarrow as pa
    from mpi4py import MPI

    from hvdedge.cleaning import missing
    from hvdedge.parallel import MeteredComm, block
    from hvdedge.tables import Table, gather_table
    from hvdedge.workspace import CHANGES, Workspace

    comm = MeteredComm(MPI.COMM_WORLD)
    memory = int(sys.argv[1])
    scratch = pathlib.Path(tempfile.mkdtemp())

    def make(count):
        draw = np.random.default_rng(1)
        town = draw.integers(0, 3, count)
        size = town * 3 + draw.normal(size=count)
        series = np.sin(np.arange(count) / 9) * 5

        def gaps(values, type):
            return pa.array(values, type, mask=draw.random(count) < 0.15)

        return pa.table({
            "town": gaps(np.array(["Ulm", "Jena", "Köln"])[town], pa.string()).dictionary_encode(),
            "south": gaps(town == 0, pa.bool_()),
            "size": gaps(size, pa.float64()),
            "double": gaps(np.round(2 * size + draw.normal(0, 0.2, count), 2), pa.float64()),
            "pairs": gaps((size * 4).astype(int) % 5, pa.int64()),  # few values: many rows are equally near
            "series": gaps(series, pa.float32()),
            "when": gaps(draw.integers(0, 10**6, count), pa.int64()).cast(pa.timestamp("s")),
            "word": gaps([f"w{number}" for number in range(count)], pa.string()),
            "empty": pa.nulls(count, pa.int64()),
            "first": pa.array(range(count), mask=(np.arange(count) >= 200) | (draw.random(count) < 0.15)),  # of file a
            "label": gaps(town, pa.int64()),
            "_file": ["a" if row < 200 else "b" for row in range(count)],
            "_line": np.arange(count),
        })

    def fill(count, **options):
        workspace = Workspace(scratch, scratch, memory)
        rows = make(count)
        mine = block(count, comm.size, comm.rank)
        if comm.size == 3:  # the middle rank of three has no rows
            mine = [slice(0, count // 3), slice(count // 3, count // 3), slice(count // 3, count)][comm.rank]
        part = rows.slice(mine.start, mine.stop - mine.start).unify_dictionaries().combine_chunks()
        table = Table.from_batches(rows.schema, part.to_batches(max_chunksize=70), workspace)
        table = missing.clean(table, comm, **options)
        text = pa.schema([field.with_type(pa.string()) for field in table.schema])
        whole = gather_table(table.to_arrow().cast(text), comm)
        log = gather_table(pa.Table.from_batches(workspace.changes, CHANGES), comm)
        return {
            "rows": whole.num_rows,
            "cells": hashlib.sha256(str(whole.to_pydict()).encode()).hexdigest(),
            "empty": {name: whole[name].null_count for name in whole.column_names},
            "log": hashlib.sha256("".join(sorted(map(str, log.to_pylist()))).encode()).hexdigest(),
            "metrics": workspace.metrics["missing"],
        }

    methods = ["auto", "knn", "regression", "last", "linear", "mean", "median", "mode", "drop"]
    found = {f"{method} {count}": fill(count, method=method) for count in (403, 0, 2, 5) for method in methods}
    for method in ("last", "linear"):
        found[f"{method} ordered"] = fill(403, method=method, order="when", keep=("when",))
    for method in ("last", "linear", "auto"):
        found[f"{method} by"] = fill(403, method=method, by="pairs", order="when", keep=("when", "pairs"))
    if comm.rank == 0:
        print(json.dumps(found))
"""


def test_every_method_fills_alike_on_any_number_of_ranks_also_on_more_than_there_are_rows(mpirun):
    first, *others = [json.loads(mpirun(ranks, FILL, 64_000_000)) for ranks in (1, 2, 3, 4)]
    for name in first:
        assert [found[name] for found in others] == [first[name]] * 3, name
    auto = first["auto 403"]
    assert {auto["metrics"]["methods"][name] for name in ("town", "south", "size", "double")} <= {
        *("regression", "knn", "blend"),
    }
    assert auto["metrics"]["methods"]["series"] == "linear"
    assert auto["metrics"]["left"].keys() == {"word", "empty", "when", "first", "label"}
    assert {name for name, count in auto["empty"].items() if count} == {"word", "empty", "when", "first", "label"}
    assert auto["empty"]["first"] == 203
    assert first["linear ordered"]["empty"]["size"] <= first["linear ordered"]["empty"]["when"]
    assert first["drop 403"]["rows"] == 0  # one column is empty


def test_a_table_that_spills_to_disk_is_filled_alike(mpirun):
    in_memory, spilled = (mpirun(2, FILL, memory) for memory in (64_000_000, 100_000))
    assert in_memory == spilled


def test_a_gap_goes_on_over_ranks_without_a_known_cell_and_rows_of_one_key_stay_in_order(mpirun):
    program = """
        import json
        import numpy as np
        from mpi4py import MPI
        from hvdedge import series
        from hvdedge.parallel import MeteredComm, allgather_rows, block

        comm = MeteredComm(MPI.COMM_WORLD)
        values = np.full((12, 2), np.nan)
        values[1, 0], values[10, 0], values[7, 1] = 10, 100, 5
        mine = block(12, comm.size, comm.rank)
        found = [series.fill_by(None, values[mine], is_line, comm) for is_line in (True, False)]
        keys = np.array([3, 3, 3, 3, 3, 3, 1, 1, 1, np.nan, 2, 2])
        found += [series.fill_by(keys[mine], values[mine], is_line, comm) for is_line in (True, False)]
        whole = [np.nan_to_num(allgather_rows(part, comm), nan=-1).T.tolist() for part in found]
        if comm.rank == 0:
            print(json.dumps(whole))
    """
    first, *others = [json.loads(mpirun(ranks, program)) for ranks in (1, 2, 3, 4)]
    assert others == [first] * 3
    line, last, ordered_line, ordered_last = first
    assert line == [[10, *range(10, 110, 10), 100], [5] * 12]
    assert last == [[-1, *[10] * 9, 100, 100], [*[-1] * 7, *[5] * 5]]
    # by key: rows 6 7 8 | 10 11 | 0 1 2 3 4 5; row 9 has none
    assert ordered_last == [[100, 10, 10, 10, 10, 10, -1, -1, -1, -1, 100, 100], [5] * 6 + [-1, 5, 5, -1, 5, 5]]
    # row 0 stands where row 1 does, at 3; the line from 100 at 2 to 10 at 3 ends there
    assert ordered_line == [[10, 10, 10, 10, 10, 10, 100, 100, 100, -1, 100, 100], [5] * 9 + [-1, 5, 5]]
