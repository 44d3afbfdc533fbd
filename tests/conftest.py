"""What the tests share: a communicator, a workspace, and real mpirun with a time limit."""

import textwrap

import pytest
from mpi_runs import run_mpi


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
