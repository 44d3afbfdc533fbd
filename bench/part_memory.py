"""What a pipeline's ranks hold, beside one rank that holds the whole model: 1 to 4 ranks.

Dense layers of one width, the same model and micro-batches on each number of ranks; what a rank's peak of resident
memory grew over what it was before the model was built. One JSON line a number of ranks: the sum over the ranks, and
the fullest one, beside one rank.

    python bench/part_memory.py [--ranks 1 2 3 4] [--width 2048] [--layers 12]
"""

import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE / "programs")]
AT_MOST = 1.25


def main() -> None:
    """Train on each number of ranks and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="*", default=[1, 2, 3, 4])
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--layers", type=int, default=12)
    arguments = parser.parse_args()
    from ranks import slots

    with slots(max(arguments.ranks)) as cluster:
        _compare(cluster, arguments)


def _compare(cluster, arguments: argparse.Namespace) -> None:
    from ranks import told

    one = None
    for ranks in arguments.ranks:
        words = ["1f1b", "8", str(arguments.width), str(arguments.layers), "1", "512"]
        (costs,) = told("dense_pipeline.py", words, ranks=ranks, cluster=cluster)
        grown = costs["grown_bytes"]
        one = one or grown[0]
        figure = {
            "figure": f"{ranks} ranks: memory of all / of one that holds all",
            "ratio": round(sum(grown) / one, 3),
            "at_most": AT_MOST,
            "fullest": round(max(grown) / one, 3),
            "mb": [round(each / 1e6) for each in grown],
            "weights_mb": round(4 * costs["parameters"] / 1e6),
        }
        print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
