"""A consistent subset: the nearest kept row of every training row has its class.

    S = the row of each class nearest to its mean
    until no row is wrong: for each s in S, add the nearest row that is wrong with s as its nearest row of S

What is added does not depend on the order of the rows (FCNN), and all ranks look at their rows at the same time.
Distances are exact; of equally near rows of S the first counts, of equally near wrong rows the first is added. Where
rows of two classes are equal only one is kept: nothing tells them apart.

The rows keep the weights that they have: the subset is for borders and no sample, and no weight makes it unbiased.

Source: Angiulli 2007, Fast nearest neighbor condensation for large data sets classification; Hart 1968, The condensed
nearest neighbor rule.
"""

import numpy as np
from mpi4py import MPI

from hvdedge.flat_rows import FlatRows, blocks, central_rows, flat_rows, squared_distances
from hvdedge.quotas import check_classes, kept
from hvdedge.tensors import Features

NONE = np.iinfo(np.int64).max
POINTS = 512  # rows of S that are looked at together


def select(features: Features, comm: MPI.Intracomm) -> Features:
    """Collective. Keep a few training rows that tell the class of all others by their nearest neighbour.

    The time grows as rows x kept rows x columns. Every rank holds the numbers of the kept rows.

    Raises:
        InputError: where x is no numbers, or there are not two classes.
    """
    rows = flat_rows(features, comm, "condensed_nearest_neighbours")
    check_classes(features, rows.labels, "condensed_nearest_neighbours")
    nearest, which = np.full(len(rows.order), np.inf), np.zeros(len(rows.order), np.int64)
    subset, classes = np.empty(0, np.int64), np.empty(0, np.int64)
    added, rounds = central_rows(rows, np.flatnonzero(rows.labels.sizes), comm), 0
    while len(added):
        _look(rows, added, len(subset), nearest, which, comm)
        subset, rounds = np.concatenate([subset, added]), rounds + 1
        classes = np.concatenate([classes, _classes_of(rows, added, comm)])
        wrong = np.flatnonzero((rows.classes != classes[which]) & (nearest > 0))
        added = _nearest_wrong(rows, wrong, nearest[wrong], which[wrong], len(subset), comm)
    _, mine = rows.held(subset)
    chosen = np.zeros(len(rows.order), bool)
    chosen[mine] = True
    return kept(features, rows.labels, rows.in_order(rows.weights * chosen), comm, rounds=rounds)


def _look(
    rows: FlatRows, added: np.ndarray, first: int, nearest: np.ndarray, which: np.ndarray, comm: MPI.Intracomm
) -> None:
    """Collective. Change for each row here which row of S is nearest, and how near, where it is one that was added."""
    for start in range(0, len(added), POINTS):
        points = rows.fetch(added[start : start + POINTS], comm)
        for block in blocks(slice(0, len(nearest)), points.shape[1] + POINTS):
            found = squared_distances(rows.steps[block], points)
            place = found.argmin(axis=1)
            found = found[np.arange(len(place)), place]
            nearer = found < nearest[block]
            nearest[block][nearer] = found[nearer]
            which[block][nearer] = first + start + place[nearer]


def _classes_of(rows: FlatRows, numbers: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return the classes of the rows with these numbers, wherever they are."""
    found = np.zeros(len(numbers), np.int64)
    at, mine = rows.held(numbers)
    found[at] = rows.classes[mine]
    comm.Allreduce(MPI.IN_PLACE, found, op=MPI.SUM)
    return found


def _nearest_wrong(
    rows: FlatRows, wrong: np.ndarray, distances: np.ndarray, which: np.ndarray, size: int, comm: MPI.Intracomm
) -> np.ndarray:
    """Collective. Return the number of the wrong row nearest to each row of S that has some."""
    best = np.full(size, np.inf)
    np.minimum.at(best, which, distances)
    comm.Allreduce(MPI.IN_PLACE, best, op=MPI.MIN)
    found = np.full(size, NONE)
    is_best = distances == best[which]
    np.minimum.at(found, which[is_best], rows.numbers[wrong[is_best]])
    comm.Allreduce(MPI.IN_PLACE, found, op=MPI.MIN)
    return found[found < NONE]
