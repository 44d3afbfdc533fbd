import csv
import io
import math
import pathlib
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
import report_records
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdedge import axis_scales, figures, page, runs
from hvdedge.axis_scales import scale_of
from hvdedge.report_tables import Column, ReportTable
from hvdedge.reports import best_found, search_cost, trials
from hvdedge.runs import Run

TABLES = (trials, best_found, search_cost)
NUMBER, PERCENT = Column("x", kind="setting"), Column("x", kind="percent")


def run(name: str = "searched", its: object = None, search: object = None, **changes) -> Run:
    """The run of `report_records.searched`, with other trials and fields of the search where they are given."""
    made = report_records.searched(name)
    metrics = made["train"].metrics
    metrics["trials"] = metrics["trials"] if its is None else its
    metrics["search"] = (
        (metrics["search"] if search is None else search) if not changes else metrics["search"] | changes
    )
    return Run(pathlib.Path(name), made)


def cells(table: ReportTable, *keys: str) -> list[tuple]:
    return [tuple(row[table.position(key)] for key in keys) for row in table.rows]


def texts(picture: figures.Picture) -> list[str]:
    return ["".join(text.itertext()).strip() for text in ElementTree.fromstring(picture.svg).iter("text")]


def test_trials_are_listed_best_first_and_failed_last():
    table = trials.tabulate([run()])
    assert cells(table, "trial", "state", "value") == [
        (2, "complete", 0.97),
        (4, "complete", 0.95),
        (0, "complete", 0.9),
        (1, "pruned", 0.5),
        (3, "failed", None),
    ]
    assert cells(table, "train.learning_rate", "train.batch_size", "train.model", "epochs", "seconds", "ranks")[0] == (
        *(0.01, 64, "cnn"),
        *(6, 12.0, "1"),
    )
    assert table.column("cause") == [None] * 4 + ["the loss is not finite"]
    headings = ", ".join(column.heading for column in table.columns)
    assert headings == "trial, state, accuracy, learning rate, batch size, model, epochs, time, on ranks, cause"
    assert table.texts()[0][2:4] == ["97.00\N{NO-BREAK SPACE}%", "0.01"]


def test_the_least_is_best_where_the_search_minimizes():
    table = trials.tabulate([run(direction="minimize", metric="loss", best=None)])
    assert cells(table, "trial", "value") == [(0, 0.9), (4, 0.95), (2, 0.97), (1, 0.5), (3, None)]
    assert table.columns[2].heading == "loss"
    assert best_found.tabulate([run(direction="minimize")]).column("best") == [None, 0.9, 0.9, 0.9, 0.9]


def test_the_best_is_the_one_that_the_search_names():
    its = [{"number": at, "value": 0.5, "state": "complete", "options": {"a.x": at}} for at in range(3)]
    assert trials.tabulate([run(its=its, best=1)]).column("trial") == [1, 0, 2]
    for other in (None, 7, "1", [1]):  # of no trial
        assert trials.tabulate([run(its=its, best=other)]).column("trial") == [0, 1, 2]


def test_an_option_is_headed_by_its_last_word_where_that_is_no_others():
    options = {"train.ema.decay": 1, "train.sgd.decay": 2, "train.epochs": 3, "train.layer_size": [4], "seed": True}
    table = trials.tabulate([run(its=[{"options": options}, {"options": {"train.mlp.width": None}}])])
    named = {column.key: column.heading for column in table.columns[3:-3]}
    assert named == {
        "train.ema.decay": "train.ema.decay",
        "train.sgd.decay": "train.sgd.decay",
        "train.epochs": "train.epochs",  # of `epochs` there is another column
        "train.layer_size": "layer size",
        "options.seed": "seed",
        "train.mlp.width": "width",
    }
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert [(row["train.layer_size"], row["options.seed"], row["train.sgd.decay"]) for row in rows] == [
        ("[4]", "true", "2"),
        ("", "", ""),
    ]


