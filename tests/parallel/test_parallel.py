"""The collectives on 1 to 4 ranks, ranks without rows among them; what they move; how errors become everybody's."""

import json
import time

import pytest

COLLECTIVES = """
import json
import numpy as np
from mpi4py import MPI
from hvdedge.parallel import MeteredComm, agree, allgather_bytes, allgather_json, allgather_rows
from hvdedge.parallel import largest
from hvdedge.parallel import bcast_json, exchange, exchange_runs, fetch_rows, frequencies, send_rows
comm = MeteredComm(MPI.COMM_WORLD)
rank, size = comm.rank, comm.size
assert bcast_json({"from": rank}, comm, root=size - 1) == {"from": size - 1}
assert allgather_json([rank, "ü"], comm) == [[r, "ü"] for r in range(size)]
assert allgather_bytes(b"x" * rank, comm) == [b"x" * r for r in range(size)]
rows = np.full((rank, 2), rank, np.float32)  # rank 0 has none
everything = np.concatenate([np.full((r, 2), r, np.float32) for r in range(size)])
np.testing.assert_array_equal(allgather_rows(rows, comm), everything)
for without in (0, size - 1):
    assert largest([rank, None if rank == without else 5.0, -rank], comm) == [size - 1, None, 0]
assert exchange([bytes([rank, r]) * r for r in range(size)], comm) == [bytes([r, rank]) * rank for r in range(size)]
arrived, sizes = exchange_runs(np.repeat(np.arange(size), rank), np.full(size, rank), comm)
assert (arrived.tolist(), sizes.tolist()) == ([rank] * sum(range(size)), list(range(size)))
assert send_rows(np.arange(size)[::-1], np.arange(size)[::-1], comm).tolist() == [rank] * size
held, different = frequencies(np.array([7, rank, 7], np.uint64), comm)
assert (held.tolist(), different) == ([2 * size, 1, 2 * size], size + 1)
if len(everything):
    wanted = np.random.default_rng(rank).integers(0, len(everything), 7 * rank)
    np.testing.assert_array_equal(fetch_rows(rows, wanted, comm), everything[wanted])
with agree(comm):
    pass
print("right")
"""


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_collectives_give_the_same_on_any_number_of_ranks(mpirun, ranks):
    assert mpirun(ranks, COLLECTIVES).split() == ["right"] * ranks


def test_an_error_on_one_rank_is_raised_on_all_with_its_rank_and_cause(mpirun):
    out = mpirun(
        3,
        """
        from mpi4py import MPI
        from hvdedge.errors import InputError, RankError
        from hvdedge.parallel import MeteredComm, agree
        comm = MeteredComm(MPI.COMM_WORLD)
        try:
            with agree(comm):
                if comm.rank >= 1:
                    raise InputError(f"rank {comm.rank} dislikes it")
        except RankError as error:
            print(error.rank, error.is_input, error.cause, sep="|")
        """,
    )
    assert out.splitlines() == ["1|True|rank 1 dislikes it"] * 3


def test_messages_are_counted_where_they_are_sent(mpirun):
    out = mpirun(
        2,
        """
        import json
        import time
        import numpy as np
        from mpi4py import MPI
        from hvdedge.parallel import MeteredComm, exchange
        comm = MeteredComm(MPI.COMM_WORLD)
        def cost(call):
            before = comm.traffic.bytes_sent, comm.traffic.bytes_received
            call()
            return comm.traffic.bytes_sent - before[0], comm.traffic.bytes_received - before[1]
        peer = 1 - comm.rank
        kilo = np.zeros(1000, np.uint8)
        costs = {
            "allreduce": cost(lambda: comm.Allreduce(MPI.IN_PLACE, kilo)),
            "bcast": cost(lambda: comm.Bcast(kilo, 0)),
            "send": cost(lambda: comm.Recv(np.empty(2000, np.uint8), peer) if comm.rank else comm.Send(kilo, peer)),
            "exchange": cost(lambda: exchange([b"a" * 10, b"a" * 10], comm)),
            "split": cost(lambda: comm.Split(0, comm.rank).Allreduce(MPI.IN_PLACE, kilo)),
        }
        idle = comm.traffic.idle_seconds
        if comm.rank == 0:
            time.sleep(0.5)
        comm.Barrier()
        costs["waited"] = comm.traffic.idle_seconds - idle
        print(json.dumps([comm.rank, costs]))
        """,
    )
    first, second = (costs for _, costs in sorted(map(json.loads, out.splitlines())))
    assert first["allreduce"] == second["allreduce"] == [1000, 1000]  # 2 * 1 / 2 of the buffer
    assert (first["bcast"], second["bcast"]) == ([1000, 0], [0, 1000])
    assert (first["send"], second["send"]) == ([1000, 0], [0, 1000])
    assert first["exchange"] == second["exchange"] == [18, 18]  # 10 bytes and an 8 byte length
    assert first["split"] == [1000, 1000]
    assert second["waited"] > 0.4 > 0.3 > first["waited"]


def test_a_rank_that_fails_ends_all_at_once(mpirun):
    began = time.monotonic()
    mpirun(
        3,
        "from mpi4py import MPI\nif MPI.COMM_WORLD.rank == 1: raise ValueError('broken')\nMPI.COMM_WORLD.Barrier()",
        status=1,
    )
    assert time.monotonic() - began < 20  # without mpi4py's runner it never ends
