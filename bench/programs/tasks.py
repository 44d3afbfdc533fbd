"""The task that the programs here train: a pipeline's settings where a program has no others, and no run around it."""

import pathlib

import numpy as np
import tensorflow as tf
from msgspec.structs import asdict

from hvdedge.config import Train
from hvdedge.training import TrainingTask

OTHERS = {"divergence": "stop", "checkpoint_every": 10**6}  # copies of weights, checkpoints: nothing to be timed


class Noise:
    """Training rows in memory as `features.h5` would offer them, and none for validation."""

    def __init__(self, x, y, classes):
        self.spec = {"task": "classification", "input_shape": x.shape[1:], "classes": list(range(classes))}
        self._x, self._y = x, y

    def rows(self, split):
        return len(self._y) if split == "train" else 0

    def weights(self, rows):
        return np.ones(len(self._y), np.float32)[rows]

    def read(self, split, rows):
        return (self._x[rows], self._y[rows]) if split == "train" else (self._x[:0], self._y[:0])


def make(
    model, reader, comm, folder, *, kind=TrainingTask, memory_bytes=10**9, tell=None, note=None, lost=None, **settings
):
    """Collective. Return a task of some kind, whose checkpoints and scratch files are in a folder.

    Args:
        tell, note, lost: as of TrainingTask; without them the root prints events, and nothing else is said.
        settings: of training, that are to differ from a pipeline's defaults and from OTHERS.
    """
    folder = pathlib.Path(folder)
    return kind(
        model,
        reader,
        comm,
        asdict(Train(**(OTHERS | settings))),
        seed=7,
        folder=folder,
        key="bench",
        memory_bytes=memory_bytes,
        scratch=folder,
        writer=tf.summary.create_noop_writer,
        tell=tell or (lambda **told: None),
        note=note or (lambda **event: print(event, flush=True) if comm.rank == 0 else None),
        lost=lost or (lambda left, seconds: None),
    )
