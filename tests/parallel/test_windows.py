"""Windows of series are the same on 1, 2, 3 and 4 ranks, bit for bit, however the rows lie on the ranks."""

import json

WINDOWS = """
    import hashlib, json, pathlib, sys
    import numpy as np
    import pyarrow as pa
    from mpi4py import MPI

    from hvdedge.features.windows import extract
    from hvdedge.parallel import MeteredComm, allgather_bytes, block
    from hvdedge.tables import Table
    from hvdedge.workspace import Workspace

    comm = MeteredComm(MPI.COMM_WORLD)
    folder = pathlib.Path(sys.argv[1]) / str(comm.rank)
    folder.mkdir()

    def table_of(rows, memory_bytes, uneven):
        part = block(len(rows), comm.size, comm.rank)
        if uneven:  # all rows on the last rank
            part = slice(0, len(rows)) if comm.rank == comm.size - 1 else slice(0, 0)
        mine = rows.slice(part.start, part.stop - part.start).combine_chunks()
        return Table.from_batches(rows.schema, mine.to_batches(211), Workspace(folder, folder, memory_bytes))

    def show(features):
        arrays = [[part.tobytes() for part in parts] for parts in zip(*features.batches())] or [[]] * 3
        every = [hashlib.sha256(b"".join(allgather_bytes(b"".join(one), comm))).hexdigest() for one in arrays]
        if comm.rank == 0:
            print(json.dumps([every, features.spec, features.left_out, features.rows_left_out], sort_keys=True))

    for count in (3000, 30, 7):
        rng = np.random.default_rng(5)
        time = rng.permutation(count) // 2
        rows = pa.table({
            "time": time,
            "sensor": pa.array(rng.choice(["a", "b", "b", "b"], count)),
            "u": pa.array(rng.normal(5, 2, count), mask=rng.random(count) < 0.003),
            "v": rng.integers(0, 9, count),
            "kind": rng.choice(["x", "y"], count),
            "_split": pa.array(np.digitize(time, [count // 3, 2 * count // 5]).astype(np.uint8)),
        })
        table = table_of(rows, 64_000_000, uneven=False)
        options = {"time": "time", "columns": ("u", "v")}
        show(extract(table, comm, **options, window=2, targets=("u",), missing="mean"))
        if count < 3000:
            continue
        show(extract(table, comm, **options, series="sensor", window=300, horizon=5, stride=2))  # halos of many ranks
        show(extract(table_of(rows, 64_000_000, uneven=True), comm, **options, series="sensor", window=12, horizon=3))
        show(extract(table_of(rows, 100_000, uneven=False), comm, **options, series="sensor", window=12, horizon=3))
        show(extract(table, comm, **options, label="kind", window=20, aggregates=("mean", "std", "slope", "median")))
        ordered = rows.sort_by([("time", "ascending")])
        show(extract(table_of(ordered, 64_000_000, uneven=False), comm, columns=("u",), window=20))
        show(extract(table_of(ordered, 64_000_000, uneven=True), comm, columns=("u",), window=20))
"""


def test_windows_are_the_same_on_any_number_of_ranks(mpirun, tmp_path):
    found = []
    for ranks in (1, 2, 3, 4):
        folder = tmp_path / str(ranks)
        folder.mkdir()
        found.append(mpirun(ranks, WINDOWS, folder).splitlines())
    assert found[1:] == [found[0]] * 3
    told = [json.loads(line) for line in found[0]]
    assert len(told) == 9
    digests = [digest for digest, *_ in told]
    assert digests[2] == digests[3]  # in memory or not, wherever the rows lie
    assert digests[5] == digests[6]
    assert told[1][1]["input_shape"] == [300, 2]


