"""TrainingTask: what a strategy trains, and all that is the same whichever strategy does it."""

import contextlib
import dataclasses
import functools
import itertools
import math
import os
import pathlib
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from mpi4py import MPI

from hvdedge import checkpoints, keras_files, tasks
from hvdedge.dealt_rows import DealtRows
from hvdedge.divergence import GROWTH, OTHER_ROWS, Course
from hvdedge.errors import InputError
from hvdedge.lanes import Lanes, fitting
from hvdedge.micro_batches import MicroBatches
from hvdedge.parallel import MeteredComm, agree, allgather_json, allgather_rows, bcast_json, block, counts, local_size
from hvdedge.precision import Precision, faster
from hvdedge.shards import Arriving, Batch, OwnRows, Rows, Shard, row_bytes
from hvdedge.tensors import FeatureReader

SEED_STATE = "seed_generator_state"
CUSTOM_GRADIENT = "CustomGradient-"  # begins the names of those of `tf.custom_gradient`, as Horovod's sums have
VALIDATED_ROWS = 512  # at once
# before the names of what a checkpoint holds: what a strategy keeps, the best weights; of the seeds of all ranks
KEPT, BEST, SEEDS = "strategy/", "best/", "seeds"


@dataclasses.dataclass
class History:
    """The curves by epoch, and what the steps cost.

    `best_epoch` is the place in the curves of the weights that were kept: the last one but under early stopping, or
    where the last one diverged.
    Warm steps are all but the first of a process, in which TensorFlow builds its graph; steps, examples, seconds, bytes
    and idle seconds are this rank's. A run that goes on counts on from its checkpoint. `told` is what a strategy has to
    say besides, for the record, alike on every rank.
    """

    curves: dict[str, list[float | None]] = dataclasses.field(default_factory=dict)
    steps: int = 0
    warm_steps: int = 0
    warm_examples: int = 0
    warm_seconds: float = 0.0
    warm_bytes: int = 0
    warm_idle_seconds: float = 0.0
    best_epoch: int = -1
    told: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def computing_seconds(self) -> float:
        """The warm seconds in which this rank did not wait."""
        return self.warm_seconds - self.warm_idle_seconds

    def metrics(self, comm: MeteredComm) -> dict[str, Any]:
        """Collective. Return what a train record says of the cost: null where there was no warm step."""
        sums = np.array(
            [self.warm_seconds, self.warm_idle_seconds, self.warm_bytes, self.warm_examples, self.warm_steps]
        )
        most = np.array([self.warm_seconds, self.steps])
        comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
        comm.Allreduce(MPI.IN_PLACE, most, op=MPI.MAX)
        seconds, idle, sent, examples, steps = sums
        return {
            "examples_per_second": examples / most[0] if steps else None,
            "step_seconds": seconds / steps if steps else None,
            "bytes_per_step": sent / steps if steps else None,
            "idle_share": idle / seconds if steps else None,
            "steps": int(most[1]),
            **self.told,
        }


