"""How many more epochs each way of exchanging takes to the same accuracy: what `exchange = "auto"` knows of them.

The digits are trained on three ranks from several seeds, each way fixed from the first step on, until the validation
accuracy is .95; epochs are interpolated. One JSON line a way: the mean, and how many times that of the plain way it is.

    python bench/exchange_drawbacks.py [--seeds 6]
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE / "programs")]
RANKS = 3


def main() -> None:
    """Train and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6)
    arguments = parser.parse_args()
    from hvdedge import clusters, launch

    with tempfile.NamedTemporaryFile("w", prefix="hosts-") as hosts:
        hosts.write(f"localhost slots={RANKS}\n")
        hosts.flush()
        words = [str(arguments.seeds)]
        program = str(HERE / "programs" / "exchange_drawbacks.py")
        command = launch.mpirun(program, words, ranks=RANKS, cluster=clusters.read_cluster(hosts.name))
        place = command.index("--wdir")
        command[place:place] = ["-x", f"PYTHONPATH={ROOT}"]
        plain = None
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
            for line in run.stdout:
                if not line.startswith("{"):
                    continue
                told = json.loads(line)
                mean = statistics.mean(told["epochs"])
                plain = plain or mean
                figure = {"figure": f"epochs to .95: {told['way']}", "value": round(mean, 2)}
                print(json.dumps({**figure, "ratio": round(mean / plain, 2), "epochs": told["epochs"]}), flush=True)
        sys.exit(run.returncode)


if __name__ == "__main__":
    main()
