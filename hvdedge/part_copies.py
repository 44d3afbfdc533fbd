"""Copies of the ranks' parts on each other's disks: each rank has its own and that of the rank before it on the ring.

So whatever one rank held is there when it is lost, and also what several held, of whom no two were beside each other.
"""

import itertools
import pathlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from hvdedge.checkpoints import Named, read_arrays, spread
from hvdedge.parallel import MeteredComm, allgather_json

KEPT = 2  # copies in a row, as ranks may be lost while one is made
TAG = 900  # other messages may be awaited from the same rank


@dataclass(frozen=True)
class Copy:
    """This rank's part and that of the rank before it after some epochs.

    Attributes:
        rank, size: of this rank when they were made.
        facts: how training stood, alike on every rank.
    """

    epoch: int
    rank: int
    size: int
    own: pathlib.Path
    before: pathlib.Path
    facts: dict[str, Any]

    def is_whole(self, comm: MeteredComm) -> bool:
        """Collective. Tell whether the ranks that are left have all parts."""
        left = allgather_json(self.rank, comm)
        return all({rank, (rank + 1) % self.size} & {*left} for rank in range(self.size))

    def arrays(self, comm: MeteredComm) -> Named:
        """Collective, also as it is passed through. Yield on every rank the arrays of all parts, one by one."""
        left = allgather_json(self.rank, comm)
        for root, rank in enumerate(left):
            yield from spread(read_arrays(self.own) if comm.rank == root else (), comm, root)
            if (rank - 1) % self.size not in left:
                yield from spread(read_arrays(self.before) if comm.rank == root else (), comm, root)


class PartCopies:
    """The newest copies, in a folder of this rank's."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._copies: list[Copy] = []

    def make(self, epoch: int, arrays: Callable[[], Named], facts: dict[str, Any], comm: MeteredComm) -> None:
        """Collective. Copy the parts as they stand after some epochs.

        Args:
            arrays: gives those of this rank's part, each time anew.
        """
        made = f"{epoch:05d}-{comm.size}"
        own, before = (self._folder / f"{name}-{made}.h5" for name in ("own-part", "part-before"))
        heads = allgather_json([[name, str(array.dtype), array.shape] for name, array in arrays()], comm)
        ahead, behind = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
        with h5py.File(own, "w") as kept, h5py.File(before, "w") as copied:  # not synced: of this process
            for sent, head in itertools.zip_longest(arrays(), heads[behind]):
                requests = []
                if sent:
                    kept[sent[0]] = sent[1]
                    buffer = np.array(sent[1], order="C").reshape(-1).view(np.uint8)
                    requests.append(comm.Isend(buffer, ahead, TAG))
                if head:
                    arrived = np.empty(head[2], head[1])
                    requests.append(comm.Irecv(arrived.reshape(-1).view(np.uint8), behind, TAG))
                comm.wait(requests)
                if head:
                    copied[head[0]] = arrived
        comm.Barrier()
        self._copies.append(Copy(epoch, comm.rank, comm.size, own, before, facts))
        for old in self._copies[:-KEPT]:
            old.own.unlink(missing_ok=True)
            old.before.unlink(missing_ok=True)
        self._copies = self._copies[-KEPT:]

    def newest(self, comm: MeteredComm) -> Copy | None:
        """Collective. Return the newest copy that all ranks have, if there is one."""
        here = {(copy.epoch, -copy.size): copy for copy in self._copies}
        everywhere = [{(epoch, size) for epoch, size in each} for each in allgather_json([*here], comm)]
        common = set.intersection(*everywhere)
        return here[max(common)] if common else None
