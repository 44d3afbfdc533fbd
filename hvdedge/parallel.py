"""The collectives that MPI lacks for us, and a communicator that counts what passes through it.

The rows of a table are dealt in blocks: rank r of n holds the r-th block, so the blocks in rank order are the whole
table, in the same order for any number of ranks. Numbers and text travel as buffers, never as pickles.
"""

import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from mpi4py import MPI

from hvdedge.errors import RankError, is_users, one_line
from hvdedge.meter import Traffic
from hvdedge.mixing import mix

REST_SECONDS = 0.02  # between two looks of a rank that rests


class MeteredComm(MPI.Intracomm):
    """A communicator that adds what its calls move and wait to `traffic`.

    Collectives are counted by the algorithm that we run them with: an all-reduce by its ring, 2 (n - 1) / n of the
    buffer each way, a reduce-scatter by half of it; gathers and exchanges by the blocks that leave and reach this rank;
    a broadcast as received once by each rank, and sent by the root. Communicators split off it count into the same
    `traffic`.
    """

    traffic: Traffic

    def __new__(cls, comm: MPI.Comm, traffic: Traffic | None = None) -> "MeteredComm":
        self = super().__new__(cls, comm)
        self.traffic = Traffic() if traffic is None else traffic
        return self

    def Split(self, color: int = 0, key: int = 0) -> "MeteredComm":
        return MeteredComm(super().Split(color, key), self.traffic)

    def Split_type(self, split_type: int, key: int = 0, info: MPI.Info = MPI.INFO_NULL) -> "MeteredComm":
        return MeteredComm(super().Split_type(split_type, key, info), self.traffic)

    def Shrink(self) -> "MeteredComm":
        return MeteredComm(super().Shrink(), self.traffic)

    def Barrier(self) -> None:
        with self._waiting():
            super().Barrier()

    def rest(self) -> None:
        """Wait for all ranks, as at a barrier, but for long: without polling, which would take a core of their host."""
        with self._waiting():
            request = super().Ibarrier()
            while not request.Test():
                time.sleep(REST_SECONDS)

    def Send(self, buf: Any, dest: int, tag: int = 0) -> None:
        self.traffic.bytes_sent += _size_bytes(buf)
        with self._waiting():
            super().Send(buf, dest, tag)

    def Recv(
        self, buf: Any, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG, status: MPI.Status | None = None
    ) -> None:
        status = MPI.Status() if status is None else status
        with self._waiting():
            super().Recv(buf, source, tag, status)
        self.traffic.bytes_received += status.Get_count(MPI.BYTE)

    def Isend(self, buf: Any, dest: int, tag: int = 0) -> MPI.Request:
        self.traffic.bytes_sent += _size_bytes(buf)
        return super().Isend(buf, dest, tag)

    def Irecv(self, buf: Any, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG) -> MPI.Request:
        self.traffic.bytes_received += _size_bytes(buf)  # those that are asked for, as none knows what comes
        return super().Irecv(buf, source, tag)

    def wait(self, requests: Sequence[MPI.Request]) -> None:
        """Wait for what `Isend` and `Irecv` began."""
        with self._waiting():
            MPI.Request.Waitall([*requests])

    def Sendrecv(
        self,
        sendbuf: Any,
        dest: int,
        sendtag: int = 0,
        recvbuf: Any = None,
        source: int = MPI.ANY_SOURCE,
        recvtag: int = MPI.ANY_TAG,
        status: MPI.Status | None = None,
    ) -> None:
        self.traffic.bytes_sent += _size_bytes(sendbuf)
        with self._waiting():
            super().Sendrecv(sendbuf, dest, sendtag, recvbuf, source, recvtag, status)
        self.traffic.bytes_received += _size_bytes(recvbuf)

    def Bcast(self, buf: Any, root: int = 0) -> None:
        self.count_bcast(_size_bytes(buf), root)
        with self._waiting():
            super().Bcast(buf, root)

    def count_bcast(self, size_bytes: int, root: int = 0) -> None:
        """Count a broadcast that another library made over this communicator."""
        if self.size > 1 and self.rank == root:
            self.traffic.bytes_sent += size_bytes
        elif self.size > 1:
            self.traffic.bytes_received += size_bytes

    def Allreduce(self, sendbuf: Any, recvbuf: Any, op: MPI.Op = MPI.SUM) -> None:
        self._count(ring_bytes(_size_bytes(recvbuf), self.size))
        with self._waiting():
            super().Allreduce(sendbuf, recvbuf, op)

    def Reduce_scatter(
        self, sendbuf: Any, recvbuf: Any, recvcounts: Sequence[int] | None = None, op: MPI.Op = MPI.SUM
    ) -> None:
        self._count(ring_bytes(_size_bytes(sendbuf), self.size) // 2)
        with self._waiting():
            super().Reduce_scatter(sendbuf, recvbuf, recvcounts, op)

    def Allgather(self, sendbuf: Any, recvbuf: Any) -> None:
        self._count(_size_bytes(recvbuf) * (self.size - 1) // self.size)
        with self._waiting():
            super().Allgather(sendbuf, recvbuf)

    def Allgatherv(self, sendbuf: Any, recvbuf: Any) -> None:
        own = _size_bytes(sendbuf)
        self.traffic.bytes_sent += own * (self.size - 1)
        self.traffic.bytes_received += _size_bytes(recvbuf) - own
        with self._waiting():
            super().Allgatherv(sendbuf, recvbuf)

    def Alltoall(self, sendbuf: Any, recvbuf: Any) -> None:
        self._count(_size_bytes(recvbuf) * (self.size - 1) // self.size)
        with self._waiting():
            super().Alltoall(sendbuf, recvbuf)

    def Alltoallv(self, sendbuf: Any, recvbuf: Any) -> None:
        for (buffer, counts), name in ((sendbuf, "bytes_sent"), (recvbuf, "bytes_received")):
            moved = (int(np.sum(counts)) - int(counts[self.rank])) * buffer.itemsize
            setattr(self.traffic, name, getattr(self.traffic, name) + moved)
        with self._waiting():
            super().Alltoallv(sendbuf, recvbuf)

    def _count(self, moved: int) -> None:
        self.traffic.bytes_sent += moved
        self.traffic.bytes_received += moved

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.traffic.idle_seconds += time.perf_counter() - start


def ring_bytes(size_bytes: int, size: int) -> int:
    """Return what each of `size` ranks sends, and receives, in a ring all-reduce of `size_bytes`.

    Source: Patarasuk and Yuan 2009, Bandwidth optimal all-reduce algorithms: 2 (n - 1) / n of the buffer.
    """
    return 2 * (size - 1) * size_bytes // size


def local_size(comm: MPI.Intracomm) -> int:
    """Collective. Return how many of the ranks are on this rank's host."""
    local = comm.Split_type(MPI.COMM_TYPE_SHARED)
    size = local.size
    local.Free()
    return size


def block(count: int, size: int, rank: int) -> slice:
    """Return the rows of `rank` when `count` rows are dealt to `size` ranks; sizes differ by at most one."""
    return slice(count * rank // size, count * (rank + 1) // size)


@contextmanager
def agree(comm: MPI.Intracomm) -> Iterator[None]:
    """Collective. Run a body that calls no collective; an error on one rank becomes everybody's.

    Raises:
        RankError: on every rank, the error of the lowest rank that failed, with its rank, host and cause.
    """
    error: Exception | None = None
    try:
        yield
    except Exception as caught:
        error = caught
    first = np.array(comm.size if error is None else comm.rank)
    comm.Allreduce(MPI.IN_PLACE, first, op=MPI.MIN)
    if first == comm.size:
        return
    found = None
    if comm.rank == first:
        assert error is not None
        found = {"host": socket.gethostname(), "cause": one_line(error), "is_input": is_users(error)}
    raise RankError(int(first), **bcast_json(found, comm, root=int(first))) from error


def bcast_json(value: Any, comm: MPI.Intracomm, root: int = 0) -> Any:
    """Collective. Return the root's value, which JSON can hold, on every rank."""
    text = np.frombuffer(json.dumps(value).encode(), np.uint8) if comm.rank == root else np.empty(0, np.uint8)
    length = np.array(text.size)
    comm.Bcast(length, root)
    if comm.rank != root:
        text = np.empty(length, np.uint8)
    comm.Bcast(text, root)
    return json.loads(text.tobytes())


def send_array(name: str, array: np.ndarray, comm: MPI.Intracomm, dest: int) -> None:
    """Send an array with a name, for `receive_array`."""
    head = json.dumps([name, str(array.dtype), array.shape]).encode()
    comm.Send(np.array(len(head)), dest)
    comm.Send(np.frombuffer(head, np.uint8), dest)
    comm.Send(np.array(array, order="C").reshape(-1).view(np.uint8), dest)


def receive_array(comm: MPI.Intracomm, source: int) -> tuple[str, np.ndarray]:
    """Return what `source` sends with `send_array`."""
    length = np.array(0)
    comm.Recv(length, source)
    head = np.empty(length, np.uint8)
    comm.Recv(head, source)
    name, dtype, shape = json.loads(head.tobytes())
    array = np.empty(shape, dtype)
    comm.Recv(array.reshape(-1).view(np.uint8), source)
    return name, array


def allgather_json(value: Any, comm: MPI.Intracomm) -> list:
    """Collective. Return every rank's value, in rank order, on every rank; for small things that JSON can hold."""
    return [json.loads(part) for part in allgather_bytes(json.dumps(value).encode(), comm)]


def largest(values: Sequence[float | None], comm: MPI.Intracomm) -> list[float | None]:
    """Collective. Return of each number the largest that a rank has; None where one of them has none."""
    told = np.array([[-np.inf if value is None else value, value is None] for value in values], np.float64)
    comm.Allreduce(MPI.IN_PLACE, told, op=MPI.MAX)  # not of NaN, which may or may not be the largest
    return [None if lacks else value for value, lacks in told.tolist()]


def allgather_bytes(part: bytes, comm: MPI.Intracomm) -> list[bytes]:
    """Collective. Return every rank's bytes, in rank order, on every rank."""
    sizes = counts(len(part), comm)
    everything = np.empty(sizes.sum(), np.uint8)
    comm.Allgatherv(np.frombuffer(part, np.uint8), [everything, sizes])
    return [piece.tobytes() for piece in np.split(everything, np.cumsum(sizes)[:-1])]


def counts(count: int | np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return every rank's `count`, or counts, in rank order: int64 (ranks, ...)."""
    mine = np.array(count, np.int64)
    everyone = np.empty((comm.size, *mine.shape), np.int64)
    comm.Allgather(mine, everyone)
    return everyone


def allgather_rows(rows: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return all rows, in rank order, on every rank; (rows here, ...), one dtype and width for all."""
    rows = np.ascontiguousarray(rows)
    width = rows.itemsize * int(np.prod(rows.shape[1:], dtype=np.int64))
    sizes = counts(len(rows), comm)
    everything = np.empty((sizes.sum(), *rows.shape[1:]), rows.dtype)
    comm.Allgatherv(rows.reshape(-1).view(np.uint8), [everything.reshape(-1).view(np.uint8), sizes * width])
    return everything


def exchange(parts: Sequence[bytes], comm: MPI.Intracomm) -> list[bytes]:
    """Collective. Send `parts[r]` to rank r; return what each rank sent here, in rank order."""
    sizes = np.array([len(part) for part in parts], np.int64)
    arrived, sizes = exchange_runs(np.frombuffer(b"".join(parts), np.uint8), sizes, comm)
    return [piece.tobytes() for piece in np.split(arrived, np.cumsum(sizes)[:-1])]


def exchange_runs(rows: np.ndarray, sizes: np.ndarray, comm: MPI.Intracomm) -> tuple[np.ndarray, np.ndarray]:
    """Collective. Send the first `sizes[0]` rows to rank 0, the next `sizes[1]` to rank 1, and so on.

    Args:
        rows: (rows here, ...), one dtype and width on all ranks; they are sent from where they are.
        sizes: how many each rank gets, (ranks,).
    Returns:
        The rows that each rank sent here, one rank's after the other's, and how many they are, int64 (ranks,).
    """
    sent, received = np.array(sizes, np.int64), np.empty(comm.size, np.int64)
    comm.Alltoall(sent, received)
    rows = np.ascontiguousarray(rows)
    width = rows.itemsize * int(np.prod(rows.shape[1:], dtype=np.int64))
    arrived = np.empty((received.sum(), *rows.shape[1:]), rows.dtype)
    out, into = (each.reshape(-1).view(np.uint8) for each in (rows, arrived))
    comm.Alltoallv([out, sent * width], [into, received * width])
    return arrived, received


def send_rows(rows: np.ndarray, to: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Send each row, (rows here, ...), to the rank `to`; return those that arrive here, by sender."""
    return exchange_runs(rows[np.argsort(to, kind="stable")], np.bincount(to, minlength=comm.size), comm)[0]


def fetch_rows(rows: np.ndarray, wanted: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return the rows with the global numbers `wanted`, wherever they are.

    Args:
        rows: this rank's rows, (rows here, ...), one dtype and width on all ranks; any number on each rank.
        wanted: global row numbers, int64, in any order, repeats allowed.
    Returns:
        An array of `rows.dtype`, (len(wanted), ...).
    """
    starts = np.concatenate([[0], np.cumsum(counts(len(rows), comm))])
    holder = np.searchsorted(starts, wanted, side="right") - 1
    order = np.argsort(holder, kind="stable")
    asked, sizes = exchange_runs(wanted[order].astype(np.int64), np.bincount(holder, minlength=comm.size), comm)
    found, _ = exchange_runs(rows[asked - starts[comm.rank]], sizes, comm)
    result = np.empty_like(found)
    result[order] = found
    return result


def frequencies(hashes: np.ndarray, comm: MPI.Intracomm) -> tuple[np.ndarray, int]:
    """Collective. Return how often each of this rank's `hashes`, uint64, is on all ranks, and how many differ.

    Each is counted by one rank, so no rank holds more than its share of the different ones.
    """
    kinds, which, held = np.unique(hashes, return_inverse=True, return_counts=True)
    owner = (mix(kinds) % np.uint64(comm.size)).astype(np.int64)  # they may be bits of numbers, alike at their end
    order = np.argsort(owner, kind="stable")
    told = np.stack([kinds, held.astype(np.uint64)], axis=1)[order]
    asked, sizes = exchange_runs(told, np.bincount(owner, minlength=comm.size), comm)
    owned, place = np.unique(asked[:, 0], return_inverse=True)
    sums = np.zeros(len(owned), np.int64)
    np.add.at(sums, place, asked[:, 1].astype(np.int64))
    result = np.empty(len(kinds), np.int64)
    result[order] = exchange_runs(sums[place], sizes, comm)[0]
    return result[which], int(counts(len(owned), comm).sum())


def _size_bytes(buffer: Any) -> int:
    """Return the bytes of a buffer given as mpi4py takes it: an array, or [array, counts...]."""
    if buffer is MPI.IN_PLACE or buffer is None:
        return 0
    if isinstance(buffer, (list, tuple)):
        return _size_bytes(buffer[0])
    return memoryview(buffer).nbytes
