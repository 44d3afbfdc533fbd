import copy
import pathlib

import pytest
import report_records

from hvdedge import page
from hvdedge.report_tables import ReportTable
from hvdedge.reports import (
    changes,
    classes,
    columns,
    comparison,
    compressed,
    confusion,
    dependencies,
    encoded,
    events,
    examples,
    features,
    files,
    graph,
    learning_curves,
    loss_curves,
    profile,
    quality,
    ranks,
    reduced,
    repairs,
    selection,
    series,
    settings,
    speedup,
    stages,
    targets,
    training,
)
from hvdedge.runs import Run
from hvdedge.truth import rates

METHODS = page.find_methods()


def run(name: str, size: int, **changed) -> Run:
    return Run(pathlib.Path(name), report_records.digits(name, size, **changed))


SEARCHED = Run(pathlib.Path("searched"), report_records.searched())
RUNS = [run("n1", 1), run("n2", 2), run("n4", 4)]


def failed() -> Run:
    """A run whose training failed on a full disk before any rank could tell what it cost."""
    broken = run("broken", 2)
    del broken.records["compress"], broken.records["evaluate"]
    train = broken.records["train"]
    train.status, train.wall_seconds, train.ranks, train.metrics = "failed", None, [], {}
    train.history = {"loss": [2.0, None], "accuracy": []}
    train.error = {"rank": 1, "host": "pi01", "cause": "OSError: [Errno 28] No space left on device"}
    return broken


def begun() -> Run:
    """A run of which nothing is known but that its first stage started."""
    first = report_records.digits("begun", 1)["prepare"]
    first.status, first.wall_seconds, first.ranks, first.metrics, first.options = "running", None, [], {}, {}
    return Run(pathlib.Path("begun"), {"prepare": first})


def odd() -> Run:
    """A run whose metrics, options and events have shapes that nobody expects."""
    strange = copy.deepcopy(run("odd", 1))
    for record in strange.records.values():
        record.metrics = dict.fromkeys(record.metrics, "text") | {"files": {"a": 1}, "columns": [1], "classes": [3]}
        record.metrics |= {"trials": [{"options": 3}, {}, 1], "search": "x"}
        record.metrics |= {"confusion": [[1, "x", None], [2]], "repairs": {"a": 1, "b": {"found": "x"}}, "models": [1]}
        record.history = {"loss": ["x", None, 0.5], "accuracy": [1], "validation_loss": []}
        record.events = [{"what": {"a": [1]}, "seconds": "soon"}, {}]
        record.options = {"a": {"b": {"c": [1]}}, "d": None}
    return strange


def cells(table: ReportTable, *keys: str) -> list[tuple]:
    return [tuple(row[table.position(key)] for key in keys) for row in table.rows]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize(
    "runs",
    [[RUNS[2]], RUNS, [failed()], [begun()], [odd()], [SEARCHED], [*RUNS, failed(), begun(), odd(), SEARCHED]],
    ids=["one", "three", "failed", "begun", "odd", "searched", "all"],
)
def test_every_method_makes_a_whole_table_of_any_runs(method, runs):
    table = method.tabulate(runs)
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert len({column.key for column in table.columns}) == len(table.columns)
    assert table.title and table.empty
    if table.plot and table.rows:
        for key in (table.plot.x, table.plot.by, *(key for _, keys in table.plot.panels for key in keys)):
            assert not key or table.column(key)
    for text in (table.to_csv(), table.to_markdown(), table.to_latex(), *map(str, table.to_rich(80))):
        assert text


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_what_is_not_known_is_never_a_zero(method):
    assert not [cell for row in method.tabulate([begun()]).rows for cell in row if cell == 0]


def test_every_file_is_a_method_with_its_place():
    folder = pathlib.Path(page.METHODS)
    assert sorted(method.name for method in METHODS) == sorted(path.stem for path in folder.glob("[!_]*.py"))
    assert {method.of for method in METHODS} == {"run", "runs"}


