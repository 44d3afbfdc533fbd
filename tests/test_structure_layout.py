"""The table's place in its file, and its rows: examples written by hand, and one slip at a time in generated tables."""

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdedge.alignment import Aligner
from hvdedge.cell_kinds import ColumnModel, kind_of, mask_of
from hvdedge.delimited import Dialect, read_records
from hvdedge.structure import header, layout, ragged
from hvdedge.table_shape import RULES

COMMA = Dialect(",", '"', "")
NAMES = ["day", "clock", "pieces", "article", "price", "thing", "about", "remark"]


def cells(*lines):
    return [line.split(",") if line else [] for line in lines]


def orders(count=40, seed=1):
    """Return rows of a shop: date, time, number, code, money, words, a longer text, often nothing."""
    rng = random.Random(seed)
    words = ["lamp", "oak", "chair", "steel", "table", "blue", "green", "large", "kitchen", "garden", "round", "box"]
    return [
        [
            f"{rng.randint(1, 28):02}/{rng.randint(1, 12):02}/2019",
            f"{rng.randint(0, 23):02}:{rng.choice(('00', '15', '30'))}",
            str(rng.randint(0, 30)),
            f"{rng.choice('ABC')}{rng.choice('XYZ')}-{rng.randint(1000, 9999)}",
            f"${rng.uniform(1, 99):.2f}",
            " ".join(rng.sample(words, rng.randint(2, 3))).title(),
            " ".join(rng.choices(words, k=rng.randint(12, 20))).capitalize() + ", " + rng.choice(words) + ".",
            rng.choice(("", "", "ok")),
        ]
        for _ in range(count)
    ]


def written(row, mark=","):
    return mark.join(f'"{cell}"' if place == 6 or mark in cell else cell for place, cell in enumerate(row))


def read(lines, **options):
    """Return the table in `lines` as csv.py makes it of a small file."""
    text = "\n".join(lines) + "\n"
    found = layout.repair(read_records(text, COMMA).rows, dialect=COMMA, **options)
    records = read_records(text, COMMA, found.width + found.surplus)
    found = layout.repair(records.rows, dialect=COMMA, **options)
    first = found.first
    rows = records.rows[first : found.last]
    astray = {place - first for place in records.astray}
    return found, ragged.repair(rows, found, lambda place: records.text(place + first), astray=astray, dialect=COMMA)


# --- header ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "preamble_rows", "header_rows", "names"),
    [
        (["id,price", "1,2", "3,4"], 0, 1, ("id", "price")),
        (["1,2,3", "4,5,6", "7,8,9"], 0, 0, None),
        (["a report", "", "id,price,x", "1,2,3", "3,4,5"], 2, 1, ("id", "price", "x")),
        (["id,price", ",EUR", "1,2", "3,4", "5,6"], 0, 2, ("id", "price EUR")),
        (["name,town", "Anna,Bern", "Bert,Bern", "Cleo,Rome"], 0, 1, ("name", "town")),
        (["Anna,Bern", "Bert,Bern", "Cleo,Rome"], 0, 0, None),
        (["id,name,price"], 0, 1, ("id", "name", "price")),
        (["id,price,", "1,2,", "3,4,"], 0, 1, ("id", "price")),
        (["x,y,x", "first,1,2,3", "second,4,5,6", "third,7,8,9"], 0, 1, ("", "x", "y", "x")),
        ([",,,", ",,SPENDING,", "no,who,how much,", "1,A,5,", "2,B,6,", "3,C,7,"], 2, 1, ("no", "who", "how much")),
        ([" id ,net  price", "1,2", "3,4"], 0, 1, ("id", "net price")),
        (["land,2018,2019,2020", "A,1,2,3", "B,4,5,6"], 0, 1, ("land", "2018", "2019", "2020")),
        (["who,size", "(name),[m]", "Anna,big", "Bert,big"], 0, 2, ("who (name)", "size [m]")),
    ],
)
def test_the_header_is_found(lines, preamble_rows, header_rows, names):
    found = header.repair(cells(*lines))
    assert (found.preamble_rows, found.header_rows, found.names) == (preamble_rows, header_rows, names)
    whole = layout.repair(cells(*lines))
    assert (whole.preamble_rows, whole.header_rows, whole.names) == (preamble_rows, header_rows, names)
    assert whole.first == preamble_rows + header_rows


