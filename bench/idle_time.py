"""Idle time and bytes of rings of layers and parameter servers beside all-reduce: 1 to 6 ranks on this machine.

The digits are trained for some epochs each; the share of a step in which a rank waits, the bytes that it sends in a
step, and the examples a second of all ranks are the means over the ranks; beside them the seconds of all epochs but the
first, and the loss after each. One JSON line a strategy and number of ranks.
Where there are fewer cores than ranks, waiting for a core is in the figures.

    python bench/idle_time.py [--ranks 1 2 3 4 5 6] [--epochs 6]
"""

import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE / "programs")]
STRATEGIES = {
    "ring_allreduce": ("ring_allreduce", {}),
    "parameter_server sync": ("parameter_server", {}),
    "parameter_server async": ("parameter_server", {"mode": "async"}),
    "ring_tmp": ("ring_tmp", {}),
}


def main() -> None:
    """Train and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="*", default=[1, 2, 3, 4, 5, 6])
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()
    from ranks import slots

    with slots(max(arguments.ranks)) as cluster:
        _compare(cluster, arguments)


def _compare(cluster, arguments: argparse.Namespace) -> None:
    from digits_runs import run

    for ranks in arguments.ranks:
        for name, (strategy, options) in STRATEGIES.items():
            if strategy == "parameter_server" and ranks < 2:
                continue  # a server and a worker at least
            words = "--epochs", str(arguments.epochs)
            told = run(strategy, options, *words, ranks=ranks, cluster=cluster)
            figure = {
                "figure": f"{name} on {ranks} ranks",
                "idle_share": round(told["idle_share"], 3),
                "bytes_per_step": round(told["bytes_per_step"]),
                "examples_per_second": round(told["examples_per_second"]),
                "seconds": round(sum(told["curves"]["epoch_seconds"][1:]), 2),
                "losses": [round(loss, 3) for loss in told["curves"]["loss"]],
            }
            print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
