"""Messages that go on their way while a rank computes.

MPI moves a large message only while someone is in a call of MPI. A thread looks in now and then, and sleeps in between:
one that waited in MPI would take a core of a weak node for itself.
"""

import contextlib
import threading
from collections.abc import Iterator

from mpi4py import MPI

SECONDS = 0.0005  # in which 100 Mbit/s move 6 kB: less than what systems hold ready to be sent


@contextlib.contextmanager
def progressing(comm: MPI.Intracomm) -> Iterator[None]:
    """Let what `Isend` and `Irecv` began go on during the body, whatever it does."""
    is_over = threading.Event()

    def look() -> None:
        with contextlib.suppress(MPI.Exception):  # ranks were lost: whoever waits for them is told as well
            while not is_over.wait(SECONDS):
                comm.Iprobe()

    thread = threading.Thread(target=look, daemon=True)
    if comm.size > 1:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        if comm.size > 1:
            thread.join()
