"""What the ranks hold of a model that is cut, beside one rank that holds the whole: 1 to 4 ranks, each strategy.

Many dense layers of one width, or convolutions of large images where these are cut, the same model and micro-batches
of 32 rows on each number of ranks; what a rank's peak of resident memory grew over what it was before the model was
built. One JSON line a number of ranks: the sum over the ranks, and the fullest one, beside one rank.

    python bench/part_memory.py [--ranks 1 2 3 4] [--width 1024] [--layers 48] [--only pipeline]
"""

import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE / "programs")]
AT_MOST = 1.25
STRATEGIES = {
    "pipeline": {"schedule": "1f1b", "chunks": 8},
    "tensor_parallel": {},
    "ring_tmp": {"measure": False},
    "ring_tmp, recompute": {"measure": False, "recompute": True},
    "spatial_parallel": {},
}


def main() -> None:
    """Train on each number of ranks and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="*", default=[1, 2, 3, 4])
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=48)
    parser.add_argument("--only", nargs="*", choices=STRATEGIES, default=[*STRATEGIES])
    arguments = parser.parse_args()
    from ranks import slots

    with slots(max(arguments.ranks)) as cluster:
        for strategy in arguments.only:
            _compare(strategy, cluster, arguments)


def _compare(strategy: str, cluster, arguments: argparse.Namespace) -> None:
    from ranks import told

    one = None
    for ranks in arguments.ranks:
        words = [strategy.split(",")[0], json.dumps(STRATEGIES[strategy]), "--epochs", "1"]
        if strategy == "spatial_parallel":  # of few rows: images are held as well, and are not the model's
            words += ["--rows", "64", "--image", "192", "--width", "16", "--layers", "6", "--batch-size", "32"]
        else:
            words += [
                "--rows",
                "512",
                "--batch-size",
                "256" if strategy == "pipeline" else "32",
                "--width",
                str(arguments.width),
                "--layers",
                str(arguments.layers),
            ]
        (costs,) = told("noise_models.py", words, ranks=ranks, cluster=cluster)
        grown = costs["grown_bytes"]
        one = one or grown[0]
        figure = {
            "figure": f"{strategy}, {ranks} ranks: memory of all / of one that holds all",
            "ratio": round(sum(grown) / one, 3),
            "at_most": AT_MOST,
            "fullest": round(max(grown) / one, 3),
            "mb": [round(each / 1e6) for each in grown],
            "weights_mb": round(4 * costs["parameters"] / 1e6),
        }
        print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
