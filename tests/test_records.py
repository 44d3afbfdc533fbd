"""Records as JSON, files that are whole or not there at all."""

import json
import os

import numpy as np
import pytest

from hvdedge import records
from hvdedge.errors import InputError
from hvdedge.records import Output, RankRecord, RunRecord


def record(stage="train", **more):
    return RunRecord(stage, "digits", "r", "done", "local", "2026-01-01T00:00:00Z", 9.8, 1, **more)


def test_a_record_has_the_names_of_the_contract(tmp_path):
    rank = RankRecord(0, "pi01", 9.8, 9.1, 0.4, 612_000_000, 1, 2, None, None)
    record(ranks=[rank], outputs={"model.keras": Output(1, "ab")}, metrics={"accuracy": np.float64(0.98)}).write(
        tmp_path
    )
    found = json.loads((tmp_path / "train.json").read_text())
    assert found["ranks"][0] == {
        **{"rank": 0, "host": "pi01", "wall_seconds": 9.8, "cpu_seconds": 9.1, "idle_seconds": 0.4},
        **{"peak_rss_bytes": 612000000, "bytes_sent": 1, "bytes_received": 2},
        **{"energy_joules": None, "energy_source": None},
    }
    assert found["outputs"] == {"model.keras": {"bytes": 1, "sha256": "ab"}}
    assert found["metrics"] == {"accuracy": 0.98}
    assert {"stage", "case", "run", "status", "cluster", "started", "wall_seconds", "world_size"} <= found.keys()
    assert {"history", "events", "options", "versions"} <= found.keys()


def test_what_is_written_reads_back(tmp_path):
    written = record(history={"loss": [1.0, None]}, events=[{"what": "resumed"}])
    written.write(tmp_path)
    assert records.read(tmp_path / "train.json") == written
    assert records.read_run(tmp_path) == {"train": written}


def test_what_was_made_of_an_earlier_file_is_not_current():
    def made(stage, digest, inputs):
        return record(stage=stage, outputs={f"{stage}.out": records.Output(1, digest)}, inputs=inputs)

    train, evaluate = made("train", "new", {}), made("evaluate", "e", {"train.out": "old", "given.csv": "g"})
    assert records.current({"train": train, "evaluate": evaluate}) == {"train": train}
    again = made("evaluate", "e", {"train.out": "new", "given.csv": "g"})
    assert records.current({"train": train, "evaluate": again}) == {"train": train, "evaluate": again}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stage": "train"}', "\xff"])
def test_a_damaged_record_is_one_clear_line(tmp_path, text):
    (tmp_path / "train.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match="train.json: received a record that cannot be read"):
        records.read(tmp_path / "train.json")


def test_a_replaced_file_keeps_its_old_content_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "file"
    records.replace(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(InputError, match="No space"):
        records.replace(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
