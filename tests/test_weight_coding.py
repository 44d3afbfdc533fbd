"""Weights in few bits: what is packed comes back bit for bit, and what is cut off is told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hvdedge.weight_coding import Place, pack, unpack

FLOATS = st.floats(width=32, allow_nan=False)


@settings(deadline=None)
@given(
    st.lists(
        hnp.arrays(
            np.float32, st.integers(0, 700), elements=st.one_of(st.sampled_from([0.0, -0.0, 0.5, -1.25]), FLOATS)
        ),
        max_size=3,
    ),
    st.booleans(),
)
def test_any_buffers_come_back_bit_for_bit(buffers, entropy):
    file, places = b"head", []
    for buffer in buffers:
        places.append(Place(len(file), buffer.size, "<f4"))
        file += buffer.tobytes() + b"between"
    assert unpack(pack(file, places, entropy=entropy)) == file


@pytest.mark.parametrize("gap", [0, 1, 254, 255, 256, 510, 511, 3000])
def test_places_far_apart_come_back(gap):
    values = np.zeros(4 * gap + 400, np.float32)
    values[[gap, 2 * gap + 1, 4 * gap + 399]] = 0.5, 0.25, 0.5
    file = values.tobytes()
    assert unpack(pack(file, [Place(0, values.size, "<f4")], entropy=False)) == file


def test_a_tenth_of_the_weights_in_two_bits_takes_a_fortieth():
    rng = np.random.default_rng(3)
    values = np.where(rng.random(200_000) < 0.1, rng.choice([-0.2, -0.1, 0.1, 0.2], 200_000), 0).astype(np.float32)
    packed = pack(values.tobytes(), [Place(0, values.size, "<f4")], entropy=True)
    # a place of a tenth takes 4.7 bits (entropy of a geometric distribution), a value 2: 47 of 32 x 10
    assert 45 < values.nbytes / len(packed) < 48


def test_integers_and_halves_are_coded_too():
    rng = np.random.default_rng(3)
    integers = rng.choice([-3, 5, 90], 4000).astype(np.int8)
    halves = rng.normal(size=4000).astype(np.float16).astype(np.float32)
    file = integers.tobytes() + halves.tobytes()
    packed = pack(file, [Place(0, 4000, "i1"), Place(4000, 4000, "<f4")], entropy=False)
    assert unpack(packed) == file and len(packed) < 4000 / 4 + 8000 + 400


@pytest.mark.parametrize("entropy", [True, False])
def test_a_file_that_is_cut_off_or_none_of_ours_is_told(entropy):
    values = np.arange(300, dtype=np.float32) % 3
    packed = pack(values.tobytes(), [Place(0, 300, "<f4")], entropy=entropy)
    for length in (0, 5, 30, 60, len(packed) - 1):
        with pytest.raises(ValueError, match="it is no file|it is cut off|it cannot be read"):
            unpack(packed[:length])
