"""Splits: the shares kept in every class, whatever else."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hvdedge.errors import InputError
from hvdedge.splits import largest_remainder, splitmix64, stratified

IN_A_TEST = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@IN_A_TEST
@given(
    labels=st.lists(st.none() | st.sampled_from("abc"), max_size=60),
    validation=st.integers(0, 49),
    test=st.integers(0, 50),
    seed=st.integers(-5, 2**70),
)
def test_each_class_has_its_share_to_the_nearest_whole_number(comm, labels, validation, test, seed):
    codes = stratified(
        pa.array(labels, pa.string()), comm, validation=validation / 100, test=test / 100, seed=seed
    ).tolist()
    assert [code == 255 for code in codes] == [label is None for label in labels]
    for name, size in Counter(label for label in labels if label is not None).items():
        found = Counter(code for code, label in zip(codes, labels, strict=True) if label == name)
        for code, percent in ((0, 100 - validation - test), (1, validation), (2, test)):
            assert abs(found[code] - percent * size / 100) < 1


def test_a_hundred_examples_are_dealt_exactly_and_another_seed_deals_others(comm):
    labels = pa.array([number % 4 for number in range(400)])
    first, again, other = (stratified(labels, comm, validation=0.1, test=0.2, seed=seed) for seed in (1, 1, 2))
    for label in range(4):
        assert np.bincount(first[label::4]).tolist() == [70, 10, 20]
    assert (first == again).all()
    assert 0.2 < (first != other).mean() < 0.8
    assert first.dtype == np.uint8


def test_categories_text_and_numbers_are_dealt_alike(comm):
    words = pa.array(["b", "a", None, "b", "a"] * 10)
    codes = [
        stratified(labels, comm, validation=0.25, test=0.25, seed=0).tolist()
        for labels in (
            words,
            words.dictionary_encode(),
            pa.chunked_array([words[:7], words[7:]]),
            pa.array([{"a": 0.5, "b": 2.0, None: float("nan")}[word] for word in words.to_pylist()]),
        )
    ]
    assert codes[0] == codes[1] == codes[2] == codes[3]


def test_shares_that_leave_nothing_for_training_are_refused(comm):
    with pytest.raises(InputError, match=r"received validation = 0.5 and test = 0.5, allowed: together below 1"):
        stratified(pa.array([1, 2]), comm, validation=0.5, test=0.5, seed=0)


def test_what_rounding_leaves_goes_to_the_largest_remainders_in_turn():
    tenths = [Fraction(8, 10), Fraction(1, 10), Fraction(1, 10)]
    assert largest_remainder(10, tenths) == [8, 1, 1]
    assert largest_remainder(9, tenths) == [7, 1, 1]
    assert [largest_remainder(5, tenths, turn) for turn in range(3)] == [[4, 1, 0], [4, 1, 0], [4, 0, 1]]
    assert largest_remainder(0, tenths) == [0, 0, 0]


def test_the_hash_is_splitmix64_and_gives_no_number_twice():
    """Held against the reference in C of its authors: the first output for the state 0 is e220a8397b1dcdaf."""
    start = 0x2545F4914F6CDD1D  # what seed 0 begins with
    number = (0x9E3779B97F4A7C15 - start) * pow(0x9E3779B97F4A7C15, -1, 2**64) % 2**64
    assert splitmix64(np.array([number], np.uint64), 0).tolist() == [0xE220A8397B1DCDAF]
    assert len(np.unique(splitmix64(np.arange(100_000), 7))) == 100_000
