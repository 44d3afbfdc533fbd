"""TrainingTask: what a strategy trains, and all that is the same whichever strategy does it.

Rows are dealt by lanes. The training rows, in the order of `features.h5`, are laid out in lines of G, the global
batch size; lane l is column l, and a rank holds the lanes `block(G, size, rank)`. Each epoch shuffles every lane by
itself, from the seed, the epoch and the lane's number; step s trains on line s:

              lane 0   1   2   3            rank 0 of 2 holds lanes 0 and 1,
    line 0        0    1   2   3            rank 1 lanes 2 and 3;
    line 1        4    5   6   7            step s of an epoch takes one row of each lane
    line 2        8    9

So the batches of a seed do not depend on the number of ranks, only on the global batch size; every row is used once
an epoch; and a rank never needs another's rows. Where lanes are of uneven length, the last step is smaller on some
ranks, and may be empty there: such a rank takes part with one row of weight zero.
"""

import dataclasses
import functools
import json
import math
import os
import pathlib
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from mpi4py import MPI

from hvdedge import checkpoints, tasks
from hvdedge.checkpoints import Checkpoint
from hvdedge.errors import InputError
from hvdedge.parallel import MeteredComm, allgather_rows, block
from hvdedge.tensors import FeatureReader

SEED_STATE = "seed_generator_state"
KEPT = "strategy/"  # before the names of what a strategy keeps, in a checkpoint


@dataclasses.dataclass
class Batch:
    """This rank's part of a global batch.

    `x` (rows, ...) and `y` (rows, ...); `weights` float32 (rows,) is a row's weight / (rows of the global batch), 0 for
    one that only fills an empty batch, so that weighted sums over all ranks are means over the global batch.
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray


@dataclasses.dataclass
class History:
    """The curves by epoch, and what the steps cost.

    `best_epoch` is the place in the curves of the weights that were kept: the last one but under early stopping.
    Warm steps are all but the first of a process, in which TensorFlow builds its graph; seconds, bytes and idle seconds
    are this rank's. A run that goes on counts on from its checkpoint.
    """

    curves: dict[str, list[float | None]] = dataclasses.field(default_factory=dict)
    steps: int = 0
    warm_steps: int = 0
    warm_examples: int = 0
    warm_seconds: float = 0.0
    warm_bytes: int = 0
    warm_idle_seconds: float = 0.0
    best_epoch: int = -1

    def metrics(self, comm: MeteredComm) -> dict[str, Any]:
        """Collective. Return what a train record says of the cost: null where there was no warm step."""
        mine = np.array([self.warm_seconds, self.warm_idle_seconds, self.warm_bytes])
        comm.Allreduce(MPI.IN_PLACE, mine, op=MPI.SUM)
        seconds, idle, sent = mine / comm.size
        steps = self.warm_steps or None
        return {
            "examples_per_second": self.warm_examples / seconds if steps else None,
            "step_seconds": seconds / steps if steps else None,
            "bytes_per_step": sent / steps if steps else None,
            "idle_share": idle / seconds if steps else None,
            "steps": self.steps,
        }


class Shard:
    """This rank's lanes of the training rows, in memory; over all rows the mean of their weights is 1."""

    def __init__(self, reader: FeatureReader, global_batch_size: int, lanes: slice, seed: int):
        self.rows = reader.rows("train")
        self.lines = math.ceil(self.rows / global_batch_size)
        self._lanes = range(global_batch_size)[lanes]
        self._global_batch_size = global_batch_size
        self._seed = seed
        lines = [
            range(self.rows)[start + lanes.start : start + lanes.stop]
            for start in range(0, self.rows, global_batch_size)
        ]
        parts = [reader.read("train", slice(line.start, line.stop)) for line in lines if len(line)]
        empty_x, empty_y = reader.read("train", slice(0, 0))
        self.x = np.concatenate([empty_x, *(x for x, _ in parts)])
        self.y = np.concatenate([empty_y, *(y for _, y in parts)])
        weights = reader.weights(slice(None))
        mine = [weights[line.start : line.stop] for line in lines]
        self.weights = np.concatenate([weights[:0], *mine]) / max(weights.mean(dtype=float), 1e-9)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield this rank's part of every step of an epoch, `lines` of them on every rank."""
        width = len(self._lanes)
        lengths = [len(range(lane, self.rows, self._global_batch_size)) for lane in self._lanes]
        order = np.full((self.lines, width), -1)
        for column, (lane, length) in enumerate(zip(self._lanes, lengths, strict=True)):
            order[:length, column] = (
                np.random.default_rng([self._seed, epoch, lane]).permutation(length) * width + column
            )
        for line, rows in enumerate(order):
            rows = rows[rows >= 0]
            together = min(self._global_batch_size, self.rows - line * self._global_batch_size)
            if rows.size:
                yield Batch(self.x[rows], self.y[rows], (self.weights[rows] / together).astype(np.float32))
            else:
                yield Batch(
                    np.zeros((1, *self.x.shape[1:]), self.x.dtype),
                    np.zeros((1, *self.y.shape[1:]), self.y.dtype),
                    np.zeros(1, np.float32),
                )