def test_comparison_is_the_one_done_by_hand():
    table = comparison.tabulate(RUNS)
    assert cells(
        table, "run", "ranks", "train_seconds", "total_seconds", "speedup", "efficiency", "baseline_ranks"
    ) == [
        ("n1", 1, 40.0, 59.0, 1.0, 1.0, 1),
        ("n2", 2, 25.0, 44.0, 1.6, 0.8, 1),
        ("n4", 4, 16.0, 35.0, 2.5, 0.625, 1),
    ]
    assert cells(table, "accuracy", "bytes_sent", "energy_joules") == [
        (0.9861, 0, 236.0),
        (0.9833, 620_504_000, 352.0),
        (0.975, 1_241_008_000, 560.0),
    ]
    assert table.column("examples_per_second") == pytest.approx([431.1, 689.76, 1077.75])
    assert cells(table, "case", "status", "cluster", "strategy") == [("digits", "done", "local", "ring_allreduce")] * 3


def test_comparison_shows_a_failed_run_as_failed_and_leaves_open_what_it_did_not_reach():
    row = dict(zip([column.key for column in comparison.COLUMNS], comparison.tabulate([failed()]).rows[0], strict=True))
    known = {"case": "digits", "run": "broken", "status": "failed in train", "cluster": "local"}
    assert row == dict.fromkeys(row) | known | {"strategy": "ring_allreduce", "ranks": 2}


def test_speed_up_is_drawn_over_the_ranks():
    assert speedup.tabulate(RUNS[::-1]).rows == [
        ("ring_allreduce", 1, 40.0, 1.0),
        ("ring_allreduce", 2, 25.0, 1.6),
        ("ring_allreduce", 4, 16.0, 2.5),
    ]
    assert speedup.tabulate(RUNS[1:]).rows == []
    assert speedup.tabulate(RUNS[:1]).rows == []


def test_speed_up_lines_are_named_by_what_differs():
    other = [run(f"i{size}", size, case="iris") for size in (1, 2)]
    assert set(speedup.tabulate([*RUNS, *other]).column("line")) == {"digits", "iris"}


def test_a_run_that_trains_on_fewer_rows_is_no_speed_up():
    fewer = selecting("n2-fewer", 2, k_center=(1200, 300))
    assert len(speedup.tabulate([*RUNS, fewer]).rows) == 3
    assert speedup.tabulate([fewer, RUNS[0]]).rows == []


def selecting(name: str, size: int, **kept: tuple[int, int]) -> Run:
    """A run with selections, method -> rows before and after."""
    made = run(name, size)
    its = {method: {"rows": before, "kept": after} for method, (before, after) in kept.items()}
    made.records["extract"].metrics |= {"selections": its, "rows": {"train": list(kept.values())[-1][1]}}
    return made


def test_accuracy_and_time_are_drawn_over_the_share_of_rows_kept():
    runs = [selecting("a", 2, k_center=(1200, 600)), RUNS[0], selecting("b", 4, k_center=(1200, 300))]
    runs += [selecting("c", 1, near_equal=(1200, 1000), stratified=(1000, 360)), begun()]
    table = selection.tabulate(runs)
    assert cells(table, "line", "run", "kept_percent", "rows", "accuracy", "epochs_seconds") == [
        ("all rows", "n1", 100.0, RUNS[0].metric("extract", "rows", "train"), 0.9861, pytest.approx(40)),
        ("k_center", "b", 25.0, 300, 0.975, pytest.approx(16)),
        ("k_center", "a", 50.0, 600, 0.9833, pytest.approx(25)),
        ("near_equal, stratified", "c", 30.0, 360, 0.9861, pytest.approx(40)),
    ]
    assert table.plot.by == "line"
    assert "k_center: 25 %, accuracy 97.5 %" in table.plot.alternative
    assert selection.tabulate(RUNS).rows == []


def test_lines_of_several_cases_that_select_are_named_by_case():
    other = selecting("i", 1, stratified=(90, 30))
    for record in other.records.values():
        record.case = "iris"
    table = selection.tabulate([selecting("a", 2, k_center=(1200, 600)), other, RUNS[0]])
    assert table.column("line") == ["digits, all rows", "digits, k_center", "iris, stratified"]


def test_loss_curves_have_every_epoch_of_every_run():
    table = loss_curves.tabulate([*RUNS, failed()])
    assert len(table.rows) == 3 * 12 + 2
    assert table.rows[12] == ("digits", "n2", 2, 1, *(RUNS[1].history(name)[0] for name in ("loss", "validation_loss")))
    assert table.rows[-1] == ("digits", "broken", 2, 2, None, None)
    assert table.plot.by == "run"


