"""What the frame of a stage costs beside its work: seconds from start to end on two ranks of a stage that does nothing.

The reference is mpirun starting two ranks of Python that import mpi4py and end. One JSON line: the frame's seconds, the
reference's, their difference (at most 1.5 s is wanted) and ratio; medians of rounds in turn.

    python bench/stage_overhead.py [--rounds 5]
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hvdedge import clusters, launch  # noqa: E402

NOTHING = """
from hvdedge.stage import start
def main(stage):
    loaded = __import__("sys").modules
    assert "tensorflow" not in loaded
start("clean", main)
"""


def main() -> None:
    """Run the rounds and print the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    local = clusters.read_cluster("local")
    with tempfile.TemporaryDirectory() as folder:
        frame, bare = pathlib.Path(folder) / "frame.py", pathlib.Path(folder) / "bare.py"
        frame.write_text(NOTHING)
        bare.write_text("from mpi4py import MPI\n")
        pipeline = str(ROOT / "jobs" / "digits.toml")
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(
                _seconds(launch.mpirun(str(frame), [pipeline, "--results", f"{folder}/run"], ranks=2, cluster=local))
            )
            theirs.append(_seconds(launch.mpirun(str(bare), [], ranks=2, cluster=local)))
    figure = {
        "figure": "frame of a stage - bare mpi4py, seconds on two ranks",
        "difference": round(statistics.median(a - b for a, b in zip(ours, theirs, strict=True)), 3),
        "at_most": 1.5,
        "seconds": {"frame": round(statistics.median(ours), 3), "bare": round(statistics.median(theirs), 3)},
        "ratio": round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 2),
    }
    print(json.dumps(figure))


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
