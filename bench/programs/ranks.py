"""Programs run by mpirun, and what they told."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from hvdedge import clusters, launch

PROGRAMS = pathlib.Path(__file__).resolve().parent
ROOT = PROGRAMS.parents[1]


def told(
    program: str, words: list[str], *, ranks: int, cluster: clusters.Cluster, hosts=None, seconds=900, can_lose=False
) -> list:
    """Return what stands in the lines of JSON that a program here printed; end the benchmark where it failed.

    Args:
        hosts: EmulatedHosts that the cluster is of; None: this machine's own.
        can_lose: whether the others go on when a rank is lost.
    """
    command = launch.mpirun(str(PROGRAMS / program), words, ranks=ranks, cluster=cluster, can_lose=can_lose)
    place = command.index("--wdir")
    command[place:place] = ["-x", f"PYTHONPATH={ROOT}"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    if hosts is not None:
        command, environment = hosts.command(command), hosts.environment()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=seconds)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("{", "["))]
    if done.returncode or not lines:
        sys.exit(f"{program} {' '.join(words)} on {ranks}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return [json.loads(line) for line in lines]


@contextlib.contextmanager
def slots(count: int):
    """Yield a cluster of this machine with so many slots."""
    with tempfile.NamedTemporaryFile("w", prefix="hosts-") as hosts:
        hosts.write(f"localhost slots={count}\n")
        hosts.flush()
        yield clusters.read_cluster(hosts.name)
