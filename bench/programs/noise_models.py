"""Train layers of one width on noise with a strategy; print what steps cost, and what the ranks held.

mpirun -np N python -m mpi4py noise_models.py STRATEGY '{"option": value}' --width 1024 --layers 8 [--image 96]
"""

import argparse
import json
import tempfile
import typing

import keras
import numpy as np
import tasks
import tensorflow as tf
from mpi4py import MPI

from hvdedge import methods, training
from hvdedge.meter import peak_rss_bytes
from hvdedge.parallel import MeteredComm, counts

CLASSES = 10


def main():
    """Train; print one JSON line from the root."""
    parser = argparse.ArgumentParser()
    parser.add_argument("strategy")
    parser.add_argument("options", type=json.loads)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--image", type=int, default=0, help="so many rows and columns, for convolutions; 0: vectors")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--batch-size", type=int, default=256)
    arguments = parser.parse_args()
    comm = MeteredComm(MPI.COMM_WORLD)
    training.configure(comm, 7)
    train = methods.find("strategies", arguments.strategy, "strategy").load()
    kind = typing.get_type_hints(train)["task"]
    size = arguments.image
    reader = noise((size, size, 3) if size else (arguments.width,), arguments.rows)
    float(tf.reduce_sum(tf.matmul(tf.ones((64, 64)), tf.ones((64, 64)))))  # what TensorFlow takes at its first work
    before = peak_rss_bytes()
    with kind.building():
        model = network(reader.spec["input_shape"], arguments.width, arguments.layers)
    with tempfile.TemporaryDirectory() as folder:
        settings = {"epochs": arguments.epochs, "batch_size": arguments.batch_size, "optimizer": "sgd"}
        task = tasks.make(model, reader, comm, folder, kind=kind, **settings)
        history = train(task, comm, **arguments.options)
        costs = history.metrics(comm)
    peak = peak_rss_bytes()
    costs |= {"grown_bytes": counts(peak - before, comm).tolist(), "peak_bytes": counts(peak, comm).tolist()}
    costs["parameters"] = task.parameters
    if comm.rank == 0:
        print(json.dumps(costs), flush=True)


def network(shape, width, count):
    """Return so many dense layers, or convolutions, and one of classes."""
    layers = [keras.Input(shape)]
    for place in range(count):
        options = {"activation": "relu", "kernel_initializer": keras.initializers.HeNormal(place)}
        is_image = len(shape) == 3
        layers.append(
            keras.layers.Conv2D(width, 3, padding="same", **options)
            if is_image
            else keras.layers.Dense(width, **options)
        )
    layers += [keras.layers.GlobalAveragePooling2D()] if len(shape) == 3 else []
    return keras.Sequential([*layers, keras.layers.Dense(CLASSES)])


def noise(shape, rows):
    """Return vectors or images that tell nothing."""
    rng = np.random.default_rng(7)
    return tasks.Noise(rng.random((rows, *shape), np.float32) - 0.5, rng.integers(0, CLASSES, rows), CLASSES)


if __name__ == "__main__":
    main()
