"""A rank's training rows laid flat in whole steps, so that distances are exact: the same on any number of ranks.

    step = half of the widest column's range / 2**bits,   d(a, b)^2 = a.a - 2 a.b + b.b

With 2 bits + log2(columns) <= 51 all of it is whole numbers of up to 53 bits, which products of float64 matrices hold.
So a distance is that of the numbers rounded to a step: of 20 columns to 2**-23 of that range, of 784 to 2**-20.
"""

import math
import os
import tempfile
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from hvdedge.parallel import agree
from hvdedge.projections import ends, flat_width
from hvdedge.quotas import Labelled, labelled
from hvdedge.tensors import Features

IN_MEMORY_BYTES = 1 << 24  # as much is held; more lies in a scratch file, of which the system keeps what it can
BLOCK_BYTES = 1 << 22
MOST_BITS = 23  # float32 holds whole numbers of 24


@dataclass(frozen=True)
class FlatRows:
    """This rank's training rows, those of a class together, in their order.

    Attributes:
        labels: the rows in the order of the features.
        order, place: which row of `labels` each of these is, and the other way round, int64 (rows,).
        starts: where each class begins, int64 (classes + 1,).
        steps: float32 whole numbers, (rows, columns).
        step: how long one is, in the unit of the features.
    """

    labels: Labelled
    order: np.ndarray
    place: np.ndarray
    starts: np.ndarray
    steps: np.ndarray
    step: float

    @property
    def numbers(self) -> np.ndarray:
        return self.labels.numbers[self.order]

    @property
    def classes(self) -> np.ndarray:
        return self.labels.classes[self.order]

    @property
    def weights(self) -> np.ndarray:
        """How many rows each stands for by now, float64."""
        return self.labels.weights[self.order].astype(np.float64)

    def of_class(self, number: int) -> slice:
        """Return which rows are of a class."""
        return slice(int(self.starts[number]), int(self.starts[number + 1]))

    def in_order(self, values: np.ndarray) -> np.ndarray:
        """Return values of these rows, (rows,), in the order of the features."""
        return values[self.place]

    def held(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which of these numbers, as places among them, are of rows here, and which of these rows they are."""
        first = self.labels.numbers[0] if len(self.order) else 0
        here = np.flatnonzero((numbers >= first) & (numbers < first + len(self.order)))
        return here, self.place[numbers[here] - first]

    def fetch(self, numbers: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
        """Collective. Return the steps of the rows with these numbers, the same on every rank, wherever they are."""
        found = np.zeros((len(numbers), self.steps.shape[1]), np.float32)
        at, mine = self.held(numbers)
        found[at] = self.steps[mine]
        comm.Allreduce(MPI.IN_PLACE, found, op=MPI.SUM)
        return found


def flat_rows(features: Features, comm: MPI.Intracomm, name: str) -> FlatRows:
    """Collective. Lay the training rows flat for the selection `name`.

    Raises:
        InputError: where x is no numbers.
        RankError: where the disk is full.
    """
    width = flat_width(features, name)
    labels = labelled(features, comm)
    low, high, _ = ends(features, comm)
    bits = min(MOST_BITS, (51 - math.ceil(math.log2(width))) // 2)
    half = float((high / 2 - low / 2).max())
    step = (half if half > 0 else 1.0) / 2**bits
    order = np.argsort(labels.classes, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    room: list[np.ndarray] = []
    with agree(comm):
        room.append(_room(len(order), width))
    steps, start = room[0], 0
    for x, _, _ in features.training():
        flat = x.reshape(len(x), -1).astype(np.float64)
        steps[place[start : start + len(x)]] = np.rint((flat - (low / 2 + high / 2)) / step)
        start += len(x)
    sizes = np.bincount(labels.classes, minlength=len(labels.names))
    return FlatRows(labels, order, place, np.concatenate([[0], np.cumsum(sizes)]), steps, step)


def best_of_classes(rows: FlatRows, values: np.ndarray, classes: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return the number of the first row with the largest of the `values` in each of the `classes`.

    Args:
        values: of the rows here, float64 (rows,).
    """
    best, numbers = np.full(len(classes), -np.inf), np.full(len(classes), np.iinfo(np.int64).max)
    for place, number in enumerate(classes.tolist()):
        mine = rows.of_class(number)
        if mine.stop > mine.start:
            at = mine.start + int(values[mine].argmax())
            best[place], numbers[place] = values[at], rows.labels.numbers[rows.order[at]]
    own = best.copy()
    comm.Allreduce(MPI.IN_PLACE, best, op=MPI.MAX)
    numbers[own < best] = np.iinfo(np.int64).max
    comm.Allreduce(MPI.IN_PLACE, numbers, op=MPI.MIN)
    return numbers


def central_rows(rows: FlatRows, classes: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return the numbers of the rows nearest to the means, rounded to steps, of the `classes`."""
    sums = np.zeros((len(classes), rows.steps.shape[1]), np.int64)
    for its, number in zip(sums, classes.tolist(), strict=True):
        for block in blocks(rows.of_class(number), len(its)):
            its += rows.steps[block].astype(np.int64).sum(axis=0)
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    means = np.rint(sums / rows.labels.sizes[classes][:, None])
    return best_of_classes(rows, -class_distances(rows, classes, means), classes, comm)


def class_distances(rows: FlatRows, classes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return each row's squared distance from the point of its class, float64; inf for rows of other classes."""
    found = np.full(len(rows.order), np.inf)
    for number, point in zip(classes.tolist(), points, strict=True):
        for block in blocks(rows.of_class(number), len(point)):
            found[block] = squared_distances(rows.steps[block], point[None])[:, 0]
    return found


def squared_distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the squared distance of each row from each of the others, whole numbers, float64 (rows, others)."""
    a, b = rows.astype(np.float64), others.astype(np.float64)
    found = a @ (-2 * b.T)
    found += np.einsum("ij,ij->i", a, a)[:, None]
    found += np.einsum("ij,ij->i", b, b)
    return found


def blocks(rows: slice, width: int) -> list[slice]:
    """Return the rows in blocks that take some megabytes as float64, with `width` numbers a row."""
    at_once = max(BLOCK_BYTES // (8 * max(width, 1)), 1)
    return [slice(start, min(start + at_once, rows.stop)) for start in range(rows.start, rows.stop, at_once)]


def _room(rows: int, width: int) -> np.ndarray:
    """Return room for whole numbers, float32 (rows, width)."""
    size_bytes = 4 * rows * width
    if size_bytes <= IN_MEMORY_BYTES:
        return np.empty((rows, width), np.float32)
    with tempfile.TemporaryFile() as file:  # the map outlives it
        os.posix_fallocate(file.fileno(), 0, size_bytes)  # a full disk is an error here, and a dead process later
        return np.memmap(file, np.float32, "r+", shape=(rows, width))
