"""New rows become the x that extract made of them, bit for bit: tables, images, texts and windows of series."""

import csv
import datetime
import json
import pathlib
import struct
import subprocess
import sys

import numpy as np
import pytest

from hvdedge import records
from hvdedge.errors import InputError
from hvdedge.new_rows import NewRows
from hvdedge.tensors import open_features
from hvdedge.trained_runs import TrainedRun
from hvdedge.workspace import Workspace

ROOT = pathlib.Path(__file__).resolve().parent.parent
HVDEDGE = pathlib.Path(sys.executable).parent / "hvdedge"
HEAD = 'case = "new"\nmemory = "64MB"\nseed = 3\n'


def extracted(folder: pathlib.Path, toml: str, **environment) -> TrainedRun:
    """Return a run of the pipeline up to its features."""
    (folder / "new.toml").write_text(HEAD + toml)
    words = ["--ranks", "1", "--results", folder / "results", "--run", "a", "--to", "extract"]
    done = subprocess.run([HVDEDGE, "run", folder / "new.toml", *words], cwd=ROOT, capture_output=True, timeout=200)
    assert done.returncode == 0, done.stderr
    run = folder / "results" / "new" / "a"
    return TrainedRun(run, records.read_run(run))


def told(run: TrainedRun, tmp_path: pathlib.Path, *paths: pathlib.Path) -> tuple[NewRows, np.ndarray, np.ndarray]:
    """Return the rows of files, which have an answer, and their x."""
    scratch = tmp_path / f"scratch-{len(list(tmp_path.iterdir()))}"
    scratch.mkdir()
    spec = run.read_json("extract", "features.json")
    rows = NewRows(run, spec, paths, Workspace(scratch, scratch, 32_000_000))
    blocks = [(has, x) for _, has, x in rows.blocks()]
    return rows, np.concatenate([has for has, _ in blocks]), np.concatenate([x for _, x in blocks if len(x)])


def of_split(run: TrainedRun, split: str) -> np.ndarray:
    """Return x of a split as it was made: with storage = "float32" nothing is rounded."""
    reader = open_features(run.folder / "features.h5")
    return reader.read(split, slice(0, reader.rows(split)))[0]


def write(path: pathlib.Path, rows) -> pathlib.Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


TABLE = """[prepare]
reader = "csv"
source = "data.csv"
{names}
[clean.missing]
method = "{method}"
[clean.privacy]
generalise = ["year"]
hash = ["town"]
key = "key.txt"
[extract]
extractor = "table"
label = "label"
drop = ["part"]
split = "given"
by = "part"
storage = "float32"
frequent = 1
"""


def table_rows(count: int) -> list[list[str]]:
    rng, rows = np.random.default_rng(2), []
    for number in range(count):
        size = rng.normal(170, 10)
        row = [f"{size:.1f}", f"{0.5 * size + rng.normal(0, 3):.1f}", str(rng.choice(["red", "blue", "green"]))]
        row += [str(rng.integers(1950, 2010)), str(rng.choice(["Bonn", "Ulm"])), f"{rng.normal(5, 2):.1f}"]
        row += ["test" if number % 4 == 0 else "train", str(rng.choice(["a", "b"]))]
        if rng.random() < 0.3:
            row[int(rng.integers(0, 6))] = str(rng.choice(["", "NA", "-"]))
        rows.append(row)
    rows[5][0] = "tall"  # a stray
    return rows


NAMES = ["size", "mass", "hair", "year", "town", "mark", "part", "label"]


@pytest.mark.parametrize("method", ["regression", "median", "auto"])
def test_a_table_is_filled_treated_and_encoded_as_by_its_run(tmp_path, method):
    rows = table_rows(400)
    has_names = method != "median"
    write(tmp_path / "data.csv", [*([NAMES] if has_names else []), *rows])
    (tmp_path / "key.txt").write_text("a key of more than sixteen bytes")
    names = "" if has_names else f"names = {json.dumps(NAMES)}"
    run = extracted(tmp_path, TABLE.replace("frequent = 1\n", "").format(names=names, method=method))
    tests = [row for row in rows if row[6] == "test"]
    new = write(tmp_path / "new.csv", [*([NAMES[:6]] if has_names else []), *(row[:6] for row in tests)])
    if not has_names:  # all columns but the label's stand in their places
        new = write(tmp_path / "new.csv", [row[:7] for row in tests])
    found, has, x = told(run, tmp_path, new)
    methods = run.records["clean"].metrics["missing"]["methods"]
    wanted = of_split(run, "test")
    assert has.all() and x.shape == wanted.shape
    if {"knn", "blend"} & {*methods.values()}:
        same = (x == wanted).all(axis=1).mean()
        assert same > 0.8 and "in place of" in "".join(found.fillings.told())
    else:
        assert x.tobytes() == wanted.tobytes()


