"""The case studies end to end, all stages: what each takes on this machine, and what it reaches.

One JSON line a case and strategy: seconds of all stages and of training, the largest memory of a rank, bytes that all
ranks sent in training, and the scores. A case whose data is not there is told with what to put where.

    python bench/cases.py [CASE ...] [--ranks 2] [--strategies ring_allreduce gossip ...] [--results FOLDER]
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from hvdedge import records

ROOT = pathlib.Path(__file__).resolve().parent.parent
HVDEDGE = str(pathlib.Path(sys.executable).with_name("hvdedge"))
SCORES = ("accuracy", "auc", "f1", "mse", "mae", "nmi", "ari")
WRONG_INPUT = 2
OWN = "as the case has it"


def main() -> None:
    """Run the cases and print the figures."""
    known = sorted(path.stem for path in (ROOT / "jobs").glob("*.toml"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(known)}; all by default")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--strategies", nargs="*", default=[OWN])
    parser.add_argument("--results", type=pathlib.Path, help="where the runs stay; by default they go")
    arguments = parser.parse_args()
    unknown = {*arguments.cases} - {*known}
    if unknown:
        parser.error(f"received {', '.join(sorted(unknown))}, allowed: {', '.join(known)}")
    with tempfile.TemporaryDirectory() as folder:
        results = (arguments.results or pathlib.Path(folder)).resolve()
        ends = [
            _run(case, strategy, arguments.ranks, results)
            for case in arguments.cases or known
            for strategy in arguments.strategies
        ]
    sys.exit(any(ends))


def _run(case: str, strategy: str, ranks: int, results: pathlib.Path) -> bool:
    """Print what a case took and reached; return whether it failed."""
    run = f"{'own' if strategy == OWN else strategy}-{ranks}"
    chosen = [] if strategy == OWN else ["--set", f"train.strategy={strategy}"]
    words = [f"jobs/{case}.toml", "--ranks", str(ranks), "--results", str(results), "--run", run, *chosen]
    began = time.perf_counter()
    done = subprocess.run([HVDEDGE, "run", *words], capture_output=True, text=True, cwd=ROOT, stdin=subprocess.DEVNULL)
    figure = {"case": case, "strategy": strategy, "ranks": ranks, "seconds": round(time.perf_counter() - began)}
    if done.returncode:
        line = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1]
        figure["not_run" if done.returncode == WRONG_INPUT else "failed"] = line
    else:
        stages = records.read_run(results / case / run)
        train, found = stages["train"], stages["evaluate"].metrics
        most = max(rank.peak_rss_bytes for one in stages.values() for rank in one.ranks)
        figure |= {
            "train_seconds": round(train.wall_seconds),
            "most_memory_mb": round(most / 1e6),
            "train_mb_sent": round(sum(rank.bytes_sent for rank in train.ranks) / 1e6, 1),
            **{name: round(found[name], 4) for name in SCORES if found.get(name) is not None},
        }
    print(json.dumps(figure), flush=True)
    return "failed" in figure


if __name__ == "__main__":
    main()