VALUES = ["DE,1.5,2,3,4", "FR,2,3,4,5", "IT,3,4,5,6"]
SPANNED = ("Land", "2022 Sales", "2022 Costs", "2023 Sales", "2023 Costs")


@pytest.mark.parametrize(
    ("lines", "preamble_rows", "names"),
    [
        ([",2022,,2023,", "Land,Sales,Costs,Sales,Costs"], 0, SPANNED),
        (["a report", "", ",2022,,2023,", "Land,Sales,Costs,Sales,Costs"], 2, SPANNED),
        (["Land,2022,,2023,", ",Sales,Costs,Sales,Costs"], 0, SPANNED),
        ([",2022,2022,2023,2023", "Land,Sales,Costs,Sales,Costs"], 0, SPANNED),
        (
            [",North,,South,", "Land,2022,2023,2022,2023"],
            0,
            ("Land", *["North 2022", "North 2023", "South 2022", "South 2023"]),
        ),
        ([",Q1,,,Q2", "Land,Sales,Costs,Rate,Sales"], 0, ("Land", "Q1 Sales", "Q1 Costs", "Q1 Rate", "Q2 Sales")),
        ([",Q1,Q2,,", "Land,Sales,Sales,Costs,Note"], 0, ("Land", "Q1 Sales", "Q2 Sales", "Costs", "Note")),
    ],
)
def test_a_name_above_several_columns_belongs_to_each(lines, preamble_rows, names):
    rows = cells(*lines, *VALUES)
    found = header.repair(rows)
    assert (found.preamble_rows, found.header_rows, found.names) == (preamble_rows, 2, names)
    assert layout.repair(rows).first == preamble_rows + 2


@pytest.mark.parametrize(
    ("lines", "preamble_rows", "header_rows"),
    [
        (["Sales of 2022,,,,", "Land,Sales,Costs,Sales,Costs", *VALUES], 1, 1),
        (["Land,a,b,a,b", *VALUES], 0, 1),
        (["A,yes,,no,", "B,yes,no,yes,no", "C,no,no,yes,no", "D,yes,no,no,yes"], 0, 0),
        ([",1,,2,", "A,5,6,5,6", *VALUES], 1, 0),
    ],
)
def test_what_only_looks_like_names_of_groups_is_none(lines, preamble_rows, header_rows):
    found = header.repair(cells(*lines))
    assert (found.preamble_rows, found.header_rows) == (preamble_rows, header_rows)


NAMED = [["Name", "Sum"], *([f"K{n}", f"{n}.5"] for n in range(9))]
WORDS = [["Name", "Town"], ["Anna", "Ulm"], ["Bert", "Rome"], ["Cleo", "Ulm"]]


@pytest.mark.parametrize("table", [NAMED, [*NAMED[:3], ["K", ""], *NAMED[3:]], WORDS])
@pytest.mark.parametrize(
    "before", [[["sep=", ""]], [["sep=;"]], [["Report", ""]], [["Report", ""], ["of 2023", ""], ["", ""]]]
)
def test_a_title_above_two_columns_is_no_header_and_no_row(table, before):
    found = header.repair([*map(list, before), *map(list, table)])
    assert (found.preamble_rows, found.header_rows, found.names) == (len(before), 1, tuple(table[0]))


@pytest.mark.parametrize(
    "rows",
    [
        [["Anna", ""], ["Bert", "5"], ["Cleo", "7"], ["Dora", "2"]],
        [["Anna", ""], ["Bert", "Rome"], ["Cleo", ""], ["Dora", "Ulm"]],
        [["Name", ""], ["Bert", "5"], ["Cleo", "7"]],
        [["Anna", ""]] * 500 + [["Bert", "5"]],
    ],
)
def test_a_first_row_with_a_cell_missing_is_no_title(rows):
    assert header.repair(rows).preamble_rows == 0


