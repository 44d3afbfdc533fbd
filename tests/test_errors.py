"""Errors: numbers that cannot be, broken dependencies, misspelt words, against trouble planted with its truth."""

import csv
import functools
import os
import pathlib
import random

import numpy as np
import pyarrow as pa
import pytest
import small_tables
from small_tables import changes, rows_of, write_csv

from hvdedge import methods, spacings
from hvdedge.cleaning import errors
from hvdedge.columns import to_text
from hvdedge.errors import InputError, RankError
from hvdedge.options import Fraction, Share
from hvdedge.tables import Table

table_of = functools.partial(small_tables.table_of, batch_rows=300)

DATA = pathlib.Path(os.environ.get("HVDEDGE_DATA", pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"))
HOSPITAL = DATA / "hospital"
needs_hospital = pytest.mark.skipif(not HOSPITAL.exists(), reason="hospital.csv is not there; set HVDEDGE_DATA")


def doubts(workspace) -> list[str]:
    return [f"{row['column']}: {row['text']}" for batch in workspace.quarantine for row in batch.to_pylist()]


TOWNS = ["Aachen", "Bremen", "Cottbus", "Dresden", "Erfurt", "Freiburg", "Goslar", "Hamburg", "Ingolstadt", "Jena"]
LANDS = ["west", "north", "east", "east", "east", "south", "north", "north", "south", "east"]


def shops(count: int = 600, seed: int = 0) -> dict[str, list]:
    """Return a clean table in which zip -> town -> land, shop -> zip, and the rest is free."""
    draw = random.Random(seed)
    place = [draw.randrange(10) for _ in range(count)]
    shop = [2 * number + draw.randrange(2) for number in place]
    return {
        "shop": [f"shop {number:02d}" for number in shop],
        "zip": [10000 + 7919 * number for number in place],
        "town": [TOWNS[number] for number in place],
        "land": [LANDS[number] for number in place],
        "amount": [draw.randrange(1000) for _ in range(count)],
        "name": [f"{draw.choice('ABCDEFG')}{draw.choice(['nna', 'tto', 'ina', 'rik'])}" for _ in range(count)],
    }


def typo(text: str, draw: random.Random) -> str:
    place = draw.randrange(len(text))
    letter = draw.choice([letter for letter in "qxzvw" if letter != text[place].lower()])
    return text[:place] + letter + text[place + 1 :]


def spoil(rows: dict[str, list], columns: list[str], share: float, seed: int = 1) -> list[tuple[int, str, str]]:
    """Put typos into some cells; return (row, column, true value) of each."""
    draw = random.Random(seed)
    wrong = []
    for name in columns:
        for row in draw.sample(range(len(rows[name])), int(share * len(rows[name]))):
            wrong.append((row, name, rows[name][row]))
            rows[name][row] = typo(rows[name][row], draw)
    return wrong


# numbers


def test_a_number_far_out_is_emptied_and_logged_and_the_rest_is_left(comm, workspace):
    values = np.random.default_rng(0).normal(size=2000).round(2).tolist()
    values[7], values[500] = 1000.0, -1000.0
    table = errors.clean(table_of(workspace, x=values, y=[*range(2000)]), comm)
    assert rows_of(table, "x") == [None if abs(value) == 1000 else value for value in values]
    assert rows_of(table, "y") == [*range(2000)]
    assert changes(workspace) == [
        (9, "x", "1000", None, "out_of_range"),
        (502, "x", "-1000", None, "out_of_range"),
    ]
    assert workspace.metrics["errors"] == {
        "changed": 2,
        "columns": {"x": 2},
        "rules": {"out_of_range": 2},
        "confidence": {},
        "doubtful": 0,
        "dependencies": [],
        "left_out": {},
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["lognormal", "exponential", "pareto", "normal", "zeros", "flags", "counts", "codes"])
def test_an_ordinary_skewed_column_is_left_alone(name, seed, comm, workspace):
    draw = np.random.default_rng(seed)
    values = {
        "lognormal": lambda: draw.lognormal(sigma=2, size=3000),
        "exponential": lambda: draw.exponential(size=3000),
        "pareto": lambda: draw.pareto(1, size=3000),
        "normal": lambda: draw.normal(size=3000),
        "zeros": lambda: np.where(draw.random(3000) < 0.97, 0, draw.lognormal(sigma=2, size=3000)),
        "flags": lambda: (draw.random(3000) < 0.002).astype(np.int64),
        "counts": lambda: draw.poisson(0.5, 3000),
        "codes": lambda: np.arange(3000) * 1000,
    }[name]()
    assert rows_of(errors.clean(table_of(workspace, x=values), comm), "x") == values.tolist()


def test_fewer_than_30_numbers_and_numbers_of_rows_are_not_judged(comm, workspace):
    few = [*np.random.default_rng(0).normal(size=28).tolist(), 10**9]
    errors.clean(table_of(workspace, x=few), comm)
    errors.clean(table_of(workspace, x=[*range(1900), 10**9]), comm)
    assert changes(workspace) == []


SMALL = {
    "normal": (lambda draw: draw.normal(1000, 3, 300), [10000]),
    "both sides": (lambda draw: draw.normal(20, 5, 1500), [-273, 205]),
    "equal ones": (lambda draw: draw.integers(1, 26, 1200).astype(float), [99999] * 5),
    "log-normal": (lambda draw: draw.lognormal(3, 1, 1000), [9e6]),
    "different ones": (lambda draw: draw.integers(18, 91, 900).astype(float), [999, 1999]),
}


@pytest.mark.parametrize("name", SMALL)
def test_numbers_that_stand_apart_are_found_in_small_tables(name, comm, workspace):
    make, wrong = SMALL[name]
    values = make(np.random.default_rng(0)).tolist()
    found = rows_of(errors.clean(table_of(workspace, x=[*values, *wrong]), comm), "x")
    assert found == [*values, *[None] * len(wrong)]


@pytest.mark.parametrize("count", [30, 100, 1000])
@pytest.mark.parametrize(
    "name", ["lognormal", "pareto", "student", "exponential", "uniform", "poisson", "years", "two"]
)
def test_small_columns_of_any_shape_keep_their_numbers(name, count, comm):
    draw = np.random.default_rng(0)
    make = {
        "lognormal": lambda: draw.lognormal(sigma=2, size=count),
        "pareto": lambda: draw.pareto(1, size=count),
        "student": lambda: draw.standard_t(3, size=count),
        "exponential": lambda: draw.exponential(size=count),
        "uniform": lambda: draw.random(count),
        "poisson": lambda: draw.poisson(3, count).astype(float),
        "years": lambda: 2024.0 - draw.geometric(0.1, count),
        "two": lambda: np.where(draw.random(count) < 0.1, draw.normal(100, 3, count), draw.normal(0, 3, count)),
    }[name]
    wrong = 0
    for _ in range(200):
        values = make()
        first, median, third = np.quantile(values, [0.25, 0.5, 0.75], method="inverted_cdf")
        for sign in (-1, 1):
            steps = spacings._outermost(np.empty(0, spacings.STEP), sign * (values - median))
            wrong += np.isfinite(spacings._edge(steps, count, 0.01, third - first))
    assert wrong <= 6  # of 400


def test_the_outermost_distances_are_those_of_sorting(comm):
    distances = np.random.default_rng(0).integers(-2000, 2000, 30_000).astype(float)
    held = np.empty(0, spacings.STEP)
    for part in np.array_split(distances, 11):
        held = spacings._outermost(held, part)
    values, rows = np.unique(distances, return_counts=True)
    assert held["distance"].tolist() == values[::-1][: spacings.VALUES].tolist()
    assert held["rows"].tolist() == rows[::-1][: spacings.VALUES].tolist()


def test_cells_of_an_array_are_judged_together(comm, workspace):
    """p0 is constant, so that alone nothing can be said about it; as one of ten pixels it can."""
    draw = np.random.default_rng(0)
    pixels = {f"p{number}": draw.integers(0, 17, 600) for number in range(10)}
    pixels["p0"] = np.where(np.arange(600) == 5, 99, 0)
    table = table_of(workspace, **pixels)
    assert rows_of(errors.clean(table, comm), "p0")[5] is None
    assert len(changes(workspace)) == 1
    workspace.changes.clear()
    assert rows_of(errors.clean(table, comm, pool=False), "p0")[5] == 99


def test_a_column_of_another_scale_is_not_judged_by_the_others(comm, workspace):
    draw = np.random.default_rng(0)
    columns = {f"column_{number}": draw.random(600) for number in range(200)}
    columns["column_7"] = draw.integers(1_000_000, 2_000_000, 600)
    errors.clean(table_of(workspace, **columns), comm)
    assert changes(workspace) == []


def test_numbers_beside_the_number_of_a_record_are_not_its_measure(comm, workspace):
    draw = np.random.default_rng(0)
    columns = {f"column_{number}": draw.integers(1, 11, 700) for number in range(11)}
    columns["column_0"] = np.append(draw.integers(60_000, 1_300_000, 699), 13_000_000)
    errors.clean(table_of(workspace, **columns), comm)
    assert changes(workspace) == []


def test_only_the_columns_asked_for_are_judged(comm, workspace):
    values = [*range(2000), 10**6]
    table = errors.clean(table_of(workspace, ab=values, ac=values, b=values), comm, columns=("a*",))
    assert [rows_of(table, name)[-1] for name in ("ab", "ac", "b")] == [None, None, 10**6]


@pytest.mark.parametrize("z", [3.0, 6.0])
def test_robust_z_finds_what_lies_beyond_so_many_deviations(z, comm, workspace):
    values = np.random.default_rng(0).normal(50, 10, 999)
    values[:3] = 150, -40, 82
    middle = np.median(values)
    away = np.abs(values - middle)
    far = away > z * 1.4826 * np.median(away)
    table = errors.clean(table_of(workspace, x=values, constant=[1.0] * 998 + [9.0]), comm, outliers="robust_z", z=z)
    assert rows_of(table, "x") == [None if out else value for value, out in zip(values, far, strict=True)]
    assert far.sum() >= 2
    assert rows_of(table, "constant")[-1] == 9.0  # more than half are the same: there is no deviation to measure by


def test_a_column_of_which_much_lies_beyond_is_left_and_said(comm, workspace):
    values = [*np.random.default_rng(0).normal(size=900), *[25.0] * 100]
    errors.clean(table_of(workspace, x=values), comm, outliers="robust_z")
    assert changes(workspace) == []
    assert workspace.metrics["errors"]["left_out"]["x"].startswith("10% of its numbers lie beyond")


def test_isolation_finds_a_row_and_the_number_that_sets_it_apart(comm, workspace):
    draw = np.random.default_rng(0)
    columns = {name: draw.normal(size=1500) for name in "abc"}
    columns["b"][700] = 40.0
    table = errors.clean(table_of(workspace, **columns), comm, outliers="isolation", seed=3, score=0.75)
    assert changes(workspace) == [(702, "b", "40", None, "out_of_range")]
    assert rows_of(table, "b")[700] is None
    again = errors.clean(table_of(workspace, **columns), comm, outliers="isolation", seed=3, score=0.75)
    assert again.to_arrow() == table.to_arrow()


def test_isolation_agrees_with_a_known_forest_on_who_is_far_out(comm, workspace):
    """Scores by scikit-learn's forest, of another seed: the same five rows stand out."""
    from sklearn.ensemble import IsolationForest

    from hvdedge.isolation import Forest

    draw = np.random.default_rng(1)
    cells = draw.normal(size=(800, 4))
    cells[:5] += draw.choice([-8, 8], (5, 4))
    known = IsolationForest(n_estimators=100, random_state=0).fit(cells).score_samples(cells)
    table = table_of(workspace, **{f"c{number}": cells[:, number] for number in range(4)})
    forest = Forest(table, [f"c{number}" for number in range(4)], 100, 0, comm)
    batch = table.to_arrow().combine_chunks().to_batches()[0]
    assert set(forest.outlying(batch, 0.65)[0]) == set(np.argsort(known)[:5])
    assert len(forest.outlying(batch, 0.0)[0]) == 800


def test_no_outliers_are_looked_for_where_none_are_wanted(comm, workspace):
    errors.clean(table_of(workspace, x=[*range(2000), 10**6]), comm, outliers="none")
    assert changes(workspace) == []


# dependencies


def test_a_clean_table_stays_as_it_is(comm, workspace):
    rows = shops()
    table = errors.clean(table_of(workspace, **rows), comm)
    assert table.to_arrow().drop_columns(["_file", "_line"]).to_pydict() == rows
    assert changes(workspace) == []
    assert doubts(workspace) == []


def test_dependencies_are_found_and_only_those_that_are_there(comm, workspace):
    rows = shops()
    spoil(rows, ["shop", "town", "land"], 0.03)
    errors.clean(table_of(workspace, **rows), comm)
    found = {told["dependency"] for told in workspace.metrics["errors"]["dependencies"]}
    planted = {
        "shop -> zip",
        "shop -> town",
        "shop -> land",
        "zip -> town",
        "zip -> land",
        "town -> zip",
        "town -> land",
    }
    assert found == planted


@pytest.mark.parametrize("seed", range(4))
def test_planted_typos_are_mended(seed, comm, workspace, tmp_path):
    rows = shops(seed=seed)
    clean = {name: [*values] for name, values in rows.items()}
    wrong = spoil(rows, ["shop", "town", "land"], 0.04, seed)
    truth = write_csv(tmp_path / "clean.csv", ",".join(clean), zip(*clean.values(), strict=True))
    table = errors.clean(table_of(workspace, **rows), comm, truth=truth)
    metrics = workspace.metrics["errors"]
    right = sum(rows_of(table, name)[row] == value for row, name, value in wrong if name != "shop")
    assert right == 48
    assert metrics["precision"] == 1.0
    assert metrics["recall"] >= 48 / 72  # nothing tells which shop of a town it was, but for its spelling
    assert metrics["changed"] == len(changes(workspace)) == sum(metrics["confidence"].values())


def test_given_dependencies_hold_and_no_others(comm, workspace):
    rows = {"a": [1, 1, 1, 2, 2, 2] * 20, "b": [*"xxxyyy"] * 20, "c": [*"pppqqq"] * 20}
    rows["b"][0], rows["c"][0] = "y", "q"
    table = errors.clean(table_of(workspace, **rows), comm, dependencies=("a -> b",))
    assert (rows_of(table, "b")[0], rows_of(table, "c")[0]) == ("x", "q")
    assert changes(workspace) == [(2, "b", "y", "x", "dependency")]
    told = {"dependency": "a -> b", "given": True, "violations": 1, "exceptions": 0}
    assert workspace.metrics["errors"]["dependencies"] == [told]


def test_a_dependency_may_have_several_columns_on_both_sides(comm, workspace):
    rows = {"a": [0, 0, 1, 1] * 10, "b": [0, 1, 0, 1] * 10, "c": [*"wxyz"] * 10, "d": [5, 6, 7, 8] * 10}
    rows["c"][0], rows["d"][1] = "q", 99
    table = errors.clean(table_of(workspace, **rows), comm, dependencies=("a, b -> c, d",))
    assert (rows_of(table, "c")[0], rows_of(table, "d")[1]) == ("w", 6)
    assert len(changes(workspace)) == 2


def test_a_tie_is_nobodys_error(comm, workspace):
    rows = {"a": [1, 1, 2, 2], "b": [*"xyzz"]}
    assert rows_of(errors.clean(table_of(workspace, **rows), comm, dependencies=("a -> b",)), "b") == [*"xyzz"]
    assert workspace.metrics["errors"]["dependencies"][0]["violations"] == 1
    assert doubts(workspace) == ["b: y -> x, confidence 0.50"]
    assert [event["what"] for event in workspace.events] == ["dependency_broken"]


def test_the_confidence_is_the_share_of_the_others_and_the_likeness(comm, workspace):
    """Of the two others one says y: P = 2 / 3 of all three, 2 / (2 + 1) without this row; nothing is alike."""
    rows = {"a": [1, 1, 1], "b": ["bcd", "xyz", "xyz"]}
    for least, expected in ((0.66, "xyz"), (0.67, "bcd")):
        table = errors.clean(table_of(workspace, **rows), comm, dependencies=("a -> b",), confidence=least)
        assert rows_of(table, "b")[0] == expected
    assert workspace.metrics["errors"]["doubtful"] == 1
    assert doubts(workspace) == ["b: bcd -> xyz, confidence 0.67"]
    rows["b"][0] = "xyq"  # one of three letters: what is left of the doubt falls by a third
    errors.clean(table_of(workspace, **rows), comm, dependencies=("a -> b",), confidence=0.78)
    assert doubts(workspace) == ["b: xyq -> xyz, confidence 0.78"]


def rates() -> dict[str, list]:
    """All of the north pays 7, the others 19, whatever the goods."""
    draw = random.Random(0)
    land = [draw.choice(["north"] + ["east", "south", "west"] * 6) for _ in range(800)]
    goods = [draw.choice(["bread", "books", "wine"]) for _ in land]
    rate = [f"{name}-7" if where == "north" else f"{name}-19" for name, where in zip(goods, land, strict=True)]
    return {"land": land, "goods": goods, "rate": rate}


def test_an_exception_is_not_an_error(comm, workspace):
    """The rule says that goods tell the rate, the north breaks it in every group."""
    rows = rates()
    north, other = rows["land"].count("north"), rows["land"].index("east")
    right = rows["rate"][other]
    rows["rate"][other] = "x"
    table = errors.clean(table_of(workspace, **rows), comm, dependencies=("goods -> rate", "land, goods -> rate"))
    assert changes(workspace) == [(other + 2, "rate", "x", right, "dependency")]
    assert rows_of(table, "rate").count("bread-7") == rows["rate"].count("bread-7") > 5
    assert [*workspace.metrics["errors"]["dependencies"][0].values()] == ["goods -> rate", True, north + 1, north]
    assert len(doubts(workspace)) == workspace.metrics["errors"]["doubtful"] == north
    (event,) = workspace.events
    assert event["what"] == "dependency_broken"
    assert event["action"].startswith(f"left {north} rows that break goods -> rate, as nothing is sure enough")
    assert event["action"].endswith("where land = north: if these are wrong, set exceptions = false")


def test_an_exception_is_mended_like_any_error_where_there_is_to_be_none(comm, workspace):
    rows = rates()
    table = errors.clean(table_of(workspace, **rows), comm, dependencies=("goods -> rate",), exceptions=False)
    assert rows_of(table, "rate") == [f"{goods}-19" for goods in rows["goods"]]
    assert (doubts(workspace), workspace.events) == ([], [])


def orders(spoilt: dict[str, str], empty: bool = False) -> tuple[dict[str, list], list[str]]:
    """Return orders in which some customers' town is always written wrong, and the right towns."""
    draw = random.Random(8)
    customers = [(f"C{number:03d}", draw.randrange(10)) for number in range(120)]
    taken = [draw.choice(customers) for _ in range(3000)]
    town = [TOWNS[place] for _, place in taken]
    return {
        "order": [*range(3000)],
        "customer": [None if empty else name for name, _ in taken],
        "zip": [10000 + 131 * place for _, place in taken],
        "town": [spoilt.get(name, right) for (name, _), right in zip(taken, town, strict=True)],
    }, town


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("spoilt", [{"C005": "Chcago"}, {"C005": "Aachn", "C017": "Jenna", "C060": "Gosslar"}])
def test_what_breaks_a_given_rule_is_mended_where_it_gathers_under_one_customer(spoilt, empty, comm, workspace):
    rows, right = orders(spoilt, empty)
    wrong = sum(now != town for now, town in zip(rows["town"], right, strict=True))
    assert wrong >= 20
    table = errors.clean(table_of(workspace, **rows), comm, dependencies=("zip -> town",))
    assert rows_of(table, "town") == right
    told = {"dependency": "zip -> town", "given": True, "violations": wrong, "exceptions": 0}
    assert workspace.metrics["errors"]["dependencies"] == [told]
    assert (doubts(workspace), workspace.events) == ([], [])


def test_what_its_spelling_mends_is_no_doubt(comm, workspace):
    """Group 1 is a tie, but Aachem is a rare word, one letter from a frequent one."""
    rows = {"a": [1, 1] + [2] * 60, "b": ["Aachen", "Aachem"] + ["Aachen"] * 60}
    errors.clean(table_of(workspace, **rows), comm, dependencies=("a -> b",))
    assert changes(workspace) == [(3, "b", "Aachem", "Aachen", "spelling")]
    assert (doubts(workspace), workspace.events) == ([], [])


def test_every_row_that_breaks_a_given_rule_is_mended_or_listed(comm, workspace):
    """Of seven rows of group 1 three are empty, so no value leads; group 2 is a tie; in group 3 none has a majority."""
    rows = {"a": [1] * 7 + [2] * 4 + [3] * 6, "b": [None] * 3 + [*"xxxy"] + [*"ppqq"] + [*"rrrstu"]}
    errors.clean(table_of(workspace, **rows), comm, dependencies=("a -> b",), confidence=0.7)
    assert [one["violations"] for one in workspace.metrics["errors"]["dependencies"]] == [1 + 2 + 3]
    assert changes(workspace) == []
    assert sorted(doubts(workspace)) == [
        *["b: q -> p, confidence 0.50"] * 2,
        *[f"b: {value} -> r, confidence 0.50" for value in "stu"],
        "b: y -> x, confidence 0.43",
    ]
    assert workspace.events[0]["action"].startswith("left 6 rows that break a -> b")


def test_a_wrong_determinant_does_not_pull_the_whole_row_after_it(comm, workspace):
    rows = shops()
    other = next(row for row, town in enumerate(rows["town"]) if town != rows["town"][0])
    rows["zip"][0] = rows["zip"][other]
    table = errors.clean(
        table_of(workspace, **rows), comm, dependencies=("zip -> town, land", "town -> zip", "shop -> zip")
    )
    assert changes(workspace) == [(2, "zip", str(rows["zip"][other]), str(shops()["zip"][0]), "dependency")]
    assert rows_of(table, "town") == shops()["town"]


def test_empty_cells_that_a_dependency_tells_are_filled_whatever_their_type(comm, workspace):
    rows = {
        "key": [number % 20 for number in range(200)],
        "whole": [number % 20 % 7 for number in range(200)],
        "flag": [number % 20 % 2 == 0 for number in range(200)],
        "day": [number % 20 // 3 for number in range(200)],
        "kind": ["uvw"[number % 20 % 3] for number in range(200)],
        "free": [number % 3 for number in range(200)],
    }
    wanted = {name: [*values] for name, values in rows.items()}
    for name in ("whole", "flag", "day", "kind"):
        rows[name][3] = None
    rows["free"][5] = wanted["free"][5] = None
    rows["day"], wanted["day"] = (pa.array(one["day"], pa.int32()).cast(pa.date32()) for one in (rows, wanted))
    rows["kind"] = pa.array(rows["kind"]).dictionary_encode()
    table = errors.clean(table_of(workspace, batch_rows=90, **rows), comm)
    for name in ("whole", "flag", "day", "kind", "free"):
        assert rows_of(table, name) == pa.array(wanted[name]).to_pylist()
    assert table.schema == table_of(workspace, **rows).schema


def test_a_column_that_is_empty_by_nature_is_not_filled(comm, workspace):
    rows = shops()
    rows["note"] = [f"closed {land}" if row % 40 == 0 else None for row, land in enumerate(rows["land"])]
    table = errors.clean(table_of(workspace, **rows), comm)
    assert rows_of(table, "note") == rows["note"]
    assert changes(workspace) == []


def test_a_found_dependency_does_not_make_right_values_alike(comm, workspace):
    """One town in fifty lies in another land by its books: two right values, nothing alike, one witness."""
    rows = {"town": [number % 10 for number in range(500)], "land": [LANDS[number % 10] for number in range(500)]}
    rows["land"][0] = "south"
    errors.clean(table_of(workspace, **rows), comm)
    assert changes(workspace) == []
    assert doubts(workspace) == ["land: south -> west, confidence 0.98"]
    rows["land"][0] = "wezt"
    table = errors.clean(table_of(workspace, **rows), comm)
    assert rows_of(table, "land")[0] == "west"


def test_random_columns_hold_no_dependency(comm, workspace):
    draw = random.Random(5)
    rows = {
        **{f"few {size}": [draw.randrange(size) for _ in range(800)] for size in (2, 3, 10, 50)},
        "many": [draw.randrange(300) for _ in range(800)],
        "nearly constant": [int(draw.random() < 0.03) for _ in range(800)],
        "word": [draw.choice(["yes", "no", "maybe"]) for _ in range(800)],
    }
    errors.clean(table_of(workspace, **rows), comm)
    assert workspace.metrics["errors"]["dependencies"] == []
    assert changes(workspace) == []


def test_a_column_with_too_many_values_is_left_out_and_named(comm, workspace):
    workspace.memory_bytes = 8 * 600_000
    rows = {"id": [f"r{number}" for number in range(9000)], "kind": [*"abc"] * 3000}
    errors.clean(table_of(workspace, **rows), comm)
    assert workspace.metrics["errors"]["left_out"] == {"id": "more than 3000 values"}
    errors.clean(table_of(workspace, **rows), comm, dependencies=("id -> kind",))
    left_out = {"id": "more than 3000 values", "id -> kind": "too many values, or none"}
    assert workspace.metrics["errors"]["left_out"] == left_out
    (event,) = workspace.events
    assert event["what"] == "dependency_left_out"
    assert event["action"].startswith("did not look at id -> kind: too many values")


def test_constraints_are_read_from_a_file(comm, workspace, tmp_path):
    path = tmp_path / "rules.txt"
    path.write_text("t1&t2&EQ(t1.a,t2.a)&EQ(t1.b,t2.b)&IQ(t1.c,t2.c)\n\nt1&t2&EQ(t1.c,t2.c)&IQ(t1.a,t2.a)\n")
    errors.clean(table_of(workspace, a=[1] * 9, b=[2] * 9, c=[3] * 9), comm, constraints=str(path))
    told = [one["dependency"] for one in workspace.metrics["errors"]["dependencies"]]
    assert told == ["a, b -> c", "c -> a"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (None, "constraints that cannot be read"),
        ("t1&t2&EQ(t1.a,t2.a)&IQ(t1.d,t2.d)", "line 1: received 'd', allowed: a, b, c"),
        ("t1&EQ(t1.a,3)", "line 1: received 't1&EQ.*, allowed: t1&t2&EQ"),
        ("\nt1&t2&EQ(t1.a,t2.b)&IQ(t1.c,t2.c)", "line 2: received .*allowed: t1&t2&EQ"),
    ],
)
def test_constraints_that_cannot_be_used_are_one_line(text, line, comm, workspace, tmp_path):
    path = tmp_path / "rules.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RankError, match=line) as caught:
        errors.clean(table_of(workspace, a=[1], b=[2], c=[3]), comm, constraints=str(path))
    assert caught.value.is_input


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"columns": ("z*",)}, r"clean.errors.columns: received 'z\*', .*allowed: x, t; name columns"),
        ({"tail": 0.5}, "clean.errors.tail: received 0.5, allowed: 0 to below 0.5"),
        ({"dependencies": ("x -> tt",)}, "clean.errors.dependencies: received 'tt', allowed: t, x; did you mean 't'"),
        ({"dependencies": ("x, t",)}, "clean.errors.dependencies: received 'x, t', allowed: columns -> columns"),
        ({"dependencies": ("x -> ",)}, "clean.errors.dependencies: received 'x -> ', allowed: columns -> columns"),
    ],
)
def test_options_that_fit_no_column_are_refused(options, line, comm, workspace):
    with pytest.raises(InputError, match=line):
        errors.clean(table_of(workspace, x=[1, 2], t=["a", "b"]), comm, **options)