class TrainingTask:
    """A model with its data, loss, optimizer and checkpoints, for a strategy to train.

    Attributes:
        model, optimizer: Keras objects, built; on every rank the same weights are made from the same seed.
        epochs, learning_rate: as the pipeline has them; the rate is that of one rank.
        rows: for training, on all ranks.
        steps_per_epoch, global_batch_size: the same on every rank.
        history: filled in as the strategy counts its steps and ends its epochs.
        kept: what the strategy itself needs to go on, alike on every rank; it is part of a checkpoint.
    """

    def __init__(
        self,
        model: keras.Model,
        reader: FeatureReader,
        comm: MeteredComm,
        settings: dict[str, Any],
        *,
        seed: int,
        folder: pathlib.Path,
        key: str,
        writer: tf.summary.SummaryWriter,
        tell: Callable[..., None],
        note: Callable[..., None],
    ):
        self.model = model
        self.epochs: int = settings["epochs"]
        self.learning_rate: float = settings["learning_rate"]
        self.optimizer = _optimizer(settings)
        self.optimizer.build(model.trainable_variables)
        self.history = History()
        self.kept: dict[str, np.ndarray] = {}
        self.rows = reader.rows("train")
        self._traffic = comm.traffic
        self._reader = reader
        self._seed = seed
        self._validation = reader.read("validation", block(reader.rows("validation"), comm.size, comm.rank))
        self._settings = settings
        self._folder = folder
        self._key = key
        self._writer = writer
        self._tell = tell
        self._note = note
        self._sums = np.zeros(2)
        self._is_warm = False
        self._best: list[np.ndarray] = []
        self._epoch = self._line = 0
        self._began = self._epoch_began = 0.0
        self._kind = tasks.find(reader.spec)
        self.deal(comm.size, comm.rank)
        for number, state in enumerate(self._seed_states()):  # each rank, and each layer, leaves out other units
            state.assign(np.random.default_rng([seed, comm.rank, number]).integers(0, 2**31, state.shape))
        if settings["patience"] and not reader.rows("validation"):
            raise InputError(
                f"train.patience: received {settings['patience']} without rows for validation, allowed: 0"
                "; set it to 0 or raise extract.validation"
            )

    def deal(self, ranks: int, rank: int | None) -> None:
        """Let the training rows be those of `ranks` ranks, of which this is the one of number `rank`, None for none.

        They are all ranks unless a strategy says otherwise before the first epoch.
        """
        self.global_batch_size = self._settings["batch_size"] * ranks
        self.steps_per_epoch = math.ceil(self.rows / self.global_batch_size)
        self._lanes = slice(0) if rank is None else block(self.global_batch_size, ranks, rank)
        self._trains = rank is not None
        self._training_ranks = ranks

    @functools.cached_property
    def _shard(self) -> Shard:
        return Shard(self._reader, self.global_batch_size, self._lanes, self._seed)

    def variables(self) -> list[tf.Variable]:
        """Return the TensorFlow variables behind the trainable weights, in the order of the model."""
        return [weight.value for weight in self.model.trainable_variables]

    def losses(self, x: tf.Tensor, y: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """Return for each row its loss and its score, such as 1 where the class is right, float32 (rows,)."""
        return self._kind.losses(y, self.model(x, training=training))

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield this rank's part of each global batch of an epoch; equally many on every rank."""
        self.begin_epoch(epoch)
        return self._shard.batches(epoch)

    def begin_epoch(self, epoch: int) -> None:
        """Start to count an epoch's steps; for a rank that asks for no batches."""
        self._epoch, self._line = epoch, 0
        self._epoch_began = self._began = time.perf_counter()
        self._before = dataclasses.replace(self._traffic)

    @property
    def epochs_done(self) -> float:
        """How many epochs are done, with the part of the one under way."""
        return self._epoch + self._line / self.steps_per_epoch

    def count(self, loss: float, score: float) -> None:
        """Take in what a step gave on this rank: its weighted sums. What it cost is read off the traffic."""
        now = time.perf_counter()
        together = min(self.global_batch_size, self.rows - self._line * self.global_batch_size)
        self._line += 1
        self._sums += np.array([loss, score]) * together
        self.history.steps += 1
        if self._is_warm:
            self.history.warm_steps += 1
            self.history.warm_examples += together
            self.history.warm_seconds += now - self._began
            self.history.warm_bytes += self._traffic.bytes_sent - self._before.bytes_sent
            self.history.warm_idle_seconds += self._traffic.idle_seconds - self._before.idle_seconds
        self._is_warm = True
        self._began = now
        self._before = dataclasses.replace(self._traffic)

    def end_epoch(self, epoch: int, comm: MeteredComm) -> bool:
        """Collective. Validate, note the curves, keep a checkpoint; return whether training ends here.

        Raises:
            RuntimeError: on every rank, where the loss is no longer a finite number.
        """
        seconds = time.perf_counter() - self._epoch_began
        comm.Allreduce(MPI.IN_PLACE, self._sums, op=MPI.SUM)
        loss, score = self._sums / self.rows
        self._sums = np.zeros(2)
        if not math.isfinite(loss):
            raise RuntimeError(
                f"the loss became {loss} in epoch {epoch + 1}; lower train.learning_rate ({self.learning_rate})"
            )
        self._average_states(comm)
        validation_loss, validation_score = self.validate(comm)
        curves = {
            "loss": loss,
            self._kind.score: score,
            "validation_loss": validation_loss,
            f"validation_{self._kind.score}": validation_score,
        }
        for name, value in {**curves, "epoch_seconds": seconds}.items():
            self.history.curves.setdefault(name, []).append(None if math.isnan(value) else float(value))
            with self._writer.as_default(epoch + 1):
                tf.summary.scalar(name, value)
        self._writer.flush()
        speed = self.rows / seconds
        self._tell(epoch=epoch + 1, epochs=self.epochs, loss=float(loss), examples_per_second=speed)
        ends = self._should_end(epoch)
        if ends and self._best:
            for variable, value in zip(self.model.variables, self._best, strict=True):
                variable.assign(value)
        elif ends or (epoch + 1) % self._settings["checkpoint_every"] == 0:
            self.save_checkpoint(epoch + 1, comm)
        return ends

    def validate(self, comm: MeteredComm) -> tuple[float, float]:
        """Collective. Return loss and score over the validation rows of all ranks; NaN where there are none."""
        sums = np.zeros(3)
        x, y = self._validation
        for start in range(0, len(y), 512):
            losses, each = self._evaluate(x[start : start + 512], y[start : start + 512])
            sums += [np.sum(losses, dtype=float), np.sum(each, dtype=float), len(losses)]
        comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
        return (sums[0] / sums[2], sums[1] / sums[2]) if sums[2] else (math.nan, math.nan)

    def save(self, path: pathlib.Path) -> None:
        """Write the model as a Keras file, the same bytes for the same weights; on a rank that holds them all."""
        self.model.save(path)
        _normalize(path)

    def save_checkpoint(self, epoch: int, comm: MeteredComm) -> None:
        """Collective. Keep all that is needed to go on after `epoch` epochs."""
        arrays = {f"weights/{number}": np.asarray(variable) for number, variable in enumerate(self.model.variables)}
        arrays |= {
            f"optimizer/{number}": np.asarray(variable) for number, variable in enumerate(self.optimizer.variables)
        }
        arrays |= {f"best/{number}": value for number, value in enumerate(self._best)}
        arrays |= {f"{KEPT}{name}": value for name, value in self.kept.items()}
        states = self._seed_states()
        if states:
            arrays["seeds"] = allgather_rows(np.stack([np.asarray(state) for state in states])[None], comm)
        facts = {"key": self._key, "epoch": epoch, "world_size": comm.size, "history": dataclasses.asdict(self.history)}
        checkpoints.save(self._folder, epoch, Checkpoint(arrays, facts), comm)

    def resume(self, comm: MeteredComm) -> int:
        """Collective. Take up the newest checkpoint of these settings and features; return how many epochs are done.

        At the world size at which it was written the run goes on bit for bit as if it had not stopped. At another
        one the dropped units, and with `batch_size` a rank's the batches, differ.
        """
        found = checkpoints.load(self._folder, comm)
        if found is None or found.facts["key"] != self._key or found.facts["epoch"] > self.epochs:
            checkpoints.clear(self._folder, comm)
            return 0
        for number, variable in enumerate(self.model.variables):
            if SEED_STATE not in variable.path:
                variable.assign(found.arrays[f"weights/{number}"])
        for number, variable in enumerate(self.optimizer.variables):
            variable.assign(found.arrays[f"optimizer/{number}"])
        self._best = [
            found.arrays[f"best/{number}"]
            for number in range(len(self.model.variables))
            if f"best/{number}" in found.arrays
        ]
        self.kept = {name.removeprefix(KEPT): value for name, value in found.arrays.items() if name.startswith(KEPT)}
        if found.facts["world_size"] == comm.size:
            for state, value in zip(
                self._seed_states(), found.arrays.get("seeds", [[]] * comm.size)[comm.rank], strict=True
            ):
                state.assign(value)
        self.history = History(**found.facts["history"])
        self._note(what="resumed", epoch=found.facts["epoch"], world_size_before=found.facts["world_size"])
        return found.facts["epoch"]

    def _should_end(self, epoch: int) -> bool:
        """Tell whether this is the last epoch, by count or because validation stopped improving; alike on all ranks."""
        patience = self._settings["patience"]
        curve = self.history.curves["validation_loss"]
        if patience and None not in curve:
            best = int(np.argmin(np.array(curve, float)))
            self.history.best_epoch = best
            if best == len(curve) - 1:
                self._best = [np.array(variable) for variable in self.model.variables]
            if len(curve) - 1 - best >= patience:
                return True
        return epoch + 1 >= self.epochs

    def _average_states(self, comm: MeteredComm) -> None:
        """Average what the layers keep beside their weights, such as a batch normalization's moving mean."""
        for variable in self.model.non_trainable_variables:
            if SEED_STATE not in variable.path:
                total = np.array(variable, np.float64) * self._trains
                comm.Allreduce(MPI.IN_PLACE, total, op=MPI.SUM)
                variable.assign(total / self._training_ranks)

    def _seed_states(self) -> list[keras.Variable]:
        return [variable for variable in self.model.non_trainable_variables if SEED_STATE in variable.path]

    @tf.function(reduce_retracing=True)
    def _evaluate(self, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self.losses(x, y, training=False)


def configure(comm: MeteredComm, seed: int) -> None:
    """Collective. Give each rank its share of the host's cores, and seed what Keras draws. Before anything runs.

    By default every rank takes all cores, and ranks that share a host then wait for each other.
    """
    local = comm.Split_type(MPI.COMM_TYPE_SHARED)
    threads = max(1, len(os.sched_getaffinity(0)) // local.size)
    local.Free()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    keras.utils.set_random_seed(seed)


def _normalize(path: pathlib.Path) -> None:
    """Write a Keras file, a zip archive, once more without the time and the memory addresses that Keras puts in."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries["metadata.json"] = json.dumps({**json.loads(entries["metadata.json"]), "date_saved": ""}).encode()
    numbers: dict[bytes, int] = {}
    entries["config.json"] = re.sub(
        rb'(?<="shared_object_id": )\d+',
        lambda address: b"%d" % numbers.setdefault(address[0], len(numbers)),
        entries["config.json"],
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name), content)


def _optimizer(settings: dict[str, Any]) -> keras.optimizers.Optimizer:
    if settings["optimizer"] == "sgd":
        return keras.optimizers.SGD(settings["learning_rate"], momentum=settings["momentum"])
    return keras.optimizers.Adam(settings["learning_rate"])
