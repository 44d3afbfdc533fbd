"""Blocks of a graph: their product is that of the whole, drawn neighbours have its expectation, parts have its rows."""

import numpy as np
import pytest
import scipy.sparse
from small_graphs import GraphRows, normalized, random_pairs

from hvdedge import graph_blocks
from hvdedge.graph_blocks import GraphStore, StorePart, read_rows, read_store, sampled

NODES = 40


@pytest.fixture(scope="module")
def store():
    """A graph of which the last two nodes have no edge, not even to themselves."""
    adjacency = normalized(random_pairs(NODES - 2, 70, seed=1), NODES)
    adjacency[NODES - 2 :] = 0
    adjacency.eliminate_zeros()
    x = np.random.default_rng(2).normal(size=(NODES, 3)).astype(np.float32)
    return GraphStore(adjacency, scipy.sparse.csr_matrix(x))


@pytest.mark.parametrize("nodes", [[7], [3, 30, 3, 12], [38, 5, 39], [39], range(NODES), []])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_product_of_the_blocks_is_that_of_the_whole_adjacency(store, nodes, layers):
    nodes = np.array(nodes, np.int64)
    x, *blocks = store.around(nodes, layers)
    assert len(blocks) == layers
    told = x.toarray().astype(float)
    for block in blocks:
        told = block.toarray() @ told
    whole = np.linalg.matrix_power(store.adjacency.toarray().astype(float), layers) @ store.features.toarray()
    np.testing.assert_allclose(told, whole[nodes], atol=1e-6)  # float32 entries


def test_nodes_that_are_not_needed_are_not_looked_up():
    line = normalized([[n, n + 1] for n in range(9)], 10)
    x, first, second = GraphStore(line, scipy.sparse.identity(10, format="csr")).around(np.array([0]), 2)
    assert x.toarray().argmax(axis=1).tolist() == [0, 1, 2]
    assert (first.shape, second.shape) == ((2, 3), (1, 2))


def test_drawn_neighbours_have_the_expectation_of_all(store):
    nodes, draw = np.arange(NODES), np.random.default_rng(0)
    times, total = 4000, np.zeros((NODES, NODES))
    for _ in range(times):
        total += sampled(store.adjacency, nodes, 2, draw).toarray()
    whole = store.adjacency.toarray()
    # an entry a of d others is d / 2 a in 2 / d of the draws: its mean deviates by a sqrt((d / 2 - 1) / times)
    others = np.maximum((whole > 0).sum(axis=1) - 1, 2)[:, None]
    assert (np.abs(total / times - whole) <= 5 * whole * np.sqrt((others / 2 - 1) / times) + 1e-6).all()


def test_as_many_neighbours_are_drawn_as_asked_for_and_the_node_itself_is_always_there(store):
    draw = np.random.default_rng(0)
    rows = np.array([4, 1, 0, 39, 1])
    found, whole = sampled(store.adjacency[rows], rows, 3, draw), store.adjacency[rows]
    others = np.array([(whole[place].indices != node).sum() for place, node in enumerate(rows)])
    assert others.max() > 3
    for place, node in enumerate(rows):
        assert ((found[place].indices != node).sum()) == min(others[place], 3)
        assert found[place, node] == whole[place, node]
        assert len({*found[place].indices}) == found[place].nnz
    few = others <= 3
    assert (found[few] != whole[few]).nnz == 0


def test_without_an_edge_to_itself_a_node_has_drawn_neighbours_alone():
    ring = scipy.sparse.csr_matrix(np.ones((5, 5), np.float32) - np.eye(5, dtype=np.float32))
    found = sampled(ring, np.arange(5), 2, np.random.default_rng(0))
    assert np.diff(found.indptr).tolist() == [2] * 5 and (found.data == 2).all()


def test_the_same_seed_draws_the_same(store):
    def drawn(seed):
        return store.around(np.arange(9), 2, (2, 3), np.random.default_rng(seed))

    one, same, other = drawn(5), drawn(5), drawn(6)
    assert all((a != b).nnz == 0 for a, b in zip(one, same, strict=True))
    assert one[-1].shape != other[-1].shape or (one[-1] != other[-1]).nnz


def test_a_graph_is_read_block_by_block(monkeypatch):
    reader = GraphRows(23)
    monkeypatch.setattr(graph_blocks, "BLOCK_NUMBERS", 5 * 4)
    store = read_store(reader)
    assert (store.adjacency != reader.adjacency).nnz == 0
    assert (store.features.toarray() == reader.x).all()
    assert store.features.nnz == np.count_nonzero(reader.x)
    adjacency, features = read_rows(reader, slice(6, 17))
    assert (adjacency != reader.adjacency[6:17]).nnz == 0 and (features.toarray() == reader.x[6:17]).all()
    assert [part.shape for part in read_rows(reader, slice(4, 4))] == [(0, 23), (0, 5)]


def test_a_part_gives_all_its_rows_but_in_the_last_layer():
    reader = GraphRows(20)
    part = StorePart(8, *read_rows(reader, slice(8, 15)))
    x, first, second = part.around(np.array([14, 9]), 2)
    assert x.shape == (7, 5) and first.shape == (7, 20)
    assert (second != reader.adjacency[[14, 9]]).nnz == 0
