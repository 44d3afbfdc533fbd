"""Real mpirun with a time limit."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MPIRUN = [
    *("mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"),
    *("--mca", "mpi_yield_when_idle", "1", "--mca", "pml", "ob1", "--mca", "btl", "self,sm"),
]


def run_mpi(ranks: int, program: pathlib.Path, *arguments, seconds: int = 120, status: int = 0, more=()) -> str:
    """Run a program on some ranks, with `more` words for mpirun; return its output; fail with all it said."""
    command = [*MPIRUN, *more, "-np", str(ranks), sys.executable, "-m", "mpi4py", str(program), *map(str, arguments)]
    environment = {**os.environ, "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment["PYTHONPATH"] = f"{ROOT}:{ROOT / 'tests'}:{environment.get('PYTHONPATH', '')}"
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, env=environment, cwd=ROOT)
    assert done.returncode == status, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
