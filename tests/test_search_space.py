"""What a search may choose, as a pipeline gives it."""

import pathlib

import pytest

from hvdedge.errors import InputError
from hvdedge.search_space import MOST_COMBINATIONS, Choice, Range, all_options, as_written, combinations, parse

PATH = pathlib.Path("p.toml")


def space(**given):
    return parse(PATH, given)


def test_lists_and_ranges_are_read_and_written_alike():
    given = {
        "train.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "train.batch_size": {"low": 16, "high": 64, "step": 16},
        "train.hidden": [[300, 100], [64]],
    }
    found = parse(PATH, given)
    assert found["train.learning_rate"] == Range(1e-4, 1e-2, True, None, False)
    assert found["train.hidden"] == Choice(((300, 100), (64,)))
    written = as_written(found)
    assert (
        parse(
            PATH, {key: [list(v) for v in value] if key == "train.hidden" else value for key, value in written.items()}
        )
        == found
    )


def test_keys_may_be_tables_in_tables():
    nested = {"clean": {"duplicates": {"threshold": [0.9, 0.95]}}, "train": {"epochs": {"low": 1, "high": 3}}}
    assert [*parse(PATH, nested)] == ["clean.duplicates.threshold", "train.epochs"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "received 'nothing'"),
        ({}, "received 'nothing'"),
        ({"train.epochs": []}, "a list of different values"),
        ({"train.epochs": [3, 3]}, "a list of different values"),
        ({"train.epochs": 3}, "a list of values, or {low, high}"),
        ({"train.epochs": {"low": 3}}, "a list of values, or {low, high}"),
        ({"train.epochs": {"low": 3, "high": 3}}, "a low below its high"),
        ({"train.epochs": {"low": 3, "high": float("nan")}}, "a low below its high"),
        ({"train.epochs": {"low": 0, "high": 3, "log": True}}, "a low above 0 and no step"),
        ({"train.epochs": {"low": 1, "high": 3, "log": True, "step": 1}}, "a low above 0 and no step"),
        ({"train.epochs": {"low": 1, "high": 3, "step": 0}}, "a step above 0"),
        ({"train.epochs": {"low": 1, "high": 3, "step": 5}}, "a step above 0"),
        ({"train.epochs": {"low": 1, "high": 3, "lo": 5}}, "a list of values, or {low, high}"),
    ],
)
def test_what_is_no_space_is_one_clear_line(given, told):
    with pytest.raises(InputError, match=r"^p\.toml: tune\.space") as error:
        parse(PATH, given)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_values_of_a_range_are_those_that_it_has():
    stepped = Range(0.1, 0.45, False, 0.1, False)
    assert [round(value, 9) for value in stepped.all()] == [0.1, 0.2, 0.3, 0.4]
    assert len(stepped) == 4
    assert 0.3 in stepped
    assert 0.35 not in stepped
    assert 0.5 not in stepped
    assert stepped.nearest(9.0) == pytest.approx(0.4)
    whole = Range(2, 5, False, 1, True)
    assert [*whole.all()] == [2, 3, 4, 5]
    assert whole.nearest(3.4) == 3
    assert isinstance(whole.nearest(3.4), int)
    assert True not in whole


def test_combinations_are_counted_and_gone_through():
    small = space(**{"train.a": [1, 2], "train.b": {"low": 1, "high": 3}})
    assert combinations(small) == 6
    assert len({repr(options) for options in all_options(small)}) == 6
    assert combinations(space(**{"train.a": {"low": 0.0, "high": 1.0}})) == MOST_COMBINATIONS
