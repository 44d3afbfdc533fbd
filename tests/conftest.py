"""What the tests share: a communicator, a workspace, and real mpirun with a time limit."""

import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
MPIRUN = [
    *("mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"),
    *("--mca", "mpi_yield_when_idle", "1", "--mca", "pml", "ob1", "--mca", "btl", "self,sm"),
]


@pytest.fixture
def comm():
    """A communicator of this process alone."""
    from mpi4py import MPI

    from hvdedge.parallel import MeteredComm

    return MeteredComm(MPI.COMM_SELF)


@pytest.fixture
def workspace(tmp_path):
    """A rank's surroundings in a folder of the test's own, with 64 MB."""
    from hvdedge.workspace import Workspace

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Workspace(run=tmp_path, scratch=scratch, memory_bytes=64_000_000)


def run_mpi(ranks: int, program: pathlib.Path, *arguments, seconds: int = 120, status: int = 0) -> str:
    """Run a program on some ranks; return its standard output; fail with all it said."""
    command = [*MPIRUN, "-np", str(ranks), sys.executable, "-m", "mpi4py", str(program), *map(str, arguments)]
    environment = {**os.environ, "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment["PYTHONPATH"] = f"{ROOT}:{ROOT / 'tests'}:{environment.get('PYTHONPATH', '')}"
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, env=environment, cwd=ROOT)
    assert done.returncode == status, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def mpirun(tmp_path):
    """As `run_mpi`, of a path or of Python text."""

    def run(ranks: int, program, *arguments, **more) -> str:
        if isinstance(program, str):
            path = tmp_path / "program.py"
            path.write_text(textwrap.dedent(program))
            program = path
        return run_mpi(ranks, program, *arguments, **more)

    return run
