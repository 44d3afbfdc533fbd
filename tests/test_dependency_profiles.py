"""Dependencies against an exhaustive search on random small tables, and against the known lists of real ones."""

import csv
import json
import math
import os
import pathlib
from collections import Counter
from fractions import Fraction
from itertools import combinations, permutations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_tables import table_of

from hvdedge import coded, difference_sets, discovery, groups, hitting_sets, inclusions
from hvdedge.coded import _encode, encode
from hvdedge.profiling import functional_dependencies, inclusion_dependencies, unique_columns

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(os.environ.get("HVDEDGE_DATA", ROOT.parent / "shared" / "data")) / "profiling"
IN_A_TEST = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
CELLS = st.sampled_from([None, "a", "b", "c"])
TABLES = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=12)
)


def columns_of(rows) -> dict[str, pa.Array]:
    return {f"c{number}": pa.array(values, pa.string()) for number, values in enumerate(zip(*rows, strict=True))}


def minimal_lefts(rows, right: int, error: float) -> list[tuple[int, ...]]:
    """Return what determines a column, by trying all sets."""
    found: list[tuple[int, ...]] = []
    others = [column for column in range(len(rows[0])) if column != right]
    for size in range(len(others) + 1):
        for left in combinations(others, size):
            if any({*part} <= {*left} for part in found):
                continue
            groups: dict[tuple, Counter] = {}
            for row in rows:
                groups.setdefault(tuple(row[column] for column in left), Counter())[row[right]] += 1
            if len(rows) - sum(max(group.values()) for group in groups.values()) <= int(
                Fraction(repr(error)) * len(rows)
            ):
                found.append(left)
    return found


def minimal_keys(rows) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = []
    for size in range(len(rows[0]) + 1):
        for columns in combinations(range(len(rows[0])), size):
            is_new = not any({*part} <= {*columns} for part in found)
            if is_new and len({tuple(row[column] for column in columns) for row in rows}) == len(rows):
                found.append(columns)
    return found


def as_numbers(names) -> tuple[int, ...]:
    return tuple(int(name[1:]) for name in names)


@IN_A_TEST
@given(st.lists(st.integers(0, 127), max_size=8), st.integers(1, 3), st.sampled_from([1, 2, 7]))
def test_hitting_sets_are_those_of_trying_all(sets, ranks, most):
    every = [each for each in range(128) if all(each & other for other in sets)]
    wanted = [each for each in every if not any(other != each and other & each == other for other in every)]
    masks = np.array(sets, np.uint64).reshape(-1, 1)
    parts = [hitting_sets.Search(masks, 127, most, (rank, ranks), lambda: False) for rank in range(ranks)]
    found = sorted(each for part in parts for each in part.found)
    assert found == sorted(each for each in wanted if each.bit_count() <= most)
    assert any(part.is_cut for part in parts) or len(found) == len(wanted)


@pytest.mark.parametrize("sampled", [False, True])
@IN_A_TEST
@given(rows=TABLES)
def test_functional_dependencies_are_those_of_trying_all(sampled, rows, comm, workspace):
    with pytest.MonkeyPatch.context() as patch:
        if sampled:
            patch.setattr(difference_sets, "ALL_CELLS", -1)
        found = functional_dependencies.profile(table_of(workspace, 4, **columns_of(rows)), comm)
    lists = found["functional_dependencies"]
    for right in range(len(rows[0])):
        mine = sorted(as_numbers(left) for left, name in lists if name == f"c{right}")
        assert mine == sorted(minimal_lefts(rows, right, 0.0))
    assert found["complete"] == {"functional_dependencies": True}


@pytest.mark.parametrize("sampled", [False, True])
@IN_A_TEST
@given(rows=TABLES)
def test_unique_columns_are_those_of_trying_all(sampled, rows, comm, workspace):
    with pytest.MonkeyPatch.context() as patch:
        if sampled:
            patch.setattr(difference_sets, "ALL_CELLS", -1)
        found = unique_columns.profile(table_of(workspace, 4, **columns_of(rows)), comm)
    assert sorted(map(as_numbers, found["unique_columns"])) == sorted(minimal_keys(rows))


