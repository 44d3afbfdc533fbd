"""Ours: TrainingTask under strategies/ring_allreduce.py; with --no-exchange the same step without its all-reduce.

--groups FILE... lets each rank go into a control group before it starts; --warm counts no more than the epochs after.
"""

import argparse
import os
import pathlib
import tempfile

import tasks
from images import BATCH_SIZE, CLASSES, EPOCHS, images
from mpi4py import MPI

from hvdedge import training
from hvdedge.models import cnn
from hvdedge.parallel import MeteredComm
from hvdedge.strategies import ring_allreduce


def main():
    """Train, and print the examples a second of all ranks, evaluation and checkpoints left out as in the peers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--no-exchange", action="store_true")
    parser.add_argument("--balance", default="never")
    parser.add_argument("--exchange", default="float32")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--warm", type=int, default=1)
    parser.add_argument("--groups", nargs="*", default=())
    arguments = parser.parse_args()
    comm = MeteredComm(MPI.COMM_WORLD)
    if arguments.groups:
        pathlib.Path(arguments.groups[comm.rank]).write_text(str(os.getpid()))
    training.configure(comm, 7)
    reader = tasks.Noise(*images(comm.size), CLASSES)
    speeds = []
    if arguments.no_exchange:
        ring_allreduce.hvd.grouped_allreduce = lambda grads, op: grads
    with tempfile.TemporaryDirectory() as folder:
        task = tasks.make(
            cnn.build(reader.spec, seed=7),
            reader,
            comm,
            folder,
            epochs=arguments.epochs,
            batch_size=BATCH_SIZE,
            tell=lambda **told: speeds.append(told["examples_per_second"]),
        )
        ring_allreduce.train(task, comm, balance=arguments.balance, exchange=arguments.exchange, slow_share=1.0)
        comm.Barrier()
    if comm.rank == 0:
        print("examples_per_second", sum(speeds[arguments.warm :]) / len(speeds[arguments.warm :]), flush=True)


if __name__ == "__main__":
    main()
