import pathlib
import shutil

import pytest
import report_records

from hvdedge import runs
from hvdedge.errors import InputError
from hvdedge.runs import Run, Scaling, labels, load, scaling


def run(name: str, ranks: int, folder: str = "", **changes) -> Run:
    return Run(pathlib.Path(folder or name), report_records.digits(name, ranks, **changes))


def test_sums_of_a_run_are_those_done_by_hand():
    two = run("n2", 2)
    assert (two.case, two.name, two.cluster, two.status, two.world_size) == ("digits", "n2", "local", "done", 2)
    assert two.train_seconds == 25.0
    assert two.total_seconds == 44.0  # 25 and the 19 of the other stages
    assert two.total("energy_joules") == 4.0 * 44.0 * 2
    assert two.total("bytes_sent") == 2 * (310_000_000 + 6 * 42_000)
    assert two.peak_rss_bytes == 613_000_000
    assert run("n4", 4).hosts == ["pi01", "pi02"]


def test_speed_up_and_efficiency_are_those_of_the_definition():
    found = scaling([run("n1", 1), run("n2", 2), run("n4", 4)])
    assert found == [Scaling(1, 1.0, 1.0), Scaling(1, 1.6, 0.8), Scaling(1, 2.5, 0.625)]


def test_without_one_rank_the_fewest_ranks_are_the_baseline():
    found = scaling([run("n4", 4), run("n2", 2)])
    assert found == [Scaling(2, 25 / 16, 25 / 16 * 2 / 4), Scaling(2, 1.0, 1.0)]


def test_a_run_on_several_ranks_without_another_has_no_speed_up():
    assert scaling([run("n2", 2), run("again", 2)]) == [None, None]


def test_repeated_runs_on_one_rank_count_by_their_median():
    slow, slower = run("n1b", 1), run("n1c", 1)
    slow.records["train"].wall_seconds = 50.0
    slower.records["train"].wall_seconds = 90.0
    assert scaling([run("n1", 1), slow, slower, run("n2", 2)])[3] == Scaling(1, 2.0, 1.0)


@pytest.mark.parametrize("key, value", [("epochs", 1), ("strategy", "fedavg"), ("model", "mlp")])
def test_other_work_is_no_baseline(key, value):
    other = run("n1", 1)
    other.records["train"].options = other.records["train"].options | {key: value}
    assert scaling([other, run("n2", 2)])[1] is None


@pytest.mark.parametrize("key", runs.SCALED_OPTIONS)
def test_options_that_go_with_the_ranks_do_not_make_other_work(key):
    other = run("n1", 1)
    other.records["train"].options = other.records["train"].options | {key: 256}
    assert scaling([other, run("n2", 2)])[1] == Scaling(1, 1.6, 0.8)


@pytest.mark.parametrize("changes", [{"case": "letters"}, {"cluster": "pi"}])
def test_another_case_or_cluster_is_no_baseline(changes):
    assert scaling([run("n1", 1, **changes), run("n2", 2)])[1] is None


@pytest.mark.parametrize("status", ["failed", "interrupted", "running"])
def test_a_training_that_did_not_end_is_neither_compared_nor_a_baseline(status):
    broken = run("n1", 1)
    broken.records["train"].status = status
    assert scaling([broken, run("n2", 2)]) == [None, None]
    assert broken.status == f"{status} in train"
    assert broken.total_seconds is None


def test_a_run_that_stopped_early_says_where():
    part = report_records.digits("n1", 1)
    assert Run(pathlib.Path("x"), {stage: part[stage] for stage in ("prepare", "clean")}).status == "done up to clean"


def test_the_report_counts_neither_in_time_nor_in_status():
    written = run("n1", 1)
    written.records["report"] = report_records.digits("n1", 1)["clean"]
    written.records["report"].status = "running"
    assert written.status == "done"
    assert written.total_seconds == 59.0


@pytest.mark.parametrize("last", ["prepare", "profile", "extract"])
def test_a_run_that_ends_before_training_is_done_once_it_is_reported(last):
    """In its own page, where the record of its report is left out, as in the tables about it afterwards."""
    part = report_records.digits("n1", 1)
    ended = {stage: part[stage] for stage in [*part][: [*part].index(last) + 1]}
    assert Run(pathlib.Path("x"), ended).status == f"done up to {last}"
    reported = Run(pathlib.Path("x"), ended, is_reported=True)
    assert reported.status == Run(pathlib.Path("x"), {**ended, "report": part["clean"]}).status == "done"
    assert reported.total_seconds == sum(record.wall_seconds for record in ended.values())
    ended[last].status = "failed"
    assert reported.status == f"failed in {last}"
    assert reported.total_seconds is None


def test_what_one_rank_does_not_know_is_not_known_of_all():
    two = run("n2", 2)
    two.records["train"].ranks[1].energy_joules = None
    assert two.total("energy_joules") is None
    assert runs.total(two.records["clean"], "energy_joules") == 2 * 4.0 * 2.25


def test_a_stage_without_ranks_has_no_sums():
    two = run("n2", 2)
    two.records["train"].ranks = []
    assert runs.total(two.records["train"], "cpu_seconds") is None
    assert two.total("cpu_seconds") is None


def test_metrics_of_any_shape_are_looked_up_without_an_error():
    one = run("n1", 1)
    assert one.metric("train", "parameters") == 1_199_882
    assert one.metric("train", "parameters", "of") is None
    assert one.metric("report", "x") is None
    assert one.option("clean", "duplicates", "threshold") == 0.9
    assert one.history("nothing") == []
    assert (runs.mapping([1]), runs.rows({"a": 1}), runs.rows([{}, 1])) == ({}, [], [{}])
    unknown = (True, "1", None, float("nan"), 10**400)
    assert [runs.number(x) for x in (1, 0.5, *unknown)] == [1, 0.5, *[None] * len(unknown)]


def test_labels_are_as_short_as_tells_runs_apart():
    assert labels([run("n1", 1), run("n2", 2)]) == ["n1", "n2"]
    assert labels([run("a", 1), run("a", 1, case="iris")]) == ["digits/a", "iris/a"]
    assert labels([run("a", 1, "x/a"), run("a", 1, "y/a")]) == ["x/a", "y/a"]


def test_runs_are_found_below_any_folder_once_and_oldest_first(tmp_path):
    folders = report_records.write_digits(tmp_path)
    (tmp_path / "digits" / "latest").symlink_to("n4")
    for below in (tmp_path, tmp_path / "digits"):
        found, left_out = load(below)
        assert [one.folder for one in found] == [folder.resolve() for folder in folders]
        assert [one.name for one in found] == ["n1", "n2", "n4"]
        assert left_out == []
    assert [one.name for one in load(tmp_path / "digits" / "n2")[0]] == ["n2"]
    assert found[1].records == report_records.digits("n2", 2, started="2026-03-02T09:30:00Z")


def test_a_run_that_cannot_be_read_is_left_out_and_named(tmp_path):
    folders = report_records.write_digits(tmp_path)
    (folders[1] / "train.json").write_text('{"stage": "tr')
    found, left_out = load(tmp_path)
    assert [one.name for one in found] == ["n1", "n4"]
    assert len(left_out) == 1 and str(folders[1] / "train.json") in left_out[0]
    shutil.rmtree(folders[0])
    shutil.rmtree(folders[2])
    with pytest.raises(InputError, match="train.json"):
        load(tmp_path)


def test_no_runs_are_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"received no runs there, expected .*<stage>\.json; start one with"):
        load(tmp_path)
    with pytest.raises(InputError, match="nowhere"):
        load(tmp_path / "nowhere")
