"""A search over options, as a user starts it: trials side by side, ended early, failing, broken off, gone on with."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import tomllib

import psutil
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HVDEDGE = str(pathlib.Path(sys.executable).parent / "hvdedge")
RATES = '"train.learning_rate" = {low = 1e-4, high = 1e-2, log = true}\n"train.batch_size" = [32, 64, 128]\n'


@pytest.fixture
def tuned(copied, tmp_path):
    """Write the pipeline of the digits with a search, for the copied run, whose features are there already."""

    def write(trials=6, ranks=1, space=RATES, epochs=6, metric="accuracy", **more):
        text = (ROOT / "jobs" / "digits.toml").read_text().replace("epochs = 25", f"epochs = {epochs}")
        options = {"trials": trials, "ranks": ranks, "metric": metric, **more}
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in options.items())
        (tmp_path / "tuned.toml").write_text(f"{text}\n[tune]\n{lines}[tune.space]\n{space}")
        return tmp_path / "tuned.toml"

    return write


def words(toml, ranks, *more):
    results = toml.parent
    return ("run", toml, "--ranks", ranks, "--results", results, "--run", "two", "--to", "train", *more)


def trials_of(run):
    try:
        return json.loads((run / "trials" / "ledger.json").read_text())["trials"]
    except (OSError, ValueError):
        return []


def start(run, toml, ranks, *more):
    """Start a search; return it once two trials have trained two epochs and have not ended."""
    command = [HVDEDGE, *map(str, words(toml, ranks, *more))]
    going = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while sum(trial["epochs"] >= 2 for trial in trials_of(run)) < 2:
        assert going.poll() is None, going.communicate()
        assert time.monotonic() < deadline, trials_of(run)
        time.sleep(0.05)
    return going


def kill(process, rank):
    family = psutil.Process(process.pid).children(recursive=True)
    ranks = [one for one in family if one.name().startswith("python")]
    (victim,) = [one for one in ranks if one.environ()["OMPI_COMM_WORLD_RANK"] == str(rank)]
    os.kill(victim.pid, signal.SIGKILL)


def test_the_best_trial_is_the_run(tuned, copied, hvdedge, record, tmp_path):
    toml = tuned(epochs=4, space=RATES + '"train.hidden" = [32, 64]\n')
    done = hvdedge(*words(toml, 2)[:-1], "report")
    assert done.status == 0, done.err
    found = record(copied, "train")
    trials, search = found["metrics"]["trials"], found["metrics"]["search"]
    assert [trial["number"] for trial in trials] == [*range(6)]
    assert {trial["state"] for trial in trials} <= {"complete", "pruned"}
    assert len({repr(trial["options"]) for trial in trials}) == 6
    assert {rank for trial in trials for rank in trial["ranks"]} == {0, 1}
    assert all(trial["seconds"] > 0 and trial["value"] is not None for trial in trials)
    assert all(trial["epochs"] == 4 for trial in trials if trial["state"] == "complete")
    complete = [trial for trial in trials if trial["state"] == "complete"]
    best = max(complete, key=lambda trial: trial["value"])
    assert trials[search["best"]]["value"] == best["value"] == found["metrics"]["validation_accuracy"]
    assert (search["direction"], search["groups"], search["ranks"]) == ("maximize", 2, 1)
    best = trials[search["best"]]
    assert found["options"]["learning_rate"] == best["options"]["train.learning_rate"]
    own = copied / "trials" / str(best["number"])
    assert (copied / "model.keras").read_bytes() == (own / "model.keras").read_bytes()
    assert record(own, "train")["metrics"]["loss"] == found["metrics"]["loss"]
    assert not (copied / "trials" / str(min({*range(6)} - {best["number"]})) / "model.keras").exists()
    assert found["metrics"]["uncleaned"]["parameters"] == found["metrics"]["parameters"]
    assert record(copied, "evaluate")["metrics"]["accuracy"] > 0.9
    page = (copied / "report" / "index.html").read_text()
    assert "Search over settings" in page
    assert "train.hidden = 128 is not among what is searched" in done.out
    shown = hvdedge("show", tmp_path).out
    assert "trials/" not in shown  # a trial is no run
    assert f"kept trial {best['number']}: train.learning_rate = " in done.out
    kept = tomllib.loads((copied / "pipeline.toml").read_text())
    assert kept["train"]["hidden"] == best["options"]["train.hidden"]
    again = hvdedge(*words(toml, 2)[:-1], "report", "--set", "train.learning_rate=0.5")
    assert "nothing to do" in again.out, again.out + again.err
    assert "train.learning_rate was searched for" in again.err


@pytest.mark.slow
def test_more_trials_go_on_from_those_that_there_are(tuned, copied, hvdedge, record):
    done = hvdedge(*words(tuned(trials=2, epochs=2), 2))
    assert done.status == 0, done.err
    assert record(copied, "train")["metrics"]["trials"][0]["options"] == {  # those of the pipeline
        **{"train.learning_rate": 0.001, "train.batch_size": 32}
    }
    before = trials_of(copied)
    done = hvdedge(*words(tuned(trials=4, epochs=2), 2))
    assert done.status == 0, done.err
    assert "goes on with 2 trials done" in done.out
    assert trials_of(copied)[:2] == before
    assert len(trials_of(copied)) == 4
    done = hvdedge(*words(tuned(trials=1, epochs=1), 2, "--from", "train"))
    assert done.status == 0, done.err
    assert len(trials_of(copied)) == 1


def test_a_trial_that_fails_is_marked_and_the_search_goes_on(tuned, copied, hvdedge, record):
    toml = tuned(trials=3, ranks=2, epochs=2, space='"train.learning_rate" = [0.001, 1e30, 0.01]\n')
    done = hvdedge(*words(toml, 2, "--set", "train.divergence=stop"))
    assert done.status == 0, done.err
    states = {trial["options"]["train.learning_rate"]: trial for trial in record(copied, "train")["metrics"]["trials"]}
    assert {rate: trial["state"] for rate, trial in states.items()} == {
        **{0.001: "complete", 0.01: "complete", 1e30: "failed"}
    }
    assert "lower train.learning_rate" in states[1e30]["cause"]
    assert states[1e30]["value"] is None
    failed = record(copied / "trials" / str(states[1e30]["number"]), "train")
    assert failed["status"] == "failed"
    assert "lower train.learning_rate" in failed["error"]["cause"]


def test_where_all_trials_fail_the_first_cause_is_told(tuned, copied, hvdedge):
    toml = tuned(trials=2, epochs=1, space='"train.learning_rate" = [1e29, 1e30]\n')
    done = hvdedge(*words(toml, 2, "--set", "train.divergence=stop"))
    assert done.status == 1
    assert "none of 2 trials came to its end; the first that failed: " in done.err
    assert len(done.err.splitlines()) == 1


def test_a_measure_that_the_task_lacks_is_told_before_any_trial(tuned, copied, hvdedge):
    done = hvdedge(*words(tuned(metric="nmi"), 2))
    assert done.status == 2
    assert "tune.metric: received 'nmi', allowed: accuracy, " in done.err
    assert len(done.err.splitlines()) == 1
    assert not (copied / "trials").exists()


def test_a_broken_off_search_goes_on_with_its_trials_from_their_checkpoints(tuned, copied, hvdedge, record):
    toml = tuned(epochs=12, early_ending="never", trials=3)
    going = start(copied, toml, 2)
    going.send_signal(signal.SIGINT)
    _, err = going.communicate(timeout=20)
    assert (going.returncode, len(err.splitlines())) == (130, 1)
    before = trials_of(copied)
    done = hvdedge(*words(toml, 2))
    assert done.status == 0, done.err
    after = record(copied, "train")["metrics"]["trials"]
    assert [trial["number"] for trial in after] == [0, 1, 2]
    for old, new in zip(before, after, strict=False):
        assert old["options"] == new["options"]
        assert new["curve"][: len(old["curve"])] == old["curve"]
        assert [epoch for epoch, _ in new["curve"]] == [*range(1, 13)]
        assert new["seconds"] >= old["seconds"]
    for trial in (trial for trial in before if trial["state"] == "running"):
        events = record(copied / "trials" / str(trial["number"]), "train")["events"]
        (resumed,) = [event for event in events if event["what"] == "resumed"]
        assert resumed["epoch"] >= 1


def test_the_trial_of_a_lost_rank_goes_to_another(tuned, copied, record):
    going = start(copied, tuned(epochs=8, early_ending="never", trials=3), 2)
    kill(going, 1)
    out, err = going.communicate(timeout=200)
    assert (going.returncode, err) == (0, "")
    assert "were lost; it waits for others" in out
    assert "rank lost: rank = 1" in out
    trials = record(copied, "train")["metrics"]["trials"]
    assert [(trial["state"], trial["epochs"]) for trial in trials] == [("complete", 8)] * 3
    assert [[epoch for epoch, _ in trial["curve"]] for trial in trials] == [[*range(1, 9)]] * 3
    assert trials[-1]["ranks"] == [0]


@pytest.mark.slow
def test_without_rank_0_the_run_ends_and_goes_on_when_started_again(tuned, copied, hvdedge, record):
    toml = tuned(epochs=15, early_ending="never", trials=2)
    going = start(copied, toml, 2)
    kill(going, 0)
    _, err = going.communicate(timeout=60)
    assert (going.returncode, len(err.splitlines())) == (1, 1), err
    assert "rank 0" in err
    assert hvdedge(*words(toml, 2)).status == 0
    assert [trial["epochs"] for trial in record(copied, "train")["metrics"]["trials"]] == [15, 15]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_group_goes_on_without_a_lost_rank(tuned, copied, record, rank):
    going = start(copied, tuned(epochs=15, early_ending="never", trials=4, ranks=2), 4)
    kill(going, rank)
    out, err = going.communicate(timeout=240)
    assert (going.returncode, err) == (0, "")
    trials = record(copied, "train")["metrics"]["trials"]
    assert [(trial["state"], trial["epochs"]) for trial in trials] == [("complete", 15)] * 4
    assert sorted({len(trial["ranks"]) for trial in trials}) == [1, 2]


@pytest.mark.slow
def test_a_population_trains_in_turns_and_weak_members_copy_strong_ones(tuned, copied, hvdedge, record):
    toml = tuned(trials=4, epochs=4, search="population")
    done = hvdedge(*words(toml, 2))
    assert done.status == 0, done.err
    found = record(copied, "train")
    trials = found["metrics"]["trials"]

    def told(trial):
        return record(copied / "trials" / str(trial["number"]), "train")

    assert [(trial["state"], trial["epochs"]) for trial in trials] == [("complete", 4)] * 4
    copies = [(trial, copy) for trial in trials for copy in trial["copies"]]
    assert copies
    for trial, copy in copies:
        assert copy["from"] != trial["number"]
        assert 1 <= copy["epoch"] < 4
    for trial in trials:  # its last turn was of one epoch, on from what it had, or had taken over
        (resumed,) = [event for event in told(trial)["events"] if event["what"] == "resumed"]
        assert resumed["epoch"] == 3
        assert len(told(trial)["history"]["loss"]) == 4
    late = [(trial, copy) for trial, copy in copies if copy["epoch"] == 3]
    for trial, copy in late:
        source = told(trials[copy["from"]])
        assert told(trial)["history"]["loss"][:3] == source["history"]["loss"][:3]
    assert all(trial["options"] == trial["copies"][-1]["options"] for trial in trials if trial["copies"])
    assert len(found["history"]["loss"]) == 4
    best = max(trials, key=lambda trial: trial["value"])["value"]
    assert trials[found["metrics"]["search"]["best"]]["value"] == best == found["metrics"]["validation_accuracy"]


def test_trials_of_the_whole_pipeline_leave_the_best_ones_rows_and_features(tuned, copied, hvdedge, record):
    space = '"clean.duplicates.threshold" = [0.97, 0.8]\n"train.hidden" = [64, 128]\n'
    toml = tuned(trials=2, ranks=2, epochs=1, metric="f1", space=space, early_ending="never")
    done = hvdedge(*words(toml, 2)[:-1], "evaluate")
    assert done.status == 0, done.err
    trials = record(copied, "train")["metrics"]["trials"]
    best = trials[record(copied, "train")["metrics"]["search"]["best"]]
    assert best["value"] == max(trial["value"] for trial in trials)
    threshold = best["options"]["clean.duplicates.threshold"]
    assert record(copied, "clean")["options"]["duplicates"]["threshold"] == threshold
    own = copied / "trials" / str(best["number"])
    for name in ("features/part-00000.h5", "cleaned/part-00000.parquet"):
        assert (copied / name).read_bytes() == (own / name).read_bytes()
    assert 0 < record(copied, "evaluate")["metrics"]["f1"] <= 1
    assert "nothing to do" in hvdedge(*words(toml, 2)[:-1], "evaluate").out


def test_ranks_that_no_trial_has_a_place_for_are_told_before_anything_runs(tuned, copied, hvdedge):
    done = hvdedge(*words(tuned(ranks=3), 2))
    assert done.status == 2
    assert "tune.ranks: received 3 on 2 ranks, allowed: up to 2" in done.err
