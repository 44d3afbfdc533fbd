"""The rows of ranks: every row has one rank, sizes differ by at most one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hvdedge.parallel import allgather_bytes, allgather_rows, block, exchange, fetch_rows, ring_bytes


@given(st.integers(0, 500), st.integers(1, 40))
def test_every_row_has_one_rank_and_blocks_differ_by_one_row(count, size):
    blocks = [block(count, size, rank) for rank in range(size)]
    assert [row for rows in blocks for row in range(count)[rows]] == list(range(count))
    lengths = [rows.stop - rows.start for rows in blocks]
    assert max(lengths) - min(lengths) <= 1


def test_a_ring_allreduce_sends_what_the_paper_says():
    assert ring_bytes(1200, 4) == 1800  # 2 * 3 / 4
    assert ring_bytes(1200, 1) == 0


def test_one_rank_alone_gets_back_what_it_gave(comm):
    rows = np.arange(12.0).reshape(4, 3)
    assert allgather_bytes(b"abc", comm) == [b"abc"]
    assert exchange([b"x"], comm) == [b"x"]
    np.testing.assert_array_equal(allgather_rows(rows, comm), rows)
    np.testing.assert_array_equal(fetch_rows(rows, np.array([3, 0, 3]), comm), rows[[3, 0, 3]])
    assert (comm.traffic.bytes_sent, comm.traffic.bytes_received) == (0, 0)