def test_a_known_header_is_not_guessed():
    rows = [["2019", "2020"], ["1", "2"], ["3", "4"]]
    assert header.repair(rows).names is None
    assert header.repair(rows, True).names == ("2019", "2020")
    assert header.repair([["a", "b"], ["1", "2"]], False).header_rows == 0
    assert layout.repair(rows, header=True).names == ("2019", "2020")
    assert layout.repair([["a", "b"], ["1", "2"]], header=False).first == 0


def test_a_delimiter_at_the_end_of_each_row_is_a_surplus():
    found = header.repair([["a", "b", ""], ["1", "2", ""], ["3", "4", ""]])
    assert (found.width, found.surplus) == (2, 1)


# --- layout ---------------------------------------------------------------------------------------------------------

TABLE = ["id,name,price", "1,anna,1.50", "2,bert,2.25", "3,cleo,9.00", "4,dora,2.00"]


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        ([], []),
        (["Report of sales", "made,2024-01-05", ""], []),
        ([], ["", "Total,,14.75", "* prices in EUR"]),
        ([], ["Total,,14.75"]),
        (["Sales,,", ",,"], ["Sum,,14.75", ",,", "Source: the office,,"]),
        (["# made by a script", "# in 2024"], ["(4 rows)"]),
        ([], ["", "Note: all, really all, prices are net"]),
    ],
)
def test_what_stands_around_the_table_is_no_data(before, behind):
    found, rows = read([*before, *TABLE, *behind])
    assert rows.rows == cells(*TABLE[1:]) and not rows.aside
    assert (found.preamble_rows, found.header_rows, found.names) == (len(before), 1, ("id", "name", "price"))
    told = [place for place, line in enumerate([*before, *TABLE, *behind]) if line.strip(",")]
    assert sorted(found.told) == [n for n in told if not len(before) <= n < len(before) + len(TABLE)]


def test_of_several_tables_the_largest_is_kept_and_the_others_listed():
    other = ["state,n", "NSW,3", "VIC,4"]
    for lines, place in (([*TABLE, "", *other], 6), ([*other, "", *TABLE], 0)):
        found, rows = read(lines)
        assert rows.rows == cells(*TABLE[1:]) and found.names == ("id", "name", "price")
        assert [(t.first, t.last, t.rows, t.columns) for t in found.others] == [(place, place + 2, 2, 2)]
    wide = ["a,b,c,d", "x,1,2,3", "y,4,5,6", "z,7,8,9"]
    found, rows = read([*TABLE, *wide])
    assert rows.rows == cells(*TABLE[1:]) and found.others[0].columns == 4


def test_another_table_of_the_same_width_is_told_by_its_cells():
    found, rows = read([*TABLE, "", "town,state,since", "Bern,open,soon", "Rome,shut,never"])
    assert rows.rows == cells(*TABLE[1:]) and found.others[0].rows == 2


def test_empty_rows_do_not_end_a_table():
    lines = [TABLE[0], "", TABLE[1], TABLE[2], "", TABLE[3], "", "", TABLE[4]]
    found, rows = read(lines)
    assert rows.rows == cells(*TABLE[1:]) and found.others == () and rows.empty == 4


def test_the_end_of_a_large_file_is_found_in_its_last_rows():
    found = layout.repair(cells(*TABLE), complete=False)
    assert found.last is None
    assert layout.footer(cells("5,emil,3.10", "", "Total,,99.00", "* in EUR", ""), found) == 3
    assert layout.footer(cells("5,emil,3.10", "6,fritz,1.00"), found) == 0
    assert layout.footer([], found) == 0


def test_rows_that_are_no_data_are_told_by_their_rule():
    body = [f"{n},name {n},{n}.50,town" for n in range(20)]
    lines = ["id,name,price,place", *body[:5], "Subtotal,,12.50,", *body[5:10], "id,name,price,place", *body[10:15]]
    lines += ["THE NORTH,,,", *body[15:], "see the note on page 3 below", "20,name 20,1.50,town"]
    _, rows = read(lines)
    assert rows.rows == cells(*body, "20,name 20,1.50,town")
    assert sorted(rows.aside.values()) == ["note", "repeated_header", "title_row", "total_row"]


