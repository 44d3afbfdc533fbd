"""GraphTask: a TrainingTask on a whole graph, of whose nodes each rank holds a block."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from mpi4py import MPI
from scipy.sparse import csr_matrix

from hvdedge import halos
from hvdedge.collective_ops import summed_together, widened
from hvdedge.errors import InputError
from hvdedge.graph_blocks import StorePart, read_rows
from hvdedge.graph_layers import GraphConvolution, lookups
from hvdedge.parallel import MeteredComm, block, counts
from hvdedge.shards import Batch, mean_weight
from hvdedge.training import TrainingTask


@dataclass(frozen=True)
class OwnNodes:
    """A rank's rows of a batch of all training rows, perhaps none."""

    batch: Batch

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield them as one batch."""
        yield self.batch


class GraphTask(TrainingTask):
    """A TrainingTask whose steps are of all training nodes, where each rank has those of a block of the graph."""

    def _take_model(self, model: keras.Model, comm: MeteredComm) -> None:
        self._refuse(model)
        self._refuse_dealt()
        self._settings = {**self._settings, "micro_batches": False}  # all ranks exchange equally often
        super()._take_model(model, comm)

    def part(self, comm: MeteredComm) -> None:
        """Collective. Take this rank's nodes, and from the root the weights to begin with."""
        self._comm = comm
        nodes = self._reader.spec["graph"]["nodes"]
        starts = np.array([block(nodes, comm.size, rank).start for rank in range(comm.size)] + [nodes])
        here = block(nodes, comm.size, comm.rank)
        adjacency, features = read_rows(self._reader, here)
        halo = halos.plan(adjacency.indices.astype(np.int64), starts, comm)
        shape = adjacency.shape[0], adjacency.shape[0] + len(halo.nodes)
        store = StorePart(here.start, csr_matrix((adjacency.data, halo.columns, adjacency.indptr), shape), features)
        for layer in self.model._flatten_layers():
            if isinstance(layer, GraphConvolution):
                layer.spread = functools.partial(widened, halo=halo, comm=comm)
        for layer in lookups(self.model):
            layer.attach(lambda: store)
        x, y, rows = self._own("train", here)
        weights = self._reader.weights(slice(None))[rows] / mean_weight(self._reader) / self.rows
        shard = OwnNodes(Batch(x, y, weights.astype(np.float32), self.rows))
        self._make_shard = lambda: shard
        self.steps_per_epoch, self.global_batch_size = 1, self.rows
        self._validated = self._own("validation", here)[:2]
        held, fetched = counts(np.array([shape[0], len(halo.nodes)]), comm).T.tolist()
        self.history.told = {"held_nodes": held, "halo_nodes": fetched}
        for variable in self._state():  # equal by seed already; certain after this
            array = np.array(variable)
            comm.Bcast(array)
            variable.assign(array)

    @functools.cached_property
    def step(self) -> Any:
        """Collective. The step, of x, y and weights of this rank's nodes; gives their weighted sums before it."""

        @tf.function(input_signature=self.signature)
        def step(x: tf.Tensor, y: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            loss, score, grads = self.gradients(x, y, weights)
            self.apply(summed_together(grads, self._comm))
            return loss, score

        return step

    def validate(self, comm: MeteredComm) -> tuple[float, float]:
        losses, scores = self._evaluate(*self._validated)
        sums = np.array([np.sum(losses, dtype=float), np.sum(scores, dtype=float), len(losses)])
        comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
        return (sums[0] / sums[2], sums[1] / sums[2]) if sums[2] else (np.nan, np.nan)

    def _own(self, split: str, here: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return x and y of the rows of a split whose nodes are here, and which rows they are."""
        x, y = self._reader.read(split, slice(None))
        rows = np.flatnonzero((x >= here.start) & (x < here.stop))
        return x[rows], y[rows], rows

    def _refuse(self, model: keras.Model) -> None:
        """Raise an InputError for what cannot be trained so."""
        found = lookups(model)
        if not found:
            raise InputError(
                "train.strategy: received graph_parallel for a model that looks at no graph, allowed: gcn; change "
                "one of them"
            )
        if any(layer.draws for layer in found):
            raise InputError(
                "train.neighbours: received some with graph_parallel, which takes all neighbours, allowed: []; change "
                "one of them"
            )
        if self.precision.name != "float32":
            raise InputError(
                f'train.precision: received "{self.precision.name}" with graph_parallel, allowed: "float32"; change it'
            )
