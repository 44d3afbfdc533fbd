"""RingTask: a PartedTask of ranks that have rows of their own, and go on without those that were lost."""

import functools
from collections import Counter
from typing import Any

import numpy as np

from hvdedge.errors import InputError
from hvdedge.parallel import MeteredComm, block, counts
from hvdedge.part_copies import PartCopies
from hvdedge.parted_task import PartedTask
from hvdedge.shards import Batch


class RingTask(PartedTask):
    """A PartedTask on a ring of ranks, each with rows of its own and a copy of the part of the rank before it.

    Attributes:
        rows_of: how many rows each rank has.
        rows_beside: how many rows each rank of other rings has, that hold the same model.
        copies: of the parts, as they stood after the last epochs.
    """

    rows_of: list[int]
    rows_beside: list[int]
    _own_rows: np.ndarray | None = None

    def share_rows(self, comm: MeteredComm, keeps: bool) -> None:
        """Collective. Deal the rows to the ranks in blocks.

        Args:
            keeps: whether each rank keeps those that it has, also where others were lost.
        """
        everyone = self.everyone or comm
        if self._own_rows is None or not keeps:
            here = block(self.rows, everyone.size, everyone.rank)
            self._own_rows = np.arange(here.start, here.stop)
        self.keep_to(self._own_rows)
        self.__dict__.pop("_shard", None)  # of the rows before
        self.rows_of = counts(len(self._own_rows), comm).tolist()
        of_all = counts(len(self._own_rows), everyone).tolist()
        others = Counter(of_all)
        others.subtract(self.rows_of)
        self.rows_beside = [*others.elements()]
        self.steps_per_epoch = -(-max(of_all) // self.batch_size)

    @functools.cached_property
    def copies(self) -> PartCopies:
        return PartCopies(self._scratch)

    def take_in(self, batch: Batch) -> None:
        """Let the next `count` be of this batch, which another rank sent."""
        self._batch = batch

    def lent_layers(self) -> int:
        """Return how many first layers make something else of raw rows, by weights.

        Raises:
            InputError: where there are none, or they keep more of the rows than a gradient tells.
        """
        raw = {id(tensor) for tensor in self.chain.model.inputs}
        for place, node in enumerate(self.chain.nodes, start=1):
            layer = node.operation
            if getattr(layer, "non_trainable_variables", ()):
                break
            comes_raw = any(id(tensor) in raw for tensor in node.input_tensors)
            if comes_raw and not getattr(layer, "trainable_variables", ()):
                raw |= {id(tensor) for tensor in node.output_tensors}
            if place in self.chain.cuts and not any(id(tensor) in raw for tensor in self.chain.passing[place]):
                return place
        raise InputError(
            "train.private: received true for a model whose first layers with weights pass raw rows on, keep means of "
            "them or leave units out, allowed: false for such a model; change it, or the model"
        )

    def copy_parts(self, comm: MeteredComm) -> None:
        """Collective. Let each rank keep its part as it stands now, and a copy of that of the rank before it."""
        curves = {name: [*curve] for name, curve in self.history.curves.items()}
        facts = {"curves": curves, "best_epoch": self.history.best_epoch, **self._facts()}
        self.copies.make(self.epoch, self._arrays, facts, comm)

    def take_over(self, comm: MeteredComm, **cut: Any) -> None:
        """Collective. Go on with the ranks that are left from the newest copy that all of them have.

        The layers are dealt anew. A rank takes those of its new part from the ranks that had them, or that have a copy;
        where there is none, all go back to the newest checkpoint, or begin again.

        Args:
            cut: as `cut` takes it.
        """
        copy = self.copies.newest(comm)
        self._good, self._best = [], []
        self.renew_optimizer()
        self.cut(comm, **cut)
        if copy is not None and copy.is_whole(comm):
            self._take(copy.arrays(comm))
            self._follow(copy.facts)
            self.history.curves, self.history.best_epoch = copy.facts["curves"], copy.facts["best_epoch"]
            self.epoch = copy.epoch
        else:
            self.begin_again()
            self.epoch = self._take_up(comm)
        self._step = 0
        self._keep_state()
