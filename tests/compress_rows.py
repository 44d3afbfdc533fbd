"""A program for parallel tests: prune a network, let its weights share values, and print both by rank.

mpirun -np N python -m mpi4py tests/compress_rows.py
"""

import json

import numpy as np
from mpi4py import MPI
from train_rows import Rows

from hvdedge import training
from hvdedge.compressed import CompressedModel
from hvdedge.compression import prune, share_weights
from hvdedge.models import dense
from hvdedge.parallel import MeteredComm, allgather_json
from hvdedge.retraining import Retraining

BATCH_ROWS = 204  # of all ranks, any number from 1 to 4 of which share them evenly


def main():
    """Compress and print a JSON line from the root."""
    comm = MeteredComm(MPI.COMM_WORLD)
    training.configure(comm, 7)
    rows = Rows(2 * BATCH_ROWS, 50)
    model = CompressedModel(dense.build(rows.spec, hidden=[12], dropout=0.0, seed=3))
    given = {"learning_rate": 0.01, "seed": 5, "memory_bytes": 10**8}
    data = Retraining(rows, comm, batch_size=BATCH_ROWS // comm.size, **given)
    pruned = prune.compress(model, data, sparsity=0.5, epochs=3, rate=1.0)
    found = [_flat(pruned)]
    found.append(_flat(share_weights.compress(pruned, data, epochs=2, rate=1.0)))
    alike = allgather_json(found, comm)
    if comm.rank == 0:
        print(json.dumps({"pruned": found[0], "shared": found[1], "alike": all(one == found for one in alike)}))


def _flat(model):
    return np.concatenate([np.asarray(weight).ravel() for weight in model.model.trainable_weights]).tolist()


if __name__ == "__main__":
    main()
