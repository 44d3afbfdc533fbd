"""How long the ranks of a pipeline or a ring wait, beside the bubble of its schedule: one core a rank, two by default.

Dense layers of one width on noise; the share of the warm steps in which ranks wait, the mean over the ranks, by each
schedule and number of micro-batches. One JSON line each: beside what it may be. A ring has eight times the rows, as it
fills and empties in each epoch.

    python bench/pipeline_idle.py [--ranks 2] [--width 1024] [--layers 8] [--epochs 4] [--rows 4096]
"""

import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE / "programs")]
WAYS = [("gpipe", 4), ("gpipe", 16), ("1f1b", 4), ("1f1b", 16), ("pipedream", 1), ("ring_tmp", 1)]
SLACK, ASYNC = 0.05, 0.10


def main() -> None:
    """Train by each and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rows", type=int, default=4096)
    arguments = parser.parse_args()
    from ranks import told

    from hvdedge import clusters, schedules

    for schedule, chunks in WAYS:
        is_ring = schedule == "ring_tmp"
        options = {} if is_ring else {"schedule": schedule, "chunks": chunks}
        words = ["ring_tmp" if is_ring else "pipeline", json.dumps(options)]
        for name in ("width", "layers", "epochs"):
            words += [f"--{name}", str(getattr(arguments, name))]
        words += ["--rows", str(arguments.rows * (8 if is_ring else 1))]
        cluster = clusters.read_cluster("local")
        (costs,) = told("noise_models.py", words, ranks=arguments.ranks, cluster=cluster)
        is_async = schedule in ("pipedream", "ring_tmp")
        most = ASYNC if is_async else schedules.bubble(chunks, arguments.ranks) + SLACK
        figure = {
            "figure": f"{schedule}{'' if is_async else f', {chunks} micro-batches'}: idle share",
            "value": round(costs["idle_share"], 3),
            "at_most": round(most, 3),
            "examples_per_second": round(costs["examples_per_second"]),
            "layers": [len(part) for part in costs["parts"]],
            **({"ring": costs["ring"]} if is_ring else {}),
        }
        print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
