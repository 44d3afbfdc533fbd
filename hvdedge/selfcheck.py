"""Show that MPI and Horovod work together: two real all-reduces over one communicator must give the right sums.

mpirun -np 2 python -m mpi4py -m hvdedge.selfcheck
"""

import os
import sys

import numpy as np
from mpi4py import MPI

from hvdedge.errors import InputError, RankError, one_line
from hvdedge.parallel import agree

ROWS = 100_000  # 400 kB, more than a message carries in one piece


def main() -> None:
    """Collective. Exit with 1, and one line on standard error, where a sum is wrong on any rank."""
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0")  # else TensorFlow tells of the processor
    comm = MPI.COMM_WORLD
    try:
        check(comm)
    except RankError as error:
        if comm.rank == 0:
            print(f"selfcheck: rank {error.rank} on {error.host}: {error.cause}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        print(f"selfcheck: rank {comm.rank}: {one_line(error)}", file=sys.stderr)
        sys.exit(1)
    if comm.rank == 0:
        print(f"selfcheck: mpi4py and Horovod give the right sums on {comm.size} ranks")


def check(comm: MPI.Intracomm) -> None:
    """Collective. Add the same rows up with mpi4py and with Horovod.

    Raises:
        RankError: on every rank, where a library cannot be loaded or a sum is wrong on one.
    """
    with agree(comm):
        if comm.size == 1:  # also what each rank sees where mpirun is another MPI's
            raise InputError("received 1 rank, allowed 2 or more: start it with '.venv/bin/mpirun -np 2'")
        import horovod.tensorflow as hvd
        import tensorflow as tf

    rows = np.arange(ROWS, dtype=np.float32) % 100  # with these, float32 sums are exact
    mine, total = rows * (comm.rank + 1), rows * (comm.size * (comm.size + 1) // 2)

    received = np.empty_like(mine)
    comm.Allreduce(mine, received)
    with agree(comm):
        _compare("mpi4py", received, total)

    hvd.init(comm)
    received = hvd.allreduce(tf.constant(mine), op=hvd.Sum).numpy()
    hvd.shutdown()
    with agree(comm):
        _compare("Horovod", received, total)


def _compare(library: str, received: np.ndarray, total: np.ndarray) -> None:
    wrong = np.flatnonzero(received != total)
    if wrong.size:
        row = wrong[0]
        raise InputError(
            f"the sum by {library}: received {received[row]:g} in row {row} ({wrong.size} rows are wrong), "
            f"allowed {total[row]:g}; type 'make clean setup' to build it anew"
        )


if __name__ == "__main__":
    main()
