"""Columns of several files made one: by name in all its spellings, by content only where that is clear."""

import random

import pytest

from hvdedge import joining


def names(columns):
    return [(column.names, column.at) for column in columns]


def joined(files):
    """Return the columns, as names, of files given by name -> cells, and what was joined by content."""
    columns, _ = joining.by_name({number: list(file) for number, file in enumerate(files)})
    samples = {}
    for column in joining.to_compare(columns, len(files)):
        number, place = column.first
        samples[number, place] = list(files[number].values())[place]
    columns, told = joining.by_content(columns, samples)
    for number, file in enumerate(files):
        assert sorted(column.at[number] for column in columns if number in column.at) == [*range(len(file))]
    return [column.names for column in columns], [column.names for column in told]


def test_names_are_the_same_but_for_case_accents_and_marks():
    columns, told = joining.by_name(
        {0: ["id", "email", "Größe", "price"], 7: ["ID", "E-Mail", "größe ", "Price (€)", "x"]}
    )
    assert names(columns) == [
        (["id", "ID"], {0: 0, 7: 0}),
        (["email", "E-Mail"], {0: 1, 7: 1}),
        (["Größe", "größe "], {0: 2, 7: 2}),
        (["price", "Price (€)"], {0: 3, 7: 3}),
        (["x"], {7: 4}),
    ]
    assert told == columns[:4]
    assert [column.names for column in joining.by_name({0: ["Straße", "Cafe"], 1: ["strasse", "café"]})[0]] == [
        ["Straße", "strasse"],
        ["Cafe", "café"],
    ]


def test_columns_of_one_file_stay_apart_whatever_their_names():
    files = {0: ["rate", "%", "a b"], 1: ["rate", "rate %", "#", "a-b", "ab"]}
    columns, told = joining.by_name(files)
    assert [column.names[0] for column in columns] == ["rate", "%", "a b", "rate %", "#", "a-b", "ab"] and not told


RNG = random.Random(5)
COUNT = 200
TOWNS = ["Berlin", "Bremen", "Hamburg", "Köln", "Ulm"]


def customers(first=0):
    return {
        "id": [str(n) for n in range(first, first + COUNT)],
        "mail": [f"{RNG.choice('abcdef')}x.y{n}@web.de" for n in range(COUNT)],
        "town": [RNG.choice(TOWNS) for _ in range(COUNT)],
        "code": [f"{RNG.choice('ABC')}-{n:03d}" for n in range(COUNT)],
        "price": [f"{RNG.gauss(50, 10):.2f}" for _ in range(COUNT)],
        "day": [f"{RNG.randint(1, 28):02}.03.20{RNG.randint(18, 23)}" for _ in range(COUNT)],
    }


def renamed(file, **new):
    return {new.get(name, name): cells for name, cells in file.items()}


def test_columns_that_look_alike_are_joined():
    one = customers()
    other = renamed(customers(500), mail="Post", town="Ort", code="Art", price="Preis", day="Datum")
    other["Preis"] = [cell.replace(".", ",") for cell in other["Preis"]]
    found, told = joined([one, dict(reversed(other.items()))])
    assert found == [["id"], ["mail", "Post"], ["town", "Ort"], ["code", "Art"], ["price", "Preis"], ["day", "Datum"]]
    assert told == found[1:]
    third = renamed(customers(900), town="ville")
    assert ["town", "Ort", "ville"] in joined([one, other, third])[0]


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("hot", [f"{RNG.gauss(900, 10):.1f}" for _ in range(COUNT)]),  # other numbers
        ("born", [f"01.02.19{n % 50 + 30}" for n in range(COUNT)]),  # other years
        ("colour", [RNG.choice(["red", "green", "blue"]) for _ in range(COUNT)]),  # other values
        ("paper", [f"{n:05d}/{RNG.choice('XYZ')}" for n in range(COUNT)]),  # another pattern
        ("stars", [str(n % 5) for n in range(COUNT)]),  # too few numbers to tell
        ("nothing", [""] * COUNT),
    ],
)
def test_columns_of_other_things_stay_apart(name, cells):
    one, other = customers(), customers()
    price = other.pop("price")
    for left in ("price", "town", "code", "day"):
        assert (
            joined([{**one, "price": price}, {**{k: v for k, v in other.items() if k != left}, name: cells}])[1] == []
        )


MONTHS = ["January", "March", "May", "December"]


@pytest.mark.parametrize(
    "day",
    [
        lambda d, y: f"{d:02} {MONTHS[d % 4]} {y}",
        lambda d, y: f"{MONTHS[d % 4][:3]} {d}, {y}",
        lambda d, y: f"{d}. März {y} 08:15",
        lambda d, y: f"{y}-W{d:02}-3",
        lambda d, y: f"03/{d:02}/{y % 100}",
    ],
)
def test_days_are_joined_in_whatever_form_they_are_written(day):
    one, other = customers(), customers()
    del other["day"]
    near = [day(n % 28 + 1, 2018 + n % 6) for n in range(COUNT)]
    assert joined([one, {**other, "when": near}])[1] == [["day", "when"]]
    far = [day(n % 28 + 1, 1970 + n % 6) for n in range(COUNT)]
    assert joined([one, {**other, "when": far}])[1] == []


def test_what_is_not_clear_is_not_joined():
    one, other = customers(), renamed(customers(), mail="private")
    other["work"] = customers()["mail"]
    assert joined([one, other])[1] == []  # either may be it


def test_tables_of_other_things_are_not_joined_by_content():
    one, other = customers(), customers()
    orders = {f"order_{n}": [f"{RNG.random():.7f}" for _ in range(COUNT)] for n in range(5)} | {"Ort": other["town"]}
    assert joined([one, orders])[1] == []


def test_files_without_a_common_column_are_apart():
    columns, _ = joining.by_name({0: ["a"], 1: ["b"], 2: ["A", "c"], 3: ["b"], 4: ["c"]})
    assert joining.apart(columns, range(5)) == [[0, 2, 4], [1, 3]]
