"""Seconds to a given accuracy over slow links, for each strategy and exchange: three emulated hosts (as root).

The digits are trained on three hosts whose links pass 100, and then 10, megabits a second, until the validation
accuracy is reached, by each way once a round. One JSON line a way and rate, with its bytes a step, and one a rate for
the exchange that adapts beside the best of the others.

    python bench/slow_links.py [--rates 100 10] [--rounds 3] [--accuracy 0.95] [--only NAME ...]
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(HERE / "programs")]
WAYS = {
    "float32": ("ring_allreduce", {}),
    "bfloat16": ("ring_allreduce", {"exchange": "bfloat16"}),
    "int8": ("ring_allreduce", {"exchange": "int8"}),
    "top_k": ("ring_allreduce", {"exchange": "top_k"}),
    "accumulate 4": ("ring_allreduce", {"accumulate": 4}),
    "auto": ("ring_allreduce", {"exchange": "auto"}),
    "local_sgd": ("local_sgd", {}),
    "gossip": ("gossip", {}),
    "federated": ("federated", {}),
    "parameter_server": ("parameter_server", {}),
    "parameter_server async": ("parameter_server", {"mode": "async"}),
}
AT_MOST = 1.1


def main() -> None:
    """Run the rounds and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="*", default=[100, 10])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--accuracy", type=float, default=0.95)
    parser.add_argument("--only", nargs="*", choices=WAYS, default=list(WAYS))
    arguments = parser.parse_args()
    from digits_runs import run
    from emulated_hosts import emulated_hosts

    from hvdedge import clusters

    with tempfile.TemporaryDirectory() as folder, emulated_hosts(3, pathlib.Path(folder)) as hosts:
        cluster = clusters.read_cluster(str(hosts.hostfile))
        for rate in arguments.rates:
            hosts.shape(rate)
            found: dict[str, list[dict]] = {name: [] for name in arguments.only}
            for _ in range(arguments.rounds):
                for name, told in found.items():
                    words = "--accuracy", str(arguments.accuracy)
                    told.append(run(*WAYS[name], *words, ranks=3, cluster=cluster, hosts=hosts))
            _tell(rate, found)


def _tell(rate: float, found: dict[str, list[dict]]) -> None:
    medians = {}
    for name, told in found.items():
        seconds = [one["seconds"] for one in told]
        medians[name] = statistics.median(seconds) if None not in seconds else None
        figure = {
            "figure": f"{rate:g} Mbit/s, {name}: seconds to the accuracy",
            "value": medians[name],
            "seconds": seconds,
            "epochs": [one["epochs"] for one in told],
            "bytes_per_step": told[0]["bytes_per_step"],
            "step_seconds": told[0]["step_seconds"],
            "events": told[0]["events"],
        }
        print(json.dumps(figure), flush=True)
    others = {name: value for name, value in medians.items() if name != "auto" and value is not None}
    if medians.get("auto") and others:
        best = min(others, key=lambda name: others[name])
        ratio = medians["auto"] / others[best]
        figure = {"figure": f"{rate:g} Mbit/s: auto / {best}", "ratio": round(ratio, 3), "at_most": AT_MOST}
        print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
