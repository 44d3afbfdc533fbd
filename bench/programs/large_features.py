"""Make features of some size, or train on them for an epoch; each rank may go into a control group first.

python large_features.py make FOLDER ROWS
mpirun -np N python -m mpi4py large_features.py train FOLDER --rows shared --memory 256 [--groups FILE...]
"""

import argparse
import json
import os
import pathlib
import time

import numpy as np

SHAPE, CLASSES, BLOCK = (28, 28, 1), 10, 8192


def main():
    """Do as the first argument says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["make", "train"])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("count", type=int, nargs="?")
    parser.add_argument("--rows", default="shared")
    parser.add_argument("--memory", type=int)
    parser.add_argument("--groups", nargs="*", default=())
    arguments = parser.parse_args()
    if arguments.what == "make":
        _make(arguments.folder, arguments.count)
    else:
        _train(arguments)


def _make(folder, count):
    """Write features.h5 of random images whose class shows in their first pixels."""
    from hvdedge import tensors

    spec = {"task": "classification", "input_shape": SHAPE, "classes": list(range(CLASSES))}

    def batches():
        rng = np.random.default_rng(7)
        for start in range(0, count + 10, BLOCK):
            rows = min(BLOCK, count + 10 - start)
            x, y = rng.random((rows, *SHAPE), np.float32), rng.integers(0, CLASSES, rows)
            x.reshape(rows, -1)[np.arange(rows), y] += 2
            codes = np.zeros(rows, np.uint8)
            if start == 0:
                codes[:10] = 2
            yield codes, x, y

    (folder / "features").mkdir(parents=True)
    tensors.write_part(tensors.Features(spec, batches), folder / "features" / "part-00000.h5")
    tensors.join(folder, ["features/part-00000.h5"], folder / "features.h5")
    (folder / "features.json").write_text(json.dumps(spec))


def _train(arguments):
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    if arguments.groups:
        pathlib.Path(arguments.groups[comm.rank]).write_text(str(os.getpid()))
    import keras
    import tasks

    from hvdedge import training
    from hvdedge.meter import peak_rss_bytes
    from hvdedge.parallel import MeteredComm, allgather_json
    from hvdedge.strategies import ring_allreduce
    from hvdedge.tensors import open_features

    comm = MeteredComm(comm)
    training.configure(comm, 7)
    reader = open_features(arguments.folder / "features.h5")
    own = arguments.folder / f"{arguments.rows}-{comm.rank}"
    own.mkdir(exist_ok=True)
    layers = [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(32, "relu"), keras.layers.Dense(CLASSES)]
    task = tasks.make(
        keras.Sequential(layers),
        reader,
        comm,
        own,
        memory_bytes=arguments.memory * 10**6,
        epochs=1,
        batch_size=512,
        optimizer="sgd",
        rows=arguments.rows,
    )
    before, began = peak_rss_bytes(), time.perf_counter()
    history = ring_allreduce.train(task, comm, balance="never")
    told = {
        "seconds": time.perf_counter() - began,
        "accuracy": history.curves["accuracy"][-1],
        "mb_before": before / 1e6,
        "mb": peak_rss_bytes() / 1e6,
    }
    everyone = allgather_json(told, comm)
    if comm.rank == 0:
        print(json.dumps(everyone), flush=True)


if __name__ == "__main__":
    main()
