"""RingTMP over a slow link: the measured time beside I * max(c, T), two emulated hosts (as root).

Dense layers of some widths on noise; the link passes 100 megabits a second. T, what a node's messages of an iteration
take, and c, for which it computes, are as the record has them; the time is that of all epochs but the first. One JSON
line a width, with what I * (c + T) would have been.

    python bench/ring_link.py [--rate 100] [--widths 128 512 1024]
"""

import argparse
import json
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(HERE / "programs")]
AWAY = 0.15


def main() -> None:
    """Train with each width and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--widths", type=int, nargs="*", default=[128, 512, 1024])
    arguments = parser.parse_args()
    from emulated_hosts import emulated_hosts
    from ranks import told

    from hvdedge import clusters

    with tempfile.TemporaryDirectory() as folder, emulated_hosts(2, pathlib.Path(folder)) as hosts:
        cluster = clusters.read_cluster(str(hosts.hostfile))
        hosts.shape(arguments.rate)
        for width in arguments.widths:
            words = ["ring_tmp", "{}", "--width", str(width), "--epochs", "3", "--rows", "16384"]
            (costs,) = told("noise_models.py", words, ranks=2, cluster=cluster, hosts=hosts)
            ring = costs["ring"]
            summed = ring["iterations"] * (ring["compute_seconds"] + ring["transfer_seconds"])
            figure = {
                "figure": f"{arguments.rate:g} Mbit/s, width {width}: time / (I * max(c, T))",
                "ratio": round(ring["measured_seconds"] / ring["predicted_seconds"], 3),
                "at_most_away": AWAY,
                "beside_the_sum": round(ring["measured_seconds"] / summed, 3),
                **{name: round(value, 4) for name, value in ring.items()},
            }
            print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
