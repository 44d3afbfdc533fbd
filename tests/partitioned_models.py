"""A program for parallel tests: random small models, cut over the ranks and whole on one, trained on the same rows.

mpirun -np N python -m mpi4py tests/partitioned_models.py '[{"seed": 1, "strategy": "pipeline", ...}, ...]' FOLDER
"""

import json
import os
import pathlib
import sys
import typing
from dataclasses import replace
from itertools import zip_longest

import keras
import numpy as np
import tensorflow as tf
import train_rows
from mpi4py import MPI
from msgspec.structs import asdict

from hvdedge import memory, methods, parted_task, split_task, training
from hvdedge.config import Train
from hvdedge.errors import InputError, RankError
from hvdedge.lanes import Lanes
from hvdedge.models import dense, embedding
from hvdedge.parallel import MeteredComm, allgather_json, counts
from hvdedge.partition import Chain
from hvdedge.shards import OwnRows


class Rows(train_rows.Rows):
    """Random rows of any shape, of which some stand for several."""

    def __init__(self, spec, rows, validation, rng):
        self.spec = spec
        self._slices = {"train": slice(0, rows), "validation": slice(rows, None)}
        size = rows + validation, *spec["input_shape"]
        whole_numbers = spec.get("whole_numbers", 0)
        self._x = rng.integers(0, whole_numbers, size) if whole_numbers else rng.normal(size=size).astype(np.float32)
        if spec.get("levels"):
            self._x[:, spec["levels"]] = rng.integers(0, 7, (len(self._x), len(spec["levels"])))
        self._y = rng.integers(0, len(spec["classes"]), rows + validation)
        self._weights = rng.integers(1, 4, rows).astype(np.float32)

    def weights(self, rows):
        return self._weights[rows]


class Begun:
    """Of a task: that it leaves the weights with which it begins, of all ranks."""

    def resume(self, comm):
        everyone = self.everyone or comm
        self.collect(everyone)
        if everyone.rank == 0:
            self.save(self.begun)
        return super().resume(comm)


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


class Watched:
    """Of a task: that it tells on which rings it was trained: first epoch, parts and ranks that were left, each."""

    rings = ()

    def batches(self, epoch, times=1):
        for number, batch in enumerate(super().batches(epoch, times)):
            if self.dies == ("error", number):
                raise ValueError("a disk that broke")
            yield batch

    def copy_parts(self, comm):
        self._die("copy_parts")
        super().copy_parts(comm)
        left = allgather_json(MPI.COMM_WORLD.rank, comm)
        if not self.rings or self.rings[-1][2] != left:
            self.rings = [*self.rings, (self.epoch, self.part_names, left)]


ONE_RANK = {"balance": "always", "scaling": "none"}  # sums of ours, as Horovod begins once for all ranks


def two_layers(rng, shape, classes):
    """As little as can be cut."""
    return keras.Sequential([keras.Input(shape), keras.layers.Dense(4), keras.layers.Dense(classes)])


def tied(rng, shape, classes):
    """Four layers, of which two are one."""
    twice = keras.layers.Dense(5, name="twice")
    x = keras.Input(shape)
    return keras.Model(x, keras.layers.Dense(classes)(twice(keras.layers.ReLU()(twice(x)))))


def normalized_model(rng, shape, classes):
    """A network of images with batch normalizations, poolings, a concatenation of maps."""
    x = y = keras.Input(shape)
    maps = []
    for number in range(2):
        width = int(rng.integers(3, 8))
        padding = str(rng.choice(["valid", "same"])) if number else "same"
        y = keras.layers.Conv2D(width, 3, padding=padding, use_bias=False, kernel_initializer=initial(rng))(y)
        y = keras.layers.Activation("tanh")(keras.layers.BatchNormalization(momentum=0.8)(y))
        if number == 0 and rng.random() < 0.7:
            other = keras.layers.DepthwiseConv2D(3, padding="same", depthwise_initializer=initial(rng))(y)
            y = keras.layers.Concatenate()([y, other])
    maps.append(keras.layers.MaxPooling2D(2)(y))
    maps.append(keras.layers.AveragePooling2D(3, strides=2, padding="same")(keras.layers.ZeroPadding2D(1)(y)))
    flat = [keras.layers.Flatten()(maps[0]), keras.layers.GlobalAveragePooling2D()(maps[1])]
    y = keras.layers.Concatenate()(flat)
    y = keras.layers.Dense(int(rng.integers(4, 9)), "tanh", kernel_initializer=initial(rng))(y)
    return keras.Model(x, keras.layers.Dense(classes, kernel_initializer=initial(rng))(y))


