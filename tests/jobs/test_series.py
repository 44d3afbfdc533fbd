"""Series from a CSV file to a forecast, and a number of a row told by the rest of it; what cannot be cut is told."""

import csv
import datetime
import json

import numpy as np
import pytest

TOML = """case = "load"
memory = "64MB"
[prepare]
reader = "csv"
source = "load.csv"
[profile.series]
time = "at"
by = "sensor"
[extract]
extractor = "windows"
split = "time"
by = "at"
time = "at"
series = "sensor"
columns = ["load", "heat"]
window = 24
horizon = 6
season = 24
[train]
model = "dense"
epochs = 6
batch_size = 16
learning_rate = 0.003
warmup_epochs = 0
[compress.fixed_point]
[evaluate]
"""


@pytest.fixture
def load(tmp_path):
    """A pipeline on two sensors of 20 days by the hour, a sine of the day with noise; the rows lie in no order."""
    rng = np.random.default_rng(4)
    start, rows = datetime.datetime(2024, 1, 1), []
    for sensor in ("north", "south"):
        for hour in range(480):
            turn = 2 * np.pi * hour / 24 + (sensor == "south")
            values = 50 + 20 * np.sin(turn) + rng.normal(0, 2), 5 * np.cos(turn) + rng.normal(0, 0.5)
            rows.append([start + datetime.timedelta(hours=hour), sensor, *(f"{value:.2f}" for value in values)])
    with open(tmp_path / "load.csv", "w", newline="") as file:
        csv.writer(file).writerows([["at", "sensor", "load", "heat"], *(rows[at] for at in rng.permutation(len(rows)))])
    (tmp_path / "load.toml").write_text(TOML)
    return tmp_path


def run(hvdedge, load, *words, ranks=2):
    return hvdedge("run", load / "load.toml", "--ranks", ranks, "--results", load / "results", "--run", "a", *words)


def test_a_series_is_profiled_forecast_compressed_and_judged(load, hvdedge, record):
    done = run(hvdedge, load)
    assert done.status == 0, done.err
    folder = load / "results/load/a"
    profile = json.loads((folder / "data_profile.json").read_text())["series"]
    assert (profile["series"], profile["period"], profile["sampling"]["step"]) == (2, 24, 3600.0)
    extract = record(folder, "extract")["metrics"]
    assert extract["shape"] == [24, 2]
    # 480 rows a sensor: 336 for training, 48, 96; windows of 30 rows, y of 6 rows within one split
    assert extract["rows"] == {"train": 2 * 307, "validation": 2 * 43, "test": 2 * 91}
    assert extract["rows_left_out"] == {"windows whose y is of two splits": 2 * 10}
    train = record(folder, "train")
    assert {*train["history"]} == {"loss", "mae", "validation_loss", "validation_mae", "epoch_seconds"}
    judged = record(folder, "evaluate")["metrics"]
    assert judged["mse"] < judged["baselines"]["repeat_last"]["mse"] / 2
    assert judged["r2"] > 0.8  # noise alone leaves 0.02 of the variance
    assert [entry["target"] for entry in judged["targets"]] == ["load", "heat"]
    assert judged["targets"][0]["mae"] == pytest.approx(15 * judged["mae"], rel=0.5)  # a deviation is about 14
    assert len(judged["mse_by_step"]) == 6
    models = record(folder, "compress")["metrics"]["models"]
    assert models["float32"]["mse"] == pytest.approx(judged["mse"], rel=1e-3)
    assert "accuracy" not in models["fixed_point"]
    validated = train["history"]["validation_loss"][-1]
    assert models["float32"]["validation_mse"] == pytest.approx(validated, rel=0.01)
    others = record(folder, "compress")["ranks"][1:]  # they do not train, and need no TensorFlow
    assert all(rank["peak_rss_bytes"] < 256e6 for rank in others)
    page = (folder / "report/index.html").read_text()
    assert "Mean squared error" in page
    assert "Errors by target" in page


@pytest.mark.slow
def test_a_number_of_a_row_is_told_by_the_rest_of_it(load, hvdedge, record):
    text = TOML[: TOML.index("[extract]")] + '[extract]\nextractor = "table"\nlabel = "load"\n'
    (load / "load.toml").write_text(text + TOML[TOML.index("[train]") :].replace("[compress.fixed_point]\n", ""))
    done = run(hvdedge, load, "--to", "evaluate", "--set", "train.epochs=12")
    assert done.status == 0, done.err
    extract = record(load / "results/load/a", "extract")
    assert extract["metrics"]["rows"] == {"train": 672, "validation": 96, "test": 192}
    assert extract["metrics"]["decisions"]["load"] == "regression: it holds numbers with fractions; standardised"
    assert [event["what"] for event in extract["events"]] == ["regression"]
    judged = record(load / "results/load/a", "evaluate")["metrics"]
    assert judged["r2"] > 0.8  # the hour and the sensor tell nearly all
    assert judged["targets"][0]["rmse"] == pytest.approx(14 * judged["rmse"], rel=0.1)
    assert "baselines" not in judged


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (["window=479"], "extract.window: received window = 479 and horizon = 6 for series of up to 480 rows, allowed"),
        (["split=random", "by="], "extract.split: received rows of a series that go back to an earlier split"),
        (
            ['borders=["2024-01-09", "soon"]'],
            "extract.borders: received ['2024-01-09', 'soon'], allowed: rising values",
        ),
        (["task=regression"], "extract.task: received an option of another method, allowed with extractor = 'table'"),
    ],
)
def test_what_cannot_be_cut_is_told_in_one_line(load, hvdedge, changes, line):
    words = [word for change in changes for word in ("--set", f"extract.{change}")]
    done = run(hvdedge, load, "--to", "extract", *words)
    assert done.status == 2
    assert line in done.err
    assert len(done.err.splitlines()) == 1


def test_windows_by_borders_are_the_same_on_three_ranks(load, hvdedge, record):
    borders = ("--set", 'extract.borders=["2024-01-11", "2024-01-15 12:00", "2024-01-18"]', "--to", "extract")
    rows = []
    for ranks in (1, 3):
        done = run(hvdedge, load, *borders, "--from", "prepare", ranks=ranks)
        assert done.status == 0, done.err
        metrics = record(load / "results/load/a", "extract")["metrics"]
        rows.append((metrics["rows"], metrics["rows_left_out"]))
    assert rows[0] == rows[1]
    # 240 rows for training, 108, 60, and 72 that are in none
    assert rows[0][0] == {"train": 2 * 211, "validation": 2 * 103, "test": 2 * 55}
    assert rows[0][1] == {"rows in no split": 144, "windows whose y is of two splits": 20}
