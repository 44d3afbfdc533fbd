"""Train the digits with a strategy until the validation accuracy is reached; print the seconds and what steps cost.

mpirun -np N python -m mpi4py digits_until.py STRATEGY '{"option": value}' --accuracy 0.95 --epochs 60 \\
    [--gone RANK EPOCH SECONDS]
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import typing

import numpy as np
import tasks
from mpi4py import MPI
from sklearn.datasets import load_digits

from hvdedge import methods, training
from hvdedge.models import cnn
from hvdedge.parallel import MeteredComm


class Digits:
    """scikit-learn's handwritten digits as `features.h5` would offer them, a fifth of them for validation."""

    def __init__(self):
        self.spec = {"task": "classification", "input_shape": (8, 8, 1), "classes": list(range(10))}
        x, y = load_digits(return_X_y=True)
        order = np.random.default_rng(7).permutation(len(y))
        x, y = (x[order] / 16).astype(np.float32).reshape(-1, 8, 8, 1), y[order].astype(np.int64)
        cut = len(y) * 4 // 5
        self._parts = {"train": (x[:cut], y[:cut]), "validation": (x[cut:], y[cut:])}

    def rows(self, split):
        return len(self._parts[split][1])

    def read(self, split, rows):
        x, y = self._parts[split]
        return x[rows], y[rows]

    def weights(self, rows):
        return np.ones(self.rows("train"), np.float32)[rows]

    def labels(self):
        return self._parts["train"][1]


def main():
    """Train; print one JSON line from the root."""
    parser = argparse.ArgumentParser()
    parser.add_argument("strategy")
    parser.add_argument("options", type=json.loads)
    parser.add_argument("--accuracy", type=float, default=2.0)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--gone", type=int, nargs=3, default=(-1, 0, 0), help="a rank that leaves, for 0 s for good")
    arguments = parser.parse_args()
    comm = MeteredComm(MPI.COMM_WORLD)
    training.configure(comm, 7)
    reader = Digits()
    events, left = [], [comm]
    train = methods.find("strategies", arguments.strategy, "strategy").load()
    kind = typing.get_type_hints(train)["task"]
    with kind.building():
        model = cnn.build(reader.spec, seed=7)
    with tempfile.TemporaryDirectory() as folder:
        task = tasks.make(
            model,
            reader,
            comm,
            folder,
            kind=kind,
            epochs=arguments.epochs,
            batch_size=32,
            note=lambda **event: events.append(event),
            lost=lambda comm, seconds: left.append(comm) or events.append({"lost": comm.size, "seconds": seconds}),
        )
        _leave(task, comm.rank, *arguments.gone)
        end_epoch, reached, began = task.end_epoch, [], time.perf_counter()

        def ending(epoch, comm):
            is_last = end_epoch(epoch, comm)
            is_reached = task.history.curves["validation_accuracy"][-1] >= arguments.accuracy
            if is_reached and not reached:
                reached.extend([time.perf_counter() - began, epoch + 1])
            return is_last or is_reached

        task.end_epoch = ending
        history = train(task, comm, **arguments.options)
        seconds = time.perf_counter() - began
        comm = left[-1]
        costs = history.metrics(comm)
    if comm.rank == 0:
        curve = history.curves["validation_accuracy"]
        told = {"seconds": reached[0] if reached else None, "epochs": len(curve), "accuracy": curve[-1]}
        told |= {"curves": history.curves, "all_seconds": seconds}
        print(json.dumps({**told, **costs, "events": events}), flush=True)
    if len(left) > 1:  # MPI does not end where ranks were lost
        comm.Barrier()
        sys.stdout.flush()
        os._exit(0)


def _leave(task, rank, gone, epoch, seconds):
    """Let one rank stop for some seconds, or end, when it takes its second batch of an epoch."""
    batches = task.batches

    def leaving(now, times=1):
        for number, batch in enumerate(batches(now, times)):
            if (rank, now, number) == (gone, epoch, 1):
                if seconds:
                    subprocess.Popen(["sh", "-c", f"sleep {seconds}; kill -CONT {os.getpid()}"])
                os.kill(os.getpid(), signal.SIGSTOP if seconds else signal.SIGKILL)
            yield batch

    task.batches = leaving


if __name__ == "__main__":
    main()