def test_names_of_the_pipeline_stand_for_those_of_the_files(tmp_path):
    rows = [[str(n % 9), str(n % 5), "ab"[n % 2]] for n in range(60)]
    write(tmp_path / "data.csv", [["x1", "x2", "y"], *rows])
    toml = (
        '[prepare]\nreader = "csv"\nsource = "data.csv"\nnames = ["n", "m", "label"]\n[extract]\nextractor = "table"\n'
    )
    run = extracted(tmp_path, toml)
    assert run.records["prepare"].metrics["files"][0]["header_rows"] == 1
    for names, part in ((["x1", "x2", "y"], rows), (["n", "m"], [row[:2] for row in rows])):
        found, _, x = told(run, tmp_path, write(tmp_path / "new.csv", [names, *part]))
        assert found.table.num_rows == len(x) == 60 and not found.known.unknown


def test_dates_and_numbers_are_read_as_their_file_writes_them_else_as_the_run_did(tmp_path):
    rng = np.random.default_rng(5)
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(days=int(day)) for day in rng.integers(0, 300, 200)]
    sums = rng.uniform(1, 3000, 200).round(2)
    labels = ["ab"[int(total > 1500)] for total in sums]
    english = [
        [f"{day:%m/%d/%Y}", f"{total:,.2f}", label] for day, total, label in zip(days, sums, labels, strict=True)
    ]
    write(tmp_path / "data.csv", [["day", "sum", "label"], *english])
    toml = '[prepare]\nreader = "csv"\nsource = "data.csv"\n[extract]\nextractor = "table"\nkeep = ["day", "sum"]\n'
    run = extracted(tmp_path, toml)
    german = [[f"{day:%d.%m.%Y}", f"{total:.2f}".replace(".", ",")] for day, total in zip(days, sums, strict=True)]
    wanted = told(run, tmp_path, write(tmp_path / "a.csv", [["day", "sum"], *(row[:2] for row in english)]))[2]
    assert np.array_equal(told(run, tmp_path, write(tmp_path / "b.csv", [["day", "sum"], *german]))[2], wanted)
    place = next(number for number, day in enumerate(days) if day.day <= 12 and day.day != day.month)
    one = write(tmp_path / "c.csv", [["day", "sum"], [english[place][0], "1,024"]])  # either could be meant
    x = told(run, tmp_path, one)[2]
    spec = run.read_json("extract", "features.json")
    is_sum = [
        part["column"] == "sum"
        for part in spec["encodings"]
        for _ in range(2 if part["as"] in ("month", "weekday") else 1)
    ]
    assert np.array_equal(x[0][~np.array(is_sum)], wanted[place][~np.array(is_sum)])
    sum_ = next(part for part in spec["encodings"] if part["column"] == "sum")
    assert x[0][is_sum] * sum_["deviation"] + sum_["mean"] == pytest.approx(1024, rel=1e-5)


def idx(path: pathlib.Path, values: np.ndarray) -> pathlib.Path:
    path.write_bytes(struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes())
    return path


IMAGES = """[prepare]
reader = "idx"
source = "*-ubyte"
[extract]
extractor = "image"
shape = [6, 5, 1]
resize = [4, 4]
split = "given"
by = "split"
storage = "float32"
[extract.random_projection]
components = 7
"""


def test_images_are_scaled_resized_and_projected_as_by_their_run(tmp_path):
    rng = np.random.default_rng(6)
    for name, count in (("train", 60), ("t10k", 30)):
        idx(tmp_path / f"{name}-labels-idx1-ubyte", rng.integers(0, 3, count).astype(np.uint8))
        idx(tmp_path / f"{name}-images-idx3-ubyte", rng.integers(0, 256, (count, 6, 5)).astype(np.uint8))
    run = extracted(tmp_path, IMAGES)
    rows, has, x = told(run, tmp_path, tmp_path / "t10k-images-idx3-ubyte")
    assert has.all() and not rows.has_several_files
    assert x.tobytes() == of_split(run, "test").tobytes()
    both = tmp_path / "t10k-images-idx3-ubyte", tmp_path / "t10k-labels-idx1-ubyte"
    assert told(run, tmp_path, *both)[2].tobytes() == x.tobytes()


