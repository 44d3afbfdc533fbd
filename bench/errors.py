"""Wrong values repaired and wrong labels found, on two ranks, beside what others reach.

- hospital (1,000 x 19, 509 wrong cells), with its constraints and with dependencies found by itself, beside a majority
  vote under the constraints, in pandas;
- false repairs: cells changed in tables that are clean;
- the digits of scikit-learn with 5 and 20 in 100 labels changed, beside cleanlab.

Both sides are measured in one call, in turn. One JSON line a figure. The data come from $HVDEDGE_DATA (default:
../shared/data beside the project); the peers are installed into bench/.venv at the first call.

    python bench/errors.py [--only hospital false_repairs labels]
"""

import argparse
import csv
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
DATA = pathlib.Path(os.environ.get("HVDEDGE_DATA", ROOT.parent / "shared" / "data"))
PANDAS, CLEANLAB = ("pandas==2.3.3",), ("pandas==2.3.3", "cleanlab==2.9.0", "scikit-learn==1.7.2")
CLEAN_TABLES = ("adult/adult.csv", "duplicates/febrl4a.csv", "duplicates/fodors.csv", "ett/ETTh1.csv")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=("hospital", "false_repairs", "labels"), default=None)
    only = parser.parse_args().only
    with tempfile.TemporaryDirectory() as folder:
        for name, figures in (("hospital", hospital), ("false_repairs", false_repairs), ("labels", labels)):
            if only is None or name in only:
                figures(pathlib.Path(folder))


def hospital(folder: pathlib.Path) -> None:
    """Print the F1 of the repair of hospital, ours and that of a majority vote."""
    source, rules, truth = (DATA / "hospital" / f"hospital{end}" for end in (".csv", "_constraints.txt", "_clean.csv"))
    for name, extra, least in (("with constraints", f'constraints = "{rules}"\n', 0.93), ("by itself", "", 0.85)):
        ours = _ours(folder, source, f'[clean.errors]\ntruth = "{truth}"\n{extra}', "errors")
        theirs = _peer(PANDAS, "majority", source, rules, truth)
        _print(f"hospital, {name}: F1 / majority vote", ours, theirs, least)


def false_repairs(folder: pathlib.Path) -> None:
    """Print how many cells of clean tables are changed."""
    for name in CLEAN_TABLES:
        metrics = _ours(folder, DATA / name, "[clean.errors]\n", "errors")
        print(json.dumps({"figure": f"{name}: cells changed", "ours": metrics["changed"], "at_most": 0}), flush=True)


def labels(folder: pathlib.Path) -> None:
    """Print the F1 of finding wrong labels, ours and that of cleanlab."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for share in (0.05, 0.2):
        draw = random.Random(1)
        wrong = set(draw.sample(range(len(digits.target)), int(share * len(digits.target))))
        table, truth = folder / "digits.csv", folder / "wrong.csv"
        with open(table, "w", newline="") as rows, open(truth, "w", newline="") as cells:
            to_rows, to_cells = csv.writer(rows), csv.writer(cells)
            to_rows.writerow(["id", *(f"p{number:02d}" for number in range(64)), "label"])
            to_cells.writerow(["id", "column", "kind", "value"])
            for number, (image, label) in enumerate(zip(digits.data.astype(int), digits.target.tolist(), strict=True)):
                now = (label + draw.randrange(1, 10)) % 10 if number in wrong else label
                to_rows.writerow([f"d{number}", *image.tolist(), now])
                if now != label:
                    to_cells.writerow([f"d{number}", "label", "label_noise", label])
        ours = _ours(folder, table, f'[clean.labels]\ntruth = "{truth}"\n', "labels")
        theirs = _peer(CLEANLAB, "cleanlab", table, truth)
        _print(f"digits, {share:.0%} of the labels wrong: F1 / cleanlab", ours, theirs, None)


def _ours(folder: pathlib.Path, source: pathlib.Path, section: str, method: str) -> dict:
    (folder / "case.toml").write_text(f'case = "bench"\n[prepare]\nreader = "csv"\nsource = "{source}"\n{section}')
    hvdedge = pathlib.Path(sys.executable).with_name("hvdedge")
    command = [hvdedge, "run", folder / "case.toml", "--ranks", "2", "--results", folder, "--run", "a", "--to", "clean"]
    done = subprocess.run([*map(str, command), "--from", "prepare"], capture_output=True, text=True, timeout=600)
    if done.returncode:
        sys.exit(f"{source}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    record = json.loads((folder / "bench" / "a" / "clean.json").read_text())
    return record["metrics"][method] | {"seconds": record["wall_seconds"]}


def _peer(packages: tuple[str, ...], *arguments: object) -> dict:
    sys.path.insert(0, str(HERE / "programs"))
    from peers import python_with

    command = [str(python_with(*packages)), str(HERE / "programs" / "error_peers.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _print(figure: str, ours: dict, theirs: dict, least: float | None) -> None:
    names = ("f1", "precision", "recall", "seconds")
    shown = [{name: round(side[name], 4) for name in names} for side in (ours, theirs)]
    ratio = round(ours["f1"] / theirs["f1"], 3)
    line = {"figure": figure, "ratio": ratio, "ours": shown[0], "theirs": shown[1]}
    print(json.dumps(line | ({} if least is None else {"f1_at_least": least})), flush=True)


if __name__ == "__main__":
    main()
