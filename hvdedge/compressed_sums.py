"""Sums of gradients over all ranks in fewer bytes, from which nothing is lost: what was not sent is sent later.

    bfloat16, int8   each rank rounds what it has, part by part, to the rank that adds this part up; that one rounds the
                     sum and sends it to all: 2 (n - 1) / n of the rounded bytes, as a ring does
    top_k            each rank sends its largest numbers and their places to all

What rounding took away, or what was not among the largest, is added to the next sum (error feedback). With momentum,
top_k accumulates what momentum makes of the gradients, and lets a number's momentum go with it (momentum correction and
masking), as an optimizer that sees a number rarely would not know its speed.

Source: Seide et al. 2014, 1-bit stochastic gradient descent (error feedback); Tang et al. 2021, 1-bit Adam (rounding on
both ways); Lin et al. 2018, Deep gradient compression (top_k).
"""

from typing import Protocol

import numpy as np
from mpi4py import MPI

from hvdedge.parallel import MeteredComm, allgather_rows

BLOCK = 256  # numbers of one scale


class Rounding(Protocol):
    """Fewer bytes for float32 numbers, whose number is a multiple of BLOCK."""

    def pack(self, values: np.ndarray) -> np.ndarray:
        """Return rows of numbers as rows of bytes."""

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """Return what they mean."""


class Bfloat16:
    """The upper half of each number, rounded to even."""

    def pack(self, values: np.ndarray) -> np.ndarray:
        bits = values.view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).view(np.uint8)

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        return (packed.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


class Int8:
    """Each number in 127ths of the largest of its block."""

    def pack(self, values: np.ndarray) -> np.ndarray:
        blocks = values.reshape(len(values), -1, BLOCK)
        scales = np.maximum(np.abs(blocks).max(axis=2), np.float32(1e-30)) / np.float32(127)
        steps = np.rint(blocks / scales[:, :, None]).astype(np.int8)
        return np.concatenate([scales.view(np.uint8), steps.reshape(len(values), -1).view(np.uint8)], axis=1)

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        blocks = packed.shape[1] // (BLOCK + 4)
        scales = np.ascontiguousarray(packed[:, : 4 * blocks]).view(np.float32)
        steps = packed[:, 4 * blocks :].view(np.int8).reshape(len(packed), blocks, BLOCK)
        return (steps * scales[:, :, None]).reshape(len(packed), -1)


class RoundedSum:
    """Sums of `size` numbers of all ranks, rounded on both ways."""

    def __init__(self, rounding: Rounding, size: int, comm: MeteredComm):
        self._rounding, self._size = rounding, size
        self._begin(comm)

    def _begin(self, comm: MeteredComm) -> None:
        self._comm = comm
        part = -(-self._size // (BLOCK * comm.size)) * BLOCK  # that each rank adds up
        self._left = np.zeros((comm.size, part), np.float32)  # what this rank has not sent
        self._left_of_sum = np.zeros((1, part), np.float32)

    def move(self, comm: MeteredComm) -> None:
        """Go on with these ranks."""
        unsent = self._unsent()
        self._begin(comm)
        self._left.reshape(-1)[: self._size] = unsent

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Collective. Return the sum of all ranks' `values`, float32 (size,), as far as it is sent this time."""
        self._left.reshape(-1)[: self._size] += values
        packed = self._rounding.pack(self._left)
        self._left -= self._rounding.unpack(packed)
        arrived = np.empty_like(packed)
        self._comm.Alltoall(packed, arrived)
        self._left_of_sum += self._rounding.unpack(arrived).sum(axis=0)
        packed = self._rounding.pack(self._left_of_sum)
        self._left_of_sum -= self._rounding.unpack(packed)
        every = np.empty((self._comm.size, packed.shape[1]), np.uint8)
        self._comm.Allgather(packed, every)
        return self._rounding.unpack(every).reshape(-1)[: self._size]

    def rest(self) -> np.ndarray:
        """Collective. Return the sum of all that was not sent, which is then sent."""
        total = self._unsent()
        self._comm.Allreduce(MPI.IN_PLACE, total, op=MPI.SUM)
        self._begin(self._comm)  # after it, as it may fail
        return total

    def _unsent(self) -> np.ndarray:
        left = self._left.copy()
        left[self._comm.rank] += self._left_of_sum[0]
        return left.reshape(-1)[: self._size]


class LargestSum:
    """Sums of the largest of `size` numbers of each rank.

    Attributes:
        density: the share of them that is sent.
    """

    def __init__(self, density: float, momentum: float, size: int, comm: MeteredComm):
        self.density = density
        self._momentum, self._size, self._comm = momentum, size, comm
        self._speed = np.zeros(size if momentum else 0, np.float32)
        self._left = np.zeros(size, np.float32)

    def move(self, comm: MeteredComm) -> None:
        """Go on with these ranks."""
        self._comm = comm

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Collective. Return the sum of what ranks send of their `values`, float32 (size,), this time."""
        if self._momentum:
            self._speed = self._momentum * self._speed + values
            values = self._speed
        self._left += values
        count = max(1, round(self.density * self._size))
        places = np.sort(np.argpartition(np.abs(self._left), -count)[-count:])
        sent = np.empty(count, [("place", np.int32), ("value", np.float32)])
        sent["place"], sent["value"] = places, self._left[places]
        self._left[places] = 0
        if self._momentum and count < self._size:  # where all is sent nothing is late, as a plain optimizer has it
            self._speed[places] = 0
        total = np.zeros(self._size, np.float32)
        every = allgather_rows(sent, self._comm)
        np.add.at(total, every["place"], every["value"])
        return total

    def rest(self) -> np.ndarray:
        """Collective. Return the sum of all that was not sent, which is then sent; momentum begins anew."""
        total = self._left.copy()
        self._comm.Allreduce(MPI.IN_PLACE, total, op=MPI.SUM)
        self._left[:] = 0
        self._speed[:] = 0
        return total


class WholeSum:
    """Sums of numbers as they are."""

    def __init__(self, comm: MeteredComm):
        self._comm = comm

    def move(self, comm: MeteredComm) -> None:
        """Go on with these ranks."""
        self._comm = comm

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Collective. Return the sum of all ranks' `values`."""
        total = values.copy()
        self._comm.Allreduce(MPI.IN_PLACE, total, op=MPI.SUM)
        return total

    def rest(self) -> None:
        """Do nothing: nothing is left."""


def summing(
    exchange: str, density: float, momentum: float, size: int, comm: MeteredComm
) -> WholeSum | RoundedSum | LargestSum:
    """Return what sums `size` numbers of all ranks as `exchange` says: float32, bfloat16, int8 or top_k."""
    if exchange == "top_k":
        return LargestSum(density, momentum, size, comm)
    if exchange == "float32":
        return WholeSum(comm)
    return RoundedSum(Bfloat16() if exchange == "bfloat16" else Int8(), size, comm)