LABELS = "Zwischensumme 01/2023|Total 01/2023|Summe K\u00f6ln/Bonn|Total A & B|Gesamtumsatz|Endsumme|\u00dcbertrag"
LABELS += "|Saldo|Durchschnitt|Average|Mittelwert|Total (Jan)|Nord gesamt|Summe 01.01.2023 - 31.01.2023"


@pytest.mark.parametrize("label", LABELS.split("|"))
def test_totals_are_told_whatever_stands_behind_the_word(label):
    body = [[f"{n % 28 + 1:02d}.01.2023", f"K{n}", "Ulm", f"{n},50"] for n in range(60)]
    rows = [["Datum", "Kunde", "Ort", "Betrag"], *body[:30], [label, "", "", "221.251,26"], *body[30:]]
    found = layout.repair(rows, complete=False)
    assert [place for place, row in enumerate(rows[1:]) if found.rule(row)] == [30]
    batch = pa.record_batch([pa.array(column) for column in zip(*rows[1:], strict=True)], names=list("abcd"))
    assert np.flatnonzero(layout.of_batch(batch, found)).tolist() == [30]


def test_schools_and_shops_with_a_cell_missing_are_no_totals():
    body = [
        ["Gesamtschule Nord" if n == 30 else f"School {n}", f"K{n}", "" if n == 30 else "Ulm", "7"] for n in range(60)
    ]
    found = layout.repair([["name", "key", "town", "n"], *body])
    assert not any(map(found.rule, body))


def test_the_last_row_may_be_a_total_without_a_label():
    body = [f"2023-01-{n % 28 + 1:02d},N{n},{n},{n}.50" for n in range(40)]
    for last in (",,,123456.70", ",,820,123456.70"):
        found, rows = read(["day,client,n,price", *body, last])
        assert rows.rows == cells(*body) and found.told == {41: "total_row"}
    for last in ("2023-02-01,,,123456.70", ",N3,,7.50", ",,820,open"):
        assert read(["day,client,n,price", *body, last])[1].rows[-1] == last.split(",")


def test_a_batch_is_told_the_same_as_its_rows():
    body = [f"{n},name {n},{n}.50,town" for n in range(300)]
    found = layout.repair(cells("id,name,price,place", *body))
    odd = cells("id,name,price,place", "Total,,3.50,", "THE NORTH,,,", "1,,2.5,x", " id ,name,price,place")
    rows = [*cells(*body[:50]), *odd, *cells(*body[50:])]
    batch = pa.record_batch([pa.array(column) for column in zip(*rows, strict=True)], names=list("abcd"))
    rules = layout.of_batch(batch, found)
    assert rules.dtype == np.int8 and rules.tolist() == [found.rule(row) for row in rows]
    assert [RULES[rule] for rule in rules[50:55]] == [
        "repeated_header",
        "total_row",
        "title_row",
        "",
        "repeated_header",
    ]
    assert not rules[:50].any() and not rules[55:].any()


ODD = st.sampled_from(
    ["", " ", "1", "7.5", "town", "Total", "Subtotal:", "Sum", "THE NORTH", "id", "name", " price", "place"]
)


@settings(deadline=None)
@given(st.lists(st.tuples(ODD, ODD, ODD, ODD), max_size=20), st.booleans())
def test_any_batch_is_told_as_its_rows_are(odd, is_sparse):
    body = [f"{n},{'' if is_sparse and n % 3 else 'name'},{n}.50,{'' if is_sparse else 'town'}" for n in range(60)]
    found = layout.repair(cells("id,name,price,place", *body))
    rows = [list(row) for row in odd]
    columns = zip(*rows, strict=True) if rows else [[]] * 4
    batch = pa.record_batch([pa.array(column, pa.string()) for column in columns], names=list("abcd"))
    assert layout.of_batch(batch, found).tolist() == [found.rule(row) for row in rows]


