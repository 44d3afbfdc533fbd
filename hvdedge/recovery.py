"""Going on without ranks that were lost: those that are left notice it, meet, and work on as a smaller communicator.

    rank 0   step 8   step 9 fails .. revoke .. agree .. shrink: rank 0 of 2 .. recover .. step 9
    rank 1   step 8   is killed
    rank 2   step 8   step 9 fails ............ agree .. shrink: rank 1 of 2 .. recover .. step 9

MPI tells of a loss only those that wait for the lost rank. Whoever is told revokes the communicator in which it was
told, also one that a library made of ours, so that calls of the others fail as well and no rank waits for one that has
gone to recover. At the end of the work all agree that it is done: none leaves while another still needs it. Where the
ranks that are left do not meet within LIMIT_SECONDS, as libraries under them may wait for what does not come, all are
ended, and the run goes on from its checkpoint when it is started again.

Needs `mpirun --with-ft ulfm`; without it mpirun ends all ranks when one is lost.

Source: Bland, Bouteiller, Herault, Bosilca and Dongarra 2013, Post-failure recovery of MPI communication capability.
"""

import contextlib
import functools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Self

import numpy as np
from mpi4py import MPI

from hvdedge.parallel import MeteredComm

LOST = {MPI.ERR_PROC_FAILED, MPI.ERR_PROC_FAILED_PENDING, MPI.ERR_REVOKED}
LIMIT_SECONDS = 120.0
WORD_SECONDS = 1.0  # in which a rank that failed for a loss elsewhere is told of it
_broken: list[MPI.Request] = []  # hold the numbers of lost communicators, where late messages may still arrive
_watching: "list[Survivors]" = []  # those of this process: MPI calls one function for all of them


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

    def __enter__(self) -> Self:
        _watching.append(self)
        self.comm.Set_errhandler(_handler())
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        if kind is None:  # else all end, while a library's thread may still fail and be told so
            self.comm.Set_errhandler(MPI.ERRORS_RETURN)
            _watching.remove(self)

    def work(self, work: Callable[[], None], let_go: Callable[[], None]) -> None:
        """Collective. Call `work`, and again with the ranks that are left where some were lost meanwhile.

        Args:
            work: finds the ranks in `comm`, and in `noticed` whether it has to recover first; ends on all or on none,
                with nothing of libraries left that is in MPI.
            let_go: ends what libraries do in communicators made of `comm`, before the ranks that are left agree: with
                a thread of theirs in MPI an agreement was seen to wait for ever.
        """
        while True:
            try:
                work()
                is_done = True
            except Exception:  # each library has errors of its own for what it was told
                if not self._is_told():
                    raise
                is_done = False
            noticed = time.perf_counter()
            if not is_done:
                with limited("end what was under way when others were lost", self.comm):
                    let_go()
            if self._agree(is_done):  # when all have come, however long a step of theirs takes
                return
            with limited("meet after the loss of others", self.comm):
                self.comm = self.comm.Shrink()
            self.noticed = noticed
            self.comm.Set_errhandler(_handler())
            self._is_broken = False

    def _agree(self, is_done: bool) -> bool:
        """Collective. Tell, alike on all ranks that are left, whether the work is done on all and none was lost."""
        try:
            return bool(self.comm.Agree(int(is_done)))
        except MPI.Exception:
            return False

    def take_in(self) -> None:
        """Take in that others were lost, and let all that are left know."""
        if not self._is_broken:
            self._is_broken = True
            self.comm.Revoke()

    def _is_told(self) -> bool:
        """Tell whether others were lost; who ends work because of it may be faster than the word of it."""
        until = time.monotonic() + WORD_SECONDS
        while not self._is_broken and time.monotonic() < until:
            with contextlib.suppress(MPI.Exception):
                self.comm.Iprobe()
            time.sleep(WORD_SECONDS / 100)
        return self._is_broken


def abandon() -> None:
    """Watch no communicator any more, where work in one ended by an error and other work goes on in this process."""
    _watching.clear()


@contextlib.contextmanager
def limited(what: str, comm: MPI.Comm) -> Iterator[None]:
    """End all ranks where the body, which does `what`, does not end within LIMIT_SECONDS."""

    def give_up() -> None:
        print(f"rank {comm.rank} could not {what} within {LIMIT_SECONDS:.0f} seconds", file=sys.stderr, flush=True)
        comm.Abort(1)

    timer = threading.Timer(LIMIT_SECONDS, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@functools.cache
def _handler() -> MPI.Errhandler:
    """Return the handler of errors, the one of this process: mpi4py makes 32 at most, and takes none back."""
    return MPI.Comm.Create_errhandler(_revoke)


def _revoke(comm: MPI.Comm, code: int) -> None:
    """Take in that a call in `comm`, from whichever thread, failed."""
    kind = MPI.Get_error_class(code)
    if kind in LOST or comm.Get_failed().size:  # collectives were seen to call it an unknown error
        for survivors in _watching:
            survivors.take_in()
        _broken.append(comm.Recv_init(np.empty(0), 0))
        if kind != MPI.ERR_REVOKED:
            comm.Revoke()