def test_stages_sum_over_the_ranks_and_take_the_fullest_ones_memory():
    table = stages.tabulate([RUNS[2]])
    train = dict(zip([column.key for column in table.columns], table.rows[4], strict=True))
    assert train == {
        "stage": "train",
        "status": "done",
        "ranks": 4,
        "hosts": 2,
        "wall_seconds": 16.0,
        "cpu_seconds": pytest.approx(4 * 16 * 0.9),
        "idle_seconds": pytest.approx(4 * 16 * 0.05),
        "peak_rss_bytes": 615_000_000,
        "bytes_sent": 1_240_000_000,
        "energy_joules": 256.0,
        "energy_source": "model",
    }
    assert table.foot[0] == "all"
    assert table.foot[4] == 35.0
    assert table.foot[7:10] == (615_000_000, 1_241_008_000, 560.0)


def test_stages_that_did_not_end_leave_their_costs_and_the_sum_open():
    table = stages.tabulate([failed()])
    assert table.rows[4] == ("train", "failed", 2, *[None] * 8)
    assert table.foot == ("all", "", "", "", None, None, None, 119_000_000, None, None, "")


def test_energy_of_two_sources_names_both():
    mixed = run("n2", 2)
    mixed.records["clean"].ranks[1].energy_source = "rapl"
    assert stages.tabulate([mixed]).column("energy_source")[1] == "model + rapl"


def test_ranks_sum_over_the_stages():
    table = ranks.tabulate([RUNS[2]])
    assert cells(table, "rank", "host", "stages") == [(0, "pi01", 7), (1, "pi01", 7), (2, "pi02", 7), (3, "pi02", 7)]
    row = dict(zip([column.key for column in table.columns], table.rows[3], strict=True))
    assert row["wall_seconds"] == 35.0
    assert row["peak_rss_bytes"] == 615_000_000
    assert row["bytes_sent"] == row["bytes_received"] == 310_252_000
    assert row["energy_joules"] == 140.0


def test_a_rank_that_moved_to_another_host_has_a_row_for_each():
    moved = run("n1", 1)
    moved.records["train"].ranks[0].host = "pi09"
    assert cells(ranks.tabulate([moved]), "rank", "host", "stages") == [(0, "pi01", 6), (0, "pi09", 1)]


def test_quality_stands_beside_that_of_uncleaned_data():
    table = quality.tabulate([RUNS[0]])
    assert [column.key for column in table.columns][:6] == [
        "trained_on",
        "accuracy",
        "precision",
        "recall",
        "f1",
        "auc",
    ]
    assert cells(table, "trained_on", "accuracy", "f1") == [
        ("cleaned data", 0.9861, 0.9835),
        ("uncleaned data", 0.9417, 0.9415),
    ]
    assert table.texts()[0][1].startswith("98.61")


def test_classes_have_their_own_quality():
    table = classes.tabulate([RUNS[0]])
    assert len(table.rows) == 10
    assert table.rows[8] == ("8", 1.0, 31 / 35, pytest.approx(2 * (31 / 35) / (1 + 31 / 35)), 35)
    assert table.rows[1][1] == 36 / 40


def test_confusion_has_a_row_for_each_true_class():
    table = confusion.tabulate([RUNS[0]])
    assert [column.key for column in table.columns] == ["true", *map(str, range(10))]
    assert table.rows[8] == ("8", 0, 4, 0, 0, 0, 0, 0, 0, 31, 0)


def test_confusion_over_runs_is_as_wide_as_its_widest():
    small = run("small", 1)
    small.records["evaluate"].metrics = {"confusion": [[1, 2], [3, 4]]}
    table = confusion.tabulate([RUNS[0], small])
    assert table.rows[-1] == ("digits", "small", "1", 3, 4, *[None] * 8)