@IN_A_TEST
@given(rows=TABLES, error=st.sampled_from([0.1, 0.3]))
def test_dependencies_that_nearly_hold_are_those_of_trying_all(rows, error, comm, workspace):
    found = functional_dependencies.profile(
        table_of(workspace, 4, **columns_of(rows)), comm, error=error, maximal_left=4
    )
    for right in range(len(rows[0])):
        lefts = [as_numbers(left) for left, name in found["functional_dependencies"] if name == f"c{right}"]
        assert sorted(lefts) == sorted(minimal_lefts(rows, right, error))


@IN_A_TEST
@given(rows=TABLES)
def test_inclusions_are_those_of_trying_all(rows, comm, workspace):
    found = inclusion_dependencies.profile(table_of(workspace, 4, **columns_of(rows)), comm, maximal=2)
    values = {f"c{number}": column for number, column in enumerate(zip(*rows, strict=True))}
    wanted = []
    for size in (1, 2):
        for left in combinations(values, size):
            for right in permutations(values, size):
                sides = [
                    {cells for cells in zip(*(values[name] for name in side), strict=True) if None not in cells}
                    for side in (left, right)
                ]
                parts = [[[a], [b]] in wanted for a, b in zip(left, right, strict=True)]
                if (size == 1 and left != right and sides[0] and sides[0] <= sides[1]) or (
                    size == 2 and all(parts) and sides[0] and sides[0] <= sides[1]
                ):
                    wanted.append([[*left], [*right]])
    assert sorted(found["inclusion_dependencies"]) == sorted(wanted)


def test_values_that_do_not_fit_are_looked_at_in_passes(comm, workspace, monkeypatch):
    draw = np.random.default_rng(0)
    columns = {"a": draw.integers(0, 500, 3000), "b": np.arange(3000) % 600, "c": np.arange(3000) % 700}
    table = table_of(workspace, 300, **{name: pa.array(values).cast(pa.string()) for name, values in columns.items()})
    where = inclusions.places({"": table}, "tables")
    whole = inclusions.find(where, comm)
    monkeypatch.setattr(type(workspace), "table_bytes", property(lambda self: 20_000))
    monkeypatch.setattr(inclusions, "LEAST_ROOM", 0)
    passes, look = [], inclusions._owned
    monkeypatch.setattr(inclusions, "_owned", lambda *asked: passes.append(asked[2:4]) or look(*asked))
    assert inclusions.find(where, comm) == whole == ([(("a",), ("b",)), (("a",), ("c",)), (("b",), ("c",))], 1)
    most = passes[-1][1]
    assert most >= 4 and passes[-most:] == [(turn, most) for turn in range(most)]


@pytest.mark.parametrize("null_equals_null", [True, False])
def test_values_that_do_not_fit_are_numbered_in_rounds(null_equals_null, comm, workspace, monkeypatch):
    draw = np.random.default_rng(0)
    cells = [[None if n % 7 == 0 else f"{n}" for n in draw.integers(0, 900, 3000).tolist()] for _ in range(3)]
    table = table_of(workspace, 300, **dict(zip("abc", cells, strict=True)))
    whole = _encode(table, comm, null_equals_null)
    monkeypatch.setattr(coded, "LEAST_ROOM", 20_000)
    monkeypatch.setattr(type(workspace), "table_bytes", property(lambda self: 20_000))
    found = _encode(table, comm, null_equals_null)
    assert found.distinct == whole.distinct
    for one, other in zip(found.codes, whole.codes, strict=True):
        assert len(np.unique(np.stack([one, other]), axis=1).T) == len(np.unique(one)) == len(np.unique(other))


def test_a_value_that_fills_the_memory_is_held_all_the_same(comm, workspace, monkeypatch):
    monkeypatch.setattr(type(workspace), "table_bytes", property(lambda self: 20_000))
    monkeypatch.setattr(inclusions, "LEAST_ROOM", 0)
    texts = ["x" * 50_000, *(f"{row:06d}" for row in range(2000))]
    table = table_of(workspace, 100, a=texts, b=texts[:1] * 2001)
    passes, look = [], inclusions._owned
    monkeypatch.setattr(inclusions, "_owned", lambda *asked: passes.append(asked[3]) or look(*asked))
    assert inclusions.find(inclusions.places({"": table}, "tables"), comm) == ([(("b",), ("a",))], 1)
    assert 4 <= passes[-1] <= 64


