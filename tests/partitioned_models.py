"""A program for parallel tests: random small models, cut over the ranks and whole on one, trained on the same rows.

mpirun -np N python -m mpi4py tests/partitioned_models.py '[{"seed": 1, "strategy": "pipeline", ...}, ...]' FOLDER
"""

import json
import pathlib
import sys
import typing

import keras
import numpy as np
import tensorflow as tf
import train_rows
from mpi4py import MPI
from msgspec.structs import asdict

from hvdedge import memory, methods, parted_task, training
from hvdedge.config import Train
from hvdedge.errors import InputError, RankError
from hvdedge.lanes import Lanes
from hvdedge.parallel import MeteredComm, counts
from hvdedge.partition import Chain


class Rows(train_rows.Rows):
    """Random rows of any shape, of which some stand for several."""

    def __init__(self, spec, rows, validation, rng):
        self.spec = spec
        self._slices = {"train": slice(0, rows), "validation": slice(rows, None)}
        self._x = rng.normal(size=(rows + validation, *spec["input_shape"])).astype(np.float32)
        self._y = rng.integers(0, len(spec["classes"]), rows + validation)
        self._weights = rng.integers(1, 4, rows).astype(np.float32)

    def weights(self, rows):
        return self._weights[rows]


def dense_model(rng, shape, classes):
    """A network of vectors, of some widths, with a sum or a concatenation that skips some of its layers."""
    x = y = keras.Input(shape)
    skipped = None
    for _ in range(rng.integers(3, 6)):
        width = int(rng.integers(2, 8))
        y = keras.layers.Dense(width, str(rng.choice(["relu", "tanh", "linear"])), kernel_initializer=initial(rng))(y)
        if skipped is None and rng.random() < 0.5:
            skipped = y
        elif skipped is not None and rng.random() < 0.5:
            same = skipped.shape == y.shape
            y = (keras.layers.Add() if same else keras.layers.Concatenate())([skipped, y])
            skipped = None
        if rng.random() < 0.3:
            y = keras.layers.Activation("softsign")(y)
    return keras.Model(x, keras.layers.Dense(classes, kernel_initializer=initial(rng))(y))


def image_model(rng, shape, classes):
    """A network of images: convolutions, strided and padded or not, pooling, dense layers."""
    layers = [keras.Input(shape)]
    for _ in range(rng.integers(1, 4)):
        layers.append(
            keras.layers.Conv2D(
                int(rng.integers(1, 5)),
                int(rng.integers(1, 4)),
                strides=int(rng.choice([1, 1, 2])),
                padding=str(rng.choice(["valid", "same"])),
                activation="relu",
                kernel_initializer=initial(rng),
            )
        )
    if rng.random() < 0.5:
        pool = keras.layers.MaxPooling2D if rng.random() < 0.5 else keras.layers.AveragePooling2D
        layers.append(pool(2, padding="same"))
    layers += [
        keras.layers.Flatten(),
        keras.layers.Dense(int(rng.integers(2, 9)), "relu", kernel_initializer=initial(rng)),
    ]
    return keras.Sequential([*layers, keras.layers.Dense(classes, kernel_initializer=initial(rng))])


ONE_RANK = {"balance": "always", "scaling": "none"}  # sums of ours, as Horovod begins once for all ranks


def two_layers(rng, shape, classes):
    """As little as can be cut."""
    return keras.Sequential([keras.Input(shape), keras.layers.Dense(4), keras.layers.Dense(classes)])


def tied(rng, shape, classes):
    """Four layers, of which two are one."""
    twice = keras.layers.Dense(5, name="twice")
    x = keras.Input(shape)
    return keras.Model(x, keras.layers.Dense(classes)(twice(keras.layers.ReLU()(twice(x)))))


KINDS = {
    "dense": (dense_model, (5,)),
    "image": (image_model, (9, 11, 2)),
    "two layers": (two_layers, (5,)),
    "tied": (tied, (5,)),
}


def initial(rng):
    """An initializer of its own for each layer, the same on every rank."""
    return keras.initializers.GlorotUniform(int(rng.integers(2**31)))


def main():
    """Print a JSON line for each entry: how far weights and curves are from those of one rank, or the error."""
    comm, alone = MeteredComm(MPI.COMM_WORLD), MeteredComm(MPI.COMM_SELF)
    training.configure(comm, 7)
    for number, given in enumerate(json.loads(sys.argv[1])):
        folder = pathlib.Path(sys.argv[2]) / f"{number}-{comm.size}"
        keras.utils.set_random_seed(7)
        try:
            told = _compare(given, comm, alone, folder)
        except (InputError, RankError) as error:
            told = {"error": str(error)}
        if comm.rank == 0:
            print(json.dumps(told), flush=True)
        comm.Barrier()