def test_words_that_begin_like_a_total_are_data():
    rows = cells("shop,n,since", *(f"Total Wine {n},{n},2001" for n in range(9)), "Sum of Parts,3,1999")
    assert not ragged.repair(rows[1:], layout.repair(rows)).aside


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(["", "1", "x y", "total", "a"]), max_size=5), max_size=25), st.booleans())
def test_any_records_have_a_layout_and_each_record_is_told_or_kept(rows, complete):
    found = layout.repair(rows, complete=complete)
    last = len(rows) if found.last is None else found.last
    assert 0 <= found.first <= last <= len(rows)
    if complete:
        outside = [*range(found.first - found.header_rows), *range(last, len(rows))]
        assert {n for n in outside if any(cell.strip() for cell in rows[n])} <= set(found.told)
    kept = ragged.repair(rows[found.first : last], found)
    assert len(kept.rows) + len(kept.aside) + kept.empty == last - found.first
    assert all(len(row) == found.width for row in kept.rows)


# --- ragged rows ----------------------------------------------------------------------------------------------------


def numbers_layout():
    return layout.repair(cells("a,b,c", "1,2,3", "4,5,6", "7,8,9", "1,5,7", "2,2,2", "4,8,1"))


def test_ragged_rows_are_filled_cut_or_set_aside():
    rows = [["1", "2", "3"], ["4"], ["5", "6", "7", "", ""], ["8", "9", "10", "oh"], [], ["", "", ""], ["see page 3"]]
    found = ragged.repair(rows, numbers_layout())
    assert found.rows == [["1", "2", "3"], ["4", None, None], ["5", "6", "7"]]
    assert found.kept == [0, 1, 2]
    assert found.short == {1: 1} and found.long == {2: 5}
    assert found.aside == {3: "long_row", 6: "note"} and found.empty == 2


def test_a_surplus_that_every_row_has_is_no_change():
    shape = layout.repair([["a", "b", ""], ["1", "2", ""], ["3", "4", ""]])
    found = ragged.repair([["1", "2", ""], ["3", "4", "", ""]], shape)
    assert found.rows == [["1", "2"], ["3", "4"]] and found.long == {1: 4} and not found.aligned


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(["", "1", "x y"]), max_size=5), max_size=20))
def test_no_row_is_lost_and_all_that_stay_are_of_one_width(rows):
    found = ragged.repair(rows, numbers_layout())
    assert len(found.rows) + len(found.aside) + found.empty == len(rows)
    for row, place in zip(found.rows, found.kept, strict=True):
        kept = [cell for cell in row if cell is not None]
        assert len(row) == 3 and (place in found.aligned or kept == rows[place][:3])
    assert not set(found.aside) & set(found.kept)


@pytest.mark.parametrize("place", range(8))
def test_a_delimiter_too_many_is_dropped(place):
    rows = orders()
    parts = [written([cell]) if n != 6 else f'"{cell}"' for n, cell in enumerate(rows[20])]
    lines = [",".join(NAMES), *map(written, rows)]
    lines[21] = ",".join([*parts[:place], "", *parts[place:]])
    _, found = read(lines)
    assert found.rows == rows and set(found.aligned.values()) <= {"shifted_cells"}


@pytest.mark.parametrize("place", range(6))
def test_a_delimiter_too_few_is_put_back(place):
    rows = orders()
    parts = [f'"{cell}"' if n == 6 else cell for n, cell in enumerate(rows[20])]
    lines = [",".join(NAMES), *map(written, rows)]
    lines[21] = ",".join([*parts[:place], parts[place] + parts[place + 1], *parts[place + 2 :]])
    _, found = read(lines)
    assert found.rows == rows and found.aligned == {20: "shifted_cells"}


@pytest.mark.parametrize("place", range(7))
def test_a_quote_too_many_is_a_character(place):
    rows = orders()
    parts = [f'"{cell}"' if n == 6 else cell for n, cell in enumerate(rows[20])]
    lines = [",".join(NAMES), *map(written, rows)]
    lines[21] = ",".join([*parts[:place], '"' + parts[place], *parts[place + 1 :]])
    _, found = read(lines)
    rows[20] = [*rows[20][:place], '"' + rows[20][place], *rows[20][place + 1 :]]
    assert found.rows == rows and set(found.aligned.values()) <= {"stray_quote"}


