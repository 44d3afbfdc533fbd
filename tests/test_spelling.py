"""Misspellings against words and counts made by hand."""

import random

import numpy as np
import pyarrow as pa
import pytest

from hvdedge.spelling import misspellings


def mended(comm, **counts) -> dict[str, str]:
    """Return value -> its right spelling, for values written with _ for a blank."""
    values = [name.replace("_", " ") for name in counts]
    places, right, _ = misspellings(pa.array(values), np.array([*counts.values()]), comm)
    return {values[place]: spelling for place, spelling in zip(places.tolist(), right, strict=True)}


@pytest.mark.parametrize(
    ("rare", "right"),
    [
        ("hospitql", "hospital"),  # another letter
        ("hospial", "hospital"),  # one less
        ("hosppital", "hospital"),  # one more
        ("hopsital", "hospital"),  # two swapped
        ("hospitqx", "hospital"),  # two of eight
        ("hosqixal", "hospital"),
        ("hosqixax", None),  # three of eight
        ("clinix", "clinic"),
        ("clixix", None),  # two of six
        ("bus", None),  # too short to tell
        ("clinic2", None),  # a number is not a slip of the pen
    ],
)
def test_a_word_may_have_an_edit_for_every_four_letters(rare, right, comm):
    found = mended(comm, hospital=500, clinic=300, bush=400, **{rare: 1})
    assert found == ({rare: right} if right else {})


def test_the_frequent_word_is_twenty_times_as_frequent(comm):
    assert mended(comm, harbour=200, harbor=10) == {"harbor": "harbour"}
    assert mended(comm, harbour=200, harbor=11) == {}
    assert mended(comm, harbour=9, **{f"quay {n}": 9 for n in range(9)}) == {}


def test_the_nearest_word_is_taken_and_the_more_frequent_of_equals(comm):
    assert mended(comm, starling=900, sterling=300, stxrling=1)["stxrling"] == "starling"
    assert mended(comm, starling=900, sterling=300, sterlong=1)["sterlong"] == "sterling"


def test_values_lose_blanks_but_not_their_sense(comm):
    found = mended(comm, general_store=400, old_general_store=200, generalstore=2, old_general_stora=1)
    assert found == {
        "generalstore": "general store",
        "old general stora": "old general store",
    }
    assert mended(comm, marshall_north=300, marshall_south=300, marshall_norxh=1) == {
        "marshall norxh": "marshall north"
    }


def test_the_confidence_falls_with_what_is_rare_and_like_nothing(comm):
    """Near: 2 words. Of 10 frequent ones none has a neighbour, so d = 1 / 12 and each other rare word costs 1 / 11."""
    draw = random.Random(0)
    words = ["".join(draw.sample("abcdefghijklmnopqrst", 8)) for _ in range(30)]
    frequent, rare = words[:10], words[10:]
    for others in (0, 4, 11, 20):
        values = [*frequent, frequent[0][:-1] + "z", frequent[1][:-1] + "z", *rare[:others]]
        counts = np.array([100] * 10 + [1] * (2 + others))
        _, _, confidence = misspellings(pa.array(values), counts, comm)
        assert confidence == pytest.approx([max(1 - others / 11 / 2, 0)] * 2)


def test_columns_of_mostly_different_values_are_not_spelt(comm):
    values = ["hospital", "hospitax", *(f"text {number}" for number in range(600))]
    assert len(misspellings(pa.array(values), np.array([500, *[1] * 601]), comm)[0]) == 0
    assert len(misspellings(pa.array([], pa.string()), np.array([], np.int64), comm)[0]) == 0
