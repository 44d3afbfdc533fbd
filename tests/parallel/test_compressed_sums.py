"""Compressed sums: the same on all ranks, near the true ones, and over time nothing is lost."""

import json

import pytest

PROGRAM = """
import json, sys
import numpy as np
from mpi4py import MPI
from hvdedge.compressed_sums import Bfloat16, Int8, LargestSum, RoundedSum
from hvdedge.parallel import MeteredComm, allgather_rows

comm = MeteredComm(MPI.COMM_WORLD)
size, rounds = 1000, 30
def given(rank):
    return np.random.default_rng([5, rank]).normal(0, 1, (rounds, size)).astype(np.float32)
true = sum(given(rank).astype(float) for rank in range(comm.size))
told = {}
for name, summed in {
    "bfloat16": RoundedSum(Bfloat16(), size, comm),
    "int8": RoundedSum(Int8(), size, comm),
    "top_k": LargestSum(0.05, 0.0, size, comm),
}.items():
    sent = comm.traffic.bytes_sent
    found = np.stack([summed.sum(values) for values in given(comm.rank)])
    sent = comm.traffic.bytes_sent - sent
    rest = summed.rest()
    every = allgather_rows(found[None], comm)
    told[name] = {
        "alike": bool((every == every[:1]).all()),
        "off": float(np.abs(found - true).max()),
        "lost": float(np.abs(found.sum(axis=0, dtype=float) + rest - true.sum(axis=0)).max()),
        "left": float(np.abs(summed.rest()).max()),
        "sent": int(allgather_rows(np.array([sent]), comm).sum()) / rounds,
        "places": int((found[0] != 0).sum()),
    }
if comm.rank == 0:
    print(json.dumps(told))
"""


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_what_is_not_sent_now_is_sent_later(mpirun, ranks):
    told = json.loads(mpirun(ranks, PROGRAM).splitlines()[0])
    part = -(-1000 // (256 * ranks)) * 256
    for name, each in (("bfloat16", 2 * part), ("int8", part + part // 64)):
        assert told[name]["alike"] and told[name]["left"] == 0
        assert told[name]["lost"] < 2e-4 < told[name]["off"] < 0.1 * ranks
        assert told[name]["sent"] == pytest.approx(2 * each * (ranks - 1) * ranks, rel=0.01, abs=1)
    assert told["top_k"]["alike"] and told["top_k"]["lost"] < 2e-4 and told["top_k"]["left"] == 0
    assert 50 <= told["top_k"]["places"] <= 50 * ranks