def test_learning_curves_have_a_panel_for_each_score():
    table = learning_curves.tabulate([RUNS[1]])
    keys = ["epoch", "loss", "validation_loss", "accuracy", "validation_accuracy", "epoch_seconds"]
    assert [column.key for column in table.columns] == keys
    assert table.plot.panels == (
        ("Loss", ("loss", "validation_loss")),
        ("Accuracy", ("accuracy", "validation_accuracy")),
    )
    assert len(table.rows) == 12
    assert table.rows[11][0] == 12
    assert "loss, training 2.15 to 0.0684" in table.plot.alternative  # 2.1 * 0.65 ** 11 + 0.05


def test_learning_curves_of_a_diverged_run_have_gaps():
    table = learning_curves.tabulate([failed()])
    assert cells(table, "epoch", "loss") == [(1, 2.0), (2, None)]
    assert "2 to unknown" in table.plot.alternative


def test_training_tells_what_it_measured():
    table = training.tabulate([RUNS[1], failed()])
    assert cells(table, "run", "loss", "steps", "bytes_per_step") == [("n2", 0.0412, 144, 4_800_000)]


def test_files_are_listed_as_they_were_found():
    table = files.tabulate([RUNS[0]])
    assert table.rows[2] == ("c.csv", "utf-16", "tab", '"', None, 1, 1, 620, 0)


def test_changes_are_counted_by_stage_and_method():
    assert changes.tabulate([RUNS[0]]).rows == [
        ("prepare", "reader", "rows read", 1861),
        ("prepare", "types", "cells reformatted", 36),
        ("prepare", "types", "cells missing", 31),
        ("clean", "duplicates", "candidates", 5230),
        ("clean", "duplicates", "pairs", 66),
        ("clean", "duplicates", "clusters", 60),
        ("clean", "duplicates", "rows merged", 64),
        ("clean", "missing", "filled", 60),
        ("clean", "errors", "changed", 58),
    ]


def test_each_column_is_listed_with_what_was_done_to_it():
    table = columns.tabulate([RUNS[0]])
    assert cells(table, "column", "type", "missing", "reformatted") == [
        ("scan", "text", 0, 0),
        ("label", "integer", 0, 12),
        ("p00", "integer", 31, 24),
    ]


def test_a_graph_is_one_row_of_what_was_found():
    profiled = run("n1", 1)
    profiled.records["profile"].metrics["graph"] = {
        **{"nodes": 10, "edges": 9, "unknown": 2, "set_aside": 0, "self_loops": 1, "isolated": 1},
        **{"components": {"count": 3, "largest": [7, 2, 1]}, "degrees": {"mean": 1.8, "max": 4}},
        **{"homophily": 0.5, "homophily_adjusted": None},
    }
    assert graph.tabulate([profiled]).rows == [(10, 9, 3, 1, 3, 7, 1.8, 4, 0.5, None)]
    assert graph.tabulate([run("n2", 2)]).rows == []


def extracted(**more) -> Run:
    made = run("n1", 1)
    made.records["extract"].metrics |= {
        **{"rows": {"train": 70, "validation": 10, "test": 18}, "rows_left_out": {"no label": 2}, "shape": [8, 8, 1]},
        **{"task": "classification", "storage": {"type": "uint8", "bytes": 6272}, **more},
    }
    return made


def test_features_have_their_rows_by_split_and_those_left_out():
    (row,) = features.tabulate([extracted()]).rows
    assert row == ("cleaned", 70, 10, 18, 2, "no label", "8 × 8 × 1", "classification", "uint8", 6272)
    two = {"rows": {"train": 9, "test": 1}, "rows_left_out": {"no label": 2, "in no split": 1}, "shape": []}
    _, row = features.tabulate([extracted(uncleaned=two)]).rows
    assert row == ("uncleaned", 9, None, 1, 3, "no label: 2, in no split: 1", "a node", None, None, None)
    assert cells(features.tabulate([extracted(rows_left_out={})]), "left_out", "why") == [(0, None)]


def test_columns_are_listed_with_what_became_of_them():
    made = extracted(decisions={"age": "number: standardised"}, left_out={"id": "another value in each row"})
    assert encoded.tabulate([made]).rows == [
        ("age", "number: standardised", None),
        ("id", None, "another value in each row"),
    ]


