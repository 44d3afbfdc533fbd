"""A rank's part of the training rows, batch by batch: its own, as a client's, or as they arrive. See also `lanes`."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hvdedge.parallel import block
from hvdedge.tensors import FeatureReader

BLOCK_ROWS = 1 << 20  # whose weights are read at once
PIECES = 8  # of a window: more mix better, fewer are read faster
COPIES = 4  # of rows that are picked one by one, while they are read


class Rows(Protocol):
    """Where training rows are read, such as a FeatureReader."""

    def rows(self, split: str) -> int: ...

    def read(self, split: str, rows: slice) -> tuple[np.ndarray, np.ndarray]: ...

    def weights(self, rows: slice) -> np.ndarray: ...


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


class OwnRows:
    """A client's rows, which it alone has, and learns from in batches of its own.

    Where they do not fit into its memory, an epoch goes through them in windows of PIECES pieces of rows next to each
    other, drawn anew in each epoch.

    Args:
        rows: their numbers among the training rows, rising.
        held_bytes: what they may take in memory.
    """

    def __init__(self, reader: FeatureReader, rows: np.ndarray, batch_size: int, seed: int, held_bytes: int):
        self._reader, self._rows = reader, rows
        self._batch_size = batch_size
        self._seed = seed
        self._weights = reader.weights(slice(None))[rows] / mean_weight(reader)
        held_rows = held_bytes // row_bytes(reader)
        self._window_rows = max(held_rows // COPIES // batch_size, 1) * batch_size
        everyone = np.arange(len(rows))
        self._whole = self._read(everyone) if held_rows >= len(rows) else None

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield all rows once, in an order of this epoch."""
        rng = np.random.default_rng([self._seed, epoch])
        if self._whole:
            yield from self._shuffled(self._whole, rng)
            return
        size = max(self._window_rows // PIECES, 1)
        starts = rng.permutation(range(0, len(self._rows), size))
        places = np.concatenate([np.arange(start, min(start + size, len(self._rows))) for start in starts])
        for start in range(0, len(places), self._window_rows):
            yield from self._shuffled(self._read(np.sort(places[start : start + self._window_rows])), rng)

    def _read(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return *self._reader.read("train", self._rows[places]), self._weights[places]

    def _shuffled(self, window: tuple[np.ndarray, np.ndarray, np.ndarray], rng: np.random.Generator) -> Iterator[Batch]:
        x, y, weights = window
        order = rng.permutation(len(y))
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            yield batch_of(x[rows], y[rows], weights[rows], len(rows))


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
        self._mean = mean_weight(reader)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield this rank's part of each line of an epoch."""
        for line in range(self._lines)[block(self._lines, len(self._epochs), self._epochs.index(epoch))]:
            start = self._seen + line * self._global_batch_size
            rows = range(self._rows)[start + self._lanes.start : start + self._lanes.stop]
            here = slice(rows.start, rows.stop)
            x, y = self._reader.read("train", here)
            together = min(self._global_batch_size, self._rows - start)
            yield batch_of(x, y, self._reader.weights(here) / self._mean, together)


def batch_of(x: np.ndarray, y: np.ndarray, weights: np.ndarray, together: int) -> Batch:
    """Return a batch; one row of weight 0 where there is none."""
    if len(y):
        return Batch(x, y, (weights / together).astype(np.float32), together)
    x, y = np.zeros((1, *x.shape[1:]), x.dtype), np.zeros((1, *y.shape[1:]), y.dtype)
    return Batch(x, y, np.zeros(1, np.float32), together)


def mean_weight(reader: Rows) -> float:
    """Return the mean weight of all training rows, by which each is divided."""
    rows = reader.rows("train")
    blocks = (reader.weights(slice(start, start + BLOCK_ROWS)) for start in range(0, rows, BLOCK_ROWS))
    return max(sum(float(weights.sum(dtype=float)) for weights in blocks) / max(rows, 1), 1e-9)


def row_bytes(reader: Rows) -> int:
    """Return what a training row takes in memory."""
    x, y = reader.read("train", slice(0, 1))
    return max(x.nbytes + y.nbytes + 4, 1)