def test_a_key_that_another_column_uses_is_listed_as_one(comm, workspace):
    table = table_of(workspace, id=[1, 2, 3, 4], parent=[None, 1, 1, 3], age=[5, 5, 5, 5])
    found = inclusion_dependencies.profile(table, comm)
    assert (found["foreign_keys"][0]["column"], found["foreign_keys"][0]["of"]) == ("parent", "id")
    assert found["foreign_keys"][0]["used"] == 0.5
    assert found["foreign_keys"][0]["repeated"] == pytest.approx(1 / 3)
    assert len(found["foreign_keys"]) == 1


def test_hashes_that_are_equal_by_chance_change_nothing(comm, workspace, monkeypatch):
    draw = np.random.default_rng(0)
    columns = {f"c{number}": draw.integers(0, 4, 60).tolist() for number in range(5)}
    table = table_of(workspace, **columns)
    before = functional_dependencies.profile(table, comm)
    monkeypatch.setattr(difference_sets, "ALL_CELLS", -1)
    monkeypatch.setattr(groups, "mix", lambda values: values & np.uint64(1))
    assert functional_dependencies.profile(table, comm) == before


def test_empty_cells_are_equal_or_not_as_asked(comm, workspace):
    table = table_of(workspace, a=[None, None, 1], b=[1, 2, 3])
    found = functional_dependencies.profile(table, comm)["functional_dependencies"]
    assert found == [[["b"], "a"]]
    found = functional_dependencies.profile(table, comm, null_equals_null=False)["functional_dependencies"]
    assert found == [[["a"], "b"], [["b"], "a"]]
    assert unique_columns.profile(table, comm, null_equals_null=False)["unique_columns"] == [["b"], ["a"]]


@pytest.mark.parametrize(("error", "gone"), [(0.29, 29), (0.57, 57), (0.0, 0), (0.1, 10)])
def test_the_rows_that_may_go_are_counted_as_written(error, gone, comm, workspace):
    right = ["x"] * (100 - gone) + [f"y{row}" for row in range(gone)]
    table = table_of(workspace, left=["a"] * 100, right=right)
    found = functional_dependencies.profile(table, comm, error=error)["functional_dependencies"]
    assert [[], "right"] in found
    found = functional_dependencies.profile(table, comm, error=max(error - 0.005, 0.0))["functional_dependencies"]
    assert ([[], "right"] in found) == (not gone)


def test_what_nearly_holds_is_told_though_the_time_is_over(comm, workspace, monkeypatch):
    draw = np.random.default_rng(0)
    table = table_of(workspace, **{f"c{number}": draw.integers(0, 30, 200).tolist() for number in range(8)})
    whole = functional_dependencies.profile(table, comm, error=0.3)["functional_dependencies"]
    asked = iter(range(10**9))
    monkeypatch.setattr(discovery.Clock, "is_over", lambda self: next(asked) > 25)  # 9 sets of up to one column
    found = functional_dependencies.profile(table, comm, error=0.3)
    assert found["complete"] == {"functional_dependencies": 1}
    assert 0 < len(found["functional_dependencies"]) < len(whole)
    assert all(one in whole for one in found["functional_dependencies"])


@pytest.mark.parametrize("sampled", [False, True])
def test_what_is_told_when_the_time_is_over_is_right_and_complete_up_to_a_size(sampled, comm, workspace, monkeypatch):
    if sampled:
        monkeypatch.setattr(difference_sets, "ALL_CELLS", -1)
    draw = np.random.default_rng(0)
    table = table_of(workspace, **{f"c{number}": draw.integers(0, 3, 200).tolist() for number in range(12)})
    whole = functional_dependencies.profile(table, comm)["functional_dependencies"]
    sizes = Counter(len(left) for left, _ in whole)
    asked = iter(range(10**9))
    turns = 500 if sampled else 300  # of which 199 go to the pairs of rows
    monkeypatch.setattr(discovery.Clock, "is_over", lambda self: next(asked) > turns)
    monkeypatch.setattr(hitting_sets, "CHECKED", 16)
    found = functional_dependencies.profile(table, comm, time_limit=1)
    complete = found["complete"]["functional_dependencies"]
    assert 0 < complete < max(sizes)
    assert all(one in found["functional_dependencies"] for one in whole if len(one[0]) <= complete)
    assert all(one in whole for one in found["functional_dependencies"])
    proved = [one for one in found["functional_dependencies"] if len(one[0]) > complete]
    assert bool(proved) == sampled  # with all pairs at hand, nothing is held against the rows
    assert [event["what"] for event in workspace.events] == ["narrowed"]