def test_what_reductions_and_selections_kept_is_listed():
    made = extracted(
        reductions={"pca": {"columns": 12, "variance": 0.95, "seconds": 0.5}},
        selections={"reservoir": {"rows": 70, "kept": 21, "by_class": {"no": 14, "yes": 7}, "seconds": 0.25}},
    )
    assert reduced.tabulate([made]).rows == [
        ("pca", 12, 0.95, None, None, None, 0.5),
        ("reservoir", None, None, 70, 21, "no: 14, yes: 7", 0.25),
    ]


def test_dependencies_are_listed_with_what_they_tell():
    profiled = run("n1", 1)
    profiled.records["profile"].metrics["dependencies"] = {
        "best_functional_dependencies": [{"left": ["zip", "day"], "right": "city", "redundant": 0.5, "covered": 0.8}],
        "best_unique_columns": [{"columns": ["id"], "score": 0.75}, {"columns": []}],
    }
    assert dependencies.tabulate([profiled]).rows == [
        ("functional dependency", "zip, day", "city", 0.5, 0.8, None),
        ("unique", "id", None, None, None, 0.75),
        ("unique", "(at most one row)", None, None, None, None),
    ]


def test_columns_are_shown_as_profiled_with_those_they_go_with():
    profiled = run("n1", 1)
    its = {"type": "float", "missing": 2, "distinct": 9, "min": 0.5, "median": 1.0, "max": 1 / 3e-9, "mean": 2.5}
    profiled.records["profile"].metrics |= {
        "columns": {"x": its | {"std": 1.5, "most_frequent": "1.0 (4)"}, "t": {"type": "text", "min": "a" * 99}},
        "correlations": [
            {"measure": "pearson", "left": "x", "right": "y", "value": 0.25},
            {"measure": "spearman", "left": "y", "right": "x", "value": -0.75},
            {"measure": "pearson", "left": "x", "right": "z", "value": 0.5},
        ],
    }
    assert profile.tabulate([profiled]).rows == [
        ("x", "float", 2, 9, "0.5", "1", "3.33333e+08", 2.5, 1.5, "1.0 (4)", "y -0.75, z 0.50"),
        ("t", "text", None, None, "a" * 40, None, None, None, None, None, None),
    ]
    profiled.records["prepare"].metrics["columns"] = {"x": {"type": "integer"}, "t": {"type": "category"}}
    assert cells(profile.tabulate([profiled]), "type") == [("float",), ("category",)]  # clean may change x; t is text


def test_examples_of_private_columns_are_not_shown():
    private = run("n1", 1)
    log = {
        "pattern": {"count": 1, "examples": [{"file": "a", "line": 2, "column": "scan", "before": "7", "after": "8"}]}
    }
    private.records["prepare"].metrics["changes"] = log
    assert cells(examples.tabulate([private]), "before", "after")[0] == ("7", "8")
    private.records["clean"].metrics["privacy"] = {"dropped": ["scan"], "changed": {}}
    assert cells(examples.tabulate([private]), "before", "after")[0] == ("(private)", "(private)")


def test_a_cell_that_was_set_aside_is_one_example_though_two_logs_have_it():
    told = run("n1", 1)
    stray = {"file": "a", "line": 9, "column": "age"}
    told.records["prepare"].metrics["changes"] = {
        "type": {"count": 2, "examples": [stray | {"before": "old", "after": None}]},
        "spelling": {"count": 1, "examples": [stray | {"before": "OLD", "after": "old"}]},
    }
    told.records["prepare"].metrics["set_aside"] = {"type": {"count": 2, "examples": [stray | {"text": "old"}]}}
    assert cells(examples.tabulate([told]), "kind", "count", "before", "after") == [
        ("spelling", 1, "OLD", "old"),
        ("type", 2, "old", "set aside"),
    ]
    told.records["prepare"].metrics["set_aside"]["type"]["count"] = 1  # others than those of the other log
    assert cells(examples.tabulate([told]), "kind", "count")[0] == ("type", 2)


def test_repairs_are_those_found_and_those_missed():
    table = repairs.tabulate([RUNS[0]])
    assert cells(table, "repair", "true", "found", "right", "wrong", "missed") == [
        ("duplicates", 67, 66, 66, 0, 1),
        ("missing cells", 62, 60, 41, 19, 21),
        ("text numbers", 88, 88, 88, 0, 0),
        ("ragged rows", 5, 4, 4, 0, 1),
    ]


