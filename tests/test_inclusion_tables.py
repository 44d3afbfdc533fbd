"""Inclusion dependencies across tables against an exhaustive search, and the foreign keys of a shop."""

import csv
from itertools import combinations, permutations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_tables import table_of

from hvdedge import further_tables, inclusions
from hvdedge.errors import InputError, RankError
from hvdedge.profiling.inclusion_dependencies import profile

CELLS = st.sampled_from([None, "a", "b", "c"])
TABLE = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=8)
)


def by_trying_all(tables: dict[str, list[list]]) -> list:
    """Return the inclusions of one and two columns, each side of one table, smaller parts holding."""
    columns = {
        f"{title}.c{number}" if title else f"c{number}": (title, list(cells))
        for title, rows in tables.items()
        for number, cells in enumerate(zip(*rows, strict=True))
    }
    wanted: list = []
    for size in (1, 2):
        for left in combinations(sorted(columns), size):
            for right in permutations(columns, size):
                if any(len({columns[name][0] for name in side}) > 1 for side in (left, right)) or left == right:
                    continue
                one, other = (
                    {cells for cells in zip(*(columns[name][1] for name in side), strict=True) if None not in cells}
                    for side in (left, right)
                )
                if not one or not one <= other:
                    continue
                if size == 1 or all(((a,), (b,)) in wanted for a, b in zip(left, right, strict=True)):
                    wanted.append((left, right))
    return sorted(wanted)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(own=TABLE, other=TABLE, third=TABLE)
def test_inclusions_across_tables_are_those_of_trying_all(own, other, third, comm, workspace):
    raw = {"": own, "b": other, "c": third}
    tables = {
        title: table_of(
            workspace, 3, **{f"c{n}": pa.array(cells, pa.string()) for n, cells in enumerate(zip(*rows, strict=True))}
        )
        for title, rows in raw.items()
    }
    assert inclusions.find(inclusions.places(tables, "tables"), comm, maximal=2) == (by_trying_all(raw), 2)


def shop(folder) -> dict[str, np.ndarray]:
    """Write clients.csv and items.parquet; return the columns of the orders."""
    draw = np.random.default_rng(3)
    with open(folder / "clients.csv", "w", newline="") as file:
        rows = [(f"C{n:03d}", f"Name {n % 37}", draw.choice(["Ulm", "Bonn"]), 20 + n % 50) for n in range(80)]
        csv.writer(file).writerows([("id", "name", "city", "age"), *rows])
    items = {"number": np.arange(1, 51), "price": draw.integers(1, 90, 50) / 4, "stock": draw.integers(0, 30, 50)}
    pq.write_table(pa.table(items), folder / "items.parquet")
    return {
        "id": np.arange(1, 401),
        "client_id": np.array([f"C{n:03d}" for n in draw.integers(0, 78, 400)]),
        "item_number": draw.integers(1, 49, 400),
        "quantity": draw.integers(1, 6, 400),
    }


def test_the_foreign_keys_of_a_shop_come_first(comm, workspace, tmp_path):
    orders = table_of(workspace, 90, **shop(tmp_path))
    found = profile(orders, comm, tables=(str(tmp_path / "clients.csv"), str(tmp_path / "items.parquet")))
    keys = [(one["column"], one["of"]) for one in found["foreign_keys"]]
    assert {*keys[:2]} == {("client_id", "clients.id"), ("item_number", "items.number")}
    assert [["quantity"], ["items.number"]] in found["inclusion_dependencies"]
    assert all(0 <= one[part] <= 1 for one in found["foreign_keys"] for part in ("used", "alike", "repeated", "score"))
    told = workspace.metrics["tables"]
    assert [(name, told[name]["rows"]) for name in told] == [("clients", 80), ("items", 50)]
    assert told["clients"]["columns"]["age"]["type"] == "integer"


def test_pairs_of_columns_refer_to_another_table(comm, workspace, tmp_path):
    (tmp_path / "rooms.csv").write_text("house,room\nA,1\nA,2\nB,1\n")
    table = table_of(workspace, at_house=["A", "B", "A", None], at_room=[1, 1, 2, 9], x_room=[1, 2, 2, 1])
    found = profile(table, comm, maximal=2, tables=(str(tmp_path / "rooms.csv"),))
    assert [["at_house", "x_room"], ["rooms.house", "rooms.room"]] not in found["inclusion_dependencies"]
    assert [["at_house"], ["rooms.house"]] in found["inclusion_dependencies"]
    table = table_of(workspace, at_house=["A", "B", "A", None], at_room=[1, 1, 2, 1])
    found = profile(table, comm, maximal=2, tables=(str(tmp_path / "rooms.csv"),))
    assert [["at_house", "at_room"], ["rooms.house", "rooms.room"]] in found["inclusion_dependencies"]


def test_values_are_compared_as_text_in_the_form_of_their_column(comm, workspace, tmp_path):
    (tmp_path / "codes.csv").write_text("code,name\n007,x\n012,y\n100,z\n")
    whole = table_of(workspace, code=[7, 12])
    assert profile(whole, comm, tables=(str(tmp_path / "codes.csv"),))["foreign_keys"] == []
    text = table_of(workspace, code=["007", "012"])
    assert [one["of"] for one in profile(text, comm, tables=(str(tmp_path / "codes.csv"),))["foreign_keys"]] == [
        "codes.code"
    ]


def test_a_folder_of_parts_is_one_table_and_of_files_many(comm, workspace, tmp_path):
    parts, files = tmp_path / "cleaned", tmp_path / "shop"
    parts.mkdir()
    files.mkdir()
    for number in range(2):
        pq.write_table(pa.table({"id": [2 * number, 2 * number + 1]}), parts / f"part-0000{number}.parquet")
    (files / "a.csv").write_text("id,x\n1,2\n2,3\n")
    (files / "b.jsonl").write_text('{"id": 1}\n{"id": 3}\n')
    found = further_tables.read_all([str(parts), str(files)], "tables", workspace, comm)
    assert {name: table.to_arrow()["id"].to_pylist() for name, table in found.items()} == {
        "cleaned": [0, 1, 2, 3],
        "a": [1, 2],
        "b": [1, 3],
    }


def test_a_name_that_stands_for_two_things_is_an_error(comm, workspace, tmp_path):
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "clients.csv").write_text("id,x\n1,2\n")
    both = tuple(str(tmp_path / place / "clients.csv") for place in ("one", "two"))
    with pytest.raises(RankError, match=r"two tables called 'clients', .*rename a file"):
        profile(table_of(workspace, id=[1]), comm, tables=both)
    with pytest.raises(InputError, match=r"both called 'clients.id', allowed: names that differ"):
        profile(table_of(workspace, **{"clients.id": [1]}), comm, tables=both[:1])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RankError, match="a folder without files"):
        profile(table_of(workspace, id=[1]), comm, tables=(str(tmp_path / "empty"),))