def test_arrays_depend_on_nothing(comm, workspace):
    table = table_of(workspace, x=[1, 2], cells=[[1], [2]])
    with pytest.raises(InputError, match="clean.errors.dependencies: received 'cells', a column of arrays, allowed"):
        errors.clean(table, comm, dependencies=("x -> cells",))
    assert errors.clean(table, comm).to_arrow() == table.to_arrow()


def test_shares_are_checked_before_anything_runs():
    options = methods.find("cleaning", "errors", "clean").options
    assert {options[name].type for name in ("confidence", "score")} == {Share}
    assert {options[name].type for name in ("tolerance", "tail")} == {Fraction}


# spelling


def test_a_rare_word_near_a_frequent_one_is_spelt_like_it(comm, workspace):
    kinds = ["acute care hospitals"] * 500 + ["children hospitals"] * 300
    kinds[3], kinds[9], kinds[700], kinds[701] = (
        "acuxe care hospixals",
        "acutexcare hospitals",
        "chxldren hospitals",
        None,
    )
    table = errors.clean(table_of(workspace, kind=kinds), comm)
    assert (
        rows_of(table, "kind")
        == ["acute care hospitals"] * 500 + ["children hospitals"] * 201 + [None] + ["children hospitals"] * 98
    )
    assert {change[-1] for change in changes(workspace)} == {"spelling"}
    assert workspace.metrics["errors"]["columns"] == {"kind": 3}


