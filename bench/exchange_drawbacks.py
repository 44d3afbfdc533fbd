"""How many more epochs each way of exchanging takes to the same accuracy: what `exchange = "auto"` knows of them.

The digits are trained on three ranks from several seeds, each way fixed from the first step on, until the validation
accuracy is .95; epochs are interpolated. One JSON line a way: the mean, and how many times that of the plain way it is.

    python bench/exchange_drawbacks.py [--seeds 6]
"""

import argparse
import json
import pathlib
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE / "programs")]
RANKS = 3


def main() -> None:
    """Train and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6)
    arguments = parser.parse_args()
    from ranks import slots, told

    with slots(RANKS) as cluster:
        ways = told("exchange_drawbacks.py", [str(arguments.seeds)], ranks=RANKS, cluster=cluster, seconds=3600)
    plain = statistics.mean(ways[0]["epochs"])
    for way in ways:
        mean = statistics.mean(way["epochs"])
        figure = {"figure": f"epochs to .95: {way['way']}", "value": round(mean, 2), "ratio": round(mean / plain, 2)}
        print(json.dumps({**figure, "epochs": way["epochs"]}), flush=True)


if __name__ == "__main__":
    main()
