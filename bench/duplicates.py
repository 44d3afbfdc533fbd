"""Duplicates found without labels: F1, seconds and memory of clean.duplicates on two ranks, beside splink.

Real tables (from $HVDEDGE_DATA, left out where it is absent): the F1 of ours. Harder person records, made by
programs/persons.py: ours and splink in turn, once each; the figure is the ratio of the seconds of our clean stage,
with its start, to those of splink from the table in memory to its clusters. A million rows: ours alone, against its
own time for 100,000. One JSON line a figure. Splink is installed into bench/.venv at the first call.

    python bench/duplicates.py [--only real 20000 100000 1000000]
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
DATA = pathlib.Path(os.environ.get("HVDEDGE_DATA", ROOT.parent / "shared" / "data")).resolve() / "duplicates"
MEMORY = "512MB"
REAL = {  # files, truth, id, whether it is a link, F1 at least
    "febrl1": (["febrl1.csv"], "febrl1_truth.csv", "rid", False, 0.996),
    "febrl2": (["febrl2.csv"], "febrl2_truth.csv", "rid", False, 0.996),
    "febrl3": (["febrl3.csv"], "febrl3_truth.csv", "rid", False, 0.996),
    "febrl4": (["febrl4a.csv", "febrl4b.csv"], "febrl4_truth.csv", "rid", True, 0.999),
    "fodors_zagats": (["fodors.csv", "zagats.csv"], "fodors_zagats_truth.csv", "id", True, 0.97),
    "abt_buy": (["abt.csv", "buy.csv"], "abt_buy_truth.csv", "id", True, 0.55),
}
PERSONS = {20_000: 0.95, 100_000: 0.94, 1_000_000: 0.94}


def main() -> None:
    """Run what is asked for and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["real", *map(str, PERSONS)]
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        if "real" in arguments.only and DATA.is_dir():
            for name, (files, truth, id, link, least) in REAL.items():
                found = _ours(work, name, [DATA / file for file in files], DATA / truth, id, link)
                _print(f"{name}: F1", found["f1"], least, found)
        seconds = {}
        for rows, least in PERSONS.items():
            needed = str(rows) in arguments.only or (rows == 100_000 and "1000000" in arguments.only)
            if not needed:
                continue
            path, truth = work / "persons.csv", work / "truth.csv"
            subprocess.run([sys.executable, HERE / "programs" / "persons.py", str(rows), path, truth], check=True)
            found = _ours(work, f"persons_{rows}", [path], truth, "rid", False)
            seconds[rows] = found["seconds"]
            _print(f"persons {rows}: F1", found["f1"], least, found)
            if rows < 1_000_000:
                splink = _splink(path, truth)
                at_most = {20_000: None, 100_000: 0.5}[rows]
                _print(
                    f"persons {rows}: seconds / splink", found["seconds"] / splink["seconds"], at_most, found, splink
                )
            else:
                _print("persons 1000000: seconds / 100,000 rows", seconds[rows] / seconds[100_000], 12, found)


def _print(figure: str, value: float, bound: float | None, ours: dict, splink: dict | None = None) -> None:
    line = {"figure": figure, "value": round(value, 4), "bound": bound, "ours": ours}
    print(json.dumps(line | ({"splink": splink} if splink else {})), flush=True)


def _ours(work: pathlib.Path, name: str, files: list, truth: pathlib.Path, id: str, link: bool) -> dict:
    """Return F1, the seconds of the clean stage, and the greatest memory of a rank."""
    sources = ", ".join(json.dumps(str(file)) for file in files)
    (work / f"{name}.toml").write_text(
        f'case = "{name}"\nmemory = "{MEMORY}"\n[prepare]\nreader = "csv"\nsource = [{sources}]\n'
        f'[clean.duplicates]\nid = "{id}"\nlink = {str(link).lower()}\ntruth = {json.dumps(str(truth))}\n'
    )
    command = [str(pathlib.Path(sys.executable).parent / "hvdedge"), "run", str(work / f"{name}.toml")]
    command += ["--ranks", "2", "--to", "clean", "--run", "bench", "--results", str(work / "results")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    record = json.loads((work / "results" / name / "bench" / "clean.json").read_text())
    metrics = record["metrics"]["duplicates"]
    return {
        "f1": round(metrics["f1"], 4),
        "precision": round(metrics["precision"], 4),
        "recall": round(metrics["recall"], 4),
        "seconds": round(record["wall_seconds"], 2),
        "mb_a_rank": round(max(rank["peak_rss_bytes"] for rank in record["ranks"]) / 1e6),
        "candidates": metrics["candidates"],
        "imbalance": round(max(metrics["pairs_by_rank"]) * 2 / max(sum(metrics["pairs_by_rank"]), 1), 3),
    }


def _splink(path: pathlib.Path, truth: pathlib.Path) -> dict:
    """Return the best F1 of splink over its thresholds, its seconds and memory."""
    sys.path.insert(0, str(HERE / "programs"))
    from peers import python_with

    python = python_with("splink==4.0.16", "duckdb==2.0.0", "pandas==3.1.1")
    began = time.perf_counter()
    done = subprocess.run(
        [python, HERE / "programs" / "splink_persons.py", path, truth], capture_output=True, text=True
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        sys.exit(f"splink: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return {**json.loads(lines[-1]), "seconds_of_process": round(time.perf_counter() - began, 2)}


if __name__ == "__main__":
    main()
