"""What telling new rows costs a small host: peak memory and seconds of `hvdedge predict`, without MPI and TensorFlow.

python bench/predict.py [--rounds 5] [--adult RUN]; prints one JSON line a figure, medians. 500 rows of adult by a run
of jobs/adult.toml (a finished one, or two epochs), if its data are under $HVDEDGE_DATA, and 1,000 drawn images of 28 x
28 pixels by a CNN. Both packages are hidden by modules that raise. `import` is what the command costs that tells the
first wrong argument.
"""

import argparse
import json
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
HVDEDGE = pathlib.Path(sys.executable).parent / "hvdedge"
IMAGES = """case = "images"
memory = "256MB"
[prepare]
reader = "idx"
source = "*-ubyte"
[extract]
shape = [28, 28, 1]
split = "given"
by = "split"
[train]
model = "cnn"
epochs = 1
[compress.fixed_point]
[evaluate]
"""


def main() -> None:
    """Make the runs that are not there, then tell rows by each, round by round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--adult", type=pathlib.Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        test = pathlib.Path(os.environ.get("HVDEDGE_DATA") or ROOT / "data") / "adult" / "adult_test.csv"
        images = _run(folder, _images(folder), "images")
        for module in ("tensorflow", "mpi4py"):
            (folder / "hide").mkdir(exist_ok=True)
            (folder / "hide" / f"{module}.py").write_text("raise ImportError('hidden')\n")
        figures = {
            "import": (folder, folder / "none"),
            "images, 1,000": (images, folder / "t10k-images-idx3-ubyte"),
        }
        if test.exists():
            adult = given.adult or _run(folder, ROOT / "jobs" / "adult.toml", "adult", "--set", "train.epochs=2")
            (folder / "new.csv").write_text("".join(test.read_text().splitlines(keepends=True)[:500]))
            figures |= {"adult, 500 rows": (adult, folder / "new.csv"), "adult, 16,281 rows": (adult, test)}
        for figure, (run, rows) in figures.items():
            costs = [_cost(folder, run, rows) for _ in range(given.rounds)]
            medians = (statistics.median(each) for each in zip(*costs, strict=True))
            told = dict(
                zip(("peak_mb", "wall_seconds", "cpu_seconds"), (round(one, 2) for one in medians), strict=True)
            )
            print(json.dumps({"figure": figure, **told}), flush=True)


def _run(folder: pathlib.Path, pipeline: pathlib.Path, case: str, *words: str) -> pathlib.Path:
    to = ["--ranks", "1", "--results", folder / "results", "--run", "a", "--to", "compress"]
    subprocess.run([HVDEDGE, "run", pipeline, *to, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return folder / "results" / case / "a"


def _images(folder: pathlib.Path) -> pathlib.Path:
    """Draw bars at places that tell the class, with noise, and return the pipeline that learns them."""
    rng = np.random.default_rng(0)
    for name, count in (("train", 2000), ("t10k", 1000)):
        labels = rng.integers(0, 10, count).astype(np.uint8)
        pixels = rng.integers(0, 100, (count, 28, 28))
        for image, label in zip(pixels, labels, strict=True):
            image[2 * label + 3 : 2 * label + 6, 4:24] += 120
        for kind, values in (("images-idx3", pixels.astype(np.uint8)), ("labels-idx1", labels)):
            head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
            (folder / f"{name}-{kind}-ubyte").write_bytes(head + values.tobytes())
    (folder / "images.toml").write_text(IMAGES)
    return folder / "images.toml"


def _cost(folder: pathlib.Path, run: pathlib.Path, rows: pathlib.Path) -> tuple[float, float, float]:
    """Return megabytes, seconds, processor seconds."""
    environment = {**os.environ, "PYTHONPATH": f"{folder / 'hide'}{os.pathsep}{ROOT}"}
    began = time.perf_counter()
    words = [HVDEDGE, "predict", run, rows, "--output", folder / "told.csv"]
    going = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(going.pid, 0)
    going.returncode = os.waitstatus_to_exitcode(status)
    if going.returncode != (2 if rows.name == "none" else 0):
        sys.exit(f"{rows}: exit {going.returncode}")
    return usage.ru_maxrss / 1024, time.perf_counter() - began, usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