class TrainingTask:
    """A model with its data, loss, optimizer and checkpoints, for a strategy to train.

    Attributes:
        model, optimizer: Keras objects, built; on every rank the same weights are made from the same seed.
        epochs, learning_rate: as the pipeline has them, the rate as far as it was not lowered; it is that of one rank.
        rows: for training, on all ranks.
        steps_per_epoch: of this rank, the same on every one unless each has rows of its own.
        seed: of all that is drawn at random.
        global_batch_size: rows of a step of all ranks that train together.
        speed: of this rank beside the others, as the cluster's file has it; None where it says nothing.
        trains: whether this rank takes part in training, or another's weights.
        history: filled in as the strategy counts its steps and ends its epochs.
        epoch: the one under way, or that comes next.
        note: adds an event to the record, alike on every rank.
        lost: to be called on every rank that is left when others were lost, with those left and the seconds it took.
        kept: what the strategy itself needs to go on, alike on every rank; it is part of a checkpoint.
        goes_back: names in it of what comes back with the weights where training diverged; the rest goes on.
        growth: how many times the best loss that of an epoch is which diverges; inf: it is not asked for its loss.
        precision: what gradients are computed in.
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
        memory_bytes: int,
        scratch: pathlib.Path,
        writer: Callable[[], tf.summary.SummaryWriter],
        tell: Callable[..., None],
        note: Callable[..., None],
        lost: Callable[[MeteredComm, float], None],
        speed: float | None = None,
        initial: Callable[[], checkpoints.Named] = tuple,
        local_ranks: int | None = None,
        goes_on: Callable[[MeteredComm, int, dict[str, list[float | None]]], bool] = lambda *told: True,
    ):
        self.epochs: int = settings["epochs"]
        self.learning_rate: float = settings["learning_rate"]
        self._settings = settings
        self.renew_optimizer()
        self.history = History()
        self.kept: dict[str, np.ndarray] = {}
        self.goes_back: tuple[str, ...] = ()
        self.growth = GROWTH
        self.precision = Precision(settings["precision"])
        self.rows = reader.rows("train")
        self._traffic = comm.traffic
        self._reader = reader
        self.seed = seed
        self._validation = block(reader.rows("validation"), comm.size, comm.rank)
        self._held_bytes, self._scratch = memory_bytes // 2, scratch
        self._folder = folder
        self._key = key
        self._writer = writer
        self._tell = tell
        self.note = note
        self.lost = lost
        self._initial = initial
        self._sums = np.zeros(5)  # losses, scores, rows; losses and rows of the first batch
        self._is_broken = False
        self._course = self._course_before = Course()  # the second when the epoch under way began
        self._good: list[np.ndarray] = []
        self._good_kept: dict[str, np.ndarray] = {}
        self._batch: Batch | None = None
        self._is_warm = False
        self._best: list[np.ndarray] = []
        self.epoch = self._step = 0
        self._began = self._epoch_began = 0.0
        self._kind = tasks.find(reader.spec)
        self.local_ranks = local_ranks or local_size(comm)
        self._goes_on = goes_on
        self.speed = speed / self.local_ranks if speed else None
        self._take_model(model, comm)
        self.deal(comm.size, comm.rank)
        if settings["patience"] and not reader.rows("validation"):
            raise InputError(
                f"train.patience: received {settings['patience']} without rows for validation, allowed: 0"
                "; set it to 0, raise extract.validation, or name some in the column of extract.by"
            )

    building: Callable[[], contextlib.AbstractContextManager] = staticmethod(contextlib.nullcontext)
    """The context in which the model is to be built."""

    @property
    def parameters(self) -> int:
        """How many numbers the model holds."""
        return self.model.count_params()

    def _take_model(self, model: keras.Model, comm: MeteredComm) -> None:
        self._hold(model, range(len(model.variables)), self._settings["micro_batches"])
        for number, state in enumerate(self.seed_states()):  # each rank, and each layer, leaves out other units
            state.assign(seed_state(self.seed, comm.rank, number, state.shape))

    def renew_optimizer(self) -> None:
        """Begin with an optimizer that knows no weights."""
        self.optimizer = _optimizer(self._settings)

    def _hold(self, model: keras.Model, places: Sequence[int], takes_parts: bool) -> None:
        """Train these variables, of the given places among those of the whole model."""
        self.model = model
        self.optimizer.build(model.trainable_variables)
        self._places = places
        self._state_places: Sequence[int] = range(len(self.optimizer.variables))
        self._micro_batches = MicroBatches(model, self.batch_size, self.local_ranks, takes_parts)

    def deal(self, ranks: int, rank: int | None) -> None:
        """Let the training rows be those of `ranks` ranks, of which this is the one of number `rank`, None for none.

        They are all ranks unless a strategy says otherwise before the first epoch.
        """
        batch_size = self.batch_size * ranks
        self._lanes = slice(0) if rank is None else block(batch_size, ranks, rank)
        self.trains = rank is not None
        self.global_batch_size = batch_size
        self.steps_per_epoch = math.ceil(self.rows / batch_size)
        self._make_shard: Callable[[], Shard] = self._make_lanes

    def share(self, lanes: slice) -> None:
        """Let this rank's lanes of the global batch be these from the next batch on."""
        self._lanes = lanes
        shard = self.__dict__.get("_shard")  # not made for this
        if isinstance(shard, Lanes):
            shard.take(lanes)

    @property
    def batch_size(self) -> int:
        """The rows of a batch, of one rank or of one model."""
        return self._settings["batch_size"]

    @property
    def most_lanes(self) -> int:
        """How many lanes fit into this rank's memory."""
        return fitting(row_bytes(self._reader), self.steps_per_epoch, self.batch_size, self._held_bytes)[1]

    def _make_lanes(self) -> Lanes:
        size = self.global_batch_size
        is_dealt = self._settings["rows"] == "dealt"
        rows: Rows = DealtRows(self._reader, size, self._lanes, self._scratch) if is_dealt else self._reader
        return Lanes(rows, size, self._lanes, self.batch_size, self.seed, self._held_bytes)

    def keep_to(self, rows: np.ndarray) -> None:
        """Let this rank train on the rows of these numbers alone, rising, in batches of its own."""
        self.steps_per_epoch = math.ceil(len(rows) / self.batch_size)
        self._refuse_dealt()
        self._make_shard = lambda: OwnRows(self._reader, rows, self.batch_size, self.seed, self._held_bytes)

    def take_in_order(self, comm: MeteredComm, first: int, seen: int) -> None:
        """Let the rows come once, in their order, an epoch an equal part of them; `seen` before epoch `first`."""
        batch_size = self.batch_size * comm.size
        lines = math.ceil((self.rows - seen) / batch_size)
        self.epochs = first + min(self.epochs - first, lines)
        self.steps_per_epoch = math.ceil(lines / max(self.epochs - first, 1))
        self._refuse_dealt()
        self.growth = OTHER_ROWS
        lanes, left = block(batch_size, comm.size, comm.rank), range(first, self.epochs)
        self._make_shard = lambda: Arriving(self._reader, batch_size, lanes, left, seen)

    def _refuse_dealt(self) -> None:
        if self._settings["rows"] == "dealt":
            raise InputError(
                'train.rows: received "dealt" for a strategy that does not share the rows of a batch among all ranks, '
                'allowed: "shared"; change it'
            )

    def labels(self) -> np.ndarray:
        """Return y of all training rows."""
        return self._reader.labels()

    def clients(self) -> np.ndarray | None:
        """Return the number of the client who has each training row; None where rows have none."""
        return self._reader.clients()

    @functools.cached_property
    def _shard(self) -> Shard:
        return self._make_shard()

    def variables(self) -> list[tf.Variable]:
        """Return the TensorFlow variables behind the trainable weights, in the order of the model."""
        return [weight.value for weight in self.model.trainable_variables]

    @functools.cached_property
    def signature(self) -> tuple[tf.TensorSpec, ...]:
        """What graphs are built for: x, y and weights of any number of rows, so that none is built again for others."""
        x, y = self._reader.read("train", slice(0, 0))
        return (
            tf.TensorSpec((None, *x.shape[1:]), x.dtype),
            tf.TensorSpec((None, *y.shape[1:]), y.dtype),
            tf.TensorSpec((None,), tf.float32),
        )

    def losses(self, x: tf.Tensor, y: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """Return for each row its loss and its score, such as 1 where the class is right, float32 (rows,)."""
        return self.score(y, self.model(x, training=training))

    def score(self, y: tf.Tensor, outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the losses and scores of rows by their outputs, float32 (rows,)."""
        return self._kind.losses(y, tf.cast(outputs, tf.float32))

    def learn_by(self, step: Callable[..., tuple[tf.Tensor, tf.Tensor]], comm: MeteredComm) -> History:
        """Collective. Train through the epochs that are left, a step for each batch; what was told before stays.

        Args:
            step: collective; of x, y and weights, gives their weighted sums of loss and score before it.
        """
        told = self.history.told
        first = self.resume(comm)
        self.history.told = told
        for epoch in range(first, self.epochs):
            for batch in self.batches(epoch):
                loss, score = step(batch.x, batch.y, batch.weights)
                self.count(float(loss), float(score))
            if self.end_epoch(epoch, comm):
                break
        return self.history

    def gradients(self, x: tf.Tensor, y: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, list[Any]]:
        """Return the weighted sums of loss and score of rows that are learnt from, and the gradient of that loss.

        What layers add to the loss, such as a penalty on weights, is in the gradient times the sum of the rows'
        weights: once in that of all ranks and parts of a step, as their rows' weights add up to 1.
        """
        with tf.GradientTape() as tape, self.precision.used(self.model):
            losses, scores = self.losses(x, y, training=True)
            loss = tf.reduce_sum(losses * weights)
            total = loss
            if self.model.losses:
                total += tf.add_n([tf.cast(added, tf.float32) for added in self.model.losses]) * tf.reduce_sum(weights)
            scaled = self.precision.scaled(total)
        grads = self.precision.unscaled(tape.gradient(scaled, self.variables()))
        return loss, tf.reduce_sum(scores * weights), grads

    def apply(self, grads: list[tf.Tensor]) -> None:
        """Take the optimizer's step with gradients; none where they overflowed in float16."""
        self.precision.apply(grads, lambda grads: self.optimizer.apply(grads, self.model.trainable_variables))

    def hold(self, learnt: np.ndarray, below: float = math.inf) -> bool:
        """Tell whether what this rank learnt is of numbers below a bound; if it is not, this epoch has diverged."""
        is_held = bool((np.abs(learnt) < below).all())
        self._is_broken |= not is_held
        return is_held

    @property
    def keeps_beside_weights(self) -> bool:
        """Whether layers keep something of their inputs, such as a batch normalization its moving mean."""
        return any(SEED_STATE not in variable.path for variable in self.model.non_trainable_variables)

    @property
    def plateau_of_training(self) -> int:
        """After how many epochs of a plateau in the loss of rows that are learnt from the rate is lowered; 0: never."""
        return 0 if self._reader.rows("validation") else self._settings["plateau"]

    @property
    def tells_classes(self) -> bool:
        """Whether a score is the share of right ones."""
        return self._kind.score == "accuracy"

    def tell(self, batch: Batch) -> tuple[float, float]:
        """Return this rank's weighted sums of loss and score of a batch that is not learnt from."""
        losses, scores = self._evaluate(batch.x, batch.y)
        return float(np.dot(losses, batch.weights)), float(np.dot(scores, batch.weights))

    def batches(self, epoch: int, times: int = 1) -> Iterator[Batch]:
        """Yield what this rank trains on in an epoch, batch by batch: all its rows, so many times.

        Where the epoch is under way, as ranks were lost in it, these are its batches from the next step on.
        """
        done = self._step if epoch == self.epoch else 0
        self.begin_epoch(epoch, done)
        for time_ in range(times):
            for batch in itertools.islice(self._shard.batches(epoch * times + time_), done, None):
                self._batch = batch
                yield batch

    def parts(self, batch: Batch) -> list[Batch]:
        """Return a batch in the parts that fit into memory one at a time; their gradients add up to its gradient."""
        return self._micro_batches.parts(batch)

    def begin_epoch(self, epoch: int, done: int = 0) -> None:
        """Start to count an epoch's steps, of which some are done; for a rank that asks for no batches."""
        self.epoch, self._step, self._batch = epoch, done, None
        self._micro_batches.settle()
        self._began = time.perf_counter()
        if not done:
            self._course_before = dataclasses.replace(self._course)
            self._epoch_began = self._began
            self._sums[:], self._is_broken = 0, False
        self._before = dataclasses.replace(self._traffic)

    @property
    def epochs_done(self) -> float:
        """How many epochs are done, with the part of the one under way."""
        return self.epoch + self._step / self.steps_per_epoch

    def count(self, loss: float, score: float, steps: int = 1) -> None:
        """Take in what a batch gave on this rank: its weighted sums. What it cost is read off the traffic.

        Args:
            steps: how many updates of the weights it was for.
        """
        if self._is_warm:
            self._micro_batches.look()
        else:
            self._micro_batches.settle()
        self._step += 1
        self.history.steps += steps
        rows = 0
        if self._batch is not None:
            rows = int(np.count_nonzero(self._batch.weights))
            together = self._batch.together
            self._sums[:3] += loss * together, score * together, rows
            if self._course.began is None and not self._sums[4]:
                self._sums[3:5] = loss * together, rows
        if self._is_warm:
            self.history.warm_steps += steps
            self.history.warm_examples += rows
        self._charge()
        self._is_warm = True

    def _charge(self) -> None:
        """Add what it cost since the last time."""
        now = time.perf_counter()
        if self._is_warm:
            self.history.warm_seconds += now - self._began
            self.history.warm_bytes += self._traffic.bytes_sent - self._before.bytes_sent
            self.history.warm_idle_seconds += self._traffic.idle_seconds - self._before.idle_seconds
        self._began = now
        self._before = dataclasses.replace(self._traffic)

    def end_epoch(self, epoch: int, comm: MeteredComm) -> bool:
        """Collective. Validate, note the curves, keep a checkpoint; return whether training ends here.

        Where training diverged, what the last good epoch left comes back first.

        Raises:
            RuntimeError: on every rank, where it diverges again and again, or the settings have it end then.
        """
        self._charge()
        seconds = time.perf_counter() - self._epoch_began
        is_finite = all(np.isfinite(np.asarray(variable)).all() for variable in self._state())
        sums = np.append(self._sums, self._is_broken or not is_finite)  # these stay, should it be done again
        comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
        rows = sums[2]
        loss, score = sums[:2] / rows if rows else (math.nan, math.nan)  # a round of no client has none
        speed = rows / seconds
        tells = float(loss) if rows and self.growth < math.inf else None
        if sums[4] and tells is not None:
            self._course.begin(float(sums[3] / sums[4]), self._kind.chance)
        diverged = self._diverges(epoch, tells, bool(sums[5]))
        self._tell_memory(comm)
        skipped = self.precision.agree(comm)
        if skipped:
            self.note(what="overflow", epoch=epoch + 1, **skipped)
        self._average_states(comm)
        validation_loss, validation_score = self.validate(comm)
        curves = {
            "loss": loss,
            self._kind.score: score,
            "validation_loss": validation_loss,
            f"validation_{self._kind.score}": validation_score,
        }
        for name, value in {**curves, "epoch_seconds": seconds}.items():
            self.history.curves.setdefault(name, []).append(float(value) if math.isfinite(value) else None)
            with self._writer().as_default(epoch + 1):
                tf.summary.scalar(name, value)
        self._writer().flush()
        told = {"loss": float(loss), "examples_per_second": speed} if rows and math.isfinite(loss) else {}
        self._tell(epoch=epoch + 1, epochs=self.epochs, **told)
        if not diverged:
            self._course.improve(epoch + 1, tells)
            self._look_for_plateau(epoch, float(loss if math.isnan(validation_loss) else validation_loss))
            self._keep_state()
        self.history.best_epoch = self._course.good_epochs - 1 if diverged else -1
        ends = self._should_end(epoch)
        if not self._goes_on(comm, epoch + 1, self.history.curves) and not ends:
            ends = True
            self.note(what="stopped_early", epoch=epoch + 1, action="ended, as other trials are ahead of this one")
        elif ends and epoch + 1 < self.epochs:
            self.note(
                what="stopped_early", epoch=epoch + 1, action=f"kept the weights of epoch {self.history.best_epoch + 1}"
            )
        if ends and self._best:
            for variable, value in zip(self.model.variables, self._best, strict=True):
                variable.assign(value)
        elif ends or (epoch + 1) % self._settings["checkpoint_every"] == 0:
            self.save_checkpoint(epoch + 1, comm)
        self.epoch, self._step = self.epochs if ends else epoch + 1, 0
        return ends

    def _tell_memory(self, comm: MeteredComm) -> None:
        """Collective. Note where memory was short, and let rows that are held in advance take half as much there."""
        events = [{"rank": comm.rank, "host": socket.gethostname(), **one} for one in self._micro_batches.take_events()]
        found = [event for rank in allgather_json(events, comm) for event in rank]
        is_short = False
        for event in found:
            is_short |= event.pop("is_short")
            self.note(what="memory_short", **event)
        shard = self.__dict__.get("_shard")  # not made for this
        if is_short and isinstance(shard, Lanes):
            self._held_bytes //= 2
            shard.hold(self._held_bytes)

    def validate(self, comm: MeteredComm) -> tuple[float, float]:
        """Collective. Return loss and score over the validation rows of all ranks; NaN where there are none."""
        sums = np.zeros(3)
        at_once = self._judged_at_once()
        for start in range(self._validation.start, self._validation.stop, at_once):
            told = self._judge(slice(start, min(start + at_once, self._validation.stop)))
            if told is not None:
                losses, scores = told
                sums += [np.sum(losses, dtype=float), np.sum(scores, dtype=float), len(losses)]
        comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
        return (sums[0] / sums[2], sums[1] / sums[2]) if sums[2] else (math.nan, math.nan)

    def _judged_at_once(self) -> int:
        return self._micro_batches.at_once(VALIDATED_ROWS)

    def _judge(self, rows: slice) -> tuple[tf.Tensor, tf.Tensor] | None:
        """Return losses and scores of validation rows; None where another rank knows them."""
        return self._evaluate(*self._reader.read("validation", rows))

    def collect(self, comm: MeteredComm) -> None:
        """Collective. Let the root be able to save the model, where it does not hold it."""

    def save(self, path: pathlib.Path) -> None:
        """Write the model as a Keras file, the same bytes for the same weights; on a rank that holds them all."""
        keras_files.write(self.model, path)

    def save_checkpoint(self, epoch: int, comm: MeteredComm) -> None:
        """Collective. Keep all that is needed to go on after `epoch` epochs."""
        facts = {"key": self._key, "epoch": epoch, "world_size": comm.size, "history": dataclasses.asdict(self.history)}
        checkpoints.save(self._folder, epoch, self._all_arrays(comm), facts | self._facts(), comm)

    def _all_arrays(self, comm: MeteredComm) -> Iterator[tuple[str, np.ndarray]]:
        """Collective. Yield, on the root at least, all that is needed to go on, with what differs from rank to rank."""
        states = self.seed_states()
        if states:
            yield SEEDS, allgather_rows(np.stack([np.asarray(state) for state in states])[None], comm)
        yield from self._arrays()

    def resume(self, comm: MeteredComm) -> int:
        """Collective. Take up the newest checkpoint of these settings and features; return how many epochs are done.

        At the world size at which it was written the run goes on bit for bit as if it had not stopped, but for what
        adapts by the clock. At another one the dropped units, and with `batch_size` a rank's the batches, differ.
        """
        done = self._take_up(comm)
        if self.precision.name == "auto":
            self._choose_precision(comm)
        self._keep_state()
        return done

    def begin_again(self) -> None:
        """Forget how training went."""
        self.history, self._course, self._course_before = History(), Course(), Course()
        self.kept, self._best = {}, []
        self.learning_rate = self._settings["learning_rate"]

    def _take_up(self, comm: MeteredComm) -> int:
        """Collective. As `resume`, but for what is not kept."""
        found = checkpoints.load(self._folder, comm)
        facts, arrays = found or ({"key": None, "epoch": 0}, ())
        if facts["key"] != self._key or facts["epoch"] > self.epochs:
            checkpoints.clear(self._folder, comm)
            self._take_initial(comm)
            return 0
        seeds = self._take(arrays)
        if facts["world_size"] == comm.size and seeds is not None:
            for state, value in zip(self.seed_states(), seeds[comm.rank], strict=True):
                state.assign(value)
        self.history = History(**facts["history"])
        self.precision = Precision(facts["precision"][0])
        self._follow(facts)
        self.note(what="resumed", epoch=facts["epoch"], world_size_before=facts["world_size"])
        self.epoch = facts["epoch"]
        return self.epoch

    def _take_initial(self, comm: MeteredComm) -> None:
        """Collective. Take over the weights that training begins with, where the root is to have some."""
        arrays: checkpoints.Named = ()
        with agree(comm):
            if comm.rank == 0:
                arrays = self._initial()
        self._take(checkpoints.spread(arrays, comm))

    def go_on(self, comm: MeteredComm) -> None:
        """Collective. Go on with the ranks that are left, from where that one stands that took the most steps.

        All take over its weights, what its optimizer keeps, and its curves. The rows are dealt anew, `batch_size` to
        each rank. Of the epoch under way come the batches that are left after as many rows as were learnt: as they are
        others than before, some of its rows come twice in it, and as many not at all.
        """
        learnt = min(self._step * self.global_batch_size, self.rows)
        places = counts(np.array([self.epoch, learnt, int(self.optimizer.iterations)]), comm).tolist()
        furthest = places.index(max(places))
        if comm.rank == furthest and self._step:
            self._course = self._course_before  # as the end of an epoch is done again
        curves = {name: curve[: self.epoch] for name, curve in self.history.curves.items()}
        facts = {"curves": curves, "best_epoch": self.history.best_epoch, "held_bytes": self._held_bytes}
        facts = bcast_json(facts | self._facts(), comm, furthest)
        self._held_bytes = facts["held_bytes"]
        self._take(checkpoints.spread(self._arrays(), comm, furthest))
        self._follow(facts)
        self.history = dataclasses.replace(self.history, curves=facts["curves"], best_epoch=facts["best_epoch"])
        self._validation = block(self._reader.rows("validation"), comm.size, comm.rank)
        self.deal(comm.size, comm.rank)
        self._shard = self._make_shard()
        self.epoch, learnt, _ = places[furthest]
        if not learnt:  # else the last good state is that before the epoch, on all
            self._keep_state()
        self._step = math.ceil(learnt / self.global_batch_size)

    def _facts(self) -> dict[str, Any]:
        """Return what `_follow` takes: how training went so far."""
        return {
            "course": dataclasses.asdict(self._course),
            "precision": [self.precision.name, self.precision.state()],
        }

    def _follow(self, facts: dict[str, Any]) -> None:
        self._course = Course(**facts["course"])
        self.learning_rate = self._settings["learning_rate"] * self._course.rate_scale
        self.optimizer.learning_rate.assign(self.learning_rate)
        self.precision.restore(facts["precision"][1])

    def _arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield by name all arrays that are needed to go on, alike on every rank."""
        for name, variable in self._named().items():
            yield name, np.asarray(variable)
        for place, value in zip(self._places if self._best else (), self._best, strict=True):
            yield f"{BEST}{place}", value
        for name, value in self.kept.items():
            yield f"{KEPT}{name}", value

    def _named(self) -> dict[str, keras.Variable]:
        """Return by name, as the whole model has them, the variables of the model and of its optimizer."""
        weights = {
            f"weights/{place}": variable for place, variable in zip(self._places, self.model.variables, strict=True)
        }
        state = zip(self._state_places, self.optimizer.variables, strict=True)
        return weights | {f"optimizer/{place}": variable for place, variable in state}

    @property
    def takes_seeds(self) -> bool:
        """Whether what units are left out next is taken over as it is, and not by rank."""
        return False

    def _take(self, arrays: Iterable[tuple[str, np.ndarray]]) -> np.ndarray | None:
        """Take over what `_arrays` gave; each rank leaves out units as its own seeds say. Return those of all ranks."""
        named, places, seeds = self._named(), {f"{BEST}{place}": place for place in self._places}, None
        best: dict[int, np.ndarray] = {}
        self.kept = {}
        for name, array in arrays:
            if name == SEEDS:
                seeds = array
            elif name in named and (self.takes_seeds or SEED_STATE not in named[name].path):
                named[name].assign(array)
            elif name in places:
                best[places[name]] = array
            elif name.startswith(KEPT):
                self.kept[name.removeprefix(KEPT)] = array
        self._best = [best[place] for place in self._places if place in best]
        return seeds

    def _choose_precision(self, comm: MeteredComm) -> None:
        """Collective. Compute gradients in float32 and in bfloat16 and go on with what is faster; nothing is learnt."""
        states = [np.array(state) for state in self.seed_states()]
        together = min(self.rows, self.batch_size * comm.size)
        x, y = self._reader.read("train", block(together, comm.size, comm.rank))
        steps = {}
        for name in ("float32", "bfloat16") if self.trains and len(y) else ():
            self.precision = Precision(name)
            rows = [tf.constant(array) for array in (x, y, np.full(len(y), 1 / together, np.float32))]
            step = tf.function(self.gradients).get_concrete_function(*rows)
            steps[name] = lambda step=step, rows=rows: float(step(*rows)[0])
        chosen, seconds = faster(steps, comm)
        self.precision = Precision(chosen)
        for state, value in zip(self.seed_states(), states, strict=True):
            state.assign(value)
        self.note(what="precision", action=f"{chosen} chosen", **seconds)

    def _state(self) -> list[keras.Variable]:
        """Return what comes back where training diverged: all but what units are dropped next."""
        weights = [variable for variable in self.model.variables if SEED_STATE not in variable.path]
        return [*weights, *self.optimizer.variables]

    def _keep_state(self) -> None:
        if self._settings["divergence"] == "restore":
            self._good = []  # never two copies at once
            self._good = [np.array(variable) for variable in self._state()]
            self._good_kept = {name: self.kept[name].copy() for name in self.goes_back if name in self.kept}

    def _diverges(self, epoch: int, loss: float | None, is_broken: bool) -> bool:
        """Tell whether an epoch diverged, alike on every rank; then go back to what the last good one left.

        Args:
            loss: None where there is none that tells.
            is_broken: whether something that was learnt is no finite number.
        """
        course, stops = self._course, self._settings["divergence"] == "stop"
        if loss is not None and not math.isfinite(loss):
            wrong = f"the loss became {loss}"
        elif is_broken:
            wrong = "weights became no finite numbers"
        elif loss is not None and not stops and course.has_grown(loss, self.growth):
            wrong = f"the loss grew to {loss:.4g}"
        else:
            return False
        before = course.restorations
        if stops or not course.diverge() or (epoch + 1 >= self.epochs and not course.good_epochs):
            again = f", and {before} times before at higher rates" if before else ""
            rate = self._settings["learning_rate"]
            raise RuntimeError(f"{wrong} in epoch {epoch + 1}{again}; lower train.learning_rate ({rate})")
        for variable, value in zip(self._state(), self._good, strict=True):
            variable.assign(value)
        for name in self.goes_back:
            if name in self.kept:
                self.kept[name][:] = self._good_kept.get(name, 0)
        self._lower_rate()
        self.note(
            **{"what": "diverged", "epoch": epoch + 1, "loss": loss if loss and math.isfinite(loss) else None},
            **{"action": "restored", "epoch_restored": course.good_epochs, "rate_scale": course.rate_scale},
        )
        return True

    def _look_for_plateau(self, epoch: int, loss: float) -> None:
        plateau = self._settings["plateau"]
        if plateau and math.isfinite(loss) and self._course.stagnates(loss, plateau):
            self._lower_rate()
            scale = self._course.rate_scale
            self.note(what="plateau", epoch=epoch + 1, loss=loss, action="lowered the learning rate", rate_scale=scale)

    def _lower_rate(self) -> None:
        """Go on at the rate that the course of training has; strategies that do not set it take the optimizer's."""
        self.learning_rate = self._settings["learning_rate"] * self._course.rate_scale
        self.optimizer.learning_rate.assign(self.learning_rate)

    def _should_end(self, epoch: int) -> bool:
        """Tell whether this is the last epoch, by count or because validation stopped improving; alike on all ranks."""
        patience = self._settings["patience"]
        curve = self.history.curves["validation_loss"]
        if patience and curve:
            best = int(np.argmin([math.inf if loss is None else loss for loss in curve]))
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
                total = np.append(np.array(variable, np.float64), 1.0) * self.trains
                comm.Allreduce(MPI.IN_PLACE, total, op=MPI.SUM)
                if total[-1]:
                    variable.assign((total[:-1] / total[-1]).reshape(variable.shape))

    def seed_states(self) -> list[keras.Variable]:
        """Return what layers draw from which units they leave out."""
        return [variable for variable in self.model.non_trainable_variables if SEED_STATE in variable.path]

    @functools.cached_property
    def _evaluate(self) -> Callable:
        return tf.function(functools.partial(self.losses, training=False), input_signature=self.signature[:2])


def configure(comm: MeteredComm, seed: int) -> None:
    """Collective. Give each rank its share of the host's cores, and seed what Keras draws. Before anything runs.

    By default every rank takes all cores, and ranks that share a host then wait for each other.
    """
    threads = max(1, len(os.sched_getaffinity(0)) // local_size(comm))
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    keras.utils.set_random_seed(seed)


def name_anew(seed: int) -> None:
    """Let Keras forget earlier models, so that the next one's layers are named, and drawn, as those of a first one."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)


def forget_gradients() -> None:
    """Let TensorFlow forget the gradients of steps that are done with: it keeps each, with its graph, for ever."""
    from tensorflow.python.framework import ops

    registered = ops.gradient_registry._registry
    for name in [name for name in registered if name.startswith(CUSTOM_GRADIENT)]:
        del registered[name]


def seed_state(seed: int | list[int], rank: int, number: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return from where a layer draws the units that it leaves out."""
    seeds = [seed] if isinstance(seed, int) else seed
    return np.random.default_rng([*seeds, rank, number]).integers(0, 2**31, shape)


def _optimizer(settings: dict[str, Any]) -> keras.optimizers.Optimizer:
    if settings["optimizer"] == "sgd":
        return keras.optimizers.SGD(settings["learning_rate"], momentum=settings["momentum"])
    return keras.optimizers.Adam(settings["learning_rate"])
