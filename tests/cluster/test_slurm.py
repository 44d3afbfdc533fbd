"""A pipeline as a real batch job: submitted by hand and by the command, ended by Slurm, gone on with."""

import json
import pathlib
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HVDEDGE = str(pathlib.Path(sys.executable).parent / "hvdedge")


def sbatch(words, environment, **more):
    return subprocess.run(
        ["sbatch", *words], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, **more
    )


def record(folder, stage):
    return json.loads((folder / f"{stage}.json").read_text())


def test_the_batch_script_runs_a_pipeline(slurm, tmp_path):
    words = ["--wait", "--ntasks=2", f"--output={tmp_path}/job.log", "slurm/server.sbatch", "jobs/digits.toml"]
    done = sbatch([*words, "--results", str(tmp_path), "--run", "r", "--to", "clean"], slurm)
    assert done.returncode == 0, done.stderr + (tmp_path / "job.log").read_text()
    found = record(tmp_path / "digits" / "r", "clean")
    assert (found["status"], found["cluster"], found["world_size"]) == ("done", "server", 2)


def test_wrong_input_is_the_jobs_exit_status(slurm, tmp_path):
    words = [
        "--wait",
        f"--output={tmp_path}/job.log",
        "slurm/server.sbatch",
        "jobs/digits.toml",
        "--set",
        "train.epochs=-1",
    ]
    assert sbatch(words, slurm).returncode == 2
    assert "train.epochs" in (tmp_path / "job.log").read_text()


def test_submit_writes_and_submits_the_like(slurm, tmp_path):
    command = [HVDEDGE, "run", "jobs/digits.toml", "--cluster", "server", "--ranks", "2", "--submit"]
    command += ["--results", str(tmp_path), "--run", "r", "--to", "prepare"]
    done = subprocess.run(command, env=slurm, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "digits" / "r"
    assert "Submitted batch job" in done.stdout
    assert "#SBATCH --ntasks=2" in (folder / "submit.sbatch").read_text()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not _is_done(folder / "prepare.json"):
        time.sleep(0.5)
    assert _is_done(folder / "prepare.json"), "\n".join(path.read_text() for path in folder.glob("slurm-*.log"))
    assert record(folder, "prepare")["world_size"] == 2


@pytest.mark.slow
def test_an_interrupted_job_goes_on_where_it_stopped(slurm, tmp_path):
    words = ["--parsable", "--ntasks=2", f"--output={tmp_path}/job.log", "slurm/server.sbatch", "jobs/digits.toml"]
    arguments = ["--results", str(tmp_path), "--run", "r", "--to", "train", "--set", "train.epochs=3000"]
    job = sbatch([*words, *arguments], slurm).stdout.strip()
    folder = tmp_path / "digits" / "r"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (folder / "checkpoints" / "latest.json").exists():
        time.sleep(0.5)
    subprocess.run(["scancel", "--batch", "--signal=INT", job], env=slurm, check=True)
    while time.monotonic() < deadline and record(folder, "train")["status"] == "running":
        time.sleep(0.2)
    assert record(folder, "train")["status"] == "interrupted", (tmp_path / "job.log").read_text()
    before = (folder / "prepare.json").stat().st_mtime
    done = sbatch(["--wait", *words[1:], *arguments[:-1], "train.epochs=3000", "--to", "extract"], slurm)
    assert done.returncode == 0, (tmp_path / "job.log").read_text()
    assert (folder / "prepare.json").stat().st_mtime == before


def _is_done(path):
    return path.exists() and json.loads(path.read_text())["status"] == "done"
