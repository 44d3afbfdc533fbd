"""Accuracy and training time on 30 % of the rows, by each way to choose them, beside all rows; two ranks.

MNIST from $HVDEDGE_DATA (its training images; `--rows` takes the first of them), or the digits that scikit-learn ships
where it is absent. A fifth of the rows is the test. The samples of `reservoir` and `stratified` are what the others are
held against. `share_of_time` is that of the seconds of all epochs, `share_of_steps` that of the steps. One JSON line a
method; `--epochs-selected` trains longer on fewer rows.

    python bench/instance_selection.py [--rows 60000] [--epochs 6] [--epochs-selected 8] [--model dense]
        [--only k_center ...]
"""

import argparse
import gzip
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = pathlib.Path(__file__).resolve().parent.parent
MNIST = pathlib.Path(os.environ.get("HVDEDGE_DATA", ROOT.parent / "shared" / "data")).resolve() / "mnist"
SHARE, WITHIN, TIME = 0.3, 0.01, 0.4
NEAR = 5.5  # of images of 784 pixels from 0 to 1: leaves 31 % of MNIST
METHODS = {
    "reservoir": {"rows": SHARE},  # of the training rows
    "stratified": {"share": SHARE},
    "k_center": {"share": SHARE},
    "facility_location": {"share": SHARE},
    "hard_examples": {"share": SHARE},
    "condensed_nearest_neighbours": {},  # it keeps as many as it needs
    "near_equal": {"distance": NEAR},
}


def main() -> None:
    """Train on all rows, then by each method, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--epochs-selected", type=int)
    parser.add_argument("--model", choices=["cnn", "dense"], default="cnn")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", nargs="*", choices=METHODS, default=list(METHODS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        name, side = _write(work / "images.parquet", arguments.rows)
        (work / "images.toml").write_text(
            f'case = "images"\nseed = {arguments.seed}\n[prepare]\nreader = "parquet"\nsource = "images.parquet"\n'
            f'[extract]\nextractor = "image"\nlabel = "label"\ncolumns = "p*"\nshape = [{side}, {side}, 1]\n'
            f'validation = 0.0\ntest = 0.2\n[train]\nmodel = "{arguments.model}"\nbatch_size = 64\n[evaluate]\n'
        )
        full = _run(work, arguments.ranks, {"train.epochs": arguments.epochs})
        told = {"data": name, "model": arguments.model, "ranks": arguments.ranks, "epochs": arguments.epochs}
        print(json.dumps({"figure": "all rows: accuracy", "value": full["accuracy"], **told, **full}), flush=True)
        for method in arguments.only:
            options = {f"extract.{method}.{key}": value for key, value in METHODS[method].items()} or {
                f"extract.{method}": "{}"
            }
            if method == "reservoir":
                options = {"extract.reservoir.rows": round(SHARE * full["rows"])}
            epochs = arguments.epochs_selected or arguments.epochs
            found = _run(work, arguments.ranks, options | {"train.epochs": epochs})
            line = {"figure": f"{method}: accuracy", "value": found["accuracy"], "epochs": epochs}
            line |= {"points": round(100 * (found["accuracy"] - full["accuracy"]), 2), "at_least": -100 * WITHIN}
            line |= {"share_of_rows": round(found["rows"] / full["rows"], 3)}
            line |= {"share_of_time": round(found["seconds"] / full["seconds"], 3), "at_most": TIME}
            line |= {"share_of_steps": round(found["steps"] / full["steps"], 3), "selecting": found["selecting"]}
            print(json.dumps(line), flush=True)


def _write(path: pathlib.Path, rows: int) -> tuple[str, int]:
    """Write images as a table; return their name and how wide they are."""
    if (MNIST / "train-images-idx3-ubyte.gz").is_file():
        with gzip.open(MNIST / "train-images-idx3-ubyte.gz") as file:
            images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)[:rows]
        with gzip.open(MNIST / "train-labels-idx1-ubyte.gz") as file:
            labels = np.frombuffer(file.read(), np.uint8, offset=8)[:rows]
        name = "mnist"
    else:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        images, name = images.astype(np.uint8), "digits"
    columns = {f"p{place}": column for place, column in enumerate(np.ascontiguousarray(images.T))}
    pq.write_table(pa.table({"label": labels, **columns}), path)
    return name, round(images.shape[1] ** 0.5)


def _run(work: pathlib.Path, ranks: int, changes: dict) -> dict:
    """Run the pipeline with some changes, from the first stage that they concern, and return what it came to."""
    command = [str(pathlib.Path(sys.executable).parent / "hvdedge"), "run", str(work / "images.toml")]
    command += ["--to", "evaluate", "--ranks", str(ranks), "--run", "bench", "--results", str(work / "results")]
    command += [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{changes}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    run = work / "results" / "images" / "bench"
    extract, train, evaluate = (
        json.loads((run / f"{stage}.json").read_text()) for stage in ("extract", "train", "evaluate")
    )
    selections = extract["metrics"]["selections"].values()
    return {
        "rows": extract["metrics"]["rows"]["train"],
        "accuracy": evaluate["metrics"]["accuracy"],
        "seconds": round(sum(train["history"]["epoch_seconds"]), 2),
        "steps": train["metrics"]["steps"],
        "selecting": round(sum(selection["seconds"] for selection in selections), 2),
    }


if __name__ == "__main__":
    main()
