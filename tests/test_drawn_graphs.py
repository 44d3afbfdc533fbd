"""The graph of foreign keys: which box stands where, what is drawn, and what is left out."""

import xml.etree.ElementTree

import pytest
from report_records import digits

from hvdedge.drawn_graphs import MOST_BOXES, arranged
from hvdedge.figures import draw
from hvdedge.records import RunRecord
from hvdedge.reports import foreign_keys
from hvdedge.runs import Run

SHOP = [
    ("lines", "order_id", "orders", "id"),
    ("orders", "client_id", "clients", "id"),
    ("lines", "item", "items", "number"),
]


def profiled(tmp_path, keys, tables=("clients", "items")) -> Run:
    records: dict[str, RunRecord] = digits("r", 1, case="orders")
    records["profile"].metrics["dependencies"] = {"foreign_keys": keys}
    records["profile"].metrics["tables"] = {name: {} for name in tables}
    return Run(tmp_path, records)


def key(column, of, score) -> dict:
    return {"column": column, "of": of, "used": 0.5, "alike": 0.5, "repeated": 0.5, "score": score}


def test_what_refers_stands_left_of_its_key_and_a_key_next_to_what_refers_to_it():
    boxes, drawn = arranged(SHOP)
    assert drawn == SHOP
    assert boxes["lines"].x < boxes["orders"].x == boxes["items"].x < boxes["clients"].x
    assert boxes["lines"].rows == ["order_id", "item"]
    assert boxes["orders"].rows == ["id", "client_id"]


@pytest.mark.parametrize(
    "edges",
    [
        SHOP,
        [(f"t{number}", "x", f"t{(number + 1) % 5}", "id") for number in range(5)],  # a ring
        [("a", "b_id", "b", "id"), ("b", "a_id", "a", "id"), ("a", "parent", "a", "id")],
        [(f"t{number}", "x", "one", "id") for number in range(11)],
    ],
)
def test_no_two_boxes_overlap(edges):
    boxes, drawn = arranged(edges)
    assert drawn == edges
    places = sorted((box.x, box.y, box.y + box.height) for box in boxes.values())
    for one, other in zip(places, places[1:], strict=False):
        assert other[0] > one[0] or other[1] > one[2]


def test_columns_of_one_table_are_boxes_themselves():
    boxes, drawn = arranged([("t", "parent", "t", "id"), ("t", "mother", "t", "id")])
    assert drawn == [("parent", "", "id", ""), ("mother", "", "id", "")]
    assert boxes["parent"].x == boxes["mother"].x < boxes["id"].x


def test_of_too_many_tables_the_likeliest_are_drawn():
    boxes, drawn = arranged([(f"t{number}", "x", "one", "id") for number in range(30)])
    assert len(boxes) == MOST_BOXES
    assert [edge[0] for edge in drawn] == [f"t{number}" for number in range(MOST_BOXES - 1)]


def test_each_column_has_its_likeliest_key_from_a_score_on(tmp_path):
    keys = [key("client_id", "clients.id", 0.9), key("client_id", "items.x", 0.7), key("items.of", "id", 0.6)]
    table = foreign_keys.tabulate([profiled(tmp_path, [*keys, key("n", "id", 0.4)])])
    assert [row[:4] for row in table.rows] == [
        ("orders", "client_id", "clients", "id"),
        ("items", "of", "orders", "id"),
    ]
    assert table.plot.alternative == "orders.client_id refers to clients.id; items.of refers to orders.id"


def test_the_picture_is_text_and_arrows_in_the_colours_of_the_page(tmp_path):
    keys = [key("client_id", "clients.id", 0.9), key("<b>&", "items.a_name_longer_than_a_box_is_wide", 0.8)]
    (picture,) = draw(foreign_keys.tabulate([profiled(tmp_path, keys)]), "foreign_keys")
    root = xml.etree.ElementTree.fromstring(picture.svg)
    texts = {"".join(text.itertext()).strip() for text in root.iter() if text.tag.endswith("text")}
    assert texts == {
        "orders",
        "client_id",
        "<b>&",
        "clients",
        "id",
        "items",
        "a_name_longer_than_a_\N{HORIZONTAL ELLIPSIS}",
    }
    assert "orders.client_id refers to clients.id" in root.attrib["aria-label"]
    assert picture.is_wide and "var(--s0)" in picture.svg and "#fe0" not in picture.svg


def test_without_foreign_keys_there_is_no_picture(tmp_path):
    table = foreign_keys.tabulate([profiled(tmp_path, [])])
    assert draw(table, "x") == []
    assert table.empty.startswith("No foreign keys")
