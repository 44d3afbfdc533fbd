"""SplitTask: a PartedTask of which each rank holds a slice of every layer."""

import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from hvdedge.box_rows import BoxRows
from hvdedge.collective_ops import summed_together
from hvdedge.errors import InputError
from hvdedge.layouts import Boxes, Layout
from hvdedge.memory import available_bytes
from hvdedge.micro_batches import MARGIN
from hvdedge.parallel import MeteredComm, allgather_rows, counts
from hvdedge.parted_task import COMMON, PartedTask
from hvdedge.partition import weights, without_weights
from hvdedge.slice_values import drawn
from hvdedge.split_model import Cut, Part, Rule, SplitModel, Splitting, needed_bytes, split
from hvdedge.tensors import FeatureReader
from hvdedge.training import BEST, SEED_STATE, SEEDS, History, seed_state

OPTIMIZER, WEIGHTS = "optimizer/", "weights/"


class SplitTask(PartedTask):
    """A PartedTask for strategies that cut layers: all ranks see each batch, and hold of each weight some numbers."""

    model: SplitModel
    is_split = False
    _cuts: dict[str, Cut] = {}

    def split(self, comm: MeteredComm, first: Layout, rule: Rule, **options: Any) -> None:
        """Collective. Take this rank's slices, once it is known that they fit into each rank's memory.

        Args:
            first: how ranks take the model's input.
            rule: says how layers are cut.
            options: of the rules.
        Raises:
            InputError: where nothing can be cut, a layer cannot be had in slices, or a part does not fit.
        """
        self._comm, self.is_split = comm, True
        self._refuse_uncut()
        splitting = Splitting(self.chain, comm, options)
        with without_weights():
            plan, how = split(splitting, first, rule)
        self._refuse_too_much(plan, how, comm)
        if isinstance(first, Boxes):
            self._reader = cast(FeatureReader, BoxRows(self._reader, first.box(comm.rank)))
        model, _ = split(splitting, first, rule)
        place_of = {id(variable): place for place, variable in enumerate(self.chain.model.variables)}
        parts = {id(part.variable): part for part in model.parts}
        self._hold(model, [place_of[id(parts[id(variable)].whole)] for variable in model.variables], False)
        self._name_states(parts)
        self._draw(parts, comm)
        self._make_equal(comm)
        self._partial = [parts[id(variable)].is_partial for variable in model.trainable_variables]
        self.tells = comm.rank == 0
        self.judged_rows = self.batch_size
        self.forward = self._judged
        self.history.told = {"split": how, "held_parameters": counts(model.count_params(), comm).tolist()}

    def learn(self, comm: MeteredComm) -> History:
        """Collective. Train with batches that all ranks see; the rate is one rank's, as there is one model."""
        return self.learn_by(self._step_with, comm)

    def gradients(self, x: tf.Tensor, y: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, list[Any]]:
        loss, score, grads = super().gradients(x, y, weights)
        partial = [grad for grad, is_partial in zip(grads, self._partial, strict=True) if is_partial]
        if partial:
            sums = iter(summed_together(partial, self._comm))
            grads = [next(sums) if is_partial else grad for grad, is_partial in zip(grads, self._partial, strict=True)]
        return loss, score, grads

    def _all_arrays(self, comm: MeteredComm) -> Iterator[tuple[str, np.ndarray]]:
        states = self.seed_states()
        if states and self.is_split:
            yield SEEDS, allgather_rows(np.stack([np.asarray(state) for state in states])[None], comm)
        yield from super()._all_arrays(comm)

    def _take(self, arrays: Iterable[tuple[str, np.ndarray]]) -> np.ndarray | None:
        return super()._take((name, self._own(name, array)) for name, array in arrays)

    @property
    def takes_seeds(self) -> bool:
        return super().takes_seeds and not self.is_split

    def _average_states(self, comm: MeteredComm) -> None:
        super()._average_states(comm)
        if self.is_split:
            self._make_equal(self._comm)

    @functools.cached_property
    def _step_with(self) -> Any:
        @tf.function(input_signature=self.signature)
        def step(x: tf.Tensor, y: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            loss, score, grads = self.gradients(x, y, weights)
            self.apply(grads)
            return loss, score

        return step

    @functools.cached_property
    def _outputs(self) -> Any:
        return tf.function(lambda x: self.model(x, training=False), input_signature=self.signature[:1])

    def _judged(self, x: np.ndarray | None, rows: int) -> np.ndarray | None:
        outputs = self._outputs(x)
        return outputs if self.tells else None

    def _refuse_uncut(self) -> None:
        """Raise an InputError for a layer that is another one in slices."""
        for layer in self.chain.layers:
            wrong = None
            if isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False):
                wrong = "makes a mask"
            elif any(getattr(variable, "constraint", None) for variable in getattr(layer, "variables", ())):
                wrong = "has a constraint on whole weights"
            if wrong:
                raise InputError(
                    f"train.strategy: received a model whose layer {layer.name} {wrong}, allowed: layers that can be "
                    "cut; take pipeline, or another model"
                )

    def _refuse_too_much(self, plan: SplitModel, how: dict[str, str], comm: MeteredComm) -> None:
        """Collective. Raise an InputError where the ranks cannot share the model, or a part does not fit."""
        if comm.size > 1 and not any(part.is_cut or part.is_partial for part in plan.parts):
            largest = max(self.chain.layers, key=weights)
            raise InputError(
                f"train.strategy: received {comm.size} ranks for a model of which no layer can be cut so, its largest "
                f"is {largest.name} with outputs {largest.output.shape[1:]}, allowed: no more ranks than a layer has "
                "outputs; give fewer --ranks or a wider model"
            )
        needed = counts(needed_bytes(plan, self.batch_size, self._kept_beside()), comm)
        limits = counts(int((1 - MARGIN) * available_bytes() // self.local_ranks), comm)
        rank = int(np.argmax(needed - limits))
        if needed[rank] > limits[rank]:
            raise InputError(
                f"train.strategy: received a model of which rank {rank} would hold {needed[rank]} bytes (weights, "
                f"gradients, what the optimizer keeps, what layers make of a batch), allowed: the {limits[rank]} that "
                "it has left; give more --ranks, or a smaller batch_size or model"
            )

    def _name_states(self, parts: dict[int, Part]) -> None:
        """Note which slices the weights have, and what the optimizer keeps of them, by their names in checkpoints."""
        trained = {id(variable): place for place, variable in enumerate(self.chain.model.trainable_variables)}
        self._cuts = {}
        for place, variable in zip(self._places, self.model.variables, strict=True):
            part = parts[id(variable)]
            self._cuts |= {f"{WEIGHTS}{place}": part.cut, f"{BEST}{place}": part.cut}
        slots, kept = self._slots(), []
        for variable in self.model.trainable_variables:
            part = parts[id(variable)]
            places = [COMMON + trained[id(part.whole)] * slots + slot for slot in range(slots)]
            self._cuts |= {f"{OPTIMIZER}{place}": part.cut for place in places}
            kept += places
        self._state_places = [*range(COMMON), *kept]

    def _draw(self, parts: dict[int, Part], comm: MeteredComm) -> None:
        """Give slices their first values, and layers what they draw units from."""
        number = itertools.count()
        for place, variable in zip(self._places, self.model.variables, strict=True):
            part = parts[id(variable)]
            if SEED_STATE in variable.path:
                group = 0 if self.replicas is None else self.replicas.rank
                rank = group * comm.size + (comm.rank if id(variable) in self.model.own_seeds else 0)
                variable.assign(seed_state(self.seed, rank, next(number), variable.shape))
            elif part.is_cut:
                held = [*self._held_of(part.cut, part.whole.shape)]
                values = drawn(part.whole._initializer, part.whole.shape, held, (self.seed, comm.rank, place))
                if values is not None:
                    variable.assign(values)

    def _held_of(self, cut: Cut, shape: Iterable[int], rank: int | None = None) -> Iterator[np.ndarray]:
        """Yield for each axis which places a rank, this one or another, has."""
        for size, places in zip(shape, cut, strict=True):
            yield np.arange(size) if places is None else places.held[self._comm.rank if rank is None else rank]

    def _own(self, name: str, array: np.ndarray) -> np.ndarray:
        """Return this rank's slice of an array of the whole model."""
        cut = self._cuts.get(name, ())
        if all(places is None for places in cut):
            return array
        return array[np.ix_(*self._held_of(cut, array.shape))]

    def _joined(self, arrays: Iterator[tuple[str, np.ndarray]], comm: MeteredComm) -> Iterator[tuple[str, np.ndarray]]:
        if not self.is_split:
            yield from super()._joined(arrays, comm)
            return
        if self.replicas is not None and self.replicas.rank:
            return
        comm = self._comm
        for name, array in arrays:
            cut = self._cuts.get(name, ())
            if all(places is None for places in cut):
                if comm.rank == 0:
                    yield name, array
            elif comm.rank:
                comm.Send(np.ascontiguousarray(array), 0)
            else:
                shape = [size if places is None else len(places) for size, places in zip(array.shape, cut, strict=True)]
                whole = np.empty(shape, array.dtype)
                for rank in range(comm.size):
                    held = [*self._held_of(cut, shape, rank)]
                    part = array if rank == 0 else np.empty([len(places) for places in held], array.dtype)
                    if rank:
                        comm.Recv(part, rank)
                    whole[np.ix_(*held)] = part
                yield name, whole

    def _make_equal(self, comm: MeteredComm) -> None:
        """Collective. Let all ranks have the root's numbers of what is the same on all: machines may round unlike."""
        for name, variable in self._named().items():
            is_cut = any(places is not None for places in self._cuts.get(name, ()))
            if not is_cut and SEED_STATE not in variable.path:
                array = np.array(variable)
                comm.Bcast(array)
                variable.assign(array)
