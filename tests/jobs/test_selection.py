"""A pipeline that selects rows and trains on them, and what it refuses."""

import csv

import numpy as np
import pytest

from hvdedge.tensors import open_features

TOML = """case = "points"
memory = "64MB"
[prepare]
reader = "csv"
source = "points.csv"
[extract]
extractor = "table"
label = "side"
validation = 0.1
[extract.near_equal]
distance = 0.01
[extract.pca]
components = 3
[extract.stratified]
share = 0.8
[extract.k_center]
share = 0.25
[train]
model = "dense"
epochs = 6
learning_rate = 0.01
[evaluate]
"""


@pytest.fixture
def points(tmp_path):
    """A pipeline on 600 points, each twice, of which 4 are of a rare class."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(600, 4))
    side = np.where(x[:, 0] + x[:, 1] > 0, "left", "right").astype(object)
    side[::150] = "rare"
    with open(tmp_path / "points.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["a", "b", "c", "d", "side"])
        for number in [*range(600), *range(600)]:
            rows.writerow([*(f"{value:.6f}" for value in x[number]), side[number]])
    (tmp_path / "points.toml").write_text(TOML)
    return tmp_path


def run(hvdedge, points, *changes, to="evaluate"):
    words = [word for change in changes for word in ("--set", f"extract.{change}")]
    where = ("--results", points / "results", "--run", "a")
    return hvdedge("run", points / "points.toml", "--ranks", 2, *where, "--to", to, *words)


@pytest.mark.slow
def test_rows_are_selected_and_trained_on_with_their_weights(points, hvdedge, record):
    done = run(hvdedge, points)
    assert done.status == 0, done.err
    extract = record(points / "results/points/a", "extract")
    selections = extract["metrics"]["selections"]
    assert [*selections] == ["near_equal", "stratified", "k_center"]
    assert [*extract["metrics"]["reductions"]] == ["pca"]
    near, sample, centres = selections.values()
    assert near["rows"] == 840
    assert near["kept"] == sample["rows"] <= 600
    assert sample["kept"] == centres["rows"] == pytest.approx(0.8 * near["kept"], abs=1.5)
    assert extract["metrics"]["rows"]["train"] == centres["kept"] == sum(centres["by_class"].values())
    assert all(selection["seconds"] > 0 for selection in selections.values())
    reader = open_features(points / "results/points/a/features.h5")
    assert reader.read("train", slice(None))[0].shape == (centres["kept"], 3)
    assert reader.weights(slice(None)).sum() == pytest.approx(840, rel=0.05)  # the sample is random
    accuracy = record(points / "results/points/a", "evaluate")["metrics"]["accuracy"]
    assert accuracy > 0.75  # half is right by chance, and one of four columns is gone


def test_a_class_too_small_for_its_share_is_told_as_an_event(points, hvdedge, record):
    assert run(hvdedge, points, "k_center.share=0.02", "stratified.share=1", to="extract").status == 0
    [event] = record(points / "results/points/a", "extract")["events"]
    assert (event["what"], event["method"]) == ("adapted", "k_center")
    assert event["action"] == "one row is kept of the class rare, of which the share of 0.02 keeps none"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("k_center.share=0", "extract.k_center.share: received 0, allowed: a number above 0 to 1"),
        ("stratified.share=1.5", "extract.stratified.share: received 1.5, allowed: a number above 0 to 1"),
        ("near_equal.distance=-1", "extract.near_equal.distance: received -1, allowed: a number above 0"),
        ("reservoir.rows=5000", "extract.reservoir.rows: received 5000, allowed: up to the "),
        ("k_centre.share=0.5", "did you mean 'k_center'?"),
    ],
)
def test_what_cannot_be_selected_is_told_in_one_line(points, hvdedge, change, line):
    done = run(hvdedge, points, change, to="extract")
    assert done.status == 2
    assert line in done.err
    assert len(done.err.splitlines()) == 1
