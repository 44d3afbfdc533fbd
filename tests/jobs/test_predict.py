"""`hvdedge predict` as a user types it: new rows by the model of a finished run, on a host with next to nothing."""

import csv
import gzip
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from hvdedge import __main__, new_rows, prediction

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HVDEDGE = pathlib.Path(sys.executable).parent / "hvdedge"
MOST_BYTES = 150_000_000
TOML = """case = "people"
memory = "64MB"
seed = 3
[prepare]
reader = "csv"
source = "people.csv"
[clean.missing]
method = "regression"
[extract]
extractor = "table"
label = "class"
embed = ["town"]
drop = ["part"]
split = "given"
by = "part"
[train]
model = "dense"
epochs = 3
learning_rate = 0.01
[compress.prune]
sparsity = 0.3
[compress.fixed_point]
[evaluate]
"""
COST = """import os, subprocess, sys  # a process of its own, as a child begins with the peak of the one that forks it
going = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(going.pid, 0)
going.returncode = os.waitstatus_to_exitcode(status)
print(1024 * usage.ru_maxrss)
sys.exit(going.returncode)
"""
CLASSES = ("poor", "rich")
NAMES = ["age", "wage", "job", "town", "hired", "part", "class"]


def people(count: int, seed: int) -> list[list[str]]:
    """Return rows in which cells are missing in several spellings, and a few are written as none should be."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        age, job = int(rng.integers(18, 80)), str(rng.choice(["cook", "smith", "clerk"]))
        wage = 10 + 0.3 * age + {"cook": 0, "smith": 8, "clerk": 15}[job] + rng.normal(0, 2)
        rich = "rich" if wage + rng.normal(0, 3) > 32 else "poor"
        part = "test" if number % 5 == 0 else "validation" if number % 10 == 1 else "train"
        day = f"{rng.integers(1, 28):02}.{rng.integers(1, 13):02}.20{rng.integers(10, 24)}"
        row = [str(age), f"{wage:.2f}", job, str(rng.choice(["Bonn", "Ulm", "Kiel"])), day, part, rich]
        for place in rng.integers(0, 4, size=int(rng.random() < 0.3)):
            row[place] = str(rng.choice(["", "n/a", "?"]))
        if number % 97 == 0:
            row[1] = " 1,024.50 €" if number % 2 else "much"
        rows.append(row)
    return rows


def write(path: pathlib.Path, rows, names=NAMES) -> pathlib.Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=";").writerows([*([names] if names else []), *rows])
    return path


def read(path: pathlib.Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished run on 600 people; not to be changed."""
    folder = tmp_path_factory.mktemp("people")
    write(folder / "people.csv", people(600, 1))
    (folder / "people.toml").write_text(TOML)
    words = ["--ranks", "1", "--results", folder / "results", "--run", "a", "--to", "evaluate"]
    done = subprocess.run([HVDEDGE, "run", folder / "people.toml", *words], cwd=ROOT, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder / "results" / "people" / "a"


def raw(run: pathlib.Path) -> pathlib.Path:
    return run.parents[2] / "people.csv"


def test_the_test_rows_are_told_as_evaluate_told_them(run, hvdedge, record, tmp_path):
    done = hvdedge("predict", run, raw(run), "--output", tmp_path / "p.csv", "--model", "float32")
    assert done.status == 0, done.err
    told, rows = read(tmp_path / "p.csv"), people(600, 1)
    assert [int(one["row"]) for one in told] == list(range(2, 602))  # the line in the file, below its names
    confusion = np.zeros((2, 2), int)
    for one, (*_, part, rich) in zip(told, rows, strict=True):
        if part == "test":
            confusion[CLASSES.index(rich), CLASSES.index(one["prediction"])] += 1
    assert confusion.tolist() == record(run, "evaluate")["metrics"]["confusion"]
    for one in told:
        shares = [float(one["p_poor"]), float(one["p_rich"])]
        assert sum(shares) == pytest.approx(1, abs=2e-6)  # six digits each
        assert one["prediction"] == CLASSES[int(np.argmax(shares))]
    right = np.mean([one["prediction"] == row[-1] for one, row in zip(told, rows, strict=True)])
    assert f"hvdedge: accuracy {right:.4f} over 600 rows with a label\n" in done.err


def test_what_does_not_fit_is_listed_and_what_is_filled_is_told(run, hvdedge, tmp_path):
    done = hvdedge("predict", run, raw(run), "--output", tmp_path / "p.csv")
    listed = read(tmp_path / "p.rejected.csv")
    assert [(one["row"], one["column"], one["text"], one["rule"]) for one in listed] == [
        (str(number + 2), "wage", "much", "type") for number in range(0, 600, 194)
    ]
    assert "4 cells of another type taken for missing, such as people.csv line 2, wage: 'much'" in done.err
    assert "hvdedge: filled missing cells of age (" in done.err and " by regression)" in done.err


def test_new_rows_lack_the_label_have_others_and_their_columns_in_any_order(run, hvdedge, tmp_path):
    rows = people(40, 2)
    whole = write(tmp_path / "whole.csv", rows)
    order = [3, 1, 0, 4, 2]  # neither the part nor the label
    turned = [[*(row[place] for place in order), "x"] for row in rows]
    other = write(tmp_path / "other.csv", turned, [*(NAMES[place].upper() for place in order), "note"])
    assert hvdedge("predict", run, whole, "--output", tmp_path / "a.csv").status == 0
    done = hvdedge("predict", run, other, "--output", tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert "left out columns that the run does not know: note" in done.err and "accuracy" not in done.err


def test_a_row_alone_is_read_as_among_others(run, hvdedge, tmp_path):
    rows = people(20, 5)
    hvdedge("predict", run, write(tmp_path / "many.csv", rows), "--output", tmp_path / "many.out")
    many = read(tmp_path / "many.out")
    for number in (3, 7):
        done = hvdedge("predict", run, write(tmp_path / "one.csv", rows[number : number + 1]))
        assert list(csv.DictReader(done.out.splitlines())) == [{**many[number], "row": "2"}]


@pytest.mark.parametrize("count", [1, 4, 30])
def test_blank_lines_between_rows_leave_them_rows(run, hvdedge, tmp_path, count):
    whole = write(tmp_path / "whole.csv", people(count, 4))
    (tmp_path / "apart.csv").write_text(whole.read_text().replace("\n", "\n\n"))
    done = hvdedge("predict", run, tmp_path / "apart.csv")
    wanted = list(csv.DictReader(hvdedge("predict", run, whole).out.splitlines()))
    assert list(csv.DictReader(done.out.splitlines())) == [
        {**one, "row": str(2 * int(one["row"]) - 1)} for one in wanted
    ]
    assert f"{count} row" in done.err and "could not be read" not in done.err


def test_a_value_never_seen_is_told(run, hvdedge, tmp_path):
    rows = [["30", "20.5", "astronaut", "Bonn", "01.02.2020"], ["30", "20.5", "cook", "Rome", "01.02.2020"]]
    done = hvdedge("predict", run, write(tmp_path / "new.csv", rows, NAMES[:5]))
    assert done.status == 0 and len(done.out.splitlines()) == 3
    assert "took values that training never saw for unknown ones: cells of job (1), town (1)" in done.err


def test_neither_mpi_nor_tensorflow_is_asked_for_and_memory_stays_small(run, tmp_path):
    hide = tmp_path / "hide"
    hide.mkdir()
    for name in ("tensorflow", "keras", "mpi4py", "scipy", "sklearn", "h5py", "matplotlib"):
        (hide / f"{name}.py").write_text(f"open({str(tmp_path / 'asked')!r}, 'a').write({name!r}); raise ImportError\n")
    new = write(tmp_path / "new.csv", people(4000, 6))
    words = [HVDEDGE, "predict", run, new, "--output", tmp_path / "p.csv"]
    environment = {**os.environ, "PYTHONPATH": f"{hide}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", COST, *words], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "asked").exists()
    assert len(read(tmp_path / "p.csv")) == 4000
    assert int(done.stdout) < MOST_BYTES


@pytest.mark.parametrize("rows", [1, 7, 100, 1024])
def test_the_same_bytes_whatever_the_block(run, tmp_path, monkeypatch, rows):
    told = []
    for size in (new_rows.BLOCK_ROWS, rows):
        monkeypatch.setattr(new_rows, "BLOCK_ROWS", size)
        prediction.predict(run, str(raw(run)), str(tmp_path / "p.csv"), None, lambda line: None)
        told.append((tmp_path / "p.csv").read_bytes())
    assert told[0] == told[1]


def test_several_files_have_their_names(run, hvdedge, tmp_path):
    new = tmp_path / "new"
    new.mkdir()
    write(new / "a.csv", people(3, 7))
    write(new / "b.csv", people(2, 8))
    (new / "c.csv").write_bytes(b"")
    done = hvdedge("predict", run, new)
    told = list(csv.DictReader(done.out.splitlines()))
    rows = [f"{one['file']} {one['row']}" for one in told]
    assert rows == ["a.csv 2", "a.csv 3", "a.csv 4", "b.csv 2", "b.csv 3"]
    assert "left out c.csv" in done.err
    assert hvdedge("predict", run, new / "[ab].csv").out == done.out


def test_a_run_without_compressed_models_is_told_by_tensorflow_or_says_what_to_do(run, hvdedge, tmp_path):
    copy = shutil.copytree(run, tmp_path / "people" / "b")
    (copy / "compress.json").unlink()
    new = write(tmp_path / "new.csv", people(30, 9))
    done = hvdedge("predict", copy, new, "--output", tmp_path / "keras.csv")
    assert done.status == 0 and "by the model model.keras" in done.err, done.err
    hvdedge("predict", run, new, "--output", tmp_path / "lite.csv", "--model", "float32")
    for one, other in zip(read(tmp_path / "keras.csv"), read(tmp_path / "lite.csv"), strict=True):
        assert one["prediction"] == other["prediction"]
        assert float(one["p_rich"]) == pytest.approx(float(other["p_rich"]), abs=1e-4)  # float32 sums in another order
    (tmp_path / "keras.py").write_text("raise ImportError('hidden')")
    done = hvdedge("predict", copy, new, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert done.status == 2 and "needs TensorFlow, which is not here" in done.err and len(done.err.splitlines()) == 1


NEEDED = ("prepare.json", "clean.json", "extract.json", "train.json", "compress.json", "columns.json", "features.json")


def test_a_small_host_needs_few_files_of_a_run(run, hvdedge, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run / "compressed", copy / "compressed")
    for name in (*NEEDED, "fillings.json"):
        shutil.copy(run / name, copy)
    assert hvdedge("predict", copy, raw(run)).out == hvdedge("predict", run, raw(run)).out
    (copy / "fillings.json").unlink()
    done = hvdedge("predict", copy, raw(run))
    assert done.status == 0 and "left missing cells as they are, as fillings.json is not" in done.err


WRONG = {
    "no such folder": (["{tmp}/none", "{new}"], "received no folder, allowed: that of a run"),
    "no run": (["{tmp}", "{new}"], "received a folder without the record of a run"),
    "a case": (["{run}/..", "{new}"], "received a folder without the record of a run, allowed: that of a run; name"),
    "not trained": (["{tmp}/untrained", "{new}"], "received a run of which train is not done"),
    "changed": (["{tmp}/changed", "{new}"], "columns.json: received no file that is as prepare wrote it"),
    "no file": (["{run}", "{tmp}/none.csv"], "FILE: received '{tmp}/none.csv', no file there"),
    "a name of other bytes": (["{run}", "{tmp}/\udcff*"], "FILE: received b'"),
    "its own output": (["{run}", "{new}", "--output", "{new}"], "FILE: received '{new}', which --output would write"),
    "an empty folder": (["{run}", "{tmp}/empty"], "a folder without files"),
    "an empty file": (["{run}", "{tmp}/empty.csv"], "empty.csv: received an empty file"),
    "other columns": (["{run}", "{tmp}/other.csv"], "received the columns age, wage, job, which lack town, hired"),
    "no names": (["{run}", "{tmp}/nameless.csv"], "nameless.csv: received 3 columns without names, allowed: 7"),
    "no table": (["{run}", "{tmp}/image.png"], "image.png: received"),
    "no folder for the output": (["{run}", "{new}", "--output", "{tmp}/none/p.csv"], "--output: received"),
    "a folder for the output": (["{run}", "{new}", "--output", "{tmp}"], "--output: received"),
    "no such model": (["{run}", "{new}", "--model", "prun"], "--model: received 'prun', allowed: float32, prune,"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_clear_line(run, tmp_path, case):
    words, said = WRONG[case]
    new = write(tmp_path / "new.csv", people(3, 1))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.csv").touch()
    (tmp_path / "\udcff.csv").write_text("a\n1\n")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(300))
    write(tmp_path / "other.csv", [row[:3] for row in people(5, 1)], NAMES[:3])
    write(tmp_path / "nameless.csv", [["30", "20.5", "12"]] * 5, None)
    if case == "not trained":
        (tmp_path / "untrained").mkdir()
        for stage in ("prepare", "clean", "extract"):
            shutil.copy(run / f"{stage}.json", tmp_path / "untrained")
    if case == "changed":
        shutil.copytree(run, tmp_path / "changed")
        (tmp_path / "changed" / "columns.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    fill = {"run": run, "tmp": tmp_path, "new": new}
    done = CliRunner().invoke(__main__.main, ["predict", *(word.format(**fill) for word in words)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1 and said.format(**fill) in done.stderr, done.stderr
    assert sorted(tmp_path.rglob("*")) == before


DAMAGED = {"junk": b"junk", "no head": b"hvdedge weights 1\n", "no model": gzip.compress(b"no model"), "cut": None}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_model_that_is_damaged_is_one_clear_line(run, tmp_path, content):
    copy = shutil.copytree(run, tmp_path / "people" / "b")
    name = "compressed/prune.tflite.gz"
    content = content or (copy / name).read_bytes()[:-9]
    (copy / name).write_bytes(content)
    record = json.loads((copy / "compress.json").read_text())
    record["outputs"][name]["sha256"] = hashlib.sha256(content).hexdigest()
    (copy / "compress.json").write_text(json.dumps(record))
    done = CliRunner().invoke(__main__.main, ["predict", str(copy), str(raw(run)), "--model", "prune"])
    assert (done.exit_code, done.stdout) == (2, "") and len(done.stderr.splitlines()) == 1
    assert f"{name}: received a model that cannot be run (" in done.stderr


def test_an_interrupt_leaves_nothing_behind(run, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(prediction, "_load", lambda *_: interrupted)
    done = CliRunner().invoke(__main__.main, ["predict", str(run), str(raw(run)), "--output", str(tmp_path / "p.csv")])
    assert done.exit_code == 130 and not list(tmp_path.iterdir())


def test_files_of_digits_are_told_together(digits, hvdedge, tmp_path):
    """The raw files of a run whose reader makes them, in six dialects; the model saw two epochs."""
    done = hvdedge("predict", digits, digits / "raw" / "*.csv", "--output", tmp_path / "p.csv")
    assert done.status == 0, done.err
    told = read(tmp_path / "p.csv")
    assert {one["file"] for one in told} == {f"station_{letter}.csv" for letter in "abcdef"}
    assert len(told) > 1900 and {*told[0]} == {"row", "file", "prediction", *(f"p_{digit}" for digit in range(10))}
    assert float(done.err.partition("accuracy ")[2].split()[0]) > 0.5
