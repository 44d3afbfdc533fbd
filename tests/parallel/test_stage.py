"""The frame: what a job that goes wrong leaves behind, and how fast all its ranks are gone."""

import json
import pathlib
import re
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DIGITS = ROOT / "jobs" / "digits.toml"
FAILS = """
from hvdedge.errors import InputError
from hvdedge.parallel import agree
from hvdedge.stage import start

def main(stage):
    {body}
    stage.comm.Barrier()

start("clean", main)
"""


@pytest.fixture
def failing(mpirun, tmp_path, monkeypatch):
    """Run a stage with this body on three ranks; return what it said, the seconds it took, its record."""

    def run(body, status, progress="events"):
        monkeypatch.setenv("HVDEDGE_PROGRESS", progress)
        began = time.monotonic()
        out = mpirun(3, FAILS.format(body=body), DIGITS, "--results", tmp_path / "run", status=status)
        return out, time.monotonic() - began, json.loads((tmp_path / "run" / "clean.json").read_text())

    return run


def errors_in(out):
    return [json.loads(line.removeprefix("@hvdedge ")) for line in out.splitlines() if '"event": "error"' in line]


def test_an_exception_on_one_rank_ends_all_with_one_message(failing):
    out, seconds, record = failing("if stage.comm.rank == 1: raise ValueError('it broke')", status=1)
    (error,) = errors_in(out)
    assert (error["rank"], error["cause"], error["is_input"]) == (1, "ValueError: it broke", False)
    assert error["host"]
    assert seconds < 15  # hanging ranks would wait for the time limit of two minutes
    assert (record["status"], record["error"]["rank"]) == ("failed", 1)


def test_an_error_that_all_agree_on_is_told_by_the_rank_that_had_it(failing):
    body = "\n    with agree(stage.comm):\n        if stage.comm.rank == 2: raise InputError('rows.csv: is wrong')"
    out, _, record = failing(body, status=2)
    (error,) = errors_in(out)
    assert (error["rank"], error["cause"], error["is_input"]) == (2, "rows.csv: is wrong", True)
    assert record["error"]["cause"] == "rows.csv: is wrong"


def test_the_log_has_the_traceback(failing, tmp_path):
    failing("raise ValueError('it broke')", status=1)
    assert "ValueError: it broke" in (tmp_path / "run" / "clean.log").read_text()


def test_scratch_folders_of_killed_ranks_go_with_the_next_stage(failing, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    failing("import os, signal; os.kill(os.getpid(), signal.SIGKILL) if stage.comm.rank == 1 else 0", status=137)
    assert list(tmp_path.glob("hvdedge-*"))
    failing("pass", status=0)
    assert not list(tmp_path.glob("hvdedge-*"))


def test_an_output_that_breaks_off_leaves_nothing_behind(failing, tmp_path):
    body = (
        "\n    with stage.output(f'rows-{stage.comm.rank}.txt') as path:\n        path.write_text('half')\n"
        "        raise ValueError('it broke')"
    )
    failing(body, status=1)
    assert not list((tmp_path / "run").glob("*rows*"))
    assert not list((tmp_path / "run").glob(".*rows*"))


def test_a_stage_by_hand_says_its_error_in_one_line(failing):
    with pytest.raises(AssertionError) as said:  # mpirun's fixture fails with all that was said
        failing("if stage.comm.rank == 1: raise ValueError('it broke')", status=0, progress="")
    lines = [line for line in str(said.value).splitlines() if "it broke" in line]
    assert re.fullmatch(r"rank 1 on host \S+: ValueError: it broke", lines[0].strip())
    assert len(lines) == 1
