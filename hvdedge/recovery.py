"""Going on without ranks that were lost: those that are left notice it, meet, and work on as a smaller communicator.

    rank 0   step 8   step 9 fails .. revoke .. agree .. shrink: rank 0 of 2 .. recover .. step 9
    rank 1   step 8   is killed
    rank 2   step 8   step 9 fails ............ agree .. shrink: rank 1 of 2 .. recover .. step 9

MPI tells of a loss only those that wait for the lost rank. Whoever is told revokes the communicator in which it was
told, also one that a library made of ours, so that calls of the others fail as well and no rank waits for one that has
gone to recover. At the end of the work all agree that it is done: none leaves while another still needs it.

Needs `mpirun --with-ft ulfm`; without it mpirun ends all ranks when one is lost.

Source: Bland, Bouteiller, Herault, Bosilca and Dongarra 2013, Post-failure recovery of MPI communication capability.
"""

import time
from collections.abc import Callable
from typing import Self

from mpi4py import MPI

from hvdedge.parallel import MeteredComm

LOST = {MPI.ERR_PROC_FAILED, MPI.ERR_PROC_FAILED_PENDING, MPI.ERR_REVOKED}


class Survivors:
    """The ranks that are left; a context in which communicators made of `comm` are watched for the loss of others.

    Attributes:
        comm: the ranks that are left.
        noticed: when this rank noticed the last loss, as `time.perf_counter` gives it; None while there was none.
    """

    def __init__(self, comm: MeteredComm):
        self.comm = comm
        self.noticed: float | None = None
        self._is_broken = False
        self._handler = MPI.Comm.Create_errhandler(self._revoke)

    def __enter__(self) -> Self:
        self.comm.Set_errhandler(self._handler)
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        if kind is None:  # else all end, while a library's thread may still fail and be told so
            self.comm.Set_errhandler(MPI.ERRORS_RETURN)
            self._handler.Free()

    def work(self, work: Callable[[], None], let_go: Callable[[], None]) -> None:
        """Collective. Call `work`, and again with the ranks that are left where some were lost meanwhile.

        Args:
            work: finds the ranks in `comm`, and in `noticed` whether it has to recover first; ends on all or on none.
            let_go: ends what libraries do in communicators made of `comm`, before the ranks that are left meet.
        """
        while True:
            try:
                work()
                is_done = True
            except Exception:  # each library has errors of its own for what it was told
                if not self._is_broken:
                    raise
                is_done = False
            noticed = time.perf_counter()
            if self._agree(is_done):
                return
            self.noticed = noticed
            let_go()
            self.comm = self.comm.Shrink()
            self.comm.Set_errhandler(self._handler)
            self._is_broken = False

    def _agree(self, is_done: bool) -> bool:
        """Collective. Tell, alike on all ranks that are left, whether the work is done on all and none was lost."""
        try:
            return bool(self.comm.Agree(int(is_done)))
        except MPI.Exception:
            return False

    def _revoke(self, comm: MPI.Comm, code: int) -> None:
        """Take in that a call in `comm`, from whichever thread, failed."""
        kind = MPI.Get_error_class(code)
        if kind in LOST or comm.Get_failed().size:  # collectives were seen to call it an unknown error
            self._is_broken = True
            if kind != MPI.ERR_REVOKED:
                comm.Revoke()
