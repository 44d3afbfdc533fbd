"""A training of the classic CNN in which the last rank kills itself; the others write when they took the next step."""

import os
import pathlib
import signal
import sys
import time

import tasks
from images import BATCH_SIZE, CLASSES, images
from mpi4py import MPI

from hvdedge import training
from hvdedge.models import cnn
from hvdedge.parallel import MeteredComm
from hvdedge.strategies import ring_allreduce

STEP = 10  # at which it happens


class Watched(training.TrainingTask):
    """A task that notes the seconds of its steps."""

    def batches(self, epoch, times=1):
        """Yield batches; kill the last rank at one of them, and end all a few steps later."""
        for number, batch in enumerate(super().batches(epoch, times)):
            if number == STEP and MPI.COMM_WORLD.rank == MPI.COMM_WORLD.size - 1:
                (pathlib.Path(sys.argv[1]) / "killed").write_text(repr(time.time()))
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    def count(self, loss, score, steps=1):
        """Write when the first step after the loss is done, and leave."""
        super().count(loss, score, steps)
        if self.survivors is not None:
            now = time.time()
            if self.survivors.rank == 0:
                (pathlib.Path(sys.argv[1]) / "next").write_text(repr(now))
                (pathlib.Path(sys.argv[1]) / "took").write_text(repr(self.took))
            self.survivors.Barrier()
            os._exit(0)

    survivors: MeteredComm | None = None
    took = 0.0

    def take(self, comm, seconds):
        """Remember who is left."""
        self.survivors, self.took = comm, seconds


def main():
    """Train until a rank was lost."""
    comm = MeteredComm(MPI.COMM_WORLD)
    training.configure(comm, 7)
    reader = tasks.Noise(*images(comm.size), CLASSES)
    task = tasks.make(
        cnn.build(reader.spec, seed=7),
        reader,
        comm,
        sys.argv[1],
        kind=Watched,
        lost=lambda left, seconds: task.take(left, seconds),
        epochs=1,
        batch_size=BATCH_SIZE,
    )
    ring_allreduce.train(task, comm)


if __name__ == "__main__":
    main()
