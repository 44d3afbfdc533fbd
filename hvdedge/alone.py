"""The part of mpi4py that our code uses, for one rank, so that a host without MPI reads rows by the code of the stages.

`hvdedge predict` puts it in the place of mpi4py, and nothing else does. With one rank every collective is a copy,
whatever its operation, and nobody is there to send to.
"""

import sys
import types
from collections.abc import Sequence
from typing import Any

import numpy as np


class InPlace(int):
    """What MPI.IN_PLACE is: a buffer that stands for the other one."""


class Comm:
    """A communicator of this process alone, with the calls of mpi4py's that need no second rank."""

    rank = 0
    size = 1

    def Get_rank(self) -> int:
        return 0

    def Get_size(self) -> int:
        return 1

    def Barrier(self) -> None:
        pass

    def Bcast(self, buf: Any, root: int = 0) -> None:
        pass

    def Allreduce(self, sendbuf: Any, recvbuf: Any, op: Any = None) -> None:
        _copy(sendbuf, recvbuf)

    def Reduce_scatter(
        self, sendbuf: Any, recvbuf: Any, recvcounts: Sequence[int] | None = None, op: Any = None
    ) -> None:
        _copy(sendbuf, recvbuf)

    def Allgather(self, sendbuf: Any, recvbuf: Any) -> None:
        _copy(sendbuf, recvbuf)

    def Allgatherv(self, sendbuf: Any, recvbuf: Any) -> None:
        _copy(sendbuf, recvbuf)

    def Alltoall(self, sendbuf: Any, recvbuf: Any) -> None:
        _copy(sendbuf, recvbuf)

    def Alltoallv(self, sendbuf: Any, recvbuf: Any) -> None:
        _copy(sendbuf, recvbuf)

    def Split(self, color: int = 0, key: int = 0) -> "Comm":
        return type(self)()

    def Split_type(self, split_type: int, key: int = 0, info: Any = None) -> "Comm":
        return type(self)()

    def Free(self) -> None:
        pass


class Intracomm(Comm):
    """The communicator that methods are annotated with."""


class Nothing:
    """What stands for a class of mpi4py that is named in annotations alone."""


def comm() -> Any:
    """Return the communicator of this process alone."""
    return Intracomm()


def install() -> None:
    """Take mpi4py's place in what is imported from now on, unless it is loaded already."""
    if "mpi4py" in sys.modules:
        return
    package, module = types.ModuleType("mpi4py", __doc__), types.ModuleType("mpi4py.MPI", __doc__)
    vars(module).update(
        {
            **dict.fromkeys(("Request", "Status", "Op", "Info", "Group", "Errhandler"), Nothing),
            **dict.fromkeys(("SUM", "MIN", "MAX", "LOR", "BAND", "INFO_NULL", "BYTE"), Nothing()),
            **{"Comm": Comm, "Intracomm": Intracomm, "Exception": RuntimeError, "COMM_SELF": comm()},
            **{"IN_PLACE": InPlace(-1), "ANY_SOURCE": -1, "ANY_TAG": -1, "COMM_TYPE_SHARED": 1},
        }
    )
    vars(package)["MPI"] = module
    sys.modules |= {"mpi4py": package, "mpi4py.MPI": module}


def _copy(sendbuf: Any, recvbuf: Any) -> None:
    """Copy a buffer, given as mpi4py takes it: an array, [array, counts], or IN_PLACE, its own or mpi4py's."""
    if isinstance(sendbuf, int):
        return
    sent, received = (_bytes(buffer) for buffer in (sendbuf, recvbuf))
    received[: len(sent)] = sent


def _bytes(buffer: Any) -> np.ndarray:
    """Return the bytes of a contiguous buffer, as many as it has or its counts say, not copied."""
    if not isinstance(buffer, (list, tuple)):
        return np.asarray(buffer).reshape(-1).view(np.uint8)
    array, counts = buffer
    return _bytes(array)[: int(np.sum(counts)) * array.itemsize]
