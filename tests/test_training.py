"""Lanes: every row once an epoch, batches that do not depend on the number of ranks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdedge.parallel import block
from hvdedge.shards import Lanes


class Numbers:
    """Rows whose x is their number."""

    def __init__(self, rows):
        self._rows = rows

    def rows(self, split):
        return self._rows

    def read(self, split, rows):
        return np.arange(1.0, self._rows + 1, dtype=np.float32)[rows, None], np.arange(self._rows)[rows]

    def weights(self, rows):
        return np.ones(self._rows, np.float32)[rows]


def steps(rows, batch, size, epoch):
    """The global batches: for each step the rows of all ranks with their weights, zero-weight rows left out."""
    shards = [Lanes(Numbers(rows), batch, block(batch, size, rank), seed=5) for rank in range(size)]
    together = zip(*(shard.batches(epoch) for shard in shards), strict=True)  # equally many steps on each rank
    found = []
    for parts in together:
        x, weights = (np.concatenate([getattr(part, name).ravel() for part in parts]) for name in ("x", "weights"))
        np.testing.assert_allclose(weights.sum(), 1, rtol=1e-5)
        found.append(set(x[weights > 0].astype(int)))
        assert len(found[-1]) == (weights > 0).sum()
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 120), st.integers(1, 40), st.integers(1, 7), st.integers(0, 3))
def test_every_row_is_used_once_an_epoch_and_weights_add_up(rows, batch, size, epoch):
    found = steps(rows, batch, size, epoch)
    assert sorted(row for step in found for row in step) == list(range(1, rows + 1))
    assert [len(step) for step in found] == [min(batch, rows - start) for start in range(0, rows, batch)]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 120), st.integers(1, 40), st.integers(2, 7))
def test_batches_are_the_same_on_any_number_of_ranks(rows, batch, size):
    assert steps(rows, batch, size, 1) == steps(rows, batch, 1, 1)


def test_epochs_differ_and_seeds_repeat():
    assert steps(100, 10, 2, 0) != steps(100, 10, 2, 1)
    assert steps(100, 10, 2, 1) == steps(100, 10, 2, 1)
