"""Halos: what each rank needs of the others, told from its own entries."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import matrix, random_pairs

from hvdedge.halos import needed, plan
from hvdedge.parallel import block

STARTS = np.array([0, 3, 6])


def test_the_drawing_in_the_module_is_what_comes_out():
    nodes, received, columns = needed(np.array([1, 4, 5]), STARTS, 0)
    assert (nodes.tolist(), received.tolist(), columns.tolist()) == ([4, 5], [0, 2], [1, 3, 4])
    nodes, received, columns = needed(np.array([2, 3]), STARTS, 1)
    assert (nodes.tolist(), received.tolist(), columns.tolist()) == ([2], [1, 0], [3, 0])


@settings(deadline=None)
@given(ranks=st.integers(1, 5), nodes=st.integers(1, 30), edges=st.integers(0, 60), seed=st.integers(0, 99))
def test_columns_find_each_node_among_own_rows_and_halo_and_no_node_is_needed_twice(ranks, nodes, edges, seed):
    found = matrix(random_pairs(nodes, edges, seed), nodes)
    starts = np.array([block(nodes, ranks, rank).start for rank in range(ranks)] + [nodes])
    for rank in range(ranks):
        indices = found[starts[rank] : starts[rank + 1]].indices.astype(np.int64)
        before = indices.copy()
        halo, received, columns = needed(indices, starts, rank)
        here = np.arange(starts[rank], starts[rank + 1])
        assert (np.concatenate([here, halo])[columns] == before).all()
        assert (indices == before).all()
        assert {*halo.tolist()} == {*before.tolist()} - {*here.tolist()}
        owners = np.searchsorted(starts, halo, side="right") - 1
        assert received.tolist() == np.bincount(owners, minlength=ranks).tolist()
        assert received[rank] == 0


def test_one_rank_needs_nothing_of_others(comm):
    halo = plan(np.array([1, 0, 2]), np.array([0, 3]), comm)
    x = np.arange(6.0).reshape(3, 2)
    assert (halo.fetch(x, comm) == x).all()
    assert halo.columns.tolist() == [1, 0, 2]
