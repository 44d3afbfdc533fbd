"""From a raw CSV file to Parquet: the prepare stage on two ranks, beside pandas and duckdb.

Ours finds encoding, dialect, header and types, repairs rows and cells and logs each change, under a memory limit; the
others read with their defaults (pandas, which needs even rows, skips bad lines) and write Parquet. Each round runs all,
in turn, on the same file. One JSON line a comparison. The peers are installed into bench/.venv at the first call.

    python bench/prepare_throughput.py [--megabytes 1000] [--rounds 1] [--memory 512MB] [--clean] [--only pandas duckdb]
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
PACKAGES = ("pandas==3.1.1", "pyarrow", "duckdb==2.0.0")
WANTED_MB_PER_SECOND = 40
PROGRAMS = {
    "pandas": "import sys, pandas as pd; pd.read_csv(sys.argv[1], on_bad_lines='skip').to_parquet(sys.argv[2])",
    "duckdb": (
        "import sys, duckdb; duckdb.execute(f\"copy (select * from read_csv('{sys.argv[1]}', ignore_errors=true)) "
        "to '{sys.argv[2]}' (format parquet, compression zstd)\")"
    ),
}
TELL_PEAK = "; import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"


def main() -> None:
    """Run the rounds and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--memory", default="512MB")
    parser.add_argument("--clean", action="store_true", help="a file without dirt")
    parser.add_argument("--only", nargs="*", choices=PROGRAMS, default=list(PROGRAMS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        raw = pathlib.Path(folder) / "raw.csv"
        program = str(HERE / "programs" / "raw_table.py")
        command = [sys.executable, program, str(raw), str(arguments.megabytes), *["--clean"] * arguments.clean]
        subprocess.run(command, check=True)
        size = raw.stat().st_size / 1e6
        taken: dict[str, list[tuple[float, int]]] = {name: [] for name in ("ours", *arguments.only)}
        for _ in range(arguments.rounds):
            for name, rounds in taken.items():
                rounds.append(_ours(raw, arguments.memory) if name == "ours" else _peer(name, raw))
    for name in arguments.only or ["ours"]:
        figure = {
            "figure": f"prepare / {name}",
            "ratio": round(statistics.median(o[0] / p[0] for o, p in zip(taken[name], taken["ours"], strict=True)), 3),
            "megabytes": round(size),
            "megabytes_per_second": {of: round(size / statistics.median(t[0] for t in taken[of]), 1) for of in taken},
            "peak_rss_megabytes": {of: round(max(t[1] for t in taken[of]) / 1e6) for of in taken},
            "at_least": WANTED_MB_PER_SECOND,
        }
        print(json.dumps(figure), flush=True)


def _ours(raw: pathlib.Path, memory: str) -> tuple[float, int]:
    """Return the seconds of the prepare stage on two ranks, and the most that one of them held."""
    pipeline = raw.with_name("bench.toml")
    pipeline.write_text(f'case = "bench"\nmemory = "{memory}"\n[prepare]\nreader = "csv"\nsource = "{raw}"\n')
    results = raw.with_name("results")
    command = [sys.executable, "-m", "hvdedge", "run", str(pipeline), "--ranks", "2", "--to", "prepare"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "--results", str(results), "--run", "one"], env=environment, capture_output=True, text=True
    )
    took = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"ours: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    record = json.loads((results / "bench" / "one" / "prepare.json").read_text())
    shutil.rmtree(results)
    return took, max(rank["peak_rss_bytes"] for rank in record["ranks"])


def _peer(name: str, raw: pathlib.Path) -> tuple[float, int]:
    sys.path.insert(0, str(HERE / "programs"))
    from peers import python_with

    python = python_with(*PACKAGES)
    start = time.perf_counter()
    done = subprocess.run(
        [python, "-c", PROGRAMS[name] + TELL_PEAK, str(raw), str(raw.with_name("peer.parquet"))],
        capture_output=True,
        text=True,
    )
    took = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{name}: exit {done.returncode}\n{done.stderr}")
    return took, int(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
