"""Ours: TrainingTask under strategies/ring_allreduce.py; with --no-exchange the same step without its all-reduce."""

import pathlib
import sys
import tempfile

import tensorflow as tf
from images import BATCH_SIZE, CLASSES, EPOCHS, SHAPE, images
from mpi4py import MPI

from hvdedge import training
from hvdedge.models import cnn
from hvdedge.parallel import MeteredComm
from hvdedge.strategies import ring_allreduce


class Noise:
    """The images as `features.h5` would offer them."""

    def __init__(self):
        self.spec = {"task": "classification", "input_shape": SHAPE, "classes": list(range(CLASSES))}
        self._x, self._y = images(MPI.COMM_WORLD.size)

    def rows(self, split):
        return len(self._y) if split == "train" else 0

    def read(self, split, rows):
        return (self._x[rows], self._y[rows]) if split == "train" else (self._x[:0], self._y[:0])


def main():
    """Train, and print the examples a second of all ranks, evaluation and checkpoints left out as in the peers."""
    comm = MeteredComm(MPI.COMM_WORLD)
    training.configure(comm, 7)
    settings = {
        **{"epochs": EPOCHS, "batch_size": BATCH_SIZE, "learning_rate": 0.001, "optimizer": "adam", "momentum": 0.9},
        **{"patience": 0, "checkpoint_every": EPOCHS, "plateau": 0, "divergence": "stop", "precision": "float32"},
    }
    reader = Noise()
    speeds = []
    if "--no-exchange" in sys.argv:
        ring_allreduce.hvd.grouped_allreduce = lambda grads, op: grads
    with tempfile.TemporaryDirectory() as folder:
        task = training.TrainingTask(
            cnn.build(reader.spec, seed=7),
            reader,
            comm,
            settings,
            seed=7,
            folder=pathlib.Path(folder),
            key="bench",
            writer=tf.summary.create_noop_writer(),
            tell=lambda **told: speeds.append(told["examples_per_second"]),
            note=lambda **event: None,
        )
        ring_allreduce.train(task, comm)
        comm.Barrier()
    if comm.rank == 0:
        print("examples_per_second", sum(speeds[1:]) / len(speeds[1:]), flush=True)


if __name__ == "__main__":
    main()
