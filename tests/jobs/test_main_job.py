"""The main job on real ranks: all stages, what they leave behind, the same on any number of ranks."""

import hashlib
import json
import os
import pathlib
import pty
import shlex
import subprocess
import sys

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hvdedge.tensors import open_features

HVDEDGE = str(pathlib.Path(sys.executable).parent / "hvdedge")
STAGES = ["prepare", "clean", "profile", "extract", "train", "compress", "evaluate", "report"]


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_leaves_a_record_of_what_it_cost(digits, record, stage):
    found = record(digits, stage)
    assert (found["status"], found["case"], found["run"], found["cluster"], found["world_size"]) == (
        "done",
        "digits",
        "two",
        "local",
        2,
    )
    assert [rank["rank"] for rank in found["ranks"]] == [0, 1]
    for rank in found["ranks"]:
        assert rank["peak_rss_bytes"] > 30e6
        assert rank["wall_seconds"] >= rank["idle_seconds"] >= 0
        assert rank["cpu_seconds"] > 0
        assert rank["bytes_received"] > 0
        assert rank["energy_joules"] > 0
        assert rank["energy_source"] in ("rapl", "model")
    assert bool(found["outputs"]) == (stage != "evaluate")  # whose result is its record
    assert (digits / f"{stage}.log").exists()


