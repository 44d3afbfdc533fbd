"""Training on ranks of uneven speed: lanes that follow the speeds, beside equal ones and what each rank reaches alone.

Three ranks on one host get 100, 50 and 25 % of a core by control groups (as root). Each round trains the classic CNN on
them with lanes moved and with equal lanes, and on each rank alone; the first epochs, in which lanes move, do not count.
One JSON line a comparison: the median of the rounds' ratios.

    python bench/uneven_ranks.py [--rounds 3]
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE / "programs")]
QUOTAS = (1.0, 0.5, 0.25)
WANTED = {"alone": 0.85, "equal_lanes": 1.8}


def main() -> None:
    """Run the rounds and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    speeds: dict[str, list[float]] = {"balanced": [], "equal_lanes": [], "alone": []}
    from control_groups import cores, groups

    with groups([cores(quota) for quota in QUOTAS]) as folders:
        for _ in range(arguments.rounds):
            speeds["balanced"].append(_run(folders, "always"))
            speeds["equal_lanes"].append(_run(folders, "never"))
            speeds["alone"].append(sum(_run([folder], "never") for folder in folders))
    for name, at_least in WANTED.items():
        ratios = [ours / theirs for ours, theirs in zip(speeds["balanced"], speeds[name], strict=True)]
        figure = {
            "figure": f"balanced / {name}",
            "ratio": round(statistics.median(ratios), 3),
            "at_least": at_least,
            "ratios": [round(ratio, 3) for ratio in ratios],
            "examples_per_second": {each: round(statistics.median(speeds[each])) for each in ("balanced", name)},
        }
        print(json.dumps(figure), flush=True)


def _run(folders: list[str], balance: str) -> float:
    """Return the examples a second of all ranks, each in one of the groups."""
    from hvdedge import clusters, launch

    program = str(HERE / "programs" / "ring_allreduce.py")
    words = ["--balance", balance, "--epochs", "5", "--warm", "3", "--groups", *folders]
    command = launch.mpirun(program, words, ranks=len(folders), cluster=clusters.read_cluster("local"))
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    lines = [line for line in done.stdout.splitlines() if line.startswith("examples_per_second ")]
    if done.returncode or not lines:
        sys.exit(f"{balance}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return float(lines[-1].split()[1])


if __name__ == "__main__":
    main()