def test_what_a_trial_was_copied_from_and_how_often_it_lost_ranks_is_told_where_there_is_something_to_tell():
    its = [{"number": 5, "attempts": 2, "copies": [{"epoch": 2, "from": 3}, {"epoch": 4, "from": 1}]}, {"number": 6}]
    table = trials.tabulate([run(its=its)])
    assert cells(table, "attempts", "copied") == [(2, "3 after epoch 2, 1 after epoch 4"), (None, None)]
    assert "attempts" not in [column.key for column in trials.tabulate([run()]).columns]


def test_a_long_cause_is_cut():
    table = trials.tabulate([run(its=[{"state": "failed", "cause": "x" * 5000}])])
    assert table.column("cause") == ["x" * 119 + "\N{HORIZONTAL ELLIPSIS}"]


def test_a_trial_counts_when_it_ends():
    table = best_found.tabulate([run()])
    assert table.rows == [
        (4.0, 1, "pruned", 0.5, None),
        (10.0, 0, "complete", 0.9, 0.9),
        (16.0, 2, "complete", 0.97, 0.97),
        (17.0, 3, "failed", None, 0.97),
        (21.0, 4, "complete", 0.95, 0.97),
    ]
    assert table.plot.alternative.replace("\N{NO-BREAK SPACE}", " ") == (
        "Best so far: 90.00 % after 10 s, 97.00 % after 16 s."
    )


def test_the_cost_is_the_sum_done_by_hand():
    (row,) = search_cost.tabulate([run()]).rows
    assert row == ("tpe", 5, 3, 1, 1, 20, 22.0, 37.0, 4 / 37, 16.0)
    (row,) = search_cost.tabulate([run(its=[trial | {"ranks": [2, 3]} for trial in report_records.TRIALS])]).rows
    assert row[7:9] == (74.0, 4 / 37)
    (row,) = search_cost.tabulate([run(its=[trial | {"ranks": None} for trial in report_records.TRIALS], ranks=4)]).rows
    assert row[7:9] == (148.0, 4 / 37)


def test_costs_that_are_not_known_are_left_open():
    unknown = [report_records.TRIALS[0], {"number": 1, "state": "complete"}]
    (row,) = search_cost.tabulate([run(its=unknown, search={})]).rows
    assert row == (None, 2, 2, 0, 0, None, None, None, None, 10.0)
    (row,) = search_cost.tabulate([run(its=[{"state": "failed", "seconds": 2, "ranks": [1]}])]).rows
    assert row == ("tpe", 1, 0, 0, 1, None, 22.0, 2.0, 0.0, None)


def test_of_several_searches_each_is_told():
    other = run("other", metric="loss")
    table = trials.tabulate([run(), other])
    assert table.column("run") == ["searched"] * 5 + ["other"] * 5
    assert table.columns[4].heading == "value" and table.plot is None
    assert [len(method.tabulate([run(), other]).rows) for method in TABLES] == [10, 10, 2]


HUGE = 10**400
HOSTILE = [
    3,
    None,
    "x",
    [],
    {},
    [3, None, "x", []],
    [{}],
    [{}, {}],
    [{"options": None, "value": "x", "state": "weird", "seconds": "soon", "ranks": 1, "copies": 3, "cause": [1]}],
    [{"options": {"a": None}, "value": 1.0, "state": ["complete"], "number": "one", "copies": [{"from": {}}, 4]}],
    [{"options": {"a": math.nan, "b": math.inf, "c": HUGE}, "value": math.nan, "seconds": math.inf, "epochs": HUGE}],
    [{"options": {"a": 1e308 * sign, "b": 5e-324}, "value": 1e308 * sign, "state": "complete"} for sign in (1, -1)],
    [{"began_seconds": 1e308, "seconds": 1e308, "ranks": [1] * 9, "value": 1.0, "state": "complete"}] * 3,
    [{"began_seconds": -5, "seconds": 1, "value": 10**308, "state": "complete", "epochs": 10**308}] * 3,
    [{"options": {"a": value}, "value": 1.0} for value in (1, "1", True, 1.5, None, [1], {"b": {}}, "<b>\x1b[31m\n")],
    [{"options": {"a.b.c": 1, "a.b_c": 2, "b c": 3, "options.x": 4, "x": 5, "": 6, "value": 7, "trial": 8}}],
    [{"options": {f"a.{at}": "w" * 900 for at in range(60)}, "value": at} for at in range(3)],
    [{"options": {"a.text": f"choice {at}"}, "value": at / 500, "state": "complete"} for at in range(500)],
    [{"options": {"a.x": 1 + at * 2**-52}, "value": 1e15 + at / 8, "state": "complete"} for at in range(3)],
]