@pytest.mark.parametrize("stage", STAGES)
def test_every_output_is_there_with_its_checksum_and_nothing_half_written(digits, record, stage):
    for name, output in record(digits, stage)["outputs"].items():
        content = (digits / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (output["bytes"], output["sha256"])
    assert not [path for path in digits.rglob(".*") if path.name != ".lock"]


def test_only_the_stages_that_need_tensorflow_pay_for_it(digits, record):
    for stage in STAGES:
        loads = "tensorflow" in record(digits, stage)["versions"]
        assert loads == (stage in ("train", "compress", "evaluate"))
        most = max(rank["peak_rss_bytes"] for rank in record(digits, stage)["ranks"])
        assert loads or most < 256e6


def test_repairs_are_judged_against_the_truth(digits, record):
    repairs = record(digits, "evaluate")["metrics"]["repairs"]
    for name in (
        "encodings",
        "delimiters",
        "preambles",
        "headers",
        "ragged_rows",
        "missing_cells",
        "text_numbers",
        "errors",
    ):
        assert repairs[name]["f1"] == 1, name
    assert repairs["duplicates"]["f1"] > 0.97
    clean = record(digits, "clean")["metrics"]
    for name in ("duplicates", "errors", "missing"):
        assert clean[name]["f1"] == pytest.approx(repairs[name]["f1"], abs=0.02), name


def test_the_uncleaned_model_is_tested_on_the_same_rows_in_the_scale_it_was_trained_in(digits):
    specs, rows = [], []
    for variant in ("", "uncleaned/"):
        reader = open_features(digits / variant / "features.h5")
        specs.append(reader.spec)
        x, y = reader.read("test", slice(None))
        rows.append((x * (reader.spec["scale"]["max"] - reader.spec["scale"]["min"]) + reader.spec["scale"]["min"], y))
    assert specs[0]["classes"] == specs[1]["classes"]
    np.testing.assert_allclose(rows[0][0], rows[1][0], atol=1e-3)  # float32 of a range of 1,620
    np.testing.assert_array_equal(rows[0][1], rows[1][1])


def test_the_console_says_why_there_is_a_second_training(digits):
    lines = (digits.parent.parent / "console.txt").read_text().splitlines()
    (line,) = [line for line in lines if "once more" in line]
    assert line.startswith(
        "[5/8] train: once more on the rows as they were before clean, to compare: extract.uncleaned"
    )


def test_a_few_epochs_learn_and_cleaning_is_worth_it(digits, record):
    train, evaluate = record(digits, "train"), record(digits, "evaluate")["metrics"]
    assert train["history"]["loss"][-1] < train["history"]["loss"][0]
    assert evaluate["accuracy"] > 0.6
    assert evaluate["accuracy"] > evaluate["uncleaned"]["accuracy"]
    assert np.sum(evaluate["confusion"]) == record(digits, "extract")["metrics"]["rows"]["test"]
    assert {
        "loss",
        "accuracy",
        "examples_per_second",
        "step_seconds",
        "bytes_per_step",
        "idle_share",
        "steps",
    } <= train["metrics"].keys()


def test_horovods_bytes_are_those_of_a_ring(digits, record):
    train = record(digits, "train")["metrics"]
    assert train["bytes_per_step"] == 4 * train["parameters"]  # 2 (n - 1) / n of float32 weights on two ranks


def test_compressed_models_are_smaller_and_really_run(digits, record):
    models = record(digits, "compress")["metrics"]["models"]
    assert list(models) == ["float32", "prune", "prune+fixed_point"]
    sizes = [model["bytes"] for model in models.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert models["prune"]["weights_left"] == pytest.approx(0.5, abs=0.01)
    assert all(model["accuracy"] > 0.5 and model["latency_seconds"] > 0 for model in models.values())
    full = record(digits, "evaluate")["metrics"]["accuracy"]
    assert models["float32"]["accuracy"] == pytest.approx(full, abs=0.003)


def test_curves_are_tensorboard_event_files(digits, record):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(digits / "tensorboard"))
    events.Reload()
    found = [float(np.frombuffer(event.tensor_proto.tensor_content, "<f4")[0]) for event in events.Tensors("loss")]
    assert found == pytest.approx(record(digits, "train")["history"]["loss"], rel=1e-6)


def test_the_report_is_one_page_with_tables(digits):
    page = (digits / "report" / "index.html").read_text()
    assert "<svg" in page
    assert "digits" in page
    for ending in ("csv", "md", "tex"):
        assert list((digits / "report" / "tables").glob(f"stages.{ending}"))


def read_all(folder):
    """What the stages before training made of the data, independent of how many parts it lies in."""
    tables = {}
    for name in ("prepared", "cleaned"):
        tables[name] = pa.concat_tables([pq.read_table(path) for path in sorted((folder / name).glob("*.parquet"))])
    tensors = {}
    for variant in ("", "uncleaned/"):
        with h5py.File(folder / variant / "features.h5") as file:
            tensors |= {
                f"{variant}{split}/{name}": file[split][name][:]
                for split in ("train", "validation", "test")
                for name in "xy"
            }
    return tables, tensors


def flat(tree, path=""):
    """The leaves of JSON by their path."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if items is None:
        return {path: tree}
    return {key: leaf for name, branch in items for key, leaf in flat(branch, f"{path}/{name}").items()}


@pytest.mark.parametrize("ranks", [1, pytest.param(3, marks=pytest.mark.slow), 4])
def test_all_stages_before_training_give_the_same_on_any_number_of_ranks(digits, hvdedge, record, tmp_path, ranks):
    done = hvdedge("run", "jobs/digits.toml", "--ranks", ranks, "--results", tmp_path, "--run", "r", "--to", "extract")
    assert done.status == 0, done.err
    folder = tmp_path / "digits" / "r"
    (tables, tensors), (known_tables, known_tensors) = read_all(folder), read_all(digits)
    for name, table in tables.items():
        assert table.equals(known_tables[name]), name
    for name, array in tensors.items():
        np.testing.assert_array_equal(array, known_tensors[name], err_msg=name)
    for stage in ("prepare", "clean", "extract"):
        found, wanted = (record(path, stage)["metrics"] for path in (folder, digits))
        for metrics in (found, wanted) if stage == "clean" else ():
            assert sum(metrics["duplicates"].pop("pairs_by_rank")) == metrics["duplicates"]["candidates"]
        assert found == wanted, stage
    profile, known = (flat(json.loads((path / "data_profile.json").read_text())) for path in (folder, digits))
    assert profile.keys() == known.keys()
    for path, leaf in known.items():
        assert profile[path] == (pytest.approx(leaf, rel=1e-12) if isinstance(leaf, float) else leaf), path


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 3])
def test_compress_and_evaluate_find_the_same_on_any_number_of_ranks(copied, digits, hvdedge, record, tmp_path, ranks):
    words = ("--results", tmp_path, "--run", "two", "--from", "compress", "--to", "evaluate")
    done = hvdedge("run", "jobs/digits.toml", "--ranks", ranks, "--set", "train.epochs=2", *words)
    assert done.status == 0, done.err
    assert record(copied, "evaluate")["metrics"] == record(digits, "evaluate")["metrics"]
    ours, known = (record(folder, "compress")["metrics"]["models"] for folder in (copied, digits))
    assert ours.keys() == known.keys()
    same = ("bytes", "ratio", "accuracy", "weights_left")
    assert all(ours["float32"][name] == known["float32"][name] for name in same)
    for name in known:  # what is trained on sees other batches on other ranks
        assert ours[name]["accuracy"] == pytest.approx(known[name]["accuracy"], abs=0.1)
        assert ours[name]["weights_left"] == known[name]["weights_left"]


def test_the_same_seed_and_ranks_give_the_same_bytes(digits, hvdedge, record, tmp_path):
    words = ("run", "jobs/digits.toml", "--ranks", 2, "--results", tmp_path, "--run", "again", "--to", "train")
    assert hvdedge(*words, "--set", "train.epochs=2").status == 0
    for stage in ("prepare", "clean", "extract", "train"):
        ours, known = (record(folder, stage)["outputs"] for folder in (tmp_path / "digits" / "again", digits))
        for name in known:
            if not name.startswith(
                ("tensorboard", "checkpoints", "uncleaned/tensorboard", "uncleaned/checkpoints")
            ):  # hold times
                assert ours[name] == known[name], name


def test_a_line_of_a_dry_run_can_be_pasted_into_a_shell(hvdedge, record, tmp_path):
    out = hvdedge("run", "jobs/digits.toml", "--ranks", 2, "--results", tmp_path, "--run", "by hand", "--dry-run")
    assert out.status == 2  # a name with a blank
    done = hvdedge("run", "jobs/digits.toml", "--ranks", 2, "--results", tmp_path, "--run", "hand", "--dry-run")
    lines = done.out.splitlines()
    assert len(lines) == len(STAGES)
    assert all(shlex.split(line)[0].endswith("mpirun") for line in lines)
    assert not (tmp_path / "digits").exists()
    shell = subprocess.run(lines[0], shell=True, capture_output=True, text=True, timeout=120)
    assert shell.returncode == 0, shell.stderr
    assert record(tmp_path / "digits" / "hand", "prepare")["world_size"] == 2


def test_a_line_can_be_pasted_and_a_pipeline_named_from_another_folder(hvdedge, record, tmp_path):
    lines = hvdedge("run", "jobs/digits.toml", "--results", tmp_path, "--run", "far", "--dry-run").out.splitlines()
    shell = subprocess.run(lines[0], shell=True, capture_output=True, text=True, timeout=120, cwd="/")
    assert shell.returncode == 0, shell.stderr
    assert record(tmp_path / "digits" / "far", "prepare")["status"] == "done"


def test_a_terminal_shows_a_live_line(tmp_path):
    words = [HVDEDGE, "run", "jobs/digits.toml", "--results", str(tmp_path), "--run", "r", "--to", "clean"]
    said = bytearray()

    def read(descriptor):
        said.extend(chunk := os.read(descriptor, 4096))
        return chunk

    assert pty.spawn(words, read) == 0
    text = said.decode(errors="replace")
    assert "\x1b[" in text
    assert "[2/2] clean: duplicates, memory" in text
    assert "[2/2] clean: done" in text


def test_show_prints_the_tables_and_a_report_covers_all_runs(copied, hvdedge, tmp_path):
    shown = hvdedge("show", tmp_path)
    assert shown.status == 0
    assert "prepare" in shown.out
    done = hvdedge("report", tmp_path)
    assert done.status == 0, done.err
    assert (tmp_path / "report" / "index.html").exists()