@pytest.mark.parametrize("mark", [" ", ";", "\t", "|"])
def test_a_row_with_another_delimiter_is_read(mark):
    rows = orders()
    lines = [",".join(NAMES), *map(written, rows)]
    lines[21] = written(rows[20], mark) if mark != " " else written(rows[20], ",").replace(",", " ", 6)
    _, found = read(lines)
    assert len(found.rows) == 40 and (mark == " " or found.rows == rows)


def test_an_unquoted_delimiter_stays_in_its_text():
    towns = ["Bern", "New York", "Sankt Gallen", "Paris", "La Chaux de Fonds"]
    rows = cells("id,town,price,since", *(f"{n},{towns[n % 5]},{n}.50,2001-01-0{n % 9 + 1}" for n in range(30)))
    odd = [["31", "Rome", " Italy", "2.50", "2001-02-03"], ["32", "Bern", "7", "50", "2001-02-03"]]
    found = ragged.repair(odd, layout.repair(rows), dialect=COMMA)
    assert found.rows == [["31", "Rome, Italy", "2.50", "2001-02-03"], ["32", "Bern", "7,50", "2001-02-03"]]
    assert set(found.aligned.values()) == {"shifted_cells"}


def test_what_could_be_aligned_in_two_ways_is_set_aside():
    found = ragged.repair([["1", "2", "3", "4"]], numbers_layout(), dialect=COMMA)
    assert found.aside == {0: "long_row"}


def test_a_text_cut_at_blanks_is_joined_again():
    words = ["Oak Table", "Round Green Lamp", "Chair", "Small Kitchen Box Set"]
    rows = [[f"{n:03}", words[n % 4], f"{n}.50", "yes"] for n in range(60)]
    records = [" ".join(row).split(" ") for row in rows]
    blank = Dialect(" ", '"', "")
    shape = layout.repair([["id", "thing", "price", "sold"], *records], dialect=blank)
    assert shape.width == 4
    found = ragged.repair(records, shape, lambda place: " ".join(records[place]), dialect=blank)
    assert [row for row in found.rows if row not in rows] == [] and len(found.rows) >= 55


# --- cells and columns ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("", "empty"),
        (" ", "empty"),
        ("-12", "integer"),
        ("1.5", "decimal"),
        ("-3,25", "decimal"),
        ("1e-5", "decimal"),
        ("1,234,567.50", "grouped"),
        ("2024-01-31", "date"),
        ("31/01/2024", "date"),
        ("12-Mar-2019", "date"),
        ("12:30", "time"),
        ("2024-01-31 12:30:05", "timestamp"),
        ("$5.00", "money"),
        ("12 %", "money"),
        ("<=5", "bound"),
        ("n/a", "missing"),
        ("-", "missing"),
        ("a.b@example.org", "address"),
        ("https://example.org/x", "address"),
        ("Anna", "word"),
        ("AB-123", "code"),
        ("Anna of Bern", "words"),
        ("He came, he saw; he left!", "text"),
        ("x" * 500, "text"),
    ],
)
def test_the_kind_of_a_cell(cell, kind):
    assert kind_of(cell) == kind


def test_the_mask_keeps_digits_and_signs():
    assert mask_of(" AB-1234 ") == "a-9999" and mask_of("28/01/2018") == "99/99/9999"


def test_a_column_fits_what_it_has_seen():
    model = ColumnModel([f"2024-01-{day:02}" for day in range(1, 29)] + ["", ""])
    assert model.kind == "date" and 0.06 < model.empty_share < 0.07 and not model.is_number
    assert model.fit("2024-02-01") > model.fit("1.2.24") > model.fit("hello")
    assert model.fit("") > model.fit("hello")


def test_an_aligner_without_columns_aligns_nothing():
    assert Aligner([], []).align(["1", "2"]) is None
