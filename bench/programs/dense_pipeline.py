"""Train dense layers of one width on noise over a pipeline; print what steps cost, and what the ranks grew by.

mpirun -np N python -m mpi4py dense_pipeline.py SCHEDULE CHUNKS WIDTH LAYERS EPOCHS [ROWS]
"""

import json
import sys
import tempfile

import keras
import numpy as np
import tasks
import tensorflow as tf
from mpi4py import MPI

from hvdedge import training
from hvdedge.meter import peak_rss_bytes
from hvdedge.parallel import MeteredComm, counts
from hvdedge.parted_task import PartedTask
from hvdedge.strategies import pipeline

BATCH_SIZE, CLASSES = 256, 10


def main():
    """Train; print one JSON line from the root."""
    schedule, *numbers = sys.argv[1:]
    chunks, width, layers, epochs, *rows = map(int, numbers)
    comm = MeteredComm(MPI.COMM_WORLD)
    training.configure(comm, 7)
    reader = noise(width, rows[0] if rows else 4096)
    float(tf.reduce_sum(tf.matmul(tf.ones((64, 64)), tf.ones((64, 64)))))  # what TensorFlow takes at its first work
    before = peak_rss_bytes()
    with PartedTask.building():
        hidden = [keras.layers.Dense(width, "relu", kernel_initializer=initial(place)) for place in range(layers)]
        model = keras.Sequential([keras.Input((width,)), *hidden, keras.layers.Dense(CLASSES)])
    with tempfile.TemporaryDirectory() as folder:
        task = tasks.make(
            model, reader, comm, folder, kind=PartedTask, epochs=epochs, batch_size=BATCH_SIZE, optimizer="sgd"
        )
        history = pipeline.train(task, comm, schedule=schedule, chunks=chunks)
        costs = history.metrics(comm)
        costs["grown_bytes"] = counts(peak_rss_bytes() - before, comm).tolist()
        costs["parameters"] = task.parameters
    if comm.rank == 0:
        print(json.dumps(costs), flush=True)


def noise(width, rows):
    """Return vectors that tell nothing."""
    rng = np.random.default_rng(7)
    return tasks.Noise(rng.random((rows, width), np.float32) - 0.5, rng.integers(0, CLASSES, rows), CLASSES)


def initial(place):
    """Return the initializer of a layer."""
    return keras.initializers.HeNormal(place)


if __name__ == "__main__":
    main()
