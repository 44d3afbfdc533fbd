"""A program for parallel tests: train on random rows, once or several times, and print what came of each.

mpirun -np N python -m mpi4py tests/train_rows.py '[{"epochs": 3, "folder": ...}, ...]'
"""

import functools
import hashlib
import json
import os
import pathlib
import signal
import sys
import time
import typing

import keras
import numpy as np
import tensorflow as tf
from digit_rows import load_digits
from mpi4py import MPI
from small_graphs import GraphRows

from hvdedge import memory, methods, micro_batches, training, transfer
from hvdedge.errors import InputError
from hvdedge.graph_layers import attach
from hvdedge.models import dense, gcn
from hvdedge.parallel import MeteredComm, allgather_json

SETTINGS = {
    **{"epochs": 3, "batch_size": 32, "learning_rate": 0.1, "optimizer": "sgd", "momentum": 0.9},
    **{
        "patience": 0,
        "checkpoint_every": 1,
        "micro_batches": True,
        "plateau": 0,
        "divergence": "restore",
        "precision": "float32",
    },
}


class Rows:
    """Random images whose class shows in them, as `features.h5` would offer them."""

    def __init__(self, rows, validation, changes_at=None):
        rng = np.random.default_rng(3)
        self._y = rng.integers(0, 4, rows + validation)
        self._x = rng.normal(0, 1, (rows + validation, 6)).astype(np.float32)
        self._x[np.arange(len(self._y)), self._y] += 2
        if changes_at is not None:
            self._y[changes_at:] = (self._y[changes_at:] + 1) % 4  # from then on another class shows so
        self._slices = {"train": slice(0, rows), "validation": slice(rows, None)}
        self.spec = {"task": "classification", "input_shape": [6], "classes": [0, 1, 2, 3]}

    def rows(self, split):
        return len(self._y[self._slices[split]])

    def read(self, split, rows):
        return self._x[self._slices[split]][rows], self._y[self._slices[split]][rows]

    def stored(self, split, rows):
        return self.read(split, rows)

    def unpack(self, stored):
        return stored

    def labels(self):
        return self._y[self._slices["train"]]

    def weights(self, rows):
        return np.ones(self.rows("train"), np.float32)[rows]


class Digits(Rows):
    """The digits of scikit-learn, the last fifth for validation."""

    def __init__(self, spike, changes_at):
        x, y = load_digits()
        self._x, self._y = (x.reshape(-1, 8, 8, 1) / 16).astype(np.float32), y
        self._x[:spike] *= 300  # as a broken sensor would
        if changes_at is not None:
            self._y[changes_at:] = (self._y[changes_at:] + 1) % 10
        self._slices = {"train": slice(0, 1437), "validation": slice(1437, None)}
        self.spec = {"task": "classification", "input_shape": [8, 8, 1], "classes": [*range(10)]}


class Dying:
    """Of a task: that it kills its process in place of a call: (name, how many of these calls come before)."""

    dies = (None, 0)

    def batches(self, epoch, times=1):
        for batch in super().batches(epoch, times):
            self._die("batch")
            yield batch

    def validate(self, comm):
        self._die("validate")
        return super().validate(comm)

    def save_checkpoint(self, epoch, comm):
        self._die("save_checkpoint")
        super().save_checkpoint(epoch, comm)

    def _die(self, name):
        if self.dies == (name, 0):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.dies[0] == name:
            self.dies = name, self.dies[1] - 1


def network(dropout, hidden=8):
    """A small network with the same weights on every rank."""
    layers = [
        keras.Input((6,)),
        keras.layers.Dense(hidden, "relu", kernel_initializer=keras.initializers.GlorotUniform(1)),
    ]
    layers += [keras.layers.Dropout(dropout, seed=2)] if dropout else []
    return keras.Sequential([*layers, keras.layers.Dense(4, kernel_initializer=keras.initializers.GlorotUniform(2))])


def main():
    """Train as each entry of the first argument says and print a JSON line for each from the root."""
    world = comm = MeteredComm(MPI.COMM_WORLD)
    training.configure(comm, 7)
    for given in json.loads(sys.argv[1]):
        training.name_anew(7)
        errors = (InputError, RuntimeError) if given.pop("may_fail", False) else InputError
        try:
            comm = _train(given, comm)
        except errors as error:
            print(json.dumps({"error": str(error)}) if comm.rank == 0 else "")
    if comm.size < world.size:
        comm.Barrier()
        sys.stdout.flush()
        os._exit(0)


