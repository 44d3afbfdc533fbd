"""Lanes and a client's rows: every row once an epoch, batches that do not depend on the number of ranks."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdedge.dealt_rows import DealtRows
from hvdedge.errors import InputError
from hvdedge.lanes import Lanes
from hvdedge.parallel import block
from hvdedge.shards import OwnRows


class Numbers:
    """Rows whose x is their number."""

    def __init__(self, rows):
        self._rows = rows

    def rows(self, split):
        return self._rows

    def read(self, split, rows):
        return np.arange(1.0, self._rows + 1, dtype=np.float32)[rows, None], np.arange(self._rows)[rows]

    def stored(self, split, rows):
        return self.read(split, rows)

    def unpack(self, stored):
        return stored

    def weights(self, rows):
        return np.ones(self._rows, np.float32)[rows]


ROW_BYTES = 16  # of x, y and weight


def shard(rows, batch, lanes, width, held_bytes):
    return Lanes(Numbers(rows), batch, lanes, width, 5, held_bytes)


def steps(rows, batch, size, epoch, held_bytes=10**9, moves=()):
    """The global batches: for each step the rows of all ranks with their weights, zero-weight rows left out.

    `moves`: step -> the lanes of each rank from then on.
    """
    width = -(-batch // size)
    shards = [shard(rows, batch, block(batch, size, rank), width, held_bytes) for rank in range(size)]
    moves = dict(moves)
    iterators = [one.batches(epoch) for one in shards]
    found = []
    for step in range(math.ceil(rows / batch)):
        for one, lanes in zip(shards, moves.get(step, ()), strict=False):
            one.take(lanes)
        parts = [next(iterator) for iterator in iterators]  # equally many steps on each rank
        x, weights = (np.concatenate([getattr(part, name).ravel() for part in parts]) for name in ("x", "weights"))
        np.testing.assert_allclose(weights.sum(), 1, rtol=1e-5)
        found.append(set(x[weights > 0].astype(int)))
        assert len(found[-1]) == (weights > 0).sum()
    assert all(next(iterator, None) is None for iterator in iterators)
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


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 12), st.integers(1, 4), st.integers(1, 6), st.data())
def test_rows_in_windows_are_the_same_whoever_holds_which_lanes(rows, batch, size, lines, data):
    held_bytes = 2 * lines * ROW_BYTES * -(-batch // size)
    one = steps(rows, batch, size, 1, held_bytes)
    assert sorted(row for step in one for row in step) == list(range(1, rows + 1))
    moves = {}
    for step in data.draw(st.lists(st.integers(0, math.ceil(rows / batch) - 1), max_size=3)):
        cuts = sorted(data.draw(st.lists(st.integers(0, batch), min_size=size - 1, max_size=size - 1)))
        moves[step] = [slice(*ends) for ends in zip([0, *cuts], [*cuts, batch], strict=True)]
    assert steps(rows, batch, size, 1, held_bytes, moves) == one


def test_windows_mix_rows_from_far_apart_and_hold_no_more_than_they_may():
    held = []

    class Told(Numbers):
        def read(self, split, rows):
            held.append(rows)
            return super().read(split, rows)

    rows, batch, lines = 4000, 10, 40
    lanes = Lanes(Told(rows), batch, slice(0, 10), 10, 5, 2 * lines * 10 * ROW_BYTES)
    batches = lanes.batches(0)
    first = np.concatenate([next(batches).x.ravel() for _ in range(lines)])
    assert np.ptp(first) > rows / 2  # not the first lines alone
    assert len(held) <= 2 + 2 * lines  # the window and the one ahead, line by line
    epochs = [[tuple(batch.x.ravel()) for batch in lanes.batches(epoch)] for epoch in (0, 1, 0)]
    assert epochs[0] == epochs[2] != epochs[1]


def test_rows_dealt_to_a_disk_are_those_that_are_shared(tmp_path):
    rows, batch = 203, 12
    for lanes in (slice(0, 5), slice(5, 12), slice(3, 3)):
        own = DealtRows(Numbers(rows), batch, lanes, tmp_path)
        for held in (lanes, slice(0, 12)):  # those of others are read where they are
            here, there = (Lanes(source, batch, held, 6, 5, 10**9) for source in (own, Numbers(rows)))
            for one, other in zip(here.batches(3), there.batches(3), strict=True):
                for name in ("x", "y", "weights"):
                    np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 120), st.integers(1, 12), st.integers(0, 3), st.integers(1, 130), st.data())
def test_a_client_takes_each_of_its_rows_once_an_epoch_in_full_batches(rows, batch, epoch, held, data):
    owned = np.array(sorted(data.draw(st.sets(st.integers(0, rows - 1), min_size=1))))
    batches = [*OwnRows(Numbers(rows), owned, batch, 5, ROW_BYTES * held).batches(epoch)]
    sizes = [batch] * (len(owned) // batch) + [len(owned) % batch] * (len(owned) % batch > 0)
    assert [len(one.y) for one in batches] == sizes and [one.together for one in batches] == sizes
    assert sorted(np.concatenate([one.y for one in batches])) == owned.tolist()
    for one in batches:
        assert (one.x[:, 0] == one.y + 1).all()
        np.testing.assert_allclose(one.weights.sum(), 1, rtol=1e-5)


def test_a_clients_rows_are_mixed_anew_in_each_epoch_in_little_memory_too():
    for held in (1000, 200):
        one = OwnRows(Numbers(1000), np.arange(400, 900), 10, 5, ROW_BYTES * held)
        orders = [np.concatenate([batch.y for batch in one.batches(epoch)]).tolist() for epoch in (0, 1, 0)]
        assert orders[0] == orders[2] != orders[1]
        assert np.mean(np.abs(np.diff(orders[0]))) > 5  # rows next to each other come far apart


def test_a_batch_that_does_not_fit_is_told():
    shard(100, 10, slice(10), 10, 20 * ROW_BYTES)
    shard(10, 10, slice(10), 10, 10 * ROW_BYTES)  # nothing comes ahead
    with pytest.raises(InputError, match="received 10 rows of 16 bytes, allowed: up to 9, as 2 .* lower it or raise"):
        shard(100, 10, slice(10), 10, 20 * ROW_BYTES - 1)
    with pytest.raises(InputError, match="allowed: none, .* raise memory"):
        shard(100, 10, slice(10), 10, 2 * ROW_BYTES - 1)
