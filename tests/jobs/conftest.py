"""The command as a user types it, and one finished run of the digits that many tests look at."""

import fcntl
import json
import os
import pathlib
import subprocess
import sys
from dataclasses import dataclass

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HVDEDGE = str(pathlib.Path(sys.executable).parent / "hvdedge")


@dataclass
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str


def run_hvdedge(*words, seconds=300, **environment):
    """Run the command and return how it ended."""
    done = subprocess.run(
        [HVDEDGE, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=seconds,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def read_record(folder, stage):
    """Return a stage's record as plain JSON."""
    return json.loads((pathlib.Path(folder) / f"{stage}.json").read_text())


@pytest.fixture
def hvdedge():
    """Run the command."""
    return run_hvdedge


@pytest.fixture
def record():
    """Read a stage's record."""
    return read_record


@pytest.fixture(scope="session")
def digits(tmp_path_factory, worker_id):
    """The folder of a whole run of the digits on two ranks, two epochs; not to be changed. One for all workers."""
    base = tmp_path_factory.getbasetemp()
    results = (base if worker_id == "master" else base.parent) / "digits-run"
    results.mkdir(exist_ok=True)
    with open(results / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (results / "console.txt").exists():
            words = ("run", "jobs/digits.toml", "--ranks", 2, "--results", results, "--run", "two")
            done = run_hvdedge(*words, "--set", "train.epochs=2")
            assert done.status == 0, done.err
            (results / "console.txt").write_text(done.out)
    return results / "digits" / "two"


@pytest.fixture
def copied(digits, tmp_path):
    """A copy of that run, to be changed; its results folder is tmp_path."""
    import shutil

    return pathlib.Path(shutil.copytree(digits, tmp_path / "digits" / "two", symlinks=True))