def token_model(rng, shape, classes):
    """A network of token numbers: vectors, an LSTM or GRU over them, another one of their outputs."""
    x = keras.Input(shape, dtype="int32")
    table = keras.initializers.RandomUniform(-1.0, 1.0, seed=int(rng.integers(2**31)))
    y = keras.layers.Embedding(VOCABULARY, int(rng.integers(4, 7)), embeddings_initializer=table)(x)
    for number in range(2):
        kinds = [keras.layers.LSTM, keras.layers.GRU]
        kind = kinds[(number + int(rng.integers(2))) % 2]
        options = {"kernel_initializer": initial(rng), "recurrent_initializer": initial(rng)}
        if kind is keras.layers.GRU:
            options["reset_after"] = bool(rng.random() < 0.5)
        y = kind(int(rng.integers(4, 7)), return_sequences=number == 0, go_backwards=rng.random() < 0.3, **options)(y)
    return keras.Model(x, keras.layers.Dense(classes, kernel_initializer=initial(rng))(y))


def signal_model(rng, shape, classes):
    """A network of windows of a signal: strided, dilated and causal convolutions, poolings."""
    layers = [keras.Input(shape)]
    for _ in range(2):
        padding = str(rng.choice(["valid", "same", "causal"]))
        options = {"strides": 2} if rng.random() < 0.4 else {"dilation_rate": int(rng.integers(1, 3))}
        layer = keras.layers.Conv1D(
            *(int(rng.integers(4, 8)), 3),
            padding=padding,
            activation="tanh",
            kernel_initializer=initial(rng),
            **options,
        )
        layers.append(layer)
    layers += [keras.layers.MaxPooling1D(2, padding="same"), keras.layers.Flatten()]
    return keras.Sequential([*layers, keras.layers.Dense(classes, kernel_initializer=initial(rng))])


def tokens_mean(rng, shape, classes):
    """The model `embedding`."""
    spec = {"task": "classification", "input_shape": shape, "classes": [*range(classes)]}
    spec |= {"vocabulary_size": VOCABULARY}
    return embedding.build(spec, dimensions=5, hidden=7, dropout=0.0, seed=int(rng.integers(2**31)))


def levels(rng, shape, classes):
    """The model `dense` with columns of levels."""
    embedded = [{"place": 1, "levels": 6}, {"place": 3, "levels": 9}]
    spec = {"input_shape": shape, "classes": [*range(classes)], "task": "classification", "embedded": embedded}
    return dense.build(spec, hidden=7, dropout=0.0, seed=int(rng.integers(2**31)))


def wide(rng, shape, classes):
    """Layers of many numbers, of each way to cut weights."""
    x = keras.Input(shape, dtype="int32")
    y = keras.layers.LSTM(24)(keras.layers.Embedding(VOCABULARY, 32)(x))
    for _ in range(2):
        y = keras.layers.Dense(40, "tanh")(keras.layers.Dense(60, "tanh")(y))
    return keras.Model(x, keras.layers.Dense(classes)(y))


def narrow(rng, shape, classes):
    """Layers of two outputs."""
    return keras.Sequential([keras.Input(shape), keras.layers.Dense(2), keras.layers.Dense(2, name="last_one")])


def masked(rng, shape, classes):
    """Token numbers of which 0 is none."""
    vectors = keras.layers.Embedding(9, 6, mask_zero=True, name="vectors")
    return keras.Sequential(
        [keras.Input(shape, dtype="int32"), vectors, keras.layers.LSTM(4), keras.layers.Dense(classes)]
    )


def constrained(rng, shape, classes):
    """A layer whose weights are held to a norm."""
    bound = keras.layers.Dense(6, kernel_constraint=keras.constraints.MaxNorm(1.0), name="bound")
    return keras.Sequential([keras.Input(shape), bound, keras.layers.Dense(classes)])