def test_repairs_that_only_cleaning_judged_are_listed_too():
    unjudged = run("n1", 1)
    unjudged.records["evaluate"].metrics = {}
    assert repairs.tabulate([unjudged]).rows == [("duplicates", None, None, None, None, None, 1.0, 0.9851, 0.9925)]


def test_what_a_cleaner_counted_by_a_truth_is_listed():
    judged = run("n1", 1)
    judged.records["evaluate"].metrics = {}
    judged.records["clean"].metrics = {"missing": {"filled": {"a": 4}, **rates(2, 4, 3)}, "errors": {"changed": 1}}
    assert repairs.tabulate([judged]).rows == [("missing", 3, 4, 2, 2, 1, 2 / 4, 2 / 3, 4 / 7)]


def test_compressed_models_leave_open_what_does_not_apply():
    assert compressed.tabulate([RUNS[0]]).rows == [
        ("pruned", 1_320_000, 3.64, 0.9806, 0.25, 0.00042, 0.0005, 1.0, None),
        ("int8", 1_210_000, 3.97, 0.9833, None, 0.00017, 0.0002, 0.4, 0.9),
    ]


def test_a_regression_shows_its_errors_where_others_show_accuracy():
    told = run("n1", 1)
    errors = {"mse": 0.25, "mae": 0.4, "rmse": 0.5, "r2": None}
    told.records["evaluate"].metrics = {
        **errors,
        **{"baselines": {"repeat_last": {"mse": 1.5, "mae": 0.75}}, "mse_by_step": [0.2, 0.3]},
        "targets": [{"target": "OT", "mse": 4.0, "mae": 1.6, "rmse": 2.0, "r2": 0.75}],
    }
    told.records["compress"].metrics = {"models": {"int8": {"bytes": 10, "ratio": 4.0, "mse": 0.3, "mae": 0.5}}}
    table = quality.tabulate([told])
    assert [column.key for column in table.columns] == ["trained_on", "mse", "mae", "rmse"]
    assert table.rows == [("cleaned data", 0.25, 0.4, 0.5), ("nothing: repeat last", 1.5, 0.75, None)]
    assert targets.tabulate([told]).rows == [("OT", 1.6, 2.0, 4.0, 0.75)]
    assert cells(compressed.tabulate([told]), "model", "mse", "mae") == [("int8", 0.3, 0.5)]
    assert cells(comparison.tabulate([told, RUNS[1]]), "accuracy", "mse") == [(None, 0.25), (0.9833, None)]
    assert "mse" not in [column.key for column in comparison.tabulate(RUNS).columns]
    assert classes.tabulate([told]).rows == confusion.tabulate([told]).rows == []


def test_series_are_told_by_column():
    told = run("n1", 1)
    sampling = {"step": 3600.0, "unit": "seconds", "gaps": 2, "missing_steps": 5, "equal_times": 0}
    columns = {"OT": {"autocorrelation": [0.99], "period": None, "strength": None}}
    columns["load"] = {"autocorrelation": [], "period": 24, "strength": 0.7}
    told.records["profile"].metrics["series"] = {
        **{"rows": 90, "series": 1, "sampling": sampling, "period": 24, "strength": 0.8, "columns": columns}
    }
    more = "90 rows in 1 series, a step of 3600.0 (seconds), 2 gaps of 5 steps, 0 equal times"
    assert series.tabulate([told]).rows == [
        ("mean of the columns", 24, 0.8, None, more),
        ("OT", None, None, 0.99, None),
        ("load", 24, 0.7, None, None),
    ]
    assert series.tabulate([RUNS[0]]).rows == []


def test_events_keep_all_that_was_said():
    assert events.tabulate([RUNS[2]]).rows == [("train", 3.2, "rank_lost", 1, "shrunk", 0.2, "left = 3")]
    assert events.tabulate([RUNS[0]]).rows == []


def test_settings_are_flat_and_whole():
    rows = settings.tabulate([RUNS[0]]).rows
    assert ("clean", "duplicates.threshold", 0.9) in rows
    assert ("prepare", "source", '""') in rows
    assert ("profile", "statistics", {}) in rows
