"""A rank's part of the training rows, batch by batch: dealt by lanes, its own as a client's, or as they arrive.

Lanes. The training rows, in the order of `features.h5`, are laid out in lines of G, the global batch size; lane l is
column l, and a rank holds the lanes `block(G, size, rank)`. Each epoch shuffles every lane by itself, from the seed,
the epoch and the lane's number; step s trains on line s:

              lane 0   1   2   3            rank 0 of 2 holds lanes 0 and 1,
    line 0        0    1   2   3            rank 1 lanes 2 and 3;
    line 1        4    5   6   7            step s of an epoch takes one row of each lane
    line 2        8    9

So the batches of a seed do not depend on the number of ranks, only on the global batch size; every row is used once
an epoch; and a rank never needs another's rows. Where lanes are of uneven length, the last step is smaller on some
ranks, and may be empty there: such a rank takes part with one row of weight zero.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hvdedge.parallel import block
from hvdedge.tensors import FeatureReader


@dataclass
class Batch:
    """This rank's part of what is learnt from in one step.

    Attributes:
        x, y: (rows, ...) each.
        weights: float32 (rows,), a row's weight / `together`, 0 for one that only fills an empty batch, so that
            weighted sums over the ranks of a step are means over its rows.
        together: the rows of the step, on all ranks that take it together.
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    together: int


class Shard(Protocol):
    """A rank's rows."""

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield them."""


class Lanes:
    """This rank's lanes of the training rows, in memory; over all rows the mean of their weights is 1."""

    def __init__(self, reader: FeatureReader, global_batch_size: int, lanes: slice, seed: int):
        self.rows = reader.rows("train")
        self.steps = math.ceil(self.rows / global_batch_size)
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
        self.weights = np.concatenate([weights[:0], *mine]) / _mean(weights)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield this rank's part of every step of an epoch, `steps` of them on every rank."""
        width = len(self._lanes)
        lengths = [len(range(lane, self.rows, self._global_batch_size)) for lane in self._lanes]
        order = np.full((self.steps, width), -1)
        for column, (lane, length) in enumerate(zip(self._lanes, lengths, strict=True)):
            order[:length, column] = (
                np.random.default_rng([self._seed, epoch, lane]).permutation(length) * width + column
            )
        for line, rows in enumerate(order):
            rows = rows[rows >= 0]
            together = min(self._global_batch_size, self.rows - line * self._global_batch_size)
            yield _batch(self.x[rows], self.y[rows], self.weights[rows], together)


class OwnRows:
    """A client's rows, which it alone has, in memory, and learns from in batches of its own."""

    def __init__(self, reader: FeatureReader, rows: np.ndarray, batch_size: int, seed: int):
        self._batch_size = batch_size
        self._seed = seed
        self.x, self.y = reader.read("train", rows)
        weights = reader.weights(slice(None))
        self.weights = weights[rows] / _mean(weights)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield all rows once, in an order of this epoch."""
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self.y))
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            yield _batch(self.x[rows], self.y[rows], self.weights[rows], len(rows))


class Arriving:
    """Rows in the order in which they stand, each seen once: an epoch is an equal part of them. None is kept.

    Each line of G rows is dealt over the ranks as lanes are.

    Args:
        epochs: those that are left.
        seen: the rows of those before.
    """

    def __init__(self, reader: FeatureReader, global_batch_size: int, lanes: slice, epochs: range, seen: int):
        self._reader, self._global_batch_size, self._lanes = reader, global_batch_size, lanes
        self._rows = reader.rows("train")
        self._seen = seen
        self._lines = math.ceil((self._rows - seen) / global_batch_size)
        self._epochs = epochs
        self._mean = _mean(reader.weights(slice(None)))

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield this rank's part of each line of an epoch."""
        for line in range(self._lines)[block(self._lines, len(self._epochs), self._epochs.index(epoch))]:
            start = self._seen + line * self._global_batch_size
            rows = range(self._rows)[start + self._lanes.start : start + self._lanes.stop]
            here = slice(rows.start, rows.stop)
            x, y = self._reader.read("train", here)
            together = min(self._global_batch_size, self._rows - start)
            yield _batch(x, y, self._reader.weights(here) / self._mean, together)


def _batch(x: np.ndarray, y: np.ndarray, weights: np.ndarray, together: int) -> Batch:
    """Return a batch; one row of weight 0 where there is none."""
    if len(y):
        return Batch(x, y, (weights / together).astype(np.float32), together)
    x, y = np.zeros((1, *x.shape[1:]), x.dtype), np.zeros((1, *y.shape[1:]), y.dtype)
    return Batch(x, y, np.zeros(1, np.float32), together)


def _mean(weights: np.ndarray) -> float:
    """Return the mean weight of all training rows, by which each is divided."""
    return max(float(weights.mean(dtype=float)), 1e-9)