VOCABULARY = 23

KINDS = {
    "dense": (dense_model, (5,)),
    "image": (image_model, (9, 11, 2)),
    "normalized": (normalized_model, (11, 9, 2)),
    "normalized, 28 rows": (normalized_model, (11, 9, 2)),
    "tokens": (token_model, (5,)),
    "signal": (signal_model, (29, 3)),
    "tokens mean": (tokens_mean, (6,)),
    "levels": (levels, (5,)),
    "wide": (wide, (5,)),
    "narrow": (narrow, (5,)),
    "masked": (masked, (5,)),
    "constrained": (constrained, (5,)),
    "two layers": (two_layers, (5,)),
    "tied": (tied, (5,)),
}


def initial(rng):
    """An initializer of its own for each layer, the same on every rank."""
    return keras.initializers.GlorotUniform(int(rng.integers(2**31)))


def main():
    """Print a JSON line for each entry: how far weights and curves are from those of one rank, or the error."""
    world = comm = MeteredComm(MPI.COMM_WORLD)
    alone = MeteredComm(MPI.COMM_SELF)
    training.configure(comm, 7)
    for number, given in enumerate(json.loads(sys.argv[1])):
        folder = pathlib.Path(sys.argv[2]) / f"{number}-{comm.size}"
        keras.utils.set_random_seed(7)
        try:
            told, comm = _compare(given, comm, alone, folder)
        except (InputError, RankError) as error:
            told = {"error": str(error)}
        if comm.rank == 0:
            print(json.dumps(told), flush=True)
        comm.Barrier()
    if comm.size < world.size:
        sys.stdout.flush()
        os._exit(0)


def _compare(given, comm, alone, folder):
    seed, strategy, kind, resumes = (given.pop(name, None) for name in ("seed", "strategy", "kind", "resumes"))
    left_bytes = given.pop("left_bytes", None)
    for module in (parted_task, split_task):
        module.available_bytes = (lambda: left_bytes * comm.size) if left_bytes else memory.available_bytes
    settings = {name: given.pop(name) for name in Train.__struct_fields__ if name in given}
    settings = asdict(Train(**({"optimizer": "sgd", "momentum": 0.5, "learning_rate": 0.2, "epochs": 2} | settings)))
    groups = given.pop("groups", 1)  # of ranks, each with rows of its own
    begun = folder / "begun.keras"
    if resumes:  # with so many ranks, or as many
        first = comm.Split(comm.rank < (resumes if resumes > 1 else comm.size))
        if comm.rank < first.size:
            _trained(strategy, given, seed, kind, settings | {"epochs": 1}, first, folder / "cut", begun)
        comm.Barrier()
    cut, model, comm = _trained(
        strategy, given, seed, kind, settings, comm, folder / "cut", folder / "again.keras" if resumes else begun
    )
    if comm.rank:
        return None, comm
    curves = [0.0]
    if given.get("schedule") == "pipedream":
        whole = _delayed(seed, kind, settings, cut.told["parts"])
    elif "ring_tmp" in (strategy, given.get("schedule")):
        rings = cut.told["rings"] or [(0, cut.told["parts"], [*range(comm.size)])]
        whole = _ring_delayed(seed, kind, settings, rings, given, groups)
    else:
        settings |= {"batch_size": settings["batch_size"] * groups}
        plain, whole, _ = _trained("ring_allreduce", ONE_RANK, seed, kind, settings, alone, folder / "whole", begun)
        names = [name for name in plain.curves if name != "epoch_seconds"]
        pairs = [pair for name in names for pair in zip(cut.curves[name], plain.curves[name], strict=True)]
        curves = [0.0 if a is b is None else abs(a - b) for a, b in pairs]  # without rows for validation there is none
    first = keras.saving.load_model(begun) if begun.exists() else _model(seed, kind)[0]
    weights, expected, before = (_flat(each) for each in (model, whole, first))
    told = {"away": np.abs(weights - expected).max(), "moved": np.abs(expected - before).max(), "curves": max(curves)}
    numbers = {"whole": whole.count_params(), "held": cut.told["numbers"]}
    cuts = {name: cut.told.get(name) for name in ("parts", "split", "rings")}
    return {name: float(value) for name, value in told.items()} | numbers | cuts, comm