TEXTS = """[prepare]
reader = "csv"
source = "texts.txt"
names = ["label", "text"]
header = false
types = false
[extract]
extractor = "text"
lower = true
least = 1
split = "files"
test_files = "texts.txt"
storage = "float32"
"""


def test_texts_have_the_numbers_of_their_run_with_a_label_and_without(tmp_path):
    rng = np.random.default_rng(7)
    words = ["free", "now", "love", "Call", "you,", "me!", "win", "2024"]
    texts = [" ".join(rng.choice(words, int(rng.integers(3, 9)))) for _ in range(80)]
    lines = [f"{('ham', 'spam')[number % 2]}\t{text}" for number, text in enumerate(texts)]
    (tmp_path / "more.txt").write_text("\n".join(lines[40:]) + "\n")
    (tmp_path / "texts.txt").write_text("\n".join(lines[:40]) + "\n")
    run = extracted(tmp_path, TEXTS.replace('source = "texts.txt"', 'source = ["texts.txt", "more.txt"]'))
    wanted = of_split(run, "test")
    rows, _, x = told(run, tmp_path, tmp_path / "texts.txt")
    assert x.dtype == np.int32 and np.array_equal(x, wanted)
    (tmp_path / "bare.txt").write_text("\n".join(texts[:40]) + "\n")
    rows, _, x = told(run, tmp_path, tmp_path / "bare.txt")
    assert np.array_equal(x, wanted) and rows.table.num_rows == 40


SERIES = """[prepare]
reader = "csv"
source = "load.csv"
[extract]
extractor = "windows"
split = "group"
by = "sensor"
time = "at"
series = "sensor"
columns = ["load", "heat"]
window = 6
horizon = 2
storage = "float32"
"""


def series_rows(sensors: int) -> list[list]:
    rng, start = np.random.default_rng(4), datetime.datetime(2024, 1, 1)
    rows = []
    for sensor in range(sensors):
        for hour in range(40):
            values = f"{rng.normal(50, 9):.2f}", f"{rng.normal(0, 1):.2f}"
            rows.append([start + datetime.timedelta(hours=hour), f"s{sensor}", *values])
    return [rows[place] for place in rng.permutation(len(rows))]


def test_a_window_ends_in_each_row_that_has_enough_before_it(tmp_path):
    rows = series_rows(10)
    write(tmp_path / "load.csv", [["at", "sensor", "load", "heat"], *rows])
    run = extracted(tmp_path, SERIES)
    found, has, x = told(run, tmp_path, tmp_path / "load.csv")
    places = {sensor: sorted(row[0] for row in rows if row[1] == sensor) for sensor in {row[1] for row in rows}}
    assert has.tolist() == [places[row[1]].index(row[0]) >= 5 for row in rows]
    made = {row.tobytes() for row in x}  # extract leaves out those with nothing after them
    wanted = of_split(run, "test")
    assert len(wanted) and all(row.tobytes() in made for row in wanted.astype(x.dtype))


def test_a_window_with_a_gap_has_no_answer(tmp_path):
    rows = series_rows(10)
    write(tmp_path / "load.csv", [["at", "sensor", "load", "heat"], *rows])
    run = extracted(tmp_path, SERIES)
    one = sorted(row for row in series_rows(1))
    one[20][2] = ""
    _, has, x = told(run, tmp_path, write(tmp_path / "one.csv", [["at", "sensor", "load", "heat"], *one]))
    assert np.flatnonzero(~has).tolist() == [0, 1, 2, 3, 4, *range(20, 26)] and len(x) == has.sum()
    short = write(tmp_path / "short.csv", [["at", "sensor", "load", "heat"], *one[:4]])
    spec = run.read_json("extract", "features.json")
    (tmp_path / "s").mkdir()
    blocks = [*NewRows(run, spec, [short], Workspace(tmp_path / "s", tmp_path / "s", 32_000_000)).blocks()]
    assert [(batch.num_rows, has.any(), len(x)) for batch, has, x in blocks] == [(4, False, 0)]


def test_a_run_that_rows_alone_do_not_tell_is_refused(tmp_path):
    from hvdedge import answers, new_rows

    with pytest.raises(InputError, match="received a run for clusters"):
        answers.find({"task": "clusters"})
    with pytest.raises(InputError, match="on the nodes of a graph"):
        new_rows._needed({"task": "classification", "columns": ["words"]})
