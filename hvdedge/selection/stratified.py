"""A random sample with the share of every class kept.

    weight = rows of the class / rows of it that are kept

So the mean of any sum over the rows is that over all of them: the sample is unbiased, class by class. Which rows are
kept is decided by a hash of the seed and of the row's number, whatever the number of ranks.

Source: Neyman 1934, On the two different aspects of the representative method; Horvitz and Thompson 1952, A
generalization of sampling without replacement from a finite universe.
"""

import numpy as np
from mpi4py import MPI

from hvdedge.options import Portion
from hvdedge.quotas import kept, labelled, quotas, smallest
from hvdedge.splits import splitmix64
from hvdedge.tensors import Features


def select(features: Features, comm: MPI.Intracomm, *, share: Portion = 0.3, seed: int = 0) -> Features:
    """Collective. Keep a random share of the training rows of each class.

    Args:
        share: of the rows, to the nearest whole row in each class (largest remainder), but one of each at least.
        seed: of the choice; that of the pipeline by default.
    """
    rows = labelled(features, comm)
    wanted, told = quotas(rows, share)
    chosen = smallest(splitmix64(rows.numbers, seed), rows.classes, wanted, comm)
    factors = rows.sizes / np.maximum(wanted, 1)
    return kept(features, rows, rows.weights * factors[rows.classes] * chosen, comm, **told)
