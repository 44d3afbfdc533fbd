"""Statistics of a million rows x 15 columns of mixed types on two ranks, beside pandas and duckdb: seconds and memory.

Beside ours stand pandas (read_parquet, describe(include="all"), nunique) and duckdb (SUMMARIZE), each in one process
with its own threads, on the same Parquet. Ours are the seconds of the profiler, which reads the stage's Parquet and
tells quantiles, histograms, masks and frequent values besides; no side counts its start. All run in turn, `--times`
times; the fastest of each is printed, one JSON line a comparison.

    python bench/column_statistics.py [--ranks 1 2] [--times 3]
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).resolve().parent
ROWS, MEMORY = 1_000_000, "512MB"
PEERS = {
    "pandas": (
        "import pandas\n",
        "table = pandas.read_parquet(path)\ntable.describe(include='all')\ntable.nunique()\n",
    ),
    "duckdb": ("import duckdb\n", "duckdb.sql(f\"SUMMARIZE SELECT * FROM '{path}'\").fetchall()\n"),
}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args()
    sys.path.insert(0, str(HERE / "programs"))
    from peers import python_with

    python = python_with("pandas==3.1.1", "duckdb==2.0.0", "pyarrow")
    found: dict = {}
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        pq.write_table(_rows(), work / "million.parquet", compression="zstd")
        for _ in range(arguments.times):
            for ranks in arguments.ranks:
                found.setdefault(ranks, []).append(_ours(work, ranks))
            for name, program in PEERS.items():
                found.setdefault(name, []).append(_peer(python, *program, work / "million.parquet"))
    best = {name: min(times) for name, times in found.items()}
    for ranks in arguments.ranks:
        for name in PEERS:
            (ours, our_mb), (theirs, their_mb) = best[ranks], best[name]
            line = {"figure": f"statistics, {ranks} ranks / {name}: seconds", "ours": ours, "theirs": theirs}
            print(json.dumps(line | {"our_mb_a_rank": our_mb, "their_mb": their_mb}))
    if {1, 2} <= best.keys():
        print(json.dumps({"figure": "statistics: speed-up of 2 ranks", "value": round(best[1][0] / best[2][0], 2)}))


def _rows() -> pa.Table:
    draw = np.random.default_rng(0)
    towns = np.array([f"Town {number:04d}" for number in range(5000)])
    columns = {f"real{number}": draw.normal(size=ROWS) for number in range(3)}
    columns |= {
        "skewed": draw.lognormal(sigma=2, size=ROWS),
        "price": draw.integers(0, 100_000, ROWS) / 100,
        "age": pa.array(draw.integers(17, 91, ROWS), mask=draw.random(ROWS) < 0.05),
        "amount": draw.integers(0, 10**9, ROWS),
        "year": draw.integers(1950, 2025, ROWS),
        "number": np.arange(ROWS),
        "sex": draw.choice(["female", "male"], ROWS),
        "job": draw.choice(towns[:15], ROWS),
        "town": draw.choice(towns, ROWS),
        "name": np.char.add("n", draw.integers(0, 900_000, ROWS).astype(str)),
        "day": pa.array(draw.integers(0, 20_000, ROWS), pa.int32()).cast(pa.date32()),
        "flag": draw.random(ROWS) < 0.3,
    }
    return pa.table(columns)


def _ours(work: pathlib.Path, ranks: int) -> tuple[float, int]:
    (work / "million.toml").write_text(
        f'case = "million"\nmemory = "{MEMORY}"\n[prepare]\nreader = "parquet"\nsource = "million.parquet"\n'
    )
    hvdedge = str(pathlib.Path(sys.executable).parent / "hvdedge")
    command = [hvdedge, "run", str(work / "million.toml"), "--to", "profile", "--ranks", str(ranks)]
    command += ["--run", f"bench-{ranks}", "--results", str(work / "results")]
    if (run := work / "results" / "million" / f"bench-{ranks}").exists():
        (run / "profile.json").unlink()  # so that the stage runs again
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{ranks} ranks: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    record = json.loads((run / "profile.json").read_text())
    seconds = record["metrics"]["seconds_by_profiler"]["statistics"]
    return round(seconds, 2), round(max(rank["peak_rss_bytes"] for rank in record["ranks"]) / 1e6)


def _peer(python: pathlib.Path, start: str, work: str, path: pathlib.Path) -> tuple[float, int]:
    program = (
        f"import resource, sys, time\n{start}path = sys.argv[1]\nbegan = time.perf_counter()\n{work}"
        "taken = time.perf_counter() - began\n"
        "print(round(taken, 2), round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6))\n"
    )
    done = subprocess.run([python, "-c", program, str(path)], capture_output=True, text=True, check=True)
    seconds, mb = done.stdout.split()[-2:]
    return float(seconds), int(mb)


if __name__ == "__main__":
    main()