def _flat(model):
    return np.concatenate([np.ravel(variable) for variable in model.weights])


def _delayed(seed, kind, settings, parts):
    """The whole model after steps of gradients at weights that each part had when a batch went forward through it."""
    model, reader = _model(seed, kind)
    lanes = Lanes(reader, settings["batch_size"], slice(settings["batch_size"]), settings["batch_size"], seed, 10**8)
    ahead = [len(parts) - 1 - part for part in range(len(parts))]

    part_of = _part_of(model, parts)

    def plan(epoch):
        return part_of, [[(0, batch)] for batch in lanes.batches(epoch)], lambda part, number: number - ahead[part]

    _late_steps(model, settings, plan)
    return model


def _ring_delayed(seed, kind, settings, rings, options, groups):
    """The same of rings: steps of rounds, a batch of each node; part p of n is 4 (n - 1 - p) batches late.

    Args:
        rings: (first epoch, parts, ranks that are left and whose rows they have) each.
        options: of the strategy.
        groups: of nodes, each of which is a ring.
    """
    private = options.get("private", False)
    model, reader = _model(seed, kind)
    plans = {}
    for first, parts, left in rings:
        count, size = reader.rows("train"), len(parts)
        shares, have = (len(rings[0][1]), left) if private else (size * groups, range(size * groups))
        rows = [np.arange(count * node // shares, count * (node + 1) // shares) for node in have]
        shards = [
            (node // size, OwnRows(reader, own, settings["batch_size"], seed, 10**8))
            for node, own in enumerate(rows)
            if len(own)
        ]
        part_of = _part_of(model, parts)
        if private:  # the layers up to the first one with weights
            lent = next(place for place, layer in enumerate(Chain(model).layers) if layer.weights)
            part_of |= {layer.name: size for layer in Chain(model).layers[: lent + 1]}
        late = [4 * (size - 1 - part) or 1 for part in range(size)] + [4 * size + 4]
        begun = first if plans else 0  # a run that goes on had the same ring before
        plans |= dict.fromkeys(range(begun, settings["epochs"]), (part_of, shards, late))

    def plan(epoch):
        part_of, shards, late = plans[epoch]
        found = zip_longest(*(shard.batches(epoch) for _, shard in shards))
        of = [group for group, _ in shards]
        rounds = [[pair for pair in zip(of, together, strict=True) if pair[1] is not None] for together in found]
        counts = [sum(batch.together for _, batch in pairs) for pairs in rounds]
        rounds = [
            [(group, replace(batch, weights=batch.weights * batch.together / count)) for group, batch in pairs]
            for pairs, count in zip(rounds, counts, strict=True)
        ]
        return part_of, rounds, lambda part, number: number - late[part] + 1

    _late_steps(model, settings, plan, recompute=options.get("recompute", False))
    return model


def _part_of(model, parts):
    """The number of the part that holds a layer."""
    numbers = np.repeat(np.arange(len(parts)), [len(names) for names in parts]).tolist()
    return {layer.name: number for layer, number in zip(Chain(model).layers, numbers, strict=True)}


def _again(model, x, part_of, variables, now):
    """Outputs of a sequential model as its weights are, with the gradient of each part at the weights `now`."""
    late = [np.array(variable) for _, variable in variables]

    def made(x, part, weights):
        for (_, variable), value in zip(variables, weights, strict=True):
            variable.assign(value)
        for layer in model.layers:
            x = layer(x) if part_of[layer.name] == part else x
        return x

    for part in sorted({*part_of.values()}):
        newest, oldest = made(x, part, now), made(x, part, late)
        x = newest + tf.stop_gradient(oldest - newest)
    return x


def _late_steps(model, settings, plan, *, recompute=False):
    """Step with the sums of rounds of batches, each gradient at weights after those rounds that a part knew then.

    Args:
        plan: of an epoch: the part of each layer, rounds of batches, each with the number of its group, and (part,
            number of a batch in its group) -> how many batches went backward there before it went forward.
        recompute: whether a part's gradient is of what came into it, at the newest weights; of a sequential model.
    """
    variables = [(layer.name, variable) for layer in model.layers for variable in layer.trainable_variables]
    now = [np.array(variable) for _, variable in variables]
    rate, momentum = settings["learning_rate"], settings["momentum"]
    is_adam = settings["optimizer"] == "adam"
    optimizer = keras.optimizers.Adam(rate) if is_adam else keras.optimizers.SGD(rate, momentum=momentum)
    for epoch in range(settings["epochs"]):
        versions = [now]  # the weights after each round
        part_of, rounds, known = plan(epoch)
        numbers = dict.fromkeys([group for pairs in rounds for group, _ in pairs], 0)
        ends = {group: [] for group in numbers}  # how many batches each round ended with
        for pairs in rounds:
            sums = [0.0 for _ in variables]
            for group, batch in pairs:
                for place, (layer, variable) in enumerate(variables):
                    done = sum(end <= known(part_of[layer], numbers[group]) for end in ends[group])
                    variable.assign(versions[done][place])
                with tf.GradientTape() as tape:
                    y = _again(model, batch.x, part_of, variables, now) if recompute else model(batch.x)
                    losses = keras.losses.sparse_categorical_crossentropy(batch.y, y, from_logits=True)
                    loss = tf.reduce_sum(losses * batch.weights)
                grads = tape.gradient(loss, [variable.value for _, variable in variables])
                sums = [one + np.array(grad) for one, grad in zip(sums, grads, strict=True)]
                numbers[group] += 1
            for (_, variable), value in zip(variables, now, strict=True):
                variable.assign(value)
            optimizer.apply(sums, [variable for _, variable in variables])
            now = [np.array(variable) for _, variable in variables]
            versions.append(now)
            for group, reached in ends.items():
                numbers[group] += group not in [here for here, _ in pairs]  # a batch that counts nothing
                reached.append(numbers[group])
    for (_, variable), value in zip(variables, now, strict=True):
        variable.assign(value)


def _model(seed, kind):
    rng = np.random.default_rng(seed)
    make, shape = KINDS[kind]
    model = make(rng, shape, 3)
    spec = {"task": "classification", "input_shape": shape, "classes": [0, 1, 2]}
    spec |= {"whole_numbers": VOCABULARY} if kind in ("tokens", "tokens mean", "wide") else {}
    spec |= {"levels": [1, 3]} if kind == "levels" else {}
    rows = 28 if "28" in kind else int(rng.integers(20, 60))
    return model, Rows(spec, rows, int(rng.integers(0, 30)), rng)


def _trained(strategy, options, seed, kind, settings, comm, folder, begun=None):
    """Return the history, on the root the model as it was saved, and the ranks that are left.

    Args:
        begun: where a task whose first weights follow the ranks leaves them, and another begins from.
    """
    dies = options.get("dies", {}).get(str(MPI.COMM_WORLD.rank), (None, 0))
    options = {name: value for name, value in options.items() if name != "dies"}
    train = methods.find("strategies", strategy, "strategy").load()
    task_kind = typing.get_type_hints(train)["task"]
    with task_kind.building():
        model, reader = _model(seed, kind)
    if issubclass(task_kind, split_task.SplitTask):
        task_kind = type("BegunTask", (Begun, task_kind), {"begun": begun})
    elif begun is not None and begun.exists():
        model.set_weights(keras.saving.load_model(begun).get_weights())
    scratch = folder / f"scratch-{comm.rank}"
    scratch.mkdir(parents=True, exist_ok=True)
    left = [comm]
    task = type("WatchedTask", (Watched, train_rows.Dying, task_kind), {})(
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
        lost=lambda comm, seconds: left.append(comm),
    )
    task.dies = tuple(dies)
    history = train(task, comm, **options)
    comm, history.told["rings"] = left[-1], task.rings
    history.told["numbers"] = counts(task.model.count_params(), comm).tolist()
    task.collect(comm)
    if comm.rank:
        return history, None, comm
    task.save(folder / "model.keras")
    return history, keras.saving.load_model(folder / "model.keras"), comm


if __name__ == "__main__":
    main()
