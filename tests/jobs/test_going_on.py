"""Runs that stop and go on: by name, after a change, after Ctrl-C, after a rank was killed."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import psutil
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HVDEDGE = str(pathlib.Path(sys.executable).parent / "hvdedge")


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json") if path.name != "data_profile.json"}


def resume(hvdedge, tmp_path, *words, epochs=2):
    options = ("--ranks", 2, "--results", tmp_path, "--run", "two", "--set", f"train.epochs={epochs}")
    return hvdedge("run", "jobs/digits.toml", *options, *words)


def test_a_finished_run_has_nothing_to_do(copied, hvdedge, tmp_path):
    before = times(copied)
    done = resume(hvdedge, tmp_path)
    assert (done.status, times(copied)) == (0, before)
    assert "nothing to do" in done.out


def test_a_changed_option_runs_its_stage_and_those_after_it_again(copied, hvdedge, record, tmp_path):
    before = times(copied)
    done = resume(hvdedge, tmp_path, "--set", "clean.duplicates.threshold=0.99", "--to", "profile")
    assert done.status == 0, done.err
    after = times(copied)
    assert {name for name in before if after[name] != before[name]} == {"clean.json", "fillings.json", "profile.json"}
    assert record(copied, "clean")["options"]["duplicates"]["threshold"] == 0.99


def test_from_runs_a_stage_though_it_is_done(copied, hvdedge, tmp_path):
    before = times(copied)
    assert resume(hvdedge, tmp_path, "--from", "profile", "--to", "profile").status == 0
    after = times(copied)
    assert {name for name in before if after[name] != before[name]} == {"profile.json"}


def test_fewer_ranks_leave_no_part_of_an_earlier_try(copied, hvdedge, tmp_path):
    done = hvdedge(
        "run",
        "jobs/digits.toml",
        "--ranks",
        1,
        "--results",
        tmp_path,
        "--run",
        "two",
        "--from",
        "clean",
        "--to",
        "clean",
    )
    assert done.status == 0, done.err
    assert [path.name for path in (copied / "cleaned").iterdir()] == ["part-00000.parquet"]


def test_parts_that_a_broken_off_try_left_are_not_read(copied, hvdedge, record, tmp_path):
    broken = json.loads((copied / "clean.json").read_text())
    (copied / "clean.json").write_text(json.dumps({**broken, "status": "interrupted", "outputs": {}}))
    words = ("--results", tmp_path, "--run", "two", "--to", "profile", "--set", "train.epochs=2")
    assert hvdedge("run", "jobs/digits.toml", "--ranks", 1, *words).status == 0
    rows = sum(record(copied, "extract")["metrics"]["rows"].values())
    assert record(copied, "profile")["metrics"]["rows"] == rows


def test_a_stage_made_anew_alone_makes_those_after_it_stale(copied, hvdedge, record, tmp_path):
    done = resume(hvdedge, tmp_path, "--set", "clean.missing.method=mean", "--to", "clean")
    assert done.status == 0, done.err
    done = resume(hvdedge, tmp_path, "--set", "clean.missing.method=mean", "--to", "extract")
    assert "[1/2] profile on 2 ranks" in done.out
    assert done.status == 0, done.err


def test_a_truth_that_was_cut_is_found(copied, hvdedge, tmp_path):
    path = copied / "raw" / "truth" / "duplicates.csv"
    path.write_bytes(path.read_bytes()[:200])
    done = resume(hvdedge, tmp_path, "--from", "clean", "--to", "clean")
    assert done.status == 2
    assert "raw/truth/duplicates.csv" in done.err


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_changed_cut_or_missing_input_is_found_and_named(copied, hvdedge, tmp_path, damage):
    part = copied / "cleaned" / "part-00001.parquet"
    content = bytearray(part.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        part.write_bytes(content)
    elif damage == "cut":
        part.write_bytes(content[:-10])
    else:
        part.unlink()
    done = resume(hvdedge, tmp_path, "--from", "extract", "--to", "extract")
    assert done.status == 2
    assert "cleaned/part-00001.parquet" in done.err
    assert "--from clean" in done.err
    assert len(done.err.splitlines()) == 1


def start_training(tmp_path, *changes, epochs=3000):
    """Start a run that trains for long, on top of the copied stages before it; return it once a checkpoint is there."""
    words = [HVDEDGE, "run", "jobs/digits.toml", "--ranks", "2", "--results", str(tmp_path), "--run", "two"]
    sets = [word for change in (f"train.epochs={epochs}", *changes) for word in ("--set", change)]
    going = subprocess.Popen(
        [*words, *sets, "--to", "train"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    latest = tmp_path / "digits" / "two" / "checkpoints" / "latest.json"
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and not (latest.exists() and latest.stat().st_mtime > going_since(going)):
        time.sleep(0.1)
    assert going.poll() is None, going.communicate()
    return going


def going_since(process):
    return psutil.Process(process.pid).create_time()


def ranks_of(process):
    family = psutil.Process(process.pid).children(recursive=True)
    return [one for one in family if one.name().startswith("python")]


def test_ctrl_c_ends_all_ranks_and_the_run_goes_on_from_its_checkpoint(copied, hvdedge, record, tmp_path):
    going = start_training(tmp_path)
    family = psutil.Process(going.pid).children(recursive=True)
    assert len(ranks_of(going)) == 2
    going.send_signal(signal.SIGINT)
    _, err = going.communicate(timeout=10)
    assert going.returncode == 130
    assert "interrupted" in err
    assert len(err.splitlines()) == 1
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert record(copied, "train")["status"] == "interrupted"
    done = resume(hvdedge, tmp_path, "--to", "train", epochs=30)
    assert done.status == 0, done.err
    events = record(copied, "train")["events"]
    assert events[0]["what"] == "resumed"
    assert events[0]["epoch"] >= 1


def test_a_launcher_that_is_killed_takes_its_ranks_along(copied, tmp_path):
    going = start_training(tmp_path)
    family = psutil.Process(going.pid).children(recursive=True)
    going.kill()
    going.communicate(timeout=10)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


def kill(process, rank):
    """Kill a rank of a run as the system does where memory runs out."""
    (victim,) = [one for one in ranks_of(process) if one.environ()["OMPI_COMM_WORLD_RANK"] == str(rank)]
    os.kill(victim.pid, signal.SIGKILL)


def test_a_rank_killed_in_training_is_gone_on_without(copied, record, tmp_path):
    going = start_training(tmp_path, epochs=30)
    kill(going, 0)
    out, err = going.communicate(timeout=200)
    assert (going.returncode, err) == (0, "")
    assert "rank lost: rank = 0" in out
    found = record(copied, "train")
    (event,) = (event for event in found["events"] if event["what"] != "plateau")
    assert (event["what"], event["rank"], event["action"], event["world_size"]) == ("rank_lost", 0, "shrunk", 1)
    assert 0 < event["took_seconds"] < event["seconds"]
    assert (found["status"], found["world_size"], [one["rank"] for one in found["ranks"]]) == ("done", 2, [1])
    assert len(found["history"]["loss"]) == 30
    assert found["metrics"]["accuracy"] > 0.9
    assert (copied / "model.keras").is_file()


def test_a_killed_rank_that_cannot_be_gone_on_without_ends_the_stage_with_one_message(copied, record, tmp_path):
    going = start_training(tmp_path, "train.strategy=local_sgd")
    kill(going, 1)
    _, err = going.communicate(timeout=20)
    assert going.returncode == 1
    assert err.startswith("hvdedge: train: rank 1 on host")
    assert "its process ended" in err
    assert "train.log" in err
    assert len(err.splitlines()) == 1
    assert record(copied, "train")["status"] == "failed"
    assert (record(copied, "train")["error"]["rank"]) == 1


def test_a_rank_killed_in_another_stage_ends_it_with_one_message(copied, record, tmp_path):
    words = ("--ranks", "2", "--results", str(tmp_path), "--run", "two", "--from", "clean", "--to", "clean")
    going = subprocess.Popen(
        [HVDEDGE, "run", "jobs/digits.toml", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and (len(ranks_of(going)) < 2 or record(copied, "clean")["status"] == "done"):
        time.sleep(0.01)
    kill(going, 1)
    _, err = going.communicate(timeout=20)
    assert going.returncode == 1
    assert err.startswith("hvdedge: clean: rank 1 on host")
    assert "ended by signal 9" in err
    assert len(err.splitlines()) == 1
    assert record(copied, "clean")["status"] == "failed"
