"""Shares of a batch: whole, all of it, in proportion to speeds within their bounds."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdedge.balance import shares

speeds = st.lists(st.floats(0.01, 100), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(speeds, st.integers(1, 500), st.data())
def test_shares_are_the_whole_batch_within_their_bounds(speeds, total, data):
    most = np.array(data.draw(st.lists(st.integers(1, 500), min_size=len(speeds), max_size=len(speeds))))
    found = shares(np.array(speeds), total, most)
    assert found.sum() == total
    assert found.min() >= (1 if total >= len(speeds) else 0)
    assert (found <= np.maximum(most, -(-total // len(speeds)))).all()


@settings(max_examples=200, deadline=None)
@given(speeds, st.integers(100, 500))
def test_without_bounds_shares_are_proportional_to_a_row(speeds, total):
    speeds = np.array(speeds)
    exact = total * speeds / speeds.sum()
    found = shares(speeds, total, np.full(len(speeds), total))
    if exact.min() >= 1:  # nobody is lifted to one row
        assert np.abs(found - exact).max() < 1 + 1e-6


def test_what_a_full_rank_cannot_take_goes_to_the_others_by_their_speed():
    assert shares(np.array([4.0, 2.0, 1.0]), 70, np.array([100, 100, 100])).tolist() == [40, 20, 10]
    assert shares(np.array([4.0, 2.0, 1.0]), 70, np.array([25, 100, 100])).tolist() == [25, 30, 15]
    assert shares(np.array([1.0, 5.0, 3.0]), 2, np.array([9, 9, 9])).tolist() == [0, 1, 1]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.2, 8), min_size=2, max_size=6), st.floats(0, 0.5))
def test_adjusting_again_and_again_ends_with_equal_times_and_no_swinging(costs, overhead):
    """A step of a rank takes overhead + cost of its rows; measured speeds alone lead to shares that end together."""
    costs, total = np.array(costs), 64 * len(costs)
    lanes = np.full(len(costs), 64)
    slowest = []
    for _ in range(10):
        took = overhead * costs.mean() * 64 + costs * lanes
        slowest.append(took.max())
        lanes = shares(lanes / took, total, np.full(len(costs), total))
    took = overhead * costs.mean() * 64 + costs * lanes
    assert all(later <= before + 2 * costs.max() for before, later in zip(slowest, slowest[1:], strict=False))
    assert took.max() - took.min() <= 0.06 * took.max() + 2 * costs.max()
