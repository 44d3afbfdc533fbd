"""Functional dependencies, unique columns and inclusions of real and wide tables on two ranks: seconds and memory.

The tables: Adult (from $HVDEDGE_DATA, left out where it is absent), Adult repeated to a million rows with noise, and a
random one of 1,000 rows x 100 columns. Beside it stands Desbordante, where its wheel is to be had: HyFD and HyUCC in
one process. The seconds are those of the profilers, without start and reading, as both sides hold the table by then.
One JSON line a figure; where `--ranks` names 1 and 2, also how many times as fast two ranks are.
Both run in turn, `--times` times, and the fastest counts.

    python bench/dependencies.py [--only adult million wide] [--ranks 1 2] [--times 3]
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
DATA = pathlib.Path(os.environ.get("HVDEDGE_DATA", ROOT.parent / "shared" / "data")).resolve() / "adult" / "adult.csv"
MEMORY = "512MB"
SECONDS = {"adult": {"functional_dependencies": 3, "unique_columns": 1, "inclusion_dependencies": 0.5}}
WIDE_ROWS, WIDE_COLUMNS, WIDE_LIMIT = 1000, 100, 600


def main() -> None:
    """Run what is asked for and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["adult", "million", "wide"]
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2])
    parser.add_argument("--times", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        for name in arguments.only:
            if name != "wide" and not DATA.is_file():
                print(json.dumps({"figure": name, "left_out": f"{DATA} is absent"}))
                continue
            path = {"adult": lambda: DATA, "million": lambda: _million(work), "wide": lambda: _wide(work)}[name]()
            runs: dict[int, list[dict]] = {ranks: [] for ranks in arguments.ranks}
            for _ in range(arguments.times):
                for ranks, its in runs.items():
                    its.append(_ours(work, name, path, ranks))
            peer = _desbordante(path) if name != "million" else {}
            best = {ranks: _fastest([found.pop("seconds") for found in its]) for ranks, its in runs.items()}
            for ranks, seconds in best.items():
                for method, taken in seconds.items():
                    line = {"figure": f"{name}: {method}, seconds", "value": round(taken, 2)}
                    line |= {"bound": SECONDS.get(name, {}).get(method), "desbordante": peer.get(method)}
                    print(json.dumps(line | runs[ranks][-1]), flush=True)
            for method in best[1] if {1, 2} <= best.keys() else ():
                value = round(best[1][method] / best[2][method], 2)
                print(json.dumps({"figure": f"{name}: {method}, speed-up of 2 ranks", "value": value}), flush=True)


def _fastest(seconds: list[dict[str, float]]) -> dict[str, float]:
    """Return the shortest time of each method."""
    return {method: min(times[method] for times in seconds) for method in seconds[0]}


def _million(work: pathlib.Path) -> pathlib.Path:
    """Write Adult 31 times, one cell in a thousand replaced by another of its column."""
    rows = np.array([line.split(";") for line in DATA.read_text().splitlines()])
    draw = np.random.default_rng(0)
    path = work / "million.csv"
    with open(path, "w") as file:
        for _ in range(31):
            copy = rows.copy()
            for column in range(rows.shape[1]):
                places = np.flatnonzero(draw.random(len(rows)) < 0.001)
                copy[places, column] = draw.choice(rows[:, column], len(places))
            file.writelines(";".join(row) + "\n" for row in copy)
    return path


def _wide(work: pathlib.Path) -> pathlib.Path:
    draw = np.random.default_rng(0)
    path = work / "wide.csv"
    columns = [draw.integers(0, count, WIDE_ROWS) for count in draw.integers(700, 2500, WIDE_COLUMNS)]
    np.savetxt(path, np.stack(columns, axis=1), fmt="%d", delimiter=";")
    return path


def _ours(work: pathlib.Path, name: str, path: pathlib.Path, ranks: int) -> dict:
    (work / f"{name}.toml").write_text(
        f'case = "{name}"\nmemory = "{MEMORY}"\n[prepare]\nreader = "csv"\nsource = {json.dumps(str(path))}\n'
        f"header = false\ntypes = false\n[profile.functional_dependencies]\ntime_limit = {WIDE_LIMIT}\n"
        "[profile.unique_columns]\n[profile.inclusion_dependencies]\n"
    )
    command = [
        str(pathlib.Path(sys.executable).parent / "hvdedge"),
        "run",
        str(work / f"{name}.toml"),
        "--to",
        "profile",
    ]
    command += ["--ranks", str(ranks), "--run", f"bench-{ranks}", "--results", str(work / "results")]
    run = work / "results" / name / f"bench-{ranks}"
    if run.exists():
        (run / "profile.json").unlink()  # so that the stage runs again
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    record, profile = (json.loads((run / file).read_text()) for file in ("profile.json", "data_profile.json"))
    seconds = record["metrics"]["seconds_by_profiler"]
    return {
        "seconds": {method: taken for method, taken in seconds.items() if method != "statistics"},
        "found": {method: len(profile[method]) for method in profile["complete"]},
        "complete": profile["complete"],
        "ranks": ranks,
        "mb_a_rank": round(max(rank["peak_rss_bytes"] for rank in record["ranks"]) / 1e6),
    }


def _desbordante(path: pathlib.Path) -> dict:
    """Return the seconds of HyFD and HyUCC, nothing where the library cannot be had."""
    sys.path.insert(0, str(HERE / "programs"))
    from peers import python_with

    program = (
        "import json, sys, time\nimport desbordante\nfound = {}\n"
        "for name, algorithm in (('functional_dependencies', desbordante.fd.algorithms.HyFD()),"
        " ('unique_columns', desbordante.ucc.algorithms.HyUCC())):\n"
        "    algorithm.load_data(table=(sys.argv[1], ';', False))\n"
        "    began = time.perf_counter()\n    algorithm.execute()\n"
        "    found[name] = round(time.perf_counter() - began, 2)\n"
        "print(json.dumps(found))\n"
    )
    try:
        python = python_with("desbordante")
    except subprocess.CalledProcessError:
        return {}
    done = subprocess.run([python, "-c", program, str(path)], capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}


if __name__ == "__main__":
    main()