SEQUENCES = """
    import json, pathlib, sys
    import numpy as np
    import pyarrow as pa
    from mpi4py import MPI

    from hvdedge.parallel import MeteredComm, allgather_json, block
    from hvdedge.sequences import Sequences
    from hvdedge.tables import Table
    from hvdedge.workspace import Workspace

    comm = MeteredComm(MPI.COMM_WORLD)
    folder = pathlib.Path(sys.argv[1])
    # series of 1, 9, 2 and 5 rows, and two rows of none; only ranks 0 and 2 have any, where there are so many
    names = [*"baabacadadadaabb", "a", None, "a"]
    times = [*range(15, -1, -1), 99, 5, None]
    holders = min(comm.size, 2)
    mine = block(len(names), holders, comm.rank // 2) if comm.rank in (0, 2) or comm.size < 3 else slice(0, 0)
    mine = block(len(names), holders, comm.rank) if comm.size < 3 else mine
    rows = pa.table({"name": names, "time": pa.array(times, pa.int64()), "v": np.arange(len(names))})
    part = rows.slice(mine.start, mine.stop - mine.start).combine_chunks()
    table = Table.from_batches(rows.schema, part.to_batches(3), Workspace(folder, folder, 64_000_000))
    found = Sequences(table, comm, time="time", series="name", where=("time", "series"))
    values = found.place(["v"], lambda name, numbers: numbers, halo=4, type="float64")
    before = len(values) - len(found.places)
    told = [found.places.tolist(), found.lengths.tolist(), found.keys.tolist(), values[before:, 0].tolist()]
    parts = allgather_json(told, comm)
    halos = allgather_json([found.first, values[:before, 0].tolist()], comm)
    if comm.rank == 0:
        print(json.dumps([[one for part in parts for one in part[which]] for which in range(4)]))
        print(json.dumps([halos, found.left_out]))
"""


def test_places_lengths_and_halos_are_those_of_the_sorted_rows(mpirun, tmp_path):
    names = [*"baabacadadadaabb", "a"]
    for ranks in (1, 2, 3, 4):
        first, second = map(json.loads, mpirun(ranks, SEQUENCES, tmp_path).splitlines())
        places, lengths, keys, values = first
        series = [names[int(value)] for value in values]
        assert sorted(values) == [*range(17)]
        assert len({*series}) == sum(one != other for one, other in zip(series, [None, *series], strict=False))
        assert places == [series[:place].count(name) for place, name in enumerate(series)]
        assert lengths == [series.count(name) for name in dict.fromkeys(series)]
        assert keys == [99 if value == 16 else 15 - value for value in values]
        halos, left_out = second
        assert left_out == {"rows without a time": 1, "rows of no series": 1}
        for start, halo in halos:
            assert halo == values[max(start - 4, 0) : start]


MIXED = """
    import json, pathlib, sys
    import numpy as np
    import pyarrow as pa
    from mpi4py import MPI

    from hvdedge.mixed_series import find_mixed
    from hvdedge.parallel import MeteredComm, block
    from hvdedge.sequences import Sequences
    from hvdedge.tables import Table
    from hvdedge.workspace import Workspace

    comm = MeteredComm(MPI.COMM_WORLD)
    folder = pathlib.Path(sys.argv[1])
    clock = np.arange(40.0)
    for times in ([*clock, *clock], [*clock, *(clock + 0.5)], [*clock[20:], *clock[:20]], [1.0, 1.0], [1.0], []):
        for first in (0, comm.size - 1):  # rows on all ranks, on the last one alone
            here = comm.rank >= first
            part = block(len(times), comm.size - first, comm.rank - first) if here else slice(0, 0)
            mine = np.array(times, float)[part]
            rows = pa.table({"t": mine})
            table = Table.from_batches(rows.schema, rows.to_batches(), Workspace(folder, folder, 64_000_000))
            told = find_mixed(mine, Sequences(table, comm, time="t", series="", where=("time", "series")), comm)
            if comm.rank == 0:
                print(json.dumps(told))
"""


def test_mixed_series_are_seen_on_any_number_of_ranks(mpirun, tmp_path):
    wanted = [
        "40 of 80 rows have the time of a row before",
        "the times of 80 rows go back 1 times, to between those before",
        *("", "1 of 2 rows have the time of a row before", "", ""),
    ]
    for ranks in (1, 2, 3, 4):
        told = [json.loads(line) for line in mpirun(ranks, MIXED, tmp_path).splitlines()]
        assert told[::2] == told[1::2] == wanted
