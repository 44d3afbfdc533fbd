"""The largest model that fits under a memory limit a rank, as ranks are added: each strategy, dense layers.

What a rank's peak of resident memory is grows evenly with the layers: two depths tell how much. The largest depth by
that is then trained, and made less until no rank's peak exceeds the limit, TensorFlow's own memory included. One JSON
line a limit, strategy and number of ranks.

    python bench/largest_model.py [--limits 600 1000] [--ranks 1 2 4] [--width 512] [--only ring_tmp]
"""

import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE / "programs")]
STRATEGIES = {
    "ring_allreduce": {"balance": "always"},
    "parameter_server": {},
    "pipeline": {"chunks": 8, "measure": False},
    "tensor_parallel": {},
    "ring_tmp": {"measure": False},
}
PROBED = 8, 40  # layers a rank
ROWS = 512


def main() -> None:
    """Find the models and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limits", type=int, nargs="*", default=[600, 1000], help="megabytes")
    parser.add_argument("--ranks", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--only", nargs="*", choices=STRATEGIES, default=[*STRATEGIES])
    arguments = parser.parse_args()
    from ranks import slots

    with slots(max(arguments.ranks)) as cluster:
        for strategy in arguments.only:
            for ranks in arguments.ranks:
                if strategy != "parameter_server" or ranks > 1:
                    _find(strategy, ranks, cluster, arguments)


def _find(strategy: str, ranks: int, cluster, arguments: argparse.Namespace) -> None:
    def peak(layers: int) -> tuple[float, int]:
        """Return the fullest rank's megabytes, and how many numbers the model holds."""
        from ranks import told

        words = [strategy, json.dumps(STRATEGIES[strategy]), "--epochs", "1", "--rows", str(ROWS)]
        words += ["--width", str(arguments.width), "--layers", str(layers), "--batch-size", "64"]
        (costs,) = told("noise_models.py", words, ranks=ranks, cluster=cluster)
        return max(costs["peak_bytes"]) / 1e6, costs["parameters"]

    few, many = (count * (1 if "all" in strategy or "server" in strategy else ranks) for count in PROBED)
    (low, _), (high, _) = peak(few), peak(many)
    slope = (high - low) / (many - few)
    for limit in arguments.limits:
        layers = int(few + (limit - low) / slope)
        reached, parameters = peak(layers) if layers > 0 else (low, 0)
        while layers > 0 and reached > limit:
            layers = min(layers - 1, int(layers - (reached - limit) / slope))
            reached, parameters = peak(layers) if layers > 0 else (low, 0)
        figure = {
            "figure": f"{strategy}, {ranks} ranks of {limit} MB: largest model, parameters",
            "value": parameters,
            "layers": layers,
            "peak_mb": round(reached),
            "mb_a_layer": round(slope, 2),
            "mb_without": round(low - few * slope),
        }
        print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