def _train(given, comm):
    """Return the ranks that are left."""
    sent = comm.traffic.bytes_sent
    strategy = methods.find("strategies", given.pop("strategy", "ring_allreduce"), "train.strategy")
    train = strategy.load()
    kind = typing.get_type_hints(train)["task"]
    with kind.building():
        reader, model = _made(given)
    initial, frozen = given.pop("initial_weights", ""), given.pop("frozen", ())
    begun = transfer.pair(model, initial, frozen, comm) if initial else None
    attach(model, reader)
    options = {name: given.pop(name) for name in strategy.options if name in given}
    events, rates, left = [], [], [comm]
    dies = given.pop("dies", {}).get(str(MPI.COMM_WORLD.rank), (None, 0))
    folder, memory_bytes = pathlib.Path(given.pop("folder")), given.pop("memory_bytes", 10**9)
    scratch = folder / f"scratch-{comm.rank}"
    scratch.mkdir(parents=True, exist_ok=True)
    speeds, slow_rank = given.pop("speeds", None), given.pop("slow_rank", None)
    left_bytes = given.pop("left_bytes", None)
    micro_batches.available_bytes = (lambda: left_bytes) if left_bytes else memory.available_bytes
    breaks = given.pop("breaks", None)
    task = type("DyingTask", (Dying, kind), {})(
        model,
        reader,
        comm,
        {**SETTINGS, "rows": given.pop("training_rows", "shared"), **given},
        seed=7,
        folder=folder,
        key="test",
        memory_bytes=memory_bytes,
        scratch=scratch,
        writer=tf.summary.create_noop_writer,
        tell=lambda **told: rates.append(float(model_rate(task))),
        note=lambda **event: _note(event, events, comm),
        lost=lambda comm, seconds: left.append(comm),
        speed=speeds and speeds[comm.rank],
        initial=lambda: begun.arrays(model) if begun else (),
    )
    task.dies = tuple(dies)
    if comm.rank == slow_rank:
        task.batches = functools.partial(_slowly, task.batches)
    if breaks is not None:
        _break(task, breaks)
    history = train(task, comm, **options)
    comm = left[-1]
    task.collect(comm)
    transfer.thaw(model)
    flat = np.empty(0)
    if comm.rank == 0:
        task.save(folder / "model.keras")
        saved = keras.saving.load_model(folder / "model.keras")
        flat = np.concatenate([np.asarray(variable).ravel() for variable in saved.trainable_variables])
    weights = b"".join(np.asarray(variable).tobytes() for variable in task.model.trainable_variables)
    told = {"curves": history.curves, "steps": history.steps, "events": events, "rates": rates, "flat": flat.tolist()}
    told |= {"best_epoch": history.best_epoch, "iterations": int(task.optimizer.iterations)}
    told["sizes"] = [comm.size for comm in left]
    digests = allgather_json(hashlib.sha256(weights).hexdigest(), comm)
    costs = history.metrics(comm)
    if comm.rank == 0:
        print(json.dumps({**told, "digests": digests, "metrics": costs, "sent": comm.traffic.bytes_sent - sent}))
    return comm


def _note(event, events, comm):
    """Keep an event; it is told at once as well, for who waits for it."""
    events.append(event)
    print("event", event["what"] if comm.rank == 0 else "", flush=True)


def _slowly(batches, epoch):
    """Batches that take a rank two thousandths of a second a row to get."""
    for batch in batches(epoch):
        time.sleep(0.002 * len(batch.y))
        yield batch


def _break(task, epoch):
    """Let the last rank's weights be no numbers at the end of an epoch, as one last step too far leaves them."""
    end_epoch = task.end_epoch

    def broken(ended, comm):
        if ended + 1 == epoch and comm.rank == comm.size - 1:
            task.variables()[0].assign(np.full(task.variables()[0].shape, np.nan))
        return end_epoch(ended, comm)

    task.end_epoch = broken


def _made(given):
    """Return the rows and the network of an entry, and take from it what they are made of."""
    if given.pop("digits", False):
        reader = Digits(given.pop("spike", 0), given.pop("changes_at", None))
        layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, kernel_initializer="zeros")]
        return reader, keras.Sequential(layers) if given.pop("is_linear", False) else dense.build(reader.spec, seed=7)
    if "nodes" in given:
        reader = GraphRows(given.pop("nodes"), features=given.pop("features", 5))
        return reader, gcn.build(reader.spec, hidden=4, seed=7, **given.pop("model", {}))
    reader = Rows(given.pop("rows", 203), given.pop("validation", 50), given.pop("changes_at", None))
    return reader, network(given.pop("dropout", 0.0), given.pop("hidden", 8))


def model_rate(task):
    """The learning rate of the last step."""
    return np.asarray(task.optimizer.learning_rate)


if __name__ == "__main__":
    main()
