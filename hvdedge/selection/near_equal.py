"""Rows that are nearly equal are kept once, with the weight of all of them.

    bucket(x) = floor((x R + shift) / (8 distance)) of 6 random projections, R of -1 and 1, and the class

Rows in a bucket are compared exactly, in their order: one that is nearer than `distance` to an earlier one that is kept
gives it its weight and is left out. The projections are drawn anew in each of `tables` rounds, as near rows may lie on
both sides of an edge: a pair at the full distance is in no common bucket of 8 with a chance of about 2 in 1,000, a
nearer one with less. A bucket of over 2,048 rows is cut along a projection; so each rank's work is bounded.

A row that stands for others may give all their weight to another one in a later round: a row may be somewhat farther
than `distance` from the one that stands for it, and what is kept is not nearer to each other than that.

Source: Datar et al. 2004, Locality-sensitive hashing scheme based on p-stable distributions; Achlioptas 2003,
Database-friendly random projections (-1 and 1 instead of normal numbers).
"""

import numpy as np
from mpi4py import MPI

from hvdedge.flat_rows import FlatRows, blocks, flat_rows, squared_distances
from hvdedge.mixing import GOLDEN, mix
from hvdedge.options import Count, Positive
from hvdedge.parallel import counts, exchange_runs
from hvdedge.quotas import check_classes, kept
from hvdedge.row_groups import reweighted
from hvdedge.tensors import Features

PROJECTIONS = 6
WIDTH = 8  # of a bucket, in distances
MOST_ROWS = 2048  # in a bucket


def select(
    features: Features, comm: MPI.Intracomm, *, distance: Positive = 0.1, tables: Count = 8, seed: int = 0
) -> Features:
    """Collective. Keep one of the training rows of a class that are nearer to each other than a distance.

    Args:
        distance: Euclidean, in the unit of the features.
        tables: how many rounds there are.
        seed: of the projections; that of the pipeline by default.
    Raises:
        InputError: where x is no numbers, or there are not two classes: what one row stands for must have its label.
    """
    rows = flat_rows(features, comm, "near_equal")
    check_classes(features, rows.labels, "near_equal")
    weights, nearest = rows.weights, (distance / rows.step) ** 2
    for table in range(tables):
        draw = np.random.default_rng([seed, table])
        groups, sizes = _buckets(rows, weights > 0, distance / rows.step, draw, comm)
        weights = reweighted(rows, weights, groups, sizes, lambda _, steps, its: _merged(steps, its, nearest), comm)
    return kept(features, rows.labels, rows.in_order(weights), comm)


def _buckets(
    rows: FlatRows, chosen: np.ndarray, distance: float, draw: np.random.Generator, comm: MPI.Intracomm
) -> tuple[np.ndarray, np.ndarray]:
    """Collective. Return the bucket of each row here, -1 for one that is alone, and how many rows each bucket has."""
    width = rows.steps.shape[1]
    signs = draw.choice([-1.0, 1.0], (width, PROJECTIONS))
    shifts = draw.random(PROJECTIONS)
    keys, along = mix(rows.classes.astype(np.uint64)), np.empty(len(chosen))
    for block in blocks(slice(0, len(chosen)), width):
        places = rows.steps[block].astype(np.float64) @ signs  # whole numbers
        along[block] = places[:, 0]
        for place in np.floor(places / (WIDTH * distance) + shifts).T:
            keys[block] = mix(keys[block] + place.astype(np.int64).view(np.uint64) * GOLDEN)
    mine = np.flatnonzero(chosen)
    owner = (keys[mine] % np.uint64(comm.size)).astype(np.int64)
    mine = mine[np.argsort(owner, kind="stable")]
    told = np.stack([keys[mine].view(np.int64), along[mine].astype(np.int64), rows.numbers[mine]], axis=1)
    told, arrived = exchange_runs(told, np.bincount(owner, minlength=comm.size), comm)
    order = np.lexsort(told.T[::-1])
    place = np.arange(len(told))
    starts = np.flatnonzero(np.diff(told[order, 0], prepend=told[order[:1], 0] + 1))
    within = place - np.repeat(starts, np.diff(starts, append=len(told)))
    piece = np.cumsum(within % MOST_ROWS == 0) - 1
    sizes = np.bincount(piece)
    names = np.where(sizes > 1, np.cumsum(sizes > 1) - 1, -1)
    every = counts(int((sizes > 1).sum()), comm)
    names[names >= 0] += every[: comm.rank].sum()
    answers = np.empty(len(told), np.int64)
    answers[order] = names[piece]
    groups = np.full(len(chosen), -1)
    groups[mine], _ = exchange_runs(answers, arrived, comm)
    found = np.bincount(groups[groups >= 0], minlength=int(every.sum()))
    comm.Allreduce(MPI.IN_PLACE, found, op=MPI.SUM)
    return groups, found


def _merged(steps: np.ndarray, weights: np.ndarray, nearest: float) -> np.ndarray:
    """Return the weights of the rows of a bucket, those that are near an earlier one given to it."""
    close = squared_distances(steps, steps) < nearest
    found = weights.copy()
    for row in np.flatnonzero(close.sum(axis=1) > 1).tolist():
        if found[row]:
            near = row + 1 + np.flatnonzero(close[row, row + 1 :])
            found[row] += found[near].sum()
            found[near] = 0
    return found
