"""Weights in few bits: what is packed comes back bit for bit, and what is cut off is told."""

import contextlib
import json
import struct
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hvdedge.weight_coding import MAGIC, Place, pack, unpack

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


@pytest.mark.parametrize("entropy", [True, False])
def test_bytes_that_are_flipped_are_told_or_change_nothing(entropy):
    rng = np.random.default_rng(4)
    sparse = np.where(rng.random(900) < 0.3, rng.choice([-0.5, 0.25], 900), 0).astype(np.float32)
    halves = rng.normal(size=900).astype(np.float16).astype(np.float32)
    file = b"a head" + sparse.tobytes() + b"between" + halves.tobytes() + rng.bytes(40)
    packed = pack(file, [Place(6, 900, "<f4"), Place(3613, 900, "<f4")], entropy=entropy)
    assert len(packed) < len(file) / 2
    for _ in range(600):
        damaged = bytearray(packed)
        for place in rng.integers(0, len(packed), int(rng.integers(1, 4))):
            damaged[place] ^= int(rng.integers(1, 256))
        with contextlib.suppress(ValueError):
            assert unpack(bytes(damaged)) == file


BOOK, CODES = np.zeros(3, "<f4").tobytes(), bytes(300)
TOLD = {"start": 0, "count": 300, "type": "<f4", "kept": 300, "is_sparse": False, "bits": 8}
CLAIMS = {
    "more numbers than there is room for": ({**TOLD, "is_sparse": True, "kept": 0, "count": 4 * 10**9}, b"", BOOK, b""),
    "numbers without end": ({**TOLD, "count": 10**12}, BOOK, CODES),
    "more codes than there are": ({**TOLD, "kept": 4 * 10**9}, BOOK, CODES),
    "fewer numbers than the buffer has": ({**TOLD, "kept": 8}, BOOK, CODES[:8]),
    "a code of no number": (TOLD, BOOK, b"\xff" * 300),
    "a place outside": ({**TOLD, "is_sparse": True, "count": 3}, CODES, BOOK, CODES),
    "fewer places than numbers": ({**TOLD, "is_sparse": True}, CODES[:8], BOOK, CODES),
    "a buffer outside": ({**TOLD, "start": 4}, BOOK, CODES),
    "a buffer before": ({**TOLD, "start": -1200}, BOOK, CODES),
    "a type that is none": ({**TOLD, "type": "zzz"}, BOOK, CODES),
    "a start that is none": ({**TOLD, "start": "a"}, BOOK, CODES),
    "too few streams": (TOLD, BOOK),
    "too many streams": (TOLD, BOOK, CODES, CODES),
    "no head": (None,),
    "a head of another form": ({},),
    "half a number": ({**TOLD, "bits": 0}, CODES[:-1]),
}


def claiming(head, *streams, size=1200):
    """A file that says so of itself, as `pack` writes them."""
    whole = [head, pa.compress(bytes(1200), "zstd", asbytes=True), *streams]
    lengths = [number for stream in whole for number in (len(stream), len(stream))]
    start = struct.pack(f"<4I{len(lengths)}I", size, 0, len(whole), 0, *lengths)
    return MAGIC + start + b"".join(whole)


@pytest.mark.parametrize("case", CLAIMS)
def test_what_a_file_claims_is_held_against_what_it_has(case):
    told, *streams = CLAIMS[case]
    with pytest.raises(ValueError, match="it|buffer|a code|a place"):
        unpack(claiming(json.dumps([told] if told else told).encode(), *streams))


def test_nothing_is_made_room_for_that_a_small_file_claims():
    deep = claiming(b"[" * 200_000)
    large = claiming(b"[]", size=0xF0000000)
    many = MAGIC + struct.pack("<4I", 1200, 0, 0xFFFFFFFF, 0)
    stream = pa.compress(b"[]", "zstd", asbytes=True)
    long = MAGIC + struct.pack("<8I", 1200, 1, 2, 0, 0xF0000000, len(stream), 0, 0) + stream
    tracemalloc.start()
    for packed in (deep, large, many, long):
        with pytest.raises(ValueError, match="it |a stream is longer"):
            unpack(packed)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_packing_takes_a_few_times_the_file_in_memory(share):
    rng = np.random.default_rng(0)
    values = rng.choice(np.linspace(-1, 1, 200).astype(np.float32), 1_000_000)
    values[rng.random(values.size) < share] = 0
    file = values.tobytes()
    tracemalloc.start()
    packed = pack(file, [Place(0, values.size, "<f4")], entropy=True)
    assert tracemalloc.get_traced_memory()[1] < 4 * len(file)
    tracemalloc.reset_peak()
    assert unpack(packed) == file
    assert tracemalloc.get_traced_memory()[1] < 4 * len(file)
    tracemalloc.stop()