@pytest.mark.parametrize("its", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("search", [{}, 3, {"best": [], "metric": 5, "direction": [], "seconds": HUGE, "ranks": "x"}])
def test_a_record_of_any_shape_gives_whole_tables_and_sound_pictures(its, search):
    for method in TABLES:
        for several in ([run(its=its, search=search)], [run(), run("odd", its, search)]):
            table = method.tabulate(several)
            assert all(len(row) == len(table.columns) for row in table.rows)
            assert len({column.key for column in table.columns}) == len(table.columns)
            for text in (table.to_csv(), table.to_markdown(), table.to_latex(), *map(str, table.to_rich(80))):
                assert text
            for picture in figures.draw(table, "x"):
                ElementTree.fromstring(picture.svg)
                assert not re.search("nan|inf", re.sub('<text.*?</text>|aria-label=".*?"', "", picture.svg).lower())


def test_up_to_two_options_are_drawn_apart_and_more_on_parallel_axes():
    two = [trial | {"options": dict([*trial["options"].items()][:2])} for trial in report_records.TRIALS]
    pictures = figures.draw(trials.tabulate([run(its=two)]), "x")
    assert [picture.title for picture in pictures] == ["Accuracy over learning rate", "Accuracy over batch size"]
    (picture,) = figures.draw(trials.tabulate([run()]), "x")
    assert picture.is_wide and picture.title == "Accuracy and all options, a line a trial"


def test_signs_and_dashes_tell_the_states_without_colours():
    two = [trial | {"options": dict([*trial["options"].items()][:2])} for trial in report_records.TRIALS]
    picture, _ = figures.draw(trials.tabulate([run(its=two)]), "x")
    assert [(line.label, line.mark) for line in picture.lines] == [
        ("trial 2, the best", "\N{BLACK DIAMOND}"),
        ("complete", "\N{BLACK CIRCLE}"),
        ("pruned", "\N{WHITE CIRCLE}"),
        ("failed", "\N{MULTIPLICATION SIGN}"),
    ]
    (lines,) = figures.draw(trials.tabulate([run()]), "x")
    dashes = {line.label: line.dashes for line in lines.lines}
    assert dashes == {"trial 2, the best": "", "complete": "", "pruned": "6 3", "failed": "2 3"}
    (found,) = figures.draw(best_found.tabulate([run()]), "x")
    assert [line.label for line in found.lines] == ["best accuracy so far", "complete", "pruned", "failed"]


def test_parallel_axes_have_a_tick_for_each_choice_and_decades_for_a_wide_range():
    (picture,) = figures.draw(trials.tabulate([run()]), "x")
    shown = texts(picture)
    for heading in ("learning rate", "batch size", "model", "accuracy"):
        assert heading in shown
    assert [text for text in shown if text in ("32", "64", "cnn", "mlp")] == ["32", "64", "cnn", "mlp"]
    assert [text for text in shown if text.startswith(("0.0", "0.1", "1"))][:4] == ["0.001", "0.01", "0.1", "1"]
    assert "trial 2 (complete): accuracy 97.00" in ElementTree.fromstring(picture.svg).get("aria-label")


def test_lines_go_through_the_places_of_their_values():
    """The best trial: 0.01 is in the middle of 0.0001 to 1, 64 above 32, `a` below `b`, 0.97 next to the top."""
    its = [
        {"number": at, "state": "complete", "value": value, "options": {"a.rate": rate, "a.size": size, "a.kind": kind}}
        for at, (rate, size, kind, value) in enumerate(
            [(0.01, 64, "a", 1.0), (1.0, 32, "b", 0.5), (0.0001, 64, "b", 0.0)]
        )
    ]
    (picture,) = figures.draw(trials.tabulate([run(its=its, best=0)]), "x")
    (way,) = re.findall(r'd="([^"]*)"[^>]*stroke: var\(--s1\); stroke-width: 2.6', picture.svg.replace("\n", " "))
    points = [(float(x), float(y)) for x, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", way)]
    heights = [y for _, y in points]
    top, bottom = heights[3], heights[2]
    assert heights == pytest.approx([(top + bottom) / 2, top, bottom, top], abs=0.01)
    gaps = [right[0] - left[0] for left, right in zip(points, points[1:], strict=False)]
    assert gaps == pytest.approx([gaps[0]] * 3, abs=0.01) and gaps[0] > 100


@pytest.mark.parametrize("its", [report_records.TRIALS, report_records.TRIALS[:1], HOSTILE[-3], HOSTILE[-2]])
def test_pictures_take_text_and_colours_from_the_page_and_stay_inside(its):
    for method in (trials, best_found):
        for picture in figures.draw(method.tabulate([run(its=its)]), "x"):
            tree = ElementTree.fromstring(picture.svg)
            _, _, width, height = map(float, tree.get("viewBox").split())
            assert tree.get("role") == "img" and tree.get("aria-label").startswith(f"{picture.title}. Best")
            assert "#fe0" not in picture.svg and "DejaVu" not in picture.svg and "var(--ink)" in picture.svg
            assert all(
                0 <= float(text.get("x", 0)) <= width and 0 <= float(text.get("y", 0)) <= height + 1
                for text in tree.iter("text")
            )


def test_the_same_trials_give_the_same_picture():
    for method in (trials, best_found):
        assert figures.draw(method.tabulate([run()]), "x") == figures.draw(method.tabulate([run()]), "x")


def test_one_trial_alone_is_the_best_and_failed_ones_alone_are_no_picture():
    (picture,) = figures.draw(trials.tabulate([run(its=report_records.TRIALS[:1], best=0)]), "x")
    assert [line.label for line in picture.lines] == ["trial 0, the best"]
    failed = run(its=[trial | {"state": "failed", "value": None} for trial in report_records.TRIALS])
    assert trials.tabulate([failed]).column("trial") == [0, 1, 2, 3, 4]
    assert figures.draw(trials.tabulate([failed]), "x") == figures.draw(best_found.tabulate([failed]), "x") == []
    assert search_cost.tabulate([failed]).rows[0][1:5] == (5, 0, 0, 5)


def test_where_all_were_pruned_none_is_the_best():
    pruned = run(its=[trial | {"state": "pruned"} for trial in report_records.TRIALS])
    (picture,) = figures.draw(trials.tabulate([pruned]), "x")
    assert [line.label for line in picture.lines] == ["pruned"]
    assert set(best_found.tabulate([pruned]).column("best")) == {None}


def test_the_page_has_the_section_where_there_were_trials_and_nothing_of_it_elsewhere(tmp_path):
    for made in (report_records.searched(), report_records.digits("n1", 1)):
        report_records.write(tmp_path, made)
    found, _ = runs.load(tmp_path)
    for this in found:
        page.write([this], this, tmp_path / this.name)
    told, untold = ((tmp_path / name / "index.html").read_text() for name in ("searched", "n1"))
    HTMLParser().feed(told)
    for title in ("Search over settings", "Trials", "The best found over time", "Cost of the search"):
        assert title in told and title not in untold
    assert (tmp_path / "n1" / "tables" / "trials.md").read_text() == "### Trials\n\n\nNo settings were searched.\n"
    assert len((tmp_path / "searched" / "tables" / "trials.csv").read_text().splitlines()) == 6
    page.show([run for run in found if run.name == "searched"], file=(shown := io.StringIO()))
    assert "Cost of the search" in shown.getvalue() and "best accuracy so far" in shown.getvalue()
    page.show([run for run in found if run.name == "n1"], file=(shown := io.StringIO()))
    assert "search" not in shown.getvalue()


@pytest.mark.parametrize("its", HOSTILE, ids=range(len(HOSTILE)))
def test_no_record_breaks_the_page(tmp_path, its):
    this = run(its=its)
    page.write([this, run()], this, tmp_path)
    assert "<b>" not in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize(
    "values, kind",
    [
        ([1, 2, 3], "linear"),
        ([1, 100], "linear"),  # two decades are not more than two
        ([1, 101], "log"),
        ([-1, 1000], "linear"),
        ([0, 1000], "linear"),
        ([16, 32, 16], "levels"),
        ([*range(7), 0], "linear"),
        ([5.0], "levels"),
        (["a", 1], "levels"),
        ([True, False], "levels"),
        ([[1], [2]], "levels"),
        ([], "levels"),
        ([None], "levels"),
    ],
)
def test_a_scale_is_chosen_by_the_values(values, kind):
    assert scale_of(values, NUMBER).kind == kind


def test_ticks_are_round_numbers_choices_or_powers_of_ten():
    assert scale_of([3, 17], NUMBER).ticks == [(0, "0"), (0.25, "5"), (0.5, "10"), (0.75, "15"), (1, "20")]
    assert scale_of([64, 16, 32, 16], NUMBER).ticks == [(0, "16"), (0.5, "32"), (1, "64")]
    places, shown = zip(*scale_of([0.01, 10], NUMBER).ticks, strict=True)
    assert (places, shown) == (pytest.approx((0, 1 / 3, 2 / 3, 1)), ("0.01", "0.1", "1", "10"))
    assert scale_of(["b", "a"], Column("x")).ticks == [(0, "a"), (1, "b")]
    assert scale_of([True, False], Column("x")).ticks == [(0, "no"), (1, "yes")]
    assert [text for _, text in scale_of([0.5, 0.9], PERCENT).ticks][0] == "50\N{NO-BREAK SPACE}%"


def test_neighbouring_ticks_read_differently():
    shown = [text for _, text in scale_of([0.97512, 0.97519], PERCENT).ticks]
    assert len(set(shown)) == len(shown) > 2
    shown = [text for _, text in scale_of([123456.001, 123456.004], NUMBER).ticks]
    assert len(set(shown)) == len(shown) > 2


@settings(deadline=None)
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70), min_size=1))
def test_every_number_has_its_place_in_order(values):
    for has_levels in (True, False):
        scale = scale_of(values, NUMBER, has_levels=has_levels)
        near = sorted(value for value in values if abs(value) <= axis_scales.FARTHEST)
        places = [scale.place(value) for value in near]
        assert all(0 <= place <= 1 for place in places)
        assert places == sorted(places)
        assert all(0 <= place <= 1 for place, _ in scale.ticks)
        assert all(math.isnan(scale.place(value)) for value in (None, 1e101))


def test_an_axis_is_as_the_space_says_and_not_as_the_numbers_happen_to_fall():
    narrow, wide = scale_of([0.1, 0.2, 0.4], NUMBER, is_log=True), scale_of([0.001, 0.5, 0.9], NUMBER, is_log=False)
    assert (narrow.kind, wide.kind) == ("log", "linear")
    assert narrow.place(0.2) == pytest.approx(0.5)
    assert len(narrow.ticks) >= 2
    made = run()
    made.records["train"].options["tune"] = {"space": {"train.learning_rate": {"low": 1, "log": True}, "x": 3, "y": {}}}
    assert trials.tabulate([made]).plot.is_log == {"train.learning_rate": True}
    made.records["train"].options["tune"] = 3
    assert trials.tabulate([made]).plot.is_log == {}
