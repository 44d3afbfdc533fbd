"""Rounding: exact where it can be, else to the nearest; and momentum that is in the sums."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hvdedge.compressed_sums import BLOCK, Bfloat16, Int8, LargestSum

_numbers = arrays(np.float32, (2, 2 * BLOCK), elements=st.floats(-1e6, 1e6, width=32), fill=st.just(np.float32(0)))


@given(values=_numbers)
def test_rounding_is_to_the_nearest(values):
    short = Bfloat16().unpack(Bfloat16().pack(values))
    assert (np.abs(short - values) <= np.abs(values) / 256 + 1e-38).all()
    bytes_ = Int8().unpack(Int8().pack(values))
    scales = np.repeat(np.abs(values.reshape(2, 2, BLOCK)).max(axis=2), BLOCK, axis=1).reshape(values.shape) / 127
    assert (np.abs(bytes_ - values) <= 0.5001 * scales + 1e-30).all()


def test_numbers_of_few_digits_stay_as_they_are():
    values = np.array([[0, 1, -2, 0.5, 96, -1.5] + [0] * (BLOCK - 6)], np.float32)
    assert (Bfloat16().unpack(Bfloat16().pack(values)) == values).all()
    steps = np.arange(-127, 129, dtype=np.float32)[None].clip(-127, 127)
    np.testing.assert_allclose(Int8().unpack(Int8().pack(steps)), steps, atol=1e-4)


def test_momentum_gathers_until_a_number_is_sent(comm):
    """Of two numbers the second is never the largest: momentum 0.5 makes 1, 1.5 and 1.75 of its gradients."""
    summed = LargestSum(0.5, 0.5, 2, comm)
    for _ in range(3):
        assert summed.sum(np.array([100.0, 1.0], np.float32)).tolist() == [100.0, 0.0]
    assert summed.rest().tolist() == [0.0, 4.25]
    assert summed.sum(np.array([0.0, 1.0], np.float32)).tolist() == [0.0, 1.0]


def test_momentum_is_kept_where_all_is_sent(comm):
    summed = LargestSum(1.0, 0.5, 2, comm)
    first, second = np.array([1.0, -2.0], np.float32), np.array([3.0, 1.0], np.float32)
    np.testing.assert_array_equal(summed.sum(first), first)
    np.testing.assert_array_equal(summed.sum(second), 0.5 * first + second)
