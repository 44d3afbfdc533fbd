"""PartedTask: a TrainingTask of which each rank holds some of the layers, and no rank ever all of the weights."""

import dataclasses
import functools
import itertools
import math
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf
from mpi4py import MPI

from hvdedge import checkpoints, keras_files, learning_rate, part_costs
from hvdedge.collective_ops import summed_together
from hvdedge.errors import InputError
from hvdedge.graph_layers import lookups
from hvdedge.memory import available_bytes
from hvdedge.micro_batches import MARGIN
from hvdedge.options import Scaling
from hvdedge.parallel import MeteredComm, bcast_json, block, counts, receive_array, send_array
from hvdedge.partition import Chain, Costs, balanced, without_weights
from hvdedge.training import SEED_STATE, TrainingTask, seed_state

FLOAT32 = "float32"
COMMON = 2  # variables of an optimizer that are of no weight: its steps and its rate


class PartedTask(TrainingTask):
    """A TrainingTask for strategies that cut the model: it begins without weights, and each rank takes its part.

    Attributes:
        chain: the layers of the whole model, without weights.
        model: this rank's part, once it is taken.
        tells: whether this rank knows the loss: it holds the last layers.
        cuts: the places in the chain at which the ranks' parts begin, and the last one's ends.
        forward: collective; gives the outputs of rows that are not learnt from on the ranks that tell, of x, (rows,
            ...), None on ranks that do not train, and the number of rows.
        judged_rows: rows that are judged at once.
        everyone: all ranks, where several groups of them hold the model, one beside the other; else None.
        replicas: the ranks that hold the same part as this one, one of each group, where there are several groups.
    """

    building = staticmethod(without_weights)

    tells = True
    cuts: list[int]
    forward: Callable[[np.ndarray | None, int], np.ndarray | None]
    judged_rows: int
    everyone: MeteredComm | None = None
    replicas: MeteredComm | None = None
    _growth: tuple[int, Scaling, float] = (1, "none", 0.0)

    def _take_model(self, model: keras.Model, comm: MeteredComm) -> None:
        if self.precision.name != FLOAT32:
            raise InputError(
                f'train.precision: received "{self.precision.name}" for a strategy that cuts the model, allowed: '
                f'"{FLOAT32}"; change it'
            )
        self._refuse_dealt()
        if lookups(model):
            raise InputError(
                "train.strategy: received one that cuts the model for a network on a graph, whose layers each need the "
                "neighbours of nodes, allowed: graph_parallel, or one that shares the rows, such as ring_allreduce; "
                "change it"
            )
        self.chain = Chain(model)
        self._validation = slice(0, self._reader.rows("validation"))

    def join(self, everyone: MeteredComm, replicas: MeteredComm) -> None:
        """Let this rank's group train with others, each on rows of its own, whose gradients are summed in each step."""
        self.everyone, self.replicas = everyone, replicas
        self._validation = block(self._reader.rows("validation"), replicas.size, replicas.rank)

    def grow_rate(self, times: int, scaling: Scaling, warmup_epochs: float) -> None:
        """Let the learning rate grow, step by step, as the batch is so many times that of one rank."""
        self._growth = times, scaling, warmup_epochs

    def deal(self, ranks: int, rank: int | None) -> None:
        if self.replicas is None:
            super().deal(ranks, rank)
        else:
            super().deal(self.replicas.size, None if rank is None else self.replicas.rank)

    def begin_epoch(self, epoch: int, done: int = 0) -> None:
        super().begin_epoch(epoch, done)
        learning_rate.grow(self, *self._growth)

    def end_epoch(self, epoch: int, comm: MeteredComm) -> bool:
        return super().end_epoch(epoch, self.everyone or comm)

    def resume(self, comm: MeteredComm) -> int:
        return super().resume(self.everyone or comm)

    @property
    def parameters(self) -> int:
        return self.chain.model.count_params()

    @property
    def part_names(self) -> list[list[str]]:
        """The names of the layers of each rank."""
        names = [layer.name for layer in self.chain.layers]
        return [names[start:stop] for start, stop in itertools.pairwise(self.cuts)]

    def told_parts(self, comm: MeteredComm) -> dict[str, Any]:
        """Collective. Return what a record tells of the ranks' parts: their layers, and how many numbers each holds."""
        return {"parts": self.part_names, "held_parameters": counts(self.model.count_params(), comm).tolist()}

    def cut(
        self,
        comm: MeteredComm,
        rows: int,
        in_flight: Sequence[int],
        versions: Sequence[int],
        *,
        measures: bool,
        recompute: bool = False,
        first: int = 1,
    ) -> None:
        """Collective. Take this rank's part of the best partition for the ranks' speeds and memory.

        Args:
            rows: of a micro-batch.
            in_flight: of how many micro-batches each part holds what its layers made.
            versions: of how many steps each part holds the weights.
            measures: whether layers that were cut by what they cost by their shapes are then measured, each by the rank
                that holds it, and cut again.
            recompute: whether parts, but for the last one, hold what came into them alone, and no earlier weights.
            first: how many layers the first rank holds at least.
        Raises:
            InputError: where there are more ranks than parts, or a part fits into no rank's memory.
        """
        chain = self.chain
        places = [place for place in chain.cuts if place >= first]
        if len(places) + 1 < comm.size:
            tied = f", as {', '.join(chain.tied)} is used more than once" if chain.tied else ""
            raise InputError(
                f"train.strategy: received {comm.size} ranks for a model of {len(chain)} layers, allowed: up to "
                f"{len(places) + 1}{tied}; give fewer --ranks or a deeper model"
            )
        speeds = self._agreed(part_costs.speeds(self.speed, comm))
        free = counts(int((1 - MARGIN) * available_bytes() // self.local_ranks), comm)
        if self.replicas is not None:
            self.replicas.Allreduce(MPI.IN_PLACE, free, op=MPI.MIN)
        limits = free.tolist()
        costs = part_costs.counted(chain, rows, in_flight, versions, self._kept_beside(), recompute=recompute)
        self.cuts = _best(costs, places, speeds, limits)
        if measures and comm.size > 1:
            here = slice(*self.cuts[comm.rank : comm.rank + 2])
            costs = part_costs.measured(chain, costs, here, speeds[comm.rank], rows, comm)
            costs = dataclasses.replace(costs, seconds=tuple(self._agreed(costs.seconds)))
            self.cuts = _best(costs, places, speeds, limits)
        self._take_part(*self.cuts[comm.rank : comm.rank + 2])

    def _agreed(self, value: Any) -> Any:
        """Collective. Return what the first group of ranks found, so that all groups cut alike."""
        return value if self.replicas is None else bcast_json(value, self.replicas)

    def _kept_beside(self) -> int:
        """Return how many numbers are kept of a weight beside it and its gradient."""
        slots, keeps_good = self._slots(), self._settings["divergence"] == "restore"
        return slots + (1 + slots) * keeps_good + bool(self._settings["patience"])

    def _slots(self) -> int:
        """Return how many numbers the optimizer keeps of a weight."""
        like = type(self.optimizer).from_config(self.optimizer.get_config())
        like.build([keras.Variable(np.zeros(1))])
        return len(like.variables) - COMMON

    def _take_part(self, start: int, stop: int) -> None:
        """Hold the layers of some places of the chain, with the weights that a model of all layers begins with."""
        whole, numbers = self.chain.model, self.chain.numbers()
        part = self.chain.part(start, stop)
        place_of = {
            id(variable): numbers[layer.name, place]
            for layer in part.layers
            for place, variable in enumerate(layer.variables)
        }
        self._hold(part, [place_of[id(variable)] for variable in part.variables], False)
        trained = {id(variable): place for place, variable in enumerate(whole.trainable_variables)}
        places = [trained[id(whole.variables[place_of[id(each)]])] for each in part.trainable_variables]
        slots = self._slots()
        kept = [COMMON + place * slots + slot for place in places for slot in range(slots)]
        self._state_places = [*range(COMMON), *kept]
        drawn = [place for place, variable in enumerate(whole.variables) if SEED_STATE in variable.path]
        for variable, place in zip(part.variables, self._places, strict=True):
            if place in drawn:
                group = self.replicas.rank if self.replicas is not None else 0
                variable.assign(seed_state(self.seed, group, drawn.index(place), variable.shape))

    def apply(self, grads: list[tf.Tensor], weights: Sequence[keras.Variable] | None = None) -> None:
        """Take the optimizer's step with gradients, of some of the trainable weights, all by default.

        Where several groups hold the model it is collective, and with the sums of their gradients.
        """
        if not grads:  # on all alike, as steps are counted where there is nothing to learn
            self.optimizer.iterations.assign_add(1)
            return
        if self.replicas is not None:
            grads = summed_together(grads, self.replicas)
        self.optimizer.apply(grads, self.model.trainable_variables if weights is None else weights)

    def count(self, loss: float, score: float, steps: int = 1) -> None:
        if not self.tells:
            self._batch = None  # rows count once
        super().count(loss, score, steps)
        learning_rate.grow(self, *self._growth)

    def collect(self, comm: MeteredComm) -> None:
        named = self._named().items()
        weights = ((name, np.asarray(variable)) for name, variable in named if name.startswith("weights/"))
        checkpoints.write(self._collected, self._joined(weights, comm), {}, comm)

    def save(self, path: pathlib.Path) -> None:
        with h5py.File(self._collected, "r") as file:
            keras_files.write(self.chain.model, path, lambda place: file[f"weights/{place}"][()])

    @property
    def takes_seeds(self) -> bool:
        return self.replicas is None or self.replicas.rank == 0  # other groups leave out other units

    @property
    def _collected(self) -> pathlib.Path:
        return self._scratch / "weights.h5"

    def _all_arrays(self, comm: MeteredComm) -> Iterator[tuple[str, np.ndarray]]:
        return self._joined(self._arrays(), comm)

    def _joined(self, arrays: Iterator[tuple[str, np.ndarray]], comm: MeteredComm) -> Iterator[tuple[str, np.ndarray]]:
        """Collective, also as it is passed through. Yield on the root the arrays of all parts, one by one."""
        return _gathered(iter(()) if self.replicas is not None and self.replicas.rank else arrays, comm)

    def _average_states(self, comm: MeteredComm) -> None:
        """Average what layers keep beside their weights over the groups of ranks, and make the rest equal.

        In each group one rank alone holds it; machines may round unlike.
        """
        if self.replicas is not None:
            for name, held in self._named().items():
                if not name.startswith("weights/") or held.trainable:
                    array = np.array(held)
                    self.replicas.Bcast(array)
                    held.assign(array)
            for variable in self.model.non_trainable_variables:
                if SEED_STATE not in variable.path:
                    total = np.array(variable)
                    self.replicas.Allreduce(MPI.IN_PLACE, total)
                    variable.assign(total / self.replicas.size)

    def _judged_at_once(self) -> int:
        return self.judged_rows

    def _judge(self, rows: slice) -> tuple[tf.Tensor, tf.Tensor] | None:
        x, y = self._reader.read("validation", rows) if self.trains else (None, None)
        outputs = self.forward(x, rows.stop - rows.start)
        return None if outputs is None else self._scored(y, outputs)

    @functools.cached_property
    def _scored(self) -> Callable:
        return tf.function(self.score, reduce_retracing=True)


def _best(costs: Costs, places: Sequence[int], speeds: list[float], limits: list[int]) -> list[int]:
    """Return the best cuts at some of the places.

    Raises:
        InputError: where a part does not fit, whatever the cuts.
    """
    found = balanced(costs, places, speeds, limits)
    if found is not None:
        return found
    found = balanced(costs, places, speeds, [math.inf] * len(speeds))
    assert found is not None
    parts = enumerate(itertools.pairwise(found))
    needed = [costs.memory_bytes(part, start, stop) for part, (start, stop) in parts]
    rank = int(np.argmax(np.array(needed) - limits))
    raise InputError(
        f"train.strategy: received a model of which rank {rank} would hold {needed[rank]} bytes (weights, gradients, "
        f"what the optimizer keeps, what layers make of the micro-batches under way), allowed: the {limits[rank]} that "
        "it has left; give more --ranks, or a smaller batch_size or model"
    )


def _gathered(arrays: Iterator[tuple[str, np.ndarray]], comm: MeteredComm) -> Iterator[tuple[str, np.ndarray]]:
    """Yield on the root the arrays of all ranks, each name once; on others nothing, while they send theirs."""
    if comm.rank:
        for name, array in arrays:
            send_array(name, array, comm, 0)
        send_array("", np.empty(0), comm, 0)
        return
    seen = set()
    for source in range(comm.size):
        for name, array in arrays if source == 0 else _received(comm, source):
            if name not in seen:
                seen.add(name)
                yield name, array


def _received(comm: MeteredComm, source: int) -> Iterator[tuple[str, np.ndarray]]:
    while True:
        name, array = receive_array(comm, source)
        if not name:
            return
        yield name, array