@pytest.mark.slow
def test_a_wide_table_is_sampled_to_a_bound_and_the_rest_comes_from_what_is_broken(comm, workspace, monkeypatch):
    draw = np.random.default_rng(1)
    table = table_of(workspace, 50, **{f"c{number}": draw.integers(0, 4, 150).tolist() for number in range(70)})
    whole = functional_dependencies.profile(table, comm, maximal_left=2)["functional_dependencies"]
    unique = unique_columns.profile(table, comm, maximal=4)["unique_columns"]
    monkeypatch.setattr(difference_sets, "ALL_CELLS", -1)
    monkeypatch.setattr(difference_sets, "MOST_SAMPLED", 700)
    monkeypatch.setattr(discovery, "LEAST_SETS", 20)
    monkeypatch.setattr(discovery, "EVIDENCE_CELLS", 20)
    coded = encode(table, comm, null_equals_null=True)
    assert len(difference_sets.sample(coded, comm, lambda: False)) < 70 * 150  # a window beyond ten sets a column
    assert functional_dependencies.profile(table, comm, maximal_left=2)["functional_dependencies"] == whole
    assert unique_columns.profile(table, comm, maximal=4)["unique_columns"] == unique


@pytest.mark.parametrize("is_key", [False, True])
def test_when_the_time_is_over_the_most_promising_were_looked_at(is_key, comm, workspace, monkeypatch):
    draw = np.random.default_rng(0)
    drawn = {f"c{number}": draw.permutation(np.arange(400) % (18 + 2 * number)) for number in range(12)}
    coded = encode(table_of(workspace, 100, **drawn), comm)
    find = discovery.unique_columns if is_key else discovery.functional_dependencies
    whole = {(sum(1 << column for column in left), right) for left, right in find(coded, comm).sets}
    asked, clock = iter(range(10**9)), discovery.Clock(1.0)
    monkeypatch.setattr(discovery.Clock, "is_over", lambda self: next(asked) >= 20)
    _, proved, is_over = discovery._against(coded, sorted(whole), clock, comm)
    assert is_over
    assert len({left for left, _ in proved}) == 20

    def values(one):
        return math.prod(coded.distinct[column] for column in hitting_sets.bits(one[0]))

    left = {values(one) for one in whole - proved}
    assert min(map(values, proved)) >= max(left) if is_key else max(map(values, proved)) <= min(left)


def test_what_nearly_holds_is_looked_for_on_columns_of_few_values_first(comm, workspace, monkeypatch):
    names = {f"c{number}": (np.arange(120) % (60 - 10 * number)).tolist() for number in range(5)}
    table = table_of(workspace, **names)  # c4 has 20 values, c0 60
    asked = iter(range(10**9))
    monkeypatch.setattr(discovery.Clock, "is_over", lambda self: next(asked) > 3)  # none, and three of one column
    found = functional_dependencies.profile(table, comm, error=0.5, top=0)["functional_dependencies"]
    assert found
    assert {left[0] for left, _ in found} <= {"c4", "c3", "c2"}


def test_what_ends_before_it_begins_tells_constants_and_that_it_was_narrowed(comm, workspace, monkeypatch):
    table = table_of(workspace, a=[1, 2, 3], k=[7, 7, 7], b=[1, 2, 2])
    monkeypatch.setattr(discovery.Clock, "is_over", lambda self: True)
    found = functional_dependencies.profile(table, comm, time_limit=1, maximal_left=2, top=0)
    assert found["functional_dependencies"] == [[[], "k"]]
    assert found["complete"]["functional_dependencies"] == 0
    assert inclusion_dependencies.profile(table, comm, maximal=2)["complete"] == {"inclusion_dependencies": 0}
    told = [event["action"] for event in workspace.events]
    assert told == [
        "functional dependencies complete up to 0 columns on the left",
        "inclusion dependencies complete up to 0 columns",
    ]


def test_inclusions_end_where_candidates_explode(comm, workspace, monkeypatch):
    table = table_of(workspace, **{f"c{number}": ["x", "y", None] for number in range(6)})
    monkeypatch.setattr(inclusions, "MOST_CANDIDATES", 10)
    found = inclusion_dependencies.profile(table, comm, maximal=3)
    assert found["complete"] == {"inclusion_dependencies": 1}
    assert len(found["inclusion_dependencies"]) == 6 * 5
    assert [event["what"] for event in workspace.events] == ["narrowed"]