def test_first_names_are_left_though_some_are_alike(comm, workspace):
    """Names have rare ones by nature; with so many that are near nothing, those near something are no typos."""
    draw = random.Random(2)
    frequent = ["john", "joan", "jane", "mary", "mark", "anna", "hanna", "paul", "paula", "karl", "karla", "peter"]
    rare = ["jonn", "marx", "petra", *("".join(draw.choices("abcdefghijklmnop", k=6)) for _ in range(150))]
    names = [draw.choice(frequent) for _ in range(900)] + rare
    draw.shuffle(names)
    assert rows_of(errors.clean(table_of(workspace, name=names), comm), "name") == names


@pytest.mark.parametrize("rare", ["marshall center north", "ak_scip-card-2", "12 patients", "al", "shelter"])
def test_what_only_looks_near_is_left(rare, comm, workspace):
    words = ["marshall center south", "jackson center north", "al_scip-card-2", "10 patients", "ak", "sheltered homes"]
    cells = [words[number % 6] for number in range(600)]
    cells[100] = rare
    assert rows_of(errors.clean(table_of(workspace, word=cells), comm, discover=False), "word") == cells


def test_what_the_rest_of_the_row_says_is_right_is_not_respelt(comm, workspace):
    key = [0] * 400 + [1] * 8
    town = ["Newtown"] * 400 + ["Newtowe"] * 8
    rows = {"key": key, "town": town}
    told = errors.clean(table_of(workspace, **rows), comm, dependencies=("key -> town",))
    alone = errors.clean(table_of(workspace, **rows), comm, discover=False)
    assert rows_of(told, "town") == town
    assert rows_of(alone, "town") == ["Newtown"] * 408
    kept = errors.clean(table_of(workspace, **rows), comm, discover=False, spelling=False)
    assert rows_of(kept, "town") == town


