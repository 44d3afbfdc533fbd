"""Splits: the shares kept in every class, whatever else."""

from collections import Counter
from datetime import date
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hvdedge.errors import InputError, RankError
from hvdedge.splits import (
    as_given,
    by_files,
    by_time,
    classes_left_out,
    grouped,
    largest_remainder,
    random,
    splitmix64,
    stratified,
)

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


def test_random_keeps_the_shares_among_all_labelled_rows(comm):
    labels = pa.array([*"ab", None, "b"] * 100)
    codes = random(labels, comm, validation=0.1, test=0.2, seed=3)
    assert (codes[2::4] == 255).all()
    assert np.bincount(codes, minlength=256)[:3].tolist() == [210, 30, 60]
    assert (codes != random(labels, comm, validation=0.1, test=0.2, seed=4)).any()


@IN_A_TEST
@given(
    groups=st.lists(st.none() | st.integers(0, 30), max_size=200),
    seed=st.integers(0, 100),
)
def test_no_group_is_in_two_splits(comm, groups, seed):
    labels = pa.array([None if number % 7 == 3 else "x" for number in range(len(groups))], pa.string())
    codes = grouped(labels, pa.array(groups, pa.int64()), comm, validation=0.2, test=0.2, seed=seed).tolist()
    found: dict = {}
    for number, (group, code) in enumerate(zip(groups, codes, strict=True)):
        assert (code == 255) == (group is None or number % 7 == 3)
        if code != 255:
            assert found.setdefault(group, code) == code


def test_groups_are_dealt_by_the_shares_in_an_order_of_the_seed(comm):
    words = pa.array([f"g{number % 100}" for number in range(1000)])
    labels = pa.array(["x"] * 1000)
    kinds = [
        words,
        words.dictionary_encode(),
        pa.chunked_array([words[:300].dictionary_encode(), words[300:].dictionary_encode()]),
    ]
    first, *same = (grouped(labels, kind, comm, validation=0.1, test=0.2, seed=1) for kind in kinds)
    assert np.bincount(first).tolist() == [700, 100, 200]  # groups of ten rows each
    assert all((first == other).all() for other in same)
    assert (first != grouped(labels, words, comm, validation=0.1, test=0.2, seed=2)).any()
    with pytest.raises(InputError, match="extract.by: received a column of arrays"):
        grouped(labels[:1], pa.array([[1]]), comm, validation=0.1, test=0.2, seed=1)


def test_the_latest_rows_are_the_test_and_equal_times_stay_together(comm):
    times = [5, 1, 9, None, 8, 2, 7, 3, 6, 4, 10]
    labels = pa.array(["x"] * 11)
    codes = by_time(labels, pa.array(times), comm, validation=0.2, test=0.3).tolist()
    assert codes == [0, 0, 2, 255, 2, 0, 1, 0, 1, 0, 2]
    days = pa.array([None if number is None else date(2024, 1, number) for number in times])
    assert by_time(labels, days, comm, validation=0.2, test=0.3).tolist() == codes
    assert by_time(labels, pa.array(times), comm, validation=0, test=0.3).tolist().count(1) == 0
    tied = by_time(labels[:6], pa.array([1, 1, 2, 3, 3, 3]), comm, validation=0, test=0.2).tolist()
    assert tied == [0, 0, 0, 2, 2, 2]
    assert by_time(pa.array([None, "x", "x"]), pa.array([9, 1, 2]), comm, validation=0, test=0.5).tolist() == [
        255,
        0,
        2,
    ]
    with pytest.raises(InputError, match="extract.by: received a column of text for split = 'time', allowed: dates"):
        by_time(labels[:1], pa.array(["x"]), comm, validation=0.1, test=0.2)


