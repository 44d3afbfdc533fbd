"""Vectors of table rows, and all that is fitted for them, are the same on 1, 2, 3 and 4 ranks, bit for bit."""

EXTRACT = """
    import hashlib, json, sys
    from datetime import datetime, timedelta
    import numpy as np
    import pyarrow as pa
    from mpi4py import MPI

    from hvdedge.features.table import extract
    from hvdedge.parallel import MeteredComm, allgather_bytes, block
    from hvdedge.tables import Table
    from hvdedge.workspace import Workspace
    import pathlib

    comm = MeteredComm(MPI.COMM_WORLD)
    folder = pathlib.Path(sys.argv[1])
    for count in (12_000, 3):
        rng = np.random.default_rng(5)
        start = datetime(2020, 1, 1)
        rows = pa.table({
            "n": rng.normal(5, 2, count),
            "skewed": np.exp(rng.normal(0, 3, count)),
            "id": rng.permutation(count),
            "word": pa.array(rng.choice([*"uvwxyz"], count), mask=rng.random(count) < 0.1).dictionary_encode(),
            "some": [f"s{number}" for number in rng.integers(0, 90, count)],
            "level": rng.choice([*"pqrst"], count),
            "many": [f"m{number}" for number in rng.integers(0, 2000, count)],
            "key": [f"k{number}" for number in range(count)],
            "when": [start + timedelta(hours=int(hours)) for hours in rng.integers(0, 20_000, count)],
            "flag": rng.random(count) < 0.3,
            "label": [*"ab"] * (count // 2) + ["a"] * (count % 2),
            "_split": pa.array(np.arange(count) % 3 // 2, pa.uint8()),
        })
        workspace = Workspace(folder, folder, 64_000_000)
        part = block(count, comm.size, comm.rank)
        mine = rows.slice(part.start, part.stop - part.start).combine_chunks()
        whats = ("mean", "std", "min", "max")
        grouped = ("count by many", "shares(word) by some", *(f"{what}(skewed) by some" for what in whats))
        features = extract(Table.from_batches(rows.schema, mine.to_batches(997), workspace), comm, aggregates=grouped,
                           embed=("level",))
        parts = [np.concatenate([a.view(np.uint8).ravel() for a in arrays] or [np.empty(0, np.uint8)])
                 for arrays in list(zip(*features.batches())) or [[]] * 3]
        every = [hashlib.sha256(b"".join(allgather_bytes(part.tobytes(), comm))).hexdigest() for part in parts]
        if comm.rank == 0:
            print(json.dumps([every, features.spec, features.left_out, features.decisions], sort_keys=True))
"""


def test_vectors_and_parameters_are_the_same_on_any_number_of_ranks(mpirun, tmp_path):
    found = [mpirun(ranks, EXTRACT, tmp_path).splitlines() for ranks in (1, 2, 3, 4)]
    assert found[1:] == [found[0]] * 3
    for way in (
        "number",
        "one_hot",
        "hash",
        "frequency",
        "year",
        "month",
        "weekday",
        "hour",
        "aggregate",
        "embed",
        "missing",
    ):
        assert f'"as": "{way}"' in found[0][0]
    assert '{"id": "a key' in found[0][0]
