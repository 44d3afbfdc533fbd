"""What `precision = "bfloat16"` gains over float32 on this processor, and what it costs in accuracy.

Two trainings of the classic CNN in one process with one thread, from the same weights, on the same batches of 128
images, Adam: ROUND steps of one, ROUND of the other, and so on; both are judged in float32, as they would be saved. One
JSON line: the median of the rounds' ratios of examples a second, and both accuracies on the test images. The images are
MNIST from $HVDEDGE_DATA, or the digits that scikit-learn ships where it is absent. On a processor without instructions
for bfloat16 there is nothing to gain: `precision = "auto"` measures that.

    python bench/mixed_precision.py [--rows 60000] [--epochs 1]
"""

import argparse
import gzip
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
MNIST = pathlib.Path(os.environ.get("HVDEDGE_DATA", ROOT.parent / "shared" / "data")).resolve() / "mnist"
ROUND, BATCH_SIZE = 20, 128
WANTED = 1.5
NAMES = ("float32", "bfloat16")


class Images:
    """Training and test images as `features.h5` would offer them."""

    def __init__(self, rows: int):
        self.name, x, y, split = _mnist(rows) if MNIST.exists() else _digits()
        self._x = {"train": x[:split], "test": x[split:], "validation": x[:0]}
        self._y = {"train": y[:split], "test": y[split:], "validation": y[:0]}
        self.spec = {"task": "classification", "input_shape": x.shape[1:], "classes": list(range(10))}

    def rows(self, split):
        return len(self._y[split])

    def read(self, split, rows):
        return self._x[split][rows], self._y[split][rows]

    def weights(self, rows):
        return np.ones(self.rows("train"), np.float32)[rows]


def main() -> None:
    """Train both and print the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=60000)
    parser.add_argument("--epochs", type=int, default=1)
    arguments = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.path[:0] = [str(ROOT), str(HERE / "programs")]
    import keras
    import tensorflow as tf
    from mpi4py import MPI

    from hvdedge.parallel import MeteredComm

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(7)
    comm, reader = MeteredComm(MPI.COMM_WORLD), Images(arguments.rows)
    with tempfile.TemporaryDirectory() as folder:
        trainings = {
            name: _training(name, reader, comm, arguments.epochs, pathlib.Path(folder) / name) for name in NAMES
        }
        accuracies, speeds = _race(trainings, reader, arguments.epochs)
    ratios = [half / full for full, half in zip(speeds["float32"][1:], speeds["bfloat16"][1:], strict=True)]
    figure = {
        "figure": f"bfloat16 / float32, classic CNN on {reader.name}",
        "ratio": round(statistics.median(ratios), 3),
        "at_least": WANTED,
        "least_and_most": [round(min(ratios), 2), round(max(ratios), 2)],
        "examples_per_second": {name: round(statistics.median(speeds[name][1:])) for name in NAMES},
        "accuracy": accuracies,
    }
    print(json.dumps(figure), flush=True)


def _training(name, reader, comm, epochs, folder):
    """Return the task and its step, compiled, of one training."""
    import tasks

    from hvdedge import local_steps
    from hvdedge.models import cnn

    model = cnn.build(reader.spec, seed=7)
    task = tasks.make(model, reader, comm, folder, epochs=epochs, batch_size=BATCH_SIZE, precision=name)
    return task, local_steps.LocalSteps(task)


def _race(trainings, reader, epochs):
    """Return name -> accuracy, and name -> examples a second of each round; the first round builds the graphs."""
    tasks = {name: task for name, (task, _) in trainings.items()}
    batches = {
        name: (batch for epoch in range(epochs) for batch in task.batches(epoch)) for name, task in tasks.items()
    }
    speeds = {name: [] for name in trainings}
    for _ in range(epochs * tasks["float32"].steps_per_epoch // ROUND):
        for name, (_, steps) in trainings.items():
            began = time.perf_counter()
            for _ in range(ROUND):
                steps.look(next(batches[name]))
                steps.go()
            speeds[name].append(ROUND * BATCH_SIZE / (time.perf_counter() - began))
    x, y = reader.read("test", slice(None))
    outputs = {name: task.model.predict(x, batch_size=256, verbose=0) for name, task in tasks.items()}
    return {name: float((logits.argmax(axis=1) == y).mean()) for name, logits in outputs.items()}, speeds


def _mnist(rows):
    """Return name, x, y, and how many rows of them are for training."""
    names = (("train-images-idx3", "t10k-images-idx3"), ("train-labels-idx1", "t10k-labels-idx1"))
    x, y = (
        np.concatenate([_read(part)[:most] for part, most in zip(pair, (rows, None), strict=True)]) for pair in names
    )
    return "MNIST", (x[..., None] / 255).astype(np.float32), y.astype(np.int64), len(x) - 10_000


def _digits():
    """Return the same of the digits, repeated to last for some rounds."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x, split, times = (x.reshape(-1, 8, 8, 1) / 16).astype(np.float32), 1437, 20
    x, y = (np.concatenate([*[array[:split]] * times, array[split:]]) for array in (x, y.astype(np.int64)))
    return "digits", x, y, split * times


def _read(name):
    """Return what an IDX file of bytes holds."""
    content = gzip.decompress((MNIST / f"{name}-ubyte.gz").read_bytes())
    shape = np.frombuffer(content, ">u4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)


if __name__ == "__main__":
    main()
