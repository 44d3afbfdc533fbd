"""Models cut over some ranks beside the whole ones, as `partitioned_models.py` compares them under mpirun."""

import json
import pathlib

from mpi_runs import run_mpi

PROGRAM = pathlib.Path(__file__).resolve().parent / "partitioned_models.py"


def compared(ranks, entries, folder, more=(), status=0):
    """What the program tells of each entry."""
    out = run_mpi(ranks, PROGRAM, json.dumps(entries), folder, seconds=300, more=more, status=status)
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]
