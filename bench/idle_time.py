"""Idle time and bytes of parameter servers beside all-reduce, as ranks are added: 1 to 6 on this machine.

The digits are trained for some epochs each; the share of a step in which a rank waits, the bytes that it sends in a
step, and the examples a second of all ranks are the means over the ranks. One JSON line a strategy and number of ranks.
Where there are fewer cores than ranks, waiting for a core is in the figures.

    python bench/idle_time.py [--ranks 1 2 3 4 5 6] [--epochs 6]
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))
STRATEGIES = {
    "ring_allreduce": ("ring_allreduce", {}),
    "parameter_server sync": ("parameter_server", {}),
    "parameter_server async": ("parameter_server", {"mode": "async"}),
}


def main() -> None:
    """Train and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="*", default=[1, 2, 3, 4, 5, 6])
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()
    with tempfile.NamedTemporaryFile("w", prefix="hosts-") as hosts:
        hosts.write(f"localhost slots={max(arguments.ranks)}\n")
        hosts.flush()
        _compare(hosts.name, arguments)


def _compare(hosts: str, arguments: argparse.Namespace) -> None:
    for ranks in arguments.ranks:
        for name, (strategy, options) in STRATEGIES.items():
            if strategy == "parameter_server" and ranks < 2:
                continue  # a server and a worker at least
            told = _run(hosts, strategy, options, ranks, arguments.epochs)
            figure = {
                "figure": f"{name} on {ranks} ranks",
                "idle_share": round(told["idle_share"], 3),
                "bytes_per_step": round(told["bytes_per_step"]),
                "examples_per_second": round(told["examples_per_second"]),
            }
            print(json.dumps(figure), flush=True)


def _run(hosts: str, strategy: str, options: dict, ranks: int, epochs: int) -> dict:
    """Return what a training told."""
    from hvdedge import clusters, launch

    program = str(HERE / "programs" / "digits_until.py")
    words = [strategy, json.dumps(options), "--epochs", str(epochs)]
    command = launch.mpirun(program, words, ranks=ranks, cluster=clusters.read_cluster(hosts))
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        sys.exit(f"{strategy} on {ranks}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return json.loads(lines[-1])


if __name__ == "__main__":
    main()
