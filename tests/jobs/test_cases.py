"""The cases in small, end to end on two ranks: with data that comes along or is made, or a part of the real data."""

import gzip
import os
import pathlib
import struct

import pytest
from small_photos import folder

ROOT = pathlib.Path(__file__).resolve().parents[2]
CASES = ROOT / "jobs"
DATA = pathlib.Path(os.environ.get("HVDEDGE_DATA", ROOT.parent / "shared" / "data"))
FEW = ("--set", "train.epochs=2", "--to", "evaluate", "--ranks", 2, "--run", "a")


@pytest.mark.parametrize(("case", "score", "least"), [("breast_cancer", "auc", 0.7), ("clusters", "nmi", 0.3)])
def test_a_case_runs(case, score, least, tmp_path, hvdedge, record):
    words = ("--set", "compress.prune.epochs=0") if case == "breast_cancer" else ()
    done = hvdedge("run", CASES / f"{case}.toml", "--results", tmp_path, *FEW, *words)
    assert done.status == 0, done.err
    assert record(tmp_path / case / "a", "evaluate")["metrics"][score] > least


def first_lines(source, target, count):
    target.write_text("".join(source.read_text().splitlines(keepends=True)[:count]))


def first_images(source, target, count):
    """Write the first images, or labels, of an IDX file."""
    with gzip.open(source) as file:
        content = file.read()
    start = 4 + 4 * content[3]
    row = (len(content) - start) // struct.unpack(">I", content[4:8])[0]
    target.write_bytes(content[:4] + struct.pack(">I", count) + content[8 : start + count * row])


def whole(source, target):
    target.symlink_to(source)


IMAGES = {
    f"mnist/{name}-ubyte.gz": (first_images, count)
    for part, count in (("train", 600), ("t10k", 200))
    for name in (f"{part}-images-idx3", f"{part}-labels-idx1")
}
# case -> its files: how they are cut, how much is left; what is set besides
SMALL = {
    "adult": (
        {"adult/adult.csv": (first_lines, 900), "adult/adult_test.csv": (first_lines, 300)},
        ("compress.prune.epochs=0", "compress.share_weights.epochs=1"),
    ),
    "sms": ({"sms/SMSSpamCollection.txt": (first_lines, 400)}, ("train.epochs=1", "compress.prune.epochs=0")),
    "ett": ({"ett/ETTh1.csv": (whole,)}, ("extract.window=48", "train.epochs=1", "train.units=8")),
    "mnist": (IMAGES, ("train.epochs=1", "compress.prune.epochs=1")),
    "mnist_mlp": (IMAGES, ("train.epochs=1", "compress.prune.epochs=0", "compress.share_weights.epochs=0")),
    "cora": ({"cora/cora.npz": (whole,)}, ()),
    "citeseer": ({"citeseer/citeseer.npz": (whole,)}, ("train.epochs=1",)),
    "digits_graph": ({}, ()),
}


SLOW = {"mnist", "mnist_mlp", "sms", "ett"}


@pytest.mark.parametrize("case", [pytest.param(case, marks=[pytest.mark.slow] * (case in SLOW)) for case in SMALL])
def test_a_case_runs_on_a_part_of_its_data(case, tmp_path, hvdedge, record):
    files, changes = SMALL[case]
    for name, (cut, *count) in files.items():
        if not (DATA / name).is_file():
            pytest.skip(f"the real data is not there: {DATA / name}")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cut(DATA / name, tmp_path / name, *count)
    words = [word for change in changes for word in ("--set", change)]
    done = hvdedge(
        *("run", CASES / f"{case}.toml", "--results", tmp_path / "results", *FEW, *words, "--set", "prepare.sha256=[]"),
        HVDEDGE_DATA=str(tmp_path),
    )
    assert done.status == 0, done.err
    made = tmp_path / "results" / case / "a"
    rows = record(made, "extract")["metrics"]["rows"]
    assert min(rows["train"], rows["test"]) > 0
    judged = record(made, "evaluate")["metrics"]
    assert judged["mse"] > 0 if case == "ett" else judged["accuracy"] > 1 / len(judged["confusion"])


def test_anomalies_of_a_file_are_found(tmp_path, hvdedge, record):
    rows = [
        f"2024-01-{1 + hour // 24:02d} {hour % 24:02d}:00:00,{hour % 24},{100 - 2 * (hour % 24)}" for hour in range(700)
    ]
    (tmp_path / "load.csv").write_text("\n".join(["date,a,b", *rows]) + "\n")
    text = (CASES / "anomaly.toml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith(("sha256", "origin"))]
    text = "\n".join(lines).replace("ett/ETTh1.csv", "load.csv")
    (tmp_path / "load.toml").write_text(
        text.replace('"HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"', '"a", "b"')
    )
    done = hvdedge("run", tmp_path / "load.toml", "--results", tmp_path, *FEW)
    assert done.status == 0, done.err
    metrics = record(tmp_path / "anomaly/a", "evaluate")["metrics"]
    assert 0 < metrics["anomalies"] < 0.5 and metrics["auc"] > 0.5
    assert {*metrics["baselines"]} == {"z_score"}


def test_photos_in_folders_are_told_apart(tmp_path, hvdedge, record):
    folder(tmp_path / "photos", ("rose", "tulip"), 30)
    (tmp_path / "photos" / "rose" / "0.png").write_bytes(b"none")
    (tmp_path / "photos" / "license.txt").write_text("of nobody\n")
    text = (CASES / "flowers.toml").read_text().replace('"flowers" #', '"photos" #').replace("= 64\n", "= 12\n")
    text = text.replace("[64, 64, 3]", "[12, 12, 3]").replace("[compress.fixed_point]\n", "")
    (tmp_path / "photos.toml").write_text(text.replace("batch_size = 32", "batch_size = 4\nfilters = 4"))
    words = ("--results", tmp_path, "--run", "a", "--ranks", 2, "--to", "train")
    changes = ("--set", "train.epochs=2", "--set", "train.learning_rate=0.01")
    done = hvdedge("run", tmp_path / "photos.toml", *words, *changes)
    assert done.status == 0, done.err
    run = tmp_path / "flowers/a"
    prepared = record(run, "prepare")
    assert prepared["metrics"]["totals"]["rows"] == 59 and prepared["metrics"]["totals"]["rows_set_aside"] == 1
    assert [event["what"] for event in prepared["events"]] == ["no_images_left_out", "images_set_aside"]
    assert record(run, "extract")["metrics"]["shape"] == [12, 12, 3]
    assert record(run, "train")["metrics"]["accuracy"] >= 0.5