# truth


def test_precision_and_recall_count_the_changed_cells_and_the_wrong_ones(comm, workspace, tmp_path):
    """Wrong: three cells. Changed: the typo, rightly, and row 9, wrongly, as the truth has it."""
    rows = {"a": [0] * 10 + [1] * 10, "b": ["left"] * 10 + ["right"] * 10, "c": [*range(20)]}
    clean = {name: [*values] for name, values in rows.items()}
    rows["b"][0], rows["c"][4], rows["c"][5] = "lefd", 99, 98
    rows["b"][9] = clean["b"][9] = "lift"
    table = [(row, name, clean[name][row]) for row in range(20) for name in clean]
    same = write_csv(tmp_path / "same.csv", ",".join(clean), zip(*clean.values(), strict=True))
    cells = write_csv(tmp_path / "cells.csv", "tid,attribute,correct_val", table)
    for truth in (same, cells):
        errors.clean(table_of(workspace, batch_rows=6, **rows), comm, dependencies=("a -> b",), truth=truth)
        metrics = workspace.metrics["errors"]
        assert len(changes(workspace)) == 2
        assert (metrics["precision"], metrics["recall"]) == (1 / 2, 1 / 3)
        assert metrics["f1"] == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))


def test_emptied_numbers_are_right_and_empty_cells_are_for_others_to_fill(comm, workspace, tmp_path):
    """Wrong: the number that cannot be, and the empty b, which a tells; the empty c is for [clean.missing]."""
    rows = {"a": [0] * 150 + [1] * 150, "b": ["left"] * 150 + ["right"] * 150, "c": [*range(300)]}
    truth = write_csv(tmp_path / "truth.csv", ",".join(rows), zip(*rows.values(), strict=True))
    rows = {"a": rows["a"], "b": [None, *rows["b"][1:]], "c": [None, 99_999, *rows["c"][2:]]}
    options = {"dependencies": ("a -> b",), "outliers": "robust_z", "truth": truth}
    table = errors.clean(table_of(workspace, **rows), comm, **options)
    assert rows_of(table, "b")[0] == "left" and rows_of(table, "c")[:3] == [None, None, 2]
    assert [workspace.metrics["errors"][rate] for rate in ("precision", "recall", "f1")] == [1, 1, 1]


