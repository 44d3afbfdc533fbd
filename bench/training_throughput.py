"""Training throughput of the classic CNN, two ranks on two cores, beside the same work by others.

All train conv32-conv64-pool-dropout-dense128-dropout-10 on 28 x 28 x 1 images, batch 128 a worker, float32, Adam. Each
round runs every contestant once, in turn; the first epoch warms up, the others count. One JSON line a comparison:
the median of the rounds' ratios. The peers (PyTorch) are installed into bench/.venv at the first call.

    python bench/training_throughput.py [--rounds 3] [--only keras_fit ddp ...]
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
WANTED = {"no_exchange": 0.93, "ddp": 1.4, "multi_worker_mirrored": 1.1, "keras_fit": 1.05}


def main() -> None:
    """Run the rounds and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=WANTED, default=list(WANTED))
    arguments = parser.parse_args()
    speeds: dict[str, list[float]] = {name: [] for name in ("ours", *arguments.only)}
    for _ in range(arguments.rounds):
        for name, taken in speeds.items():
            taken.append(_run(name))
    for name in arguments.only:
        ratios = [ours / theirs for ours, theirs in zip(speeds["ours"], speeds[name], strict=True)]
        figure = {
            "figure": f"ring_allreduce / {name}",
            "ratio": round(statistics.median(ratios), 3),
            "at_least": WANTED[name],
            "ratios": [round(ratio, 3) for ratio in ratios],
            "examples_per_second": {
                "ours": round(statistics.median(speeds["ours"])),
                name: round(statistics.median(speeds[name])),
            },
        }
        print(json.dumps(figure), flush=True)


def _run(name: str) -> float:
    """Return the examples a second of one contestant over both workers."""
    program = str(HERE / "programs" / f"{'ring_allreduce' if name in ('ours', 'no_exchange') else name}.py")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    if name in ("ours", "no_exchange"):
        sys.path.insert(0, str(ROOT))
        from hvdedge import clusters, launch

        command = launch.mpirun(
            program,
            ["--no-exchange"] * (name == "no_exchange"),
            ranks=2,
            cluster=clusters.read_cluster("local"),
            can_lose=True,
        )
    else:
        command = [str(_torch_python() if name == "ddp" else sys.executable), program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    lines = [line for line in done.stdout.splitlines() if line.startswith("examples_per_second ")]
    if done.returncode or not lines:
        sys.exit(f"{name}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return float(lines[-1].split()[1])


def _torch_python() -> pathlib.Path:
    sys.path.insert(0, str(HERE / "programs"))
    from peers import python_with

    return python_with("torch==2.13.0", "numpy")


if __name__ == "__main__":
    main()
