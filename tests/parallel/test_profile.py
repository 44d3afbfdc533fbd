"""Quantiles, statistics and correlations are the same on 1, 2, 3 and 4 ranks, bit for bit."""

import json
import math

import pytest

PROFILE = """
    import json, pathlib, sys, tempfile
    import numpy as np
    import pyarrow as pa
    from mpi4py import MPI

    import digit_rows
    from hvdedge import value_hashes
    from hvdedge.parallel import MeteredComm
    from hvdedge.profiling import correlations, statistics
    from hvdedge.quantiles import select
    from hvdedge.workspace import Workspace

    comm = MeteredComm(MPI.COMM_WORLD)
    draw = np.random.default_rng(0)
    everything = pa.table({
        "real": draw.normal(1e6, 3, 3000),
        "skewed": draw.lognormal(sigma=3, size=3000),
        "whole": pa.array(draw.integers(0, 9, 3000), mask=draw.random(3000) < 0.2),
        "many": draw.permutation(3000),
        "some": np.where(draw.random(3000) < 0.1, draw.integers(0, 5, 3000), np.arange(3000)),
        "long": np.char.add("x" * 1200, draw.permutation(np.arange(3000) // 7 * 7).astype(str)),
        "word": pa.array(draw.choice(["a", "ä", "bb"], 3000)).dictionary_encode(),
        "code": np.char.add("Ab-", draw.permutation(3000).astype(str)),
        "day": pa.array(draw.integers(0, 9999, 3000), pa.int32()).cast(pa.date32()),
        "hour": pa.array(1729980000 + 10 * np.arange(3000)).cast(pa.timestamp("s", "Europe/Berlin")),  # summer ends
        "none": pa.nulls(3000, pa.float64()),
    })
    statistics.MOST_VALUES = 2000
    value_hashes.HELD_BYTES = 10_000  # 4 rounds on one rank, 1 on four
    correlations.SAMPLE_ROWS = 1000
    scratch = pathlib.Path(tempfile.mkdtemp())
    told = []
    for count in (3000, 3, 0):
        table = digit_rows.deal(everything.slice(0, count), comm, Workspace(scratch, scratch, 64_000_000), 200)
        quantiles = select(table, [["real", "skewed"], ["whole"], ["none"]], [0.1, 0.5, 0.999], comm)
        related = correlations.profile(table, comm, label="word" if count == 3000 else "")
        told.append([statistics.profile(table, comm, top=3), related, quantiles.view(np.int64).tolist()])
    everyone = comm.allgather(json.dumps(told, allow_nan=False))
    assert len(set(everyone)) == 1
    if comm.rank == 0:
        print(everyone[0])
"""


def test_a_table_is_described_alike_on_any_number_of_ranks_also_on_more_than_there_are_rows(mpirun):
    first, *others = [json.loads(mpirun(ranks, PROFILE)) for ranks in (1, 2, 3, 4)]
    assert others == [first] * 3
    many = first[0][0]["columns"]["many"]
    assert (many["distinct"], many["top"], many["top_above"]) == (3000, [], 1)
    assert many["entropy"] == pytest.approx(math.log2(3000), rel=1e-15)
    some, long = (first[0][0]["columns"][name] for name in ("some", "long"))
    assert [len(some["top"]), some["top_above"], len(long["top"])] == [3, 0, 0]
    assert long["top_above"] == 3000 * 1204 // (128 * 2000)
