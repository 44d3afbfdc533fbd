"""What the command itself costs: seconds from typing `hvdedge run` to the start of the first stage's mpirun.

The reference is the bare interpreter starting and ending. One JSON line; at most 0.3 s is wanted; medians of rounds.

    python bench/command_start.py [--rounds 7]
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import psutil

ROOT = pathlib.Path(__file__).resolve().parent.parent
HVDEDGE = pathlib.Path(sys.executable).parent / "hvdedge"


def main() -> None:
    """Run the rounds and print the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    ours, bare = [], []
    with tempfile.TemporaryDirectory() as results:
        for number in range(parser.parse_args().rounds):
            ours.append(_seconds_to_mpirun(results, f"r{number}"))
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", "pass"], check=True)
            bare.append(time.perf_counter() - began)
    figure = {
        "figure": "seconds from the command to its first stage",
        "seconds": round(statistics.median(ours), 3),
        "at_most": 0.3,
        "bare_interpreter": round(statistics.median(bare), 3),
        "ratio": round(statistics.median(a / b for a, b in zip(ours, bare, strict=True)), 1),
    }
    print(json.dumps(figure))


def _seconds_to_mpirun(results: str, run: str) -> float:
    words = ["run", "jobs/digits.toml", "--results", results, "--run", run, "--to", "prepare", "--ranks", "1"]
    began = time.perf_counter()
    process = subprocess.Popen([HVDEDGE, *words], cwd=ROOT, stdout=subprocess.DEVNULL)
    watched = psutil.Process(process.pid)
    while not watched.children():
        time.sleep(0.001)
    taken = time.perf_counter() - began
    process.wait()
    return taken


if __name__ == "__main__":
    main()
