"""Training on features that are larger than memory: two ranks, each in a control group with a limit (as root).

Features of a quarter of the limit, and of eight times it, are trained on for an epoch, read in the shared folder and
dealt to each rank's disk. One JSON line each: the peak resident memory of the fuller rank, and how much more it is
than with the small ones. Needs nine times the limit on disk, and as much again for the rows that are dealt.

    python bench/larger_than_memory.py [--limit 900] [--folder TEMPORARY]
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE / "programs")]
ROW_BYTES = 28 * 28 * 4 + 12
MEMORY_MB = 256  # the pipeline's limit, outside TensorFlow
AT_MOST = 1.15


def main() -> None:
    """Make the features, train, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=900, help="MB of a rank's control group")
    parser.add_argument("--folder")
    arguments = parser.parse_args()
    from control_groups import groups, memory

    limit = arguments.limit * 10**6
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary, groups([memory(limit)] * 2) as files:
        small = _trained(pathlib.Path(temporary) / "small", limit // 4, files, "shared")
        for rows in ("shared", "dealt"):
            large = _trained(pathlib.Path(temporary) / "large", 8 * limit, files, rows)
            figure = {
                "figure": f"8 x the limit, {rows}: peak MB / with a quarter of the limit",
                "ratio": round(large["mb"] / small["mb"], 3),
                "at_most": AT_MOST,
                "limit_mb": arguments.limit,
                "mb": {"large": round(large["mb"]), "small": round(small["mb"]), "before": round(small["mb_before"])},
                "seconds": round(large["seconds"], 1),
                "megabytes_per_second": round(8 * arguments.limit / large["seconds"]),
                "accuracy": round(large["accuracy"], 4),
            }
            print(json.dumps(figure), flush=True)


def _trained(folder: pathlib.Path, size_bytes: int, files: list[str], rows: str) -> dict:
    """Return what the fuller of two ranks told."""
    from ranks import told

    from hvdedge import clusters

    program = str(HERE / "programs" / "large_features.py")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    if not folder.exists():
        words = [sys.executable, program, "make", str(folder), str(size_bytes // ROW_BYTES)]
        subprocess.run(words, check=True, env=environment)
    words = ["train", str(folder), "--rows", rows, "--memory", str(MEMORY_MB), "--groups", *files]
    both = told("large_features.py", words, ranks=2, cluster=clusters.read_cluster("local"), seconds=1800)[-1]
    return max(both, key=lambda one: one["mb"])


if __name__ == "__main__":
    main()
