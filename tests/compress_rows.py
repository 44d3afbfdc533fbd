"""A program for parallel tests: prune a network, let its weights share values, and print both by rank.

All ranks but the root begin with other weights, and would choose otherwise: hosts of several kinds do so, if less.

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


class Watched(Retraining):
    """That tells whether the weights were the same on all ranks before they are made so at the end."""

    alike = True

    def _make_equal(self, model):
        mine = [np.asarray(weight).tobytes().hex() for weight in model.trainable_weights]
        self.alike = self.alike and all(one == mine for one in allgather_json(mine, self.comm))
        super()._make_equal(model)


def main():
    """Compress and print a JSON line from the root."""
    comm = MeteredComm(MPI.COMM_WORLD)
    training.configure(comm, 7)
    rows = Rows(2 * BATCH_ROWS, 50)
    model = CompressedModel(dense.build(rows.spec, hidden=[12], dropout=0.0, seed=3))
    if comm.rank:
        _differ(comm.rank, model.model)
    given = {"learning_rate": 0.01, "seed": 5, "memory_bytes": 10**8}
    data = Watched(rows, comm, batch_size=BATCH_ROWS // comm.size, **given)
    pruned = prune.compress(model, data, sparsity=0.5, epochs=3, rate=1.0)
    found = [_flat(pruned)]
    found.append(_flat(share_weights.compress(pruned, data, epochs=2, rate=1.0)))
    kept = [its.tobytes().hex() for its in pruned.kept.values()]
    alike = data.alike and all(one == [found, kept] for one in allgather_json([found, kept], comm))
    if comm.rank == 0:
        print(json.dumps({"pruned": found[0], "shared": found[1], "alike": alike}))


def _differ(rank, network):
    """Let a rank's weights, and what it would choose by them, be others."""
    for weight in network.trainable_weights:
        weight.assign_add(np.random.default_rng(rank).normal(0, 1e-3, weight.shape))
    largest, cluster = prune._largest, share_weights._cluster
    prune._largest = lambda *given: np.roll(largest(*given), 1)

    def clustered(*given):
        values, codes = cluster(*given)
        return values, np.roll(codes, 1)

    share_weights._cluster = clustered


def _flat(model):
    return np.concatenate([np.asarray(weight).ravel() for weight in model.model.trainable_weights]).tolist()


if __name__ == "__main__":
    main()
