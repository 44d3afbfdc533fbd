"""A uniform sample of a fixed number of rows, in one pass over the labels.

Every row has a random priority, a hash of the seed and of its number, and those with the smallest are the sample. As
priorities need no memory of other rows, the samples of all ranks merge into the sample of all rows.

    weight = all rows / rows kept

Source: Vitter 1985, Random sampling with a reservoir; Cohen and Kaplan 2007, Summarizing data using bottom-k sketches;
Horvitz and Thompson 1952, A generalization of sampling without replacement from a finite universe.
"""

import numpy as np
from mpi4py import MPI

from hvdedge.errors import InputError
from hvdedge.options import Count
from hvdedge.quotas import kept, labelled, smallest
from hvdedge.splits import splitmix64
from hvdedge.tensors import Features


def select(features: Features, comm: MPI.Intracomm, *, rows: Count = 10_000, seed: int = 0) -> Features:
    """Collective. Keep a fixed number of training rows, drawn from all.

    Args:
        rows: how many.
        seed: of the choice; that of the pipeline by default.
    Raises:
        InputError: where there are fewer rows, or a class is left without any.
    """
    every = labelled(features, comm)
    total = int(every.sizes.sum())
    if rows > total:
        raise InputError(f"extract.reservoir.rows: received {rows}, allowed: up to the {total} training rows; lower it")
    alike = np.zeros_like(every.classes)
    chosen = smallest(splitmix64(every.numbers, seed), alike, np.array([rows]), comm)
    return kept(features, every, every.weights * (total / rows) * chosen, comm)