def test_a_bound_of_the_left_side_is_told(comm, workspace):
    draw = np.random.default_rng(0)
    table = table_of(workspace, **{f"c{number}": draw.integers(0, 25, 40).tolist() for number in range(7)})
    found = functional_dependencies.profile(table, comm, maximal_left=2)
    assert found["complete"] == {"functional_dependencies": 2}
    assert max(len(left) for left, _ in found["functional_dependencies"]) <= 2


def test_the_dependencies_that_tell_most_come_first(comm, workspace):
    town = [f"t{row % 3}" for row in range(90)]
    columns = {"id": list(range(90)), "town": town, "state": [name[1] for name in town]}
    found = functional_dependencies.profile(table_of(workspace, **columns), comm)["best_functional_dependencies"]
    assert found[0] == {"left": ["town"], "right": "state", "redundant": 87 / 90, "covered": 1.0}
    assert all("id" not in one["left"] for one in found)


def test_what_is_covered_are_the_rows_that_are_alike(comm, workspace):
    zips = ["a", "a", "a", "b", "b", *"cdefg"]
    table = table_of(workspace, zip=zips, city=[each.upper() for each in zips])
    found = functional_dependencies.profile(table, comm)["best_functional_dependencies"]
    assert {(one["right"], one["redundant"], one["covered"]) for one in found} == {
        ("city", 0.3, 0.5),
        ("zip", 0.3, 0.5),
    }


def test_what_tells_most_is_left_out_if_not_wanted_or_out_of_time(comm, workspace, monkeypatch):
    table = table_of(workspace, town=["a", "a", "b"], state=["x", "x", "y"])
    assert functional_dependencies.profile(table, comm)["best_functional_dependencies"]
    assert functional_dependencies.profile(table, comm, top=0)["best_functional_dependencies"] == []
    monkeypatch.setattr(functional_dependencies, "SCORING_TIME", 1e-12)
    found = functional_dependencies.profile(table, comm, time_limit=60)
    assert found["best_functional_dependencies"] == []
    assert found["functional_dependencies"] == [[["town"], "state"], [["state"], "town"]]


@pytest.mark.parametrize(
    "columns",
    [
        {"a": pa.array([], pa.string())},
        {"a": ["x"]},
        {"a": ["x", "x", "x"]},
        {"a": pa.nulls(5, pa.int64()), "b": [1, 2, 3, 4, 5]},
        {"a": [[1, 2], [3]]},
    ],
)
def test_tables_with_hardly_anything_in_them(columns, comm, workspace):
    table = table_of(workspace, **columns)
    found = functional_dependencies.profile(table, comm)
    assert all([*left] != [right] for left, right in found["functional_dependencies"])
    unique_columns.profile(table, comm)
    assert inclusion_dependencies.profile(table, comm)["inclusion_dependencies"] == []


def test_a_table_of_300_columns_is_narrowed_in_time(comm, workspace):
    draw = np.random.default_rng(0)
    table = table_of(workspace, **{f"c{number}": draw.integers(0, 5, 300).tolist() for number in range(300)})
    found = functional_dependencies.profile(table, comm, time_limit=3)
    assert 0 <= found["complete"]["functional_dependencies"] < 10


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the data sets; set HVDEDGE_DATA")
@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("name", ["iris", "bridges", "abalone", "breast-cancer-wisconsin"])
def test_real_tables_have_their_known_dependencies(name, sampled, comm, workspace, monkeypatch):
    if sampled:
        monkeypatch.setattr(difference_sets, "ALL_CELLS", -1)
    known = json.loads((DATA / "expected.json").read_text())["datasets"][name]
    with open(DATA / f"{name}.csv", newline="") as file:
        columns = zip(*csv.reader(file), strict=True)
        cells = {str(number): [cell or None for cell in column] for number, column in enumerate(columns)}
    table = table_of(workspace, 500, **{column: pa.array(values, pa.string()) for column, values in cells.items()})
    coded = encode(table, comm)
    found = discovery.functional_dependencies(coded, comm)
    assert sorted(f"{','.join(map(str, left))}->{right}" for left, right in found.sets) == sorted(known["fd"])
    found = discovery.unique_columns(coded, comm)
    assert sorted(",".join(map(str, columns)) for columns, _ in found.sets) == sorted(known["ucc"])
    found = inclusion_dependencies.profile(table, comm)["inclusion_dependencies"]
    assert sorted(f"{left[0]}<={right[0]}" for left, right in found) == sorted(known["ind"])
