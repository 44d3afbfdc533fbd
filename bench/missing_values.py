"""How well empty cells are filled, and how fast, beside scikit-learn's imputers on its own data sets.

30 % of the cells are emptied at random, with three seeds. NRMSE is the mean over the columns of the root mean squared
error of the emptied cells in the column's standard deviations: 1 is what the column's mean reaches. All get columns in
standard deviations. Ours runs on two ranks, with `method = "auto"`; the peers, as they come, in one process. One JSON
line a data set: means over the seeds, and of the seconds that filling takes.

    python bench/missing_values.py [--only wine digits ...]
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
WANTED = {"wine": 0.80, "diabetes": 0.78, "breast_cancer": 0.43, "digits": 0.62}
PEERS = ("KNNImputer", "IterativeImputer", "mean")
SHARE = 0.3
SEEDS = (0, 1, 2)


def main() -> None:
    """Fill every set with every seed, ours and the peers in turn, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=WANTED, default=list(WANTED))
    arguments = parser.parse_args()
    for name in arguments.only:
        rows = _read(name)
        errors: dict[str, list[float]] = {who: [] for who in ("ours", *PEERS)}
        seconds: dict[str, list[float]] = {who: [] for who in errors}
        for seed in SEEDS:
            hidden = np.random.default_rng(seed).random(rows.shape) < SHARE
            gaps = np.where(hidden, np.nan, rows)
            for who in errors:
                filled, took = _ours(gaps) if who == "ours" else _peer(who, gaps)
                errors[who].append(_error(rows, filled, hidden))
                seconds[who].append(took)
        figure = {
            "figure": f"missing values, {name}: NRMSE",
            "ours": _mean(errors["ours"]),
            "at_most": WANTED[name],
            **{who: _mean(errors[who]) for who in PEERS},
            "by_seed": [round(value, 3) for value in errors["ours"]],
            "seconds": {who: _mean(seconds[who]) for who in errors},
        }
        print(json.dumps(figure), flush=True)


def _read(name: str) -> np.ndarray:
    from sklearn import datasets

    rows = getattr(datasets, f"load_{name}")().data.astype(np.float64)
    std = rows.std(axis=0)
    return (rows - rows.mean(axis=0)) / np.where(std > 0, std, 1)


def _error(true: np.ndarray, found: np.ndarray, hidden: np.ndarray) -> float:
    able = (true.std(axis=0) > 0) & hidden.any(axis=0)
    squares = np.where(hidden, found - true, 0.0) ** 2
    return float(np.sqrt(squares.sum(axis=0)[able] / hidden.sum(axis=0)[able]).mean())


def _ours(gaps: np.ndarray) -> tuple[np.ndarray, float]:
    sys.path.insert(0, str(ROOT))
    from hvdedge import clusters, launch

    program = str(HERE / "programs" / "fill_missing.py")
    with tempfile.TemporaryDirectory() as folder:
        np.save(pathlib.Path(folder) / "gaps.npy", gaps)
        command = launch.mpirun(program, [folder], ranks=2, cluster=clusters.read_cluster("local"))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
        lines = [line for line in done.stdout.splitlines() if line.startswith("seconds ")]
        if done.returncode or not lines:
            sys.exit(f"ours: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return np.load(pathlib.Path(folder) / "filled.npy"), float(lines[-1].split()[1])


def _peer(name: str, gaps: np.ndarray) -> tuple[np.ndarray, float]:
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

    imputer = {
        "KNNImputer": lambda: KNNImputer(keep_empty_features=True),
        "IterativeImputer": lambda: IterativeImputer(random_state=0, keep_empty_features=True),
        "mean": lambda: SimpleImputer(keep_empty_features=True),
    }[name]()
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that ten rounds are not enough, which is what it comes with
        filled = imputer.fit_transform(gaps)
    return filled, time.perf_counter() - start


def _mean(values: list[float]) -> float:
    return round(float(np.mean(values)), 3)


if __name__ == "__main__":
    main()
