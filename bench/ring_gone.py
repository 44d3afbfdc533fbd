"""A node that leaves a ring, for a while and for good, beside a run in which none does: digits, four ranks.

The last but one leaves in the fourth epoch. One JSON line each: the seconds of all epochs, the accuracy, what is told.

    python bench/ring_gone.py [--epochs 12] [--away 3]
"""

import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE / "programs")]
RANKS, RANK, EPOCH = 4, 2, 3


def main() -> None:
    """Train and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--away", type=int, default=3)
    arguments = parser.parse_args()
    from digits_runs import run
    from ranks import slots

    away = f"{arguments.away} seconds"
    ways = {"nobody": [], f"one for {away}": [RANK, EPOCH, arguments.away], "one for good": [RANK, EPOCH, 0]}
    with slots(RANKS) as cluster:
        for name, gone in ways.items():
            words = ["--epochs", str(arguments.epochs), *(["--gone", *map(str, gone)] if gone else [])]
            for strategy in ("ring_tmp", "ring_allreduce"):
                told = run(strategy, {}, *words, ranks=RANKS, cluster=cluster, can_lose=True)
                figure = {
                    "figure": f"{strategy}, {name} leaves: seconds",
                    "value": round(told["all_seconds"], 2),
                    "epoch_seconds": [round(each, 2) for each in told["curves"]["epoch_seconds"]],
                    "accuracy": round(told["accuracy"], 4),
                    "events": told["events"],
                }
                print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
