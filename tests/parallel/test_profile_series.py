"""Profiles of series are the same on 1, 2, 3 and 4 ranks, bit for bit."""

import json

PROFILE = """
    import json, pathlib, sys
    import numpy as np
    import pyarrow as pa
    from mpi4py import MPI

    from hvdedge.parallel import MeteredComm, block
    from hvdedge.profiling.series import profile
    from hvdedge.tables import Table
    from hvdedge.workspace import Workspace

    comm = MeteredComm(MPI.COMM_WORLD)
    folder = pathlib.Path(sys.argv[1])
    for count in (5000, 40, 3):
        rng = np.random.default_rng(8)
        name = rng.choice([*"aab"], count) if count > 40 else np.array(["only"] * count)
        time = np.sort(rng.integers(0, 3 * count, count))
        value = np.sin(time / 5) * 1e3 + rng.normal(0, 50, count)
        rows = pa.table({"time": time, "name": name, "n": time % 7})
        rows = rows.append_column("v", pa.array(value, mask=rng.random(count) < 0.05))
        for shuffled in (False, True):
            order = rng.permutation(count) if shuffled else np.arange(count)
            mine = block(count, comm.size, comm.rank)
            part = rows.take(order).slice(mine.start, mine.stop - mine.start).combine_chunks()
            table = Table.from_batches(rows.schema, part.to_batches(97), Workspace(folder, folder, 64_000_000))
            for options in ({}, {"time": "time"}, {"time": "time", "by": "name"}, {"by": "name"}):
                found = profile(table, comm, **options, lags=60)
                if comm.rank == 0:
                    print(json.dumps(found, sort_keys=True))
"""


def test_the_profile_is_the_same_on_any_number_of_ranks(mpirun, tmp_path):
    found = [mpirun(ranks, PROFILE, tmp_path).splitlines() for ranks in (1, 2, 3, 4)]
    assert found[1:] == [found[0]] * 3
    assert len(found[0]) == 24
    told = json.loads(found[0][2])["series"]
    assert told["series"] == 2
    assert None not in told["columns"]["v"]["autocorrelation"]
