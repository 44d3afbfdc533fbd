"""Scores of keys against sums by hand."""

import pytest
from small_tables import table_of

from hvdedge import key_scores
from hvdedge.coded import encode
from hvdedge.profiling import unique_columns


@pytest.fixture
def coded(comm, workspace):
    table = table_of(
        workspace, name=["Ada Lovelace", "Bob", "Åsa"], id=[1, 2, 30], part=["x", None, "y"], at=["1", "2", ""]
    )
    return encode(table, comm)


def test_what_is_empty_and_how_long_values_are_is_known_of_each_column(coded):
    assert (coded.names, coded.missing, coded.longest) == (["name", "id", "part", "at"], [0, 0, 1, 0], [12, 2, 1, 1])


def test_scores_are_those_of_a_sum_by_hand(coded):
    first, *others = key_scores.rank(coded, [(0,), (1,), (0, 3)])
    assert first == key_scores.Key((1,), 1.0, 1.0, 0.75, 0)
    assert first.score == pytest.approx((1 + 1 + 0.75) / 3)
    assert others == [
        key_scores.Key((0,), 1.0, 1 / 5, 1.0, 0),  # 12 - 7 characters
        key_scores.Key((0, 3), 1 / 2, 1 / 6, (1 + 1 / 3) / 2, 0),  # 13 - 7; two columns between
    ]


def test_a_set_with_an_empty_cell_comes_last_and_equal_ones_by_their_place(coded):
    ranked = key_scores.rank(coded, [(2,), (1, 2), (0, 3), ()])
    assert [(key.columns, key.missing) for key in ranked] == [((), 0), ((0, 3), 0), ((2,), 1), ((1, 2), 1)]


def test_the_likeliest_keys_stand_first_and_the_top_has_what_speaks_for_them(comm, workspace):
    table = table_of(
        workspace, description=["a long text", "another one", "yet another"], id=["7", "8", "9"], code=["a", "a", "b"]
    )
    found = unique_columns.profile(table, comm, top=1)
    assert found["unique_columns"] == [["id"], ["description"]]
    (best,) = found["best_unique_columns"]
    assert best == {"columns": ["id"], "length": 1.0, "value": 1.0, "position": 0.75, "missing": 0, "score": 2.75 / 3}
    assert unique_columns.profile(table, comm, top=0)["best_unique_columns"] == []
