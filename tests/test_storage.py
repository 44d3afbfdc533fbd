"""x in fewer bytes: exact where there are few numbers, within the bound where they are many, whole numbers as such."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdedge.errors import InputError
from hvdedge.storage import BOUND, choose, from_attributes

RNG = np.random.default_rng(4)
NORMAL = RNG.normal(0, 1, (300, 5)).astype(np.float32)


def chosen(x, comm, storage: str = "auto", exact=()):
    """Return how x is kept, decided over blocks, and x as it is read back through the attributes."""
    x = np.asarray(x)
    found = choose(
        lambda: (x[start : start + 100] for start in range(0, len(x) + 1, 100)), x.dtype.name, storage, comm, exact
    )
    kept = found.pack(x)
    assert kept.dtype == found.type
    read = from_attributes(kept.dtype, found.attributes()).unpack(kept)
    assert read.dtype == x.dtype
    return found, read


@pytest.mark.parametrize(
    "x",
    [
        (RNG.integers(0, 256, (50, 4, 4, 1)) / 255).astype(np.float32),
        ((RNG.integers(0, 17, (500, 3)) - 7.3) / 0.7).astype(np.float32),
        np.float32([[0.0, -0.0, np.inf, np.nan]]),
        np.zeros((0, 3), np.float32),
    ],
)
def test_up_to_256_numbers_are_kept_in_a_byte_bit_for_bit(x, comm):
    found, read = chosen(x, comm)
    assert (found.type, found.error) == ("uint8", 0.0)
    assert read.tobytes() == x.tobytes()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e5, 1e5, width=32), min_size=1, max_size=400))
def test_what_is_read_back_errs_by_no_more_than_is_told(numbers):
    from mpi4py import MPI

    x = np.array(numbers, np.float32)[:, None]
    for storage in ("auto", "float16", "float32"):
        found, read = chosen(x, MPI.COMM_SELF, storage)
        error = np.abs(read - x).max()
        assert error == np.float32(found.error)
        assert error <= BOUND * max(np.ptp(x), np.abs(x).max()) or found.type == "float16"
        assert error <= np.abs(x).max() * 2.0**-11


def test_standardised_columns_are_kept_in_two_bytes(comm):
    x = NORMAL * np.float32([1, 1e-3, 1e4, 1, 0]) + np.float32([0, 0, 0, 0, 0.3])
    found, read = chosen(x, comm)
    assert found.type == "float16"
    assert 0 < found.share <= BOUND
    np.testing.assert_allclose(read, x, rtol=2.0**-11, atol=np.abs(x).max() * 2.0**-39)  # as a float16 rounds


def test_columns_far_from_zero_stay_as_they_are_unless_asked_for(comm):
    x = NORMAL * np.float32(0.01) + np.float32(1000)
    assert chosen(x, comm)[0].type == "float32"
    found, read = chosen(x, comm, "float16")
    assert found.type == "float16"
    assert found.share > BOUND
    assert found.error == np.abs(read - x).max()
    assert (chosen(NORMAL, comm, "float32")[1] == NORMAL).all()


def test_numbers_of_levels_are_kept_exactly(comm):
    x = np.arange(3000, dtype=np.float32)[:, None]
    assert chosen(x, comm)[0].type == "float16"
    assert chosen(x, comm, exact=[0])[0].type == "float32"
    found, read = chosen(x[:2000], comm, exact=[0])
    assert (found.type, found.error) == ("float16", 0.0)
    assert (read == x[:2000]).all()
    with pytest.raises(InputError, match="extract.storage: received 'float16' for x with infinite numbers, or numbers"):
        chosen(x, comm, "float16", exact=[0])


@pytest.mark.parametrize(("largest", "type"), [(255, "uint8"), (256, "uint16"), (65_535, "uint16"), (65_536, "int32")])
def test_whole_numbers_are_kept_in_the_narrowest_type(largest, type, comm):
    x = np.array([[0, 3], [largest, 1]], np.int32)
    found, read = chosen(x, comm, "float32")
    assert found.type == type
    assert (read == x).all()
    assert chosen(-x, comm)[0].type == "int32"


def test_what_cannot_be_is_refused_in_one_line(comm):
    with pytest.raises(InputError, match="extract.storage: received 'uint8' for x of over 256 different numbers"):
        chosen(NORMAL, comm, "uint8")
    infinite = np.append(NORMAL, np.float32([[np.inf] * 5]), axis=0)
    assert chosen(infinite, comm)[0].type == "float32"
    with pytest.raises(InputError, match="extract.storage: received 'float16' for x with infinite"):
        chosen(infinite, comm, "float16")


@pytest.mark.parametrize(
    ("type", "attributes"),
    [
        ("uint8", {"x_type": "float32", "levels": np.zeros(3, np.float32)}),
        ("uint16", {"x_type": "float32", "levels": np.zeros(256, np.float32)}),
        ("uint8", {"x_type": "float32", "levels": np.zeros(256)}),
        ("float16", {"x_type": "object"}),
        ("float16", {"x_type": "float32", "scale": np.inf}),
        ("float16", {"x_type": "float32", "scale": 0.0}),
    ],
)
def test_attributes_that_are_none_of_ours_are_refused(type, attributes):
    with pytest.raises(ValueError, match="none of ours|x is float16"):
        from_attributes(np.dtype(type), attributes)


def test_without_attributes_x_is_as_it_is():
    x = np.float32([1, 2])
    assert from_attributes(x.dtype, {}).unpack(x).tolist() == [1, 2]


def test_the_record_tells_the_bytes(comm):
    assert chosen(NORMAL, comm, "float32")[0].told(1500) == {
        **{"type": "float32", "bytes": 6000, "bytes_as_made": 6000},
        **{"largest_error": 0.0, "largest_error_share": 0.0},
    }