def test_a_truth_of_another_length_or_of_other_columns_is_one_line(comm, workspace, tmp_path):
    short = write_csv(tmp_path / "short.csv", "a,b", [(1, 2)])
    cells = write_csv(tmp_path / "cells.csv", "tid,attribute,correct_val", [(0, "a", 1), (7, "a", 1)])
    other = write_csv(tmp_path / "other.csv", "x,y", [(1, 2), (1, 2)])
    strange = write_csv(tmp_path / "strange.csv", "x,y,z", [("p", "a", 2), (1, "a", 2)])
    for truth, line in (
        (short, "received 1 rows, allowed: 2, those of the table"),
        (cells, "received 8 rows, allowed: 2"),
        (other, "received the columns x, y, allowed: those of the table, a, b"),
        (strange, "received the columns x, y, z, allowed: those of the table, a, b"),
    ):
        with pytest.raises(RankError, match=line) as caught:
            errors.clean(table_of(workspace, a=[1, 2], b=[3, 4]), comm, truth=truth)
        assert caught.value.is_input


# real data


def hospital(workspace) -> Table:
    with open(HOSPITAL / "hospital.csv", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    columns = {
        name: [cell or None for cell in cells] for name, cells in zip(header, zip(*rows, strict=True), strict=True)
    }
    return table_of(workspace, **{name: pa.array(cells, pa.string()) for name, cells in columns.items()})


@needs_hospital
@pytest.mark.parametrize(
    ("options", "least"), [({"constraints": str(HOSPITAL / "hospital_constraints.txt")}, 0.94), ({}, 0.95)]
)
def test_hospital_is_repaired(options, least, comm, workspace):
    errors.clean(hospital(workspace), comm, truth=str(HOSPITAL / "hospital_clean.csv"), **options)
    metrics = workspace.metrics["errors"]
    assert metrics["f1"] >= least
    assert metrics["precision"] >= 0.99


@needs_hospital
def test_the_figures_of_hospital_are_those_of_counting_by_hand(comm, workspace):
    table = hospital(workspace)
    after = errors.clean(table, comm, truth=str(HOSPITAL / "hospital_clean.csv")).to_arrow()
    before = table.to_arrow()
    right = found = wrong = 0
    with open(HOSPITAL / "hospital_clean.csv", newline="", encoding="utf-8") as file:
        for cell in csv.DictReader(file):
            row, name = int(cell["tid"]), cell["attribute"]
            was, now = (rows[name][row].as_py() or "" for rows in (before, after))
            wrong += was != cell["correct_val"]
            found += was != now
            right += was != now == cell["correct_val"]
    metrics = workspace.metrics["errors"]
    assert wrong == 509
    assert found == metrics["changed"]
    assert (metrics["precision"], metrics["recall"]) == (right / found, right / wrong)


@pytest.mark.parametrize(
    "name", ["adult/adult.csv", "duplicates/febrl4a.csv", "duplicates/fodors.csv", "ett/ETTh1.csv"]
)
def test_clean_real_tables_stay_as_they_are(name, comm, workspace):
    if not (DATA / name).exists():
        pytest.skip(f"{name} is not there; set HVDEDGE_DATA")
    import pyarrow.csv

    rows = pyarrow.csv.read_csv(
        DATA / name,
        read_options=pyarrow.csv.ReadOptions(autogenerate_column_names=name.startswith("adult")),
        parse_options=pyarrow.csv.ParseOptions(delimiter=";" if name.startswith("adult") else ","),
    )
    table = table_of(workspace, batch_rows=8192, **{column: rows[column] for column in rows.column_names})
    after = errors.clean(table, comm).to_arrow()
    assert all(
        to_text(after[column].combine_chunks()) == to_text(rows[column].combine_chunks())
        for column in rows.column_names
    )
    assert changes(workspace) == []
