"""Runs of digits_until.py, and what each told."""

import json
import pathlib
import subprocess
import sys

from hvdedge import launch
from hvdedge.clusters import Cluster

PROGRAM = pathlib.Path(__file__).resolve().parent / "digits_until.py"
ROOT = PROGRAM.parents[2]
SECONDS = 900


def run(strategy: str, options: dict, *words: str, ranks: int, cluster: Cluster, hosts=None) -> dict:
    """Return what a training told; end the benchmark where it failed.

    Args:
        words: more of the program's arguments.
        hosts: EmulatedHosts that the cluster is of; None: this machine's own.
    """
    command = launch.mpirun(str(PROGRAM), [strategy, json.dumps(options), *words], ranks=ranks, cluster=cluster)
    place = command.index("--wdir")
    command[place:place] = ["-x", f"PYTHONPATH={ROOT}"]
    environment = None
    if hosts is not None:
        command, environment = hosts.command(command), hosts.environment()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=SECONDS)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        sys.exit(f"{strategy} {options} on {ranks}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return json.loads(lines[-1])
