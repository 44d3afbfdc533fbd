"""Tensors that each batch sends from one rank to another, awaited in advance and sent while others are computed."""

import contextlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from mpi4py import MPI

from hvdedge.parallel import MeteredComm

FIRST_TAG, TAGS = 1000, 100  # of flow 0, and how many each has: more than tensors pass a cut

Like = list[tuple[tuple[int, ...], np.dtype]]


class Flow:
    """What every batch sends from one place to another: tensors of the same shapes for each.

    Args:
        number: of this flow among those of the communicator.
        like: shape and dtype of each tensor.
        source, target: the ranks that batch b goes from and to.
        ahead: how many batches may have been sent when one is used: so many are awaited in advance.
    """

    def __init__(
        self,
        comm: MeteredComm,
        number: int,
        like: Like,
        source: Callable[[int], int],
        target: Callable[[int], int],
        ahead: int,
    ):
        self._comm, self._like, self._source, self._target = comm, like, source, target
        self._tag, self._ahead = FIRST_TAG + number * TAGS, ahead
        self._stays: dict[int, list[np.ndarray]] = {}  # from this rank to itself
        self._coming: dict[int, tuple[list[MPI.Request], list[np.ndarray]]] = {}
        self._sent: list[MPI.Request] = []
        self._held: list[np.ndarray] = []  # what is being sent
        self._awaited = self._count = 0

    def begin(self, count: int) -> None:
        """Begin to await what comes of the first of so many batches, after all of an epoch before have come."""
        self._count, self._awaited = count, 0
        self._await(self._ahead)

    def send(self, batch: int, tensors: Sequence[tf.Tensor | np.ndarray]) -> None:
        """Begin to send what a batch has, once what was sent before is gone."""
        arrays = [np.ascontiguousarray(tensor) for tensor in tensors]
        target = self._target(batch)
        if target == self._comm.rank:
            self._stays[batch] = [array.copy() for array in arrays]
            return
        self._comm.wait(self._sent)
        self._held = arrays
        self._sent = [self._comm.Isend(array, target, self._tag + k) for k, array in enumerate(arrays)]

    def receive(self, batch: int) -> list[np.ndarray]:
        """Wait for what a batch brings to this rank."""
        self._await(batch + 1 + self._ahead)
        if batch in self._stays:
            return self._stays.pop(batch)
        requests, arrays = self._coming.pop(batch)
        self._comm.wait(requests)
        return arrays

    def end(self) -> None:
        """Wait until all is sent."""
        self._comm.wait(self._sent)

    def abandon(self) -> None:
        """Let go what is under way, as ranks were lost: requests end at once where the communicator is revoked."""
        with contextlib.suppress(MPI.Exception):
            MPI.Request.Waitall([*self._sent, *(each for requests, _ in self._coming.values() for each in requests)])

    def _await(self, stop: int) -> None:
        """Await what comes of all batches before one."""
        for batch in range(self._awaited, min(stop, self._count)):
            source = self._source(batch)
            if self._target(batch) == self._comm.rank != source:
                arrays = [np.empty(shape, dtype) for shape, dtype in self._like]
                requests = [self._comm.Irecv(array, source, self._tag + k) for k, array in enumerate(arrays)]
                self._coming[batch] = requests, arrays
            self._awaited = batch + 1


def like(tensors: Sequence, rows: int) -> Like:
    """Return what tensors of so many rows are like, given (any, ...)."""
    return [((rows, *each.shape[1:]), np.dtype(tf.as_dtype(each.dtype).as_numpy_dtype)) for each in tensors]