def _compare(given, comm, alone, folder):
    seed, strategy, kind, resumes = (given.pop(name, None) for name in ("seed", "strategy", "kind", "resumes"))
    left_bytes = given.pop("left_bytes", None)
    parted_task.available_bytes = (lambda: left_bytes * comm.size) if left_bytes else memory.available_bytes
    settings = {name: given.pop(name) for name in Train.__struct_fields__ if name in given}
    settings = asdict(Train(**({"optimizer": "sgd", "momentum": 0.5, "learning_rate": 0.2, "epochs": 2} | settings)))
    if resumes:
        _trained(strategy, given, seed, kind, settings | {"epochs": 1}, comm, folder / "cut")
    cut, model = _trained(strategy, given, seed, kind, settings, comm, folder / "cut")
    if comm.rank:
        return None
    curves = [0.0]
    if given.get("schedule") == "pipedream":
        whole = _delayed(seed, kind, settings, cut.told["parts"])
    else:
        plain, whole = _trained("ring_allreduce", ONE_RANK, seed, kind, settings, alone, folder / "whole")
        names = [name for name in plain.curves if name != "epoch_seconds"]
        pairs = [pair for name in names for pair in zip(cut.curves[name], plain.curves[name], strict=True)]
        curves = [0.0 if a is b is None else abs(a - b) for a, b in pairs]  # without rows for validation there is none
    weights, expected, begun = (_flat(each) for each in (model, whole, _model(seed, kind)[0]))
    told = {"away": np.abs(weights - expected).max(), "moved": np.abs(expected - begun).max(), "curves": max(curves)}
    numbers = {"whole": whole.count_params(), "held": cut.told["numbers"]}
    return {name: float(value) for name, value in told.items()} | numbers | {"parts": cut.told["parts"]}


def _flat(model):
    return np.concatenate([np.ravel(variable) for variable in model.variables])


def _delayed(seed, kind, settings, parts):
    """The whole model after steps of gradients at weights that each part had when a batch went forward through it."""
    model, reader = _model(seed, kind)
    numbers = np.repeat(np.arange(len(parts)), [len(names) for names in parts]).tolist()
    part_of = {layer.name: number for layer, number in zip(Chain(model).layers, numbers, strict=True)}
    variables = [(part_of[layer.name], variable) for layer in model.layers for variable in layer.trainable_variables]
    lanes = Lanes(reader, settings["batch_size"], slice(settings["batch_size"]), settings["batch_size"], seed, 10**8)
    now = [np.array(variable) for _, variable in variables]
    for epoch in range(settings["epochs"]):
        versions = [now]
        for number, batch in enumerate(lanes.batches(epoch)):
            for place, (part, variable) in enumerate(variables):
                ahead = len(parts) - 1 - part
                variable.assign(versions[max(number - ahead, 0)][place])
            with tf.GradientTape() as tape:
                losses = keras.losses.sparse_categorical_crossentropy(batch.y, model(batch.x), from_logits=True)
                loss = tf.reduce_sum(losses * batch.weights)
            grads = tape.gradient(loss, [variable.value for _, variable in variables])
            now = [value - settings["learning_rate"] * np.array(grad) for value, grad in zip(now, grads, strict=True)]
            versions.append(now)
    for (_, variable), value in zip(variables, now, strict=True):
        variable.assign(value)
    return model


def _model(seed, kind):
    rng = np.random.default_rng(seed)
    make, shape = KINDS[kind]
    model = make(rng, shape, 3)
    spec = {"task": "classification", "input_shape": shape, "classes": [0, 1, 2]}
    return model, Rows(spec, int(rng.integers(20, 60)), int(rng.integers(0, 30)), rng)


def _trained(strategy, options, seed, kind, settings, comm, folder):
    """Return the history, and on the root the model as it was saved."""
    train = methods.find("strategies", strategy, "strategy").load()
    task_kind = typing.get_type_hints(train)["task"]
    with task_kind.building():
        model, reader = _model(seed, kind)
    scratch = folder / f"scratch-{comm.rank}"
    scratch.mkdir(parents=True, exist_ok=True)
    task = task_kind(
        model,
        reader,
        comm,
        settings,
        seed=seed,
        folder=folder,
        key="test",
        memory_bytes=10**8,
        scratch=scratch,
        writer=tf.summary.create_noop_writer,
        tell=lambda **told: None,
        note=lambda **event: None,
        lost=lambda left, seconds: None,
    )
    history = train(task, comm, **options)
    history.told["numbers"] = counts(task.model.count_params(), comm).tolist()
    task.collect(comm)
    if comm.rank:
        return history, None
    task.save(folder / "model.keras")
    return history, keras.saving.load_model(folder / "model.keras")


if __name__ == "__main__":
    main()
