"""The digits as messy files: what is written, and that the reader repairs all of it by the truth."""

import collections
import csv
import pathlib
import subprocess
import sys

import pytest

from hvdedge.datasets import digits
from hvdedge.workspace import Source


def truth(workspace, name):
    with open(workspace.run / "raw/truth" / f"{name}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def read(workspace, comm):
    """Read the digits; return scan -> row."""

    def run(**options):
        table = digits.read(Source((), workspace), comm, **options)
        return {row["scan"]: row for row in table.to_arrow().to_pylist()}

    return run


def original_digits():
    from sklearn.datasets import load_digits

    found = load_digits()
    return collections.Counter(
        (*image, label) for image, label in zip(found.data.astype(int).tolist(), found.target.tolist(), strict=True)
    )


def test_without_dirt_the_digits_come_back_as_scikit_learn_has_them(read, workspace):
    nothing = dict.fromkeys(
        ("duplicates", "noisy_duplicates", "missing", "text_numbers", "out_of_range", "ragged"), 0.0
    )
    found = read(**nothing)
    images = collections.Counter((*(row[f"p{n:02d}"] for n in range(64)), row["label"]) for row in found.values())
    assert images == original_digits()
    assert not workspace.changes
    assert {row["rule"] for batch in workspace.quarantine for row in batch.to_pylist()} == {"preamble"}
    assert not truth(workspace, "cells") and not truth(workspace, "duplicates") and not truth(workspace, "ragged")


@pytest.mark.parametrize("seed", [pytest.param(0, marks=pytest.mark.slow), 7])
def test_every_repair_is_right(read, workspace, seed):
    found = read(seed=seed)
    metrics = {entry["file"]: entry for entry in workspace.metrics["files"]}
    files = truth(workspace, "files")
    for entry in files:
        same = ("encoding", "delimiter", "quote", "preamble_rows", "header_rows")
        assert {name: str(metrics[entry["file"]][name]) for name in same} == {name: entry[name] for name in same}
        ours = metrics[entry["file"]]
        assert ours["rows"] + ours["rows_quarantined"] == int(entry["rows"])
        assert ours["rows_ragged"] + ours["rows_quarantined"] == int(entry["ragged_rows"])

    dirty = {(entry["scan"], entry["column"]): entry for entry in truth(workspace, "cells")}
    by_kind = collections.Counter(entry["kind"] for entry in dirty.values())
    assert set(by_kind) == {"missing", "text_number", "out_of_range", "ragged", "noise"}
    for (scan, column), entry in dirty.items():
        value = found[scan][column]
        if entry["kind"] in ("missing", "ragged"):
            assert value is None
        elif entry["kind"] == "text_number":
            assert value == int(entry["value"])
        else:
            assert value is not None and str(value) != entry["value"]
    empty = {(scan, name) for scan, row in found.items() for name, value in row.items() if value is None}
    assert empty == {cell for cell, entry in dirty.items() if entry["kind"] in ("missing", "ragged")}

    scans = {(row["_file"], row["_line"]): scan for scan, row in found.items()}
    rules = {"missing": "missing", "number": "text_number", "short_row": "ragged"}
    changes = [row for batch in workspace.changes for row in batch.to_pylist() if row["rule"] != "long_row"]
    for change in changes:
        assert dirty[scans[change["_file"], change["_line"]], change["column"]]["kind"] == rules[change["rule"]]
    assert sum(change["rule"] == "number" for change in changes) == by_kind["text_number"]

    ragged = {entry["scan"]: entry["kind"] for entry in truth(workspace, "ragged")}
    lost = [row for batch in workspace.quarantine for row in batch.to_pylist() if row["rule"] != "preamble"]
    assert {row["rule"] for row in lost} == {"long_row"}
    assert len(found) + len(lost) == sum(int(entry["rows"]) for entry in files)
    assert len([scan for scan, kind in ragged.items() if kind == "long" and scan not in found]) == len(lost)
    assert all(scan in found for scan, kind in ragged.items() if kind == "short")


def test_the_truth_about_copies_holds(read, workspace):
    found = read(seed=3)
    clusters = collections.defaultdict(list)
    for entry in truth(workspace, "duplicates"):
        clusters[entry["cluster"]].append(entry["scan"])
    assert len(clusters) == 2 * round(0.05 * 1797) and {len(scans) for scans in clusters.values()} == {2}
    noise = collections.Counter(entry["scan"] for entry in truth(workspace, "cells") if entry["kind"] == "noise")
    noisy = 0
    names = ["site", "scanned", "label", *digits.PIXELS]
    for first, second in clusters.values():
        changed = [name for name in names if found[first][name] != found[second][name]]
        count = max(noise[first], noise[second])
        assert len(changed) in (count, count + 1 if count else 0)
        noisy += count > 0
        near = [name for name in changed if None not in (found[first][name], found[second][name])]
        assert all(1 <= abs(found[first][name] - found[second][name]) <= 2 for name in near)
    assert noisy == round(0.05 * 1797)


def test_the_columns_are_as_agreed(read, workspace):
    found = read()
    assert list(next(iter(found.values()))) == [*digits.COLUMNS, "_file", "_line"]
    types = {name: entry["type"] for name, entry in workspace.metrics["columns"].items()}
    assert types == {
        "scan": "text",
        "site": "category",
        "scanned": "date",
        "label": "integer",
        **dict.fromkeys(digits.PIXELS, "integer"),
    }
    assert {row["label"] for row in found.values()} == set(range(10))
    assert any(not row["site"].isascii() for row in found.values() if row["site"])


def contents(folder: pathlib.Path):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.csv")}


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(workspace, comm, monkeypatch):
    monkeypatch.setattr(digits.csv_reader, "read", lambda *_: None)  # what is written is looked at alone

    def write(seed):
        digits.read(Source((), workspace), comm, seed=seed)

    write(1)
    first = contents(workspace.run / "raw")
    write(1)
    assert contents(workspace.run / "raw") == first
    write(2)
    assert contents(workspace.run / "raw") != first
    assert len(first) == 10  # six raw files and four of truth


def test_more_copies_than_digits_are_bounded(read):
    assert len(read(duplicates=1.0, noisy_duplicates=1.0, ragged=0.0)) == 2 * 1797


def test_reading_the_digits_imports_no_heavy_package():
    program = "import sys, hvdedge.datasets.digits as d; d.load_digits('digits'); print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert not [name for name in ("sklearn", "scipy", "pandas", "tensorflow") if f"'{name}'" in loaded]
