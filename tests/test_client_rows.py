"""Rows of clients: each row is one client's, alike or by Dirichlet shares of the labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdedge import client_rows


@given(
    rows=st.integers(0, 60), clients=st.integers(1, 7), alpha=st.sampled_from([0.1, 1.0, 100.0]), seed=st.integers(0, 9)
)
def test_each_row_is_one_clients(rows, clients, alpha, seed):
    labels = np.random.default_rng(seed).integers(0, 3, rows)
    for owned in (client_rows.alike(rows, clients, seed), client_rows.by_label(labels, clients, alpha, seed)):
        assert len(owned) == clients
        assert np.sort(np.concatenate(owned)).tolist() == [*range(rows)]
        assert all((np.diff(its) > 0).all() for its in owned)
    assert max(map(len, client_rows.alike(rows, clients, seed))) <= -(-rows // clients)


@given(clients=st.lists(st.integers(0, 9), max_size=80), ranks=st.integers(1, 5))
def test_whole_clients_go_to_ranks_and_none_is_without_while_they_suffice(clients, ranks):
    clients = np.array(clients, np.int32)
    owned = client_rows.by_client(clients, ranks)
    assert np.sort(np.concatenate(owned)).tolist() == [*range(len(clients))]
    holders = [{rank for rank, its in enumerate(owned) if (clients[its] == client).any()} for client in {*clients}]
    assert all(len(ranks_of_one) == 1 for ranks_of_one in holders)
    assert sum(len(its) > 0 for its in owned) == min(ranks, len({*clients}))


def test_a_small_alpha_gives_each_client_few_labels():
    labels = np.repeat(np.arange(10), 200)

    def shares(alpha):
        owned = client_rows.by_label(labels, 5, alpha, 3)
        counted = np.array([np.bincount(labels[its], minlength=10) for its in owned])
        return (counted / counted.sum(axis=1, keepdims=True)).max(axis=1).mean()

    assert shares(1000.0) == pytest.approx(0.1, abs=0.02)
    assert shares(0.1) > shares(1.0) + 0.05 > 0.3


def test_no_client_is_without_rows_while_another_draw_helps():
    labels = np.repeat(np.arange(4), 10)
    assert all(len(its) for seed in range(20) for its in client_rows.by_label(labels, 4, 0.2, seed))
