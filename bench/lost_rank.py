"""Seconds from the death of a rank to the end of the next step of the others: the classic CNN, three ranks.

Beside it the part that the record's event tells, from when a survivor noticed the loss until it could go on, and the
rest: how long it took to notice, and the step itself. One JSON line.

    python bench/lost_rank.py [--times 5]
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent


def main() -> None:
    """Lose a rank so many times and print the median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    found = [_lose() for _ in range(parser.parse_args().times)]
    figure = {
        "figure": "from a rank's death to the end of the next step, seconds",
        "value": round(statistics.median(whole for whole, _ in found), 3),
        "took_seconds": round(statistics.median(took for _, took in found), 3),
        "all": [round(whole, 3) for whole, _ in found],
    }
    print(json.dumps(figure), flush=True)


def _lose() -> tuple[float, float]:
    """Return the seconds from the blow to the next step, and what the event tells of them."""
    sys.path.insert(0, str(ROOT))
    from hvdedge import clusters, launch

    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        command = launch.mpirun(
            str(HERE / "programs" / "lost_rank.py"),
            [folder],
            ranks=3,
            cluster=clusters.read_cluster("local"),
            can_lose=True,
        )
        command.insert(1, "--oversubscribe")  # three ranks on two cores
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
        try:
            killed, went_on, took = (
                float((pathlib.Path(folder) / name).read_text()) for name in ("killed", "next", "took")
            )
        except FileNotFoundError:
            sys.exit(f"exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return went_on - killed, took


if __name__ == "__main__":
    main()