def test_borders_say_when_validation_and_the_test_begin_and_end(comm):
    labels, days = pa.array(["x"] * 9 + [None]), pa.array([date(2024, 1, number) for number in (*range(9, 0, -1), 1)])
    shares = {"validation": 0.1, "test": 0.2}
    two = by_time(labels, days, comm, **shares, borders=("2024-01-04", "2024-01-06")).tolist()
    assert two == [2, 2, 2, 2, 1, 1, 0, 0, 0, 255]
    three = by_time(labels, days, comm, **shares, borders=("2024-01-04", "2024-01-06", "2024-01-08")).tolist()
    assert three == [255, 255, *two[2:]]
    hours = days.cast(pa.timestamp("us"))
    assert by_time(labels, hours, comm, **shares, borders=("2024-01-04", "2024-01-06 00:00:00")).tolist() == two
    numbers = pa.array([*range(9, 0, -1), None])
    assert by_time(labels, numbers, comm, **shares, borders=("4", "6")).tolist() == two
    for borders in (("2024-01-06", "2024-01-04"), ("2024-01-04", "soon"), ("4", "6")):
        with pytest.raises(
            InputError, match=r"extract.borders: received .*, allowed: rising values such as the column's 2024-01-\d\d;"
        ):
            by_time(labels, days, comm, **shares, borders=borders)


def test_the_rows_of_some_files_are_the_test_and_the_others_are_dealt(comm):
    labels, files = pa.array([*"ab" * 50, None, "a"]), pa.array(["one.csv"] * 80 + ["two.csv"] * 20 + ["two.csv"] * 2)
    told = {"validation": 0.1, "seed": 1}
    codes = by_files(labels, files, comm, test_files=("two*",), **told)
    assert codes[80:].tolist() == [2] * 20 + [255, 2]
    others = stratified(labels[:80], comm, validation=0.1, test=0.0, seed=1)
    assert codes[:80].tolist() == others.tolist() and np.bincount(others).tolist() == [72, 8]
    assert (by_files(labels, files.dictionary_encode(), comm, test_files=("two.csv",), **told) == codes).all()
    assert set(by_files(labels, files, comm, test_files=("one.csv", "two.csv"), **told)) == {2, 255}
    with pytest.raises(
        InputError, match=r"extract.test_files: received 'three', allowed: names .* \(one.csv, two.csv\)"
    ):
        by_files(labels, files, comm, test_files=("three",), **told)


def test_a_split_that_a_column_names_is_taken_as_it_is(comm):
    words = pa.array(["train", "Training", " val ", "validation", "dev", "valid", "TEST", "testing", None, "none", ""])
    for column in (words, words.dictionary_encode(), pa.chunked_array([words[:3], words[3:]])):
        codes = as_given(pa.array(["x"] * 11), column, comm)
        assert codes.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 255, 255, 255]
        assert codes.dtype == np.uint8
    labels = pa.array([1.0, float("nan"), None], pa.float64())
    assert as_given(labels, pa.array(["test", "test", "train"]), comm).tolist() == [2, 255, 255]
    assert as_given(labels[:0], words[:0], comm).tolist() == []
    for column in (pa.array(["train", "tset"]), pa.array([1, 2]), pa.array([["train"], ["test"]])):
        with pytest.raises(RankError, match="extract.by: received a column with .* for split = 'given', allowed: tr"):
            as_given(pa.array(["x", "y"]), column, comm)


@pytest.mark.parametrize(
    ("codes", "line"),
    [
        (
            [1, 2, 2, 1],
            "extract.split: received 'time' by 'day', which leaves no row for training, allowed: at least one; .*wait",
        ),
        ([0, 0, 0, 0], "which leaves no row for the test, allowed"),
        ([0, 2, 0, 2], "which leaves no row for training of the class b, allowed: at least one of each"),
        ([0, 255, 2, 255], "which leaves no row for training of the class b"),
    ],
)
def test_a_split_that_cannot_be_learnt_from_or_tested_is_refused(codes, line, comm):
    with pytest.raises(InputError, match=line):
        classes_left_out(np.array(codes, np.uint8), pa.array([*"abab"]), "'time' by 'day'", "wait", comm)


def test_classes_that_validation_or_test_have_no_row_of_are_told(comm):
    labels = pa.array([1, 2, 3, 1, 2, None])
    codes = np.array([0, 0, 0, 1, 2, 255], np.uint8)
    assert classes_left_out(codes, labels, "", "", comm) == {"validation": ["2", "3"], "test": ["1", "3"]}
    assert classes_left_out(np.array([0, 0, 0, 2, 2, 255], np.uint8), labels, "", "", comm) == {"test": ["3"]}


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
