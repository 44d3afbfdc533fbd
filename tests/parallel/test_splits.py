"""Every way to split gives each row the same split on 1, 2, 3 and 4 ranks."""

SPLIT = """
    import json
    import numpy as np
    import pyarrow as pa
    from mpi4py import MPI

    from hvdedge import splits
    from hvdedge.parallel import MeteredComm, allgather_rows, block

    comm = MeteredComm(MPI.COMM_WORLD)
    shares = {"validation": 0.1, "test": 0.2}
    for count in (1001, 3):
        rng = np.random.default_rng(2)
        rows = block(count, comm.size, comm.rank)
        labels = pa.array(rng.choice([*"abc", None], count))[rows.start : rows.stop]
        groups = pa.array(rng.integers(0, 90, count), mask=rng.random(count) < 0.1)[rows.start : rows.stop]
        times = pa.array(rng.normal(0, 1, count).round(2))[rows.start : rows.stop]
        words = pa.array(rng.choice([*splits.WORDS, None], count))[rows.start : rows.stop]
        found = [
            splits.stratified(labels, comm, **shares, seed=7),
            splits.random(labels, comm, **shares, seed=7),
            splits.grouped(labels, groups, comm, **shares, seed=7),
            splits.by_time(labels, times, comm, **shares),
            splits.as_given(labels, words, comm),
        ]
        told = [allgather_rows(codes, comm).tolist() for codes in found]
        told += [splits.classes_left_out(codes, labels, "", "", comm) for codes in found if count > 3]
        if comm.rank == 0:
            print(json.dumps(told))
"""


def test_rows_are_split_alike_on_any_number_of_ranks(mpirun):
    found = [mpirun(ranks, SPLIT) for ranks in (1, 2, 3, 4)]
    assert found[1:] == [found[0]] * 3
    assert len(found[0].splitlines()) == 2
