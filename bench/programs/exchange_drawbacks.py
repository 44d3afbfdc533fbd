"""Train the digits by each way of exchanging that `links` knows, from several seeds; print the epochs to an accuracy.

mpirun -np N python -m mpi4py exchange_drawbacks.py SEEDS
"""

import functools
import json
import sys
import tempfile

import keras
import tasks
from digits_until import Digits
from mpi4py import MPI

from hvdedge import links, methods, training
from hvdedge.models import cnn
from hvdedge.parallel import MeteredComm

ACCURACY, MOST_EPOCHS = 0.95, 30


def main():
    """Train; print one JSON line a way from the root."""
    comm = MeteredComm(MPI.COMM_WORLD)
    training.configure(comm, 7)
    links.AdaptiveSteps._look = lambda self: self._start(10**9)  # the way stays as it is
    for way in links.WAYS:
        links.PLAIN = way  # with which steps begin
        epochs = [_epochs(comm, seed) for seed in range(1, int(sys.argv[1]) + 1)]
        if comm.rank == 0:
            print(json.dumps({"way": str(way), "epochs": epochs}), flush=True)


def _epochs(comm, seed):
    """Return after how many epochs the accuracy is reached; MOST_EPOCHS where it is not."""
    keras.utils.set_random_seed(seed)
    reader = Digits()
    with tempfile.TemporaryDirectory() as folder:
        settings = {"epochs": MOST_EPOCHS, "batch_size": 32, "note": lambda **event: None}
        task = tasks.make(cnn.build(reader.spec, seed=seed), reader, comm, folder, **settings)
        task.seed = seed
        task.end_epoch = functools.partial(_end_epoch, task, task.end_epoch)
        methods.find("strategies", "ring_allreduce", "strategy").load()(task, comm, exchange="auto", balance="never")
    curve = [1 / len(reader.spec["classes"]), *task.history.curves["validation_accuracy"]]
    if curve[-1] < ACCURACY:
        return MOST_EPOCHS
    before, last = curve[-2:]
    return round(len(curve) - 2 + (ACCURACY - before) / (last - before), 2)


def _end_epoch(task, end_epoch, epoch, comm):
    return end_epoch(epoch, comm) or task.history.curves["validation_accuracy"][-1] >= ACCURACY


if __name__ == "__main__":
    main()
