"""A core-set that represents: the rows of a class are as near as can be, in sum, to those that are kept.

    F(S) = sum over the rows x of (D - min over s in S of |x - s|),   D the largest distance of two rows

F is monotone and submodular, so the greedy choice reaches 1 - 1/e of the best F. A gain only falls as S grows, so it
is computed again only where the last known one is the largest (lazy greedy).

The rows of each class are parted at random into groups of about `group_rows`; each is worked on by one rank as if it
were all, with its share of the rows kept. So time and memory are bounded, and the same rows are kept on any number of
ranks. Rows count with the weights that they have.

    weight = rows of the group that are nearer to this one than to the others that are kept

Source: Mirzasoleiman, Bilmes and Leskovec 2020, Coresets for data-efficient training of machine learning models
(CRAIG); Nemhauser, Wolsey and Fisher 1978, An analysis of approximations for maximizing submodular set functions;
Minoux 1978, Accelerated greedy algorithms for maximizing submodular set functions.
"""

import heapq
from fractions import Fraction

import numpy as np
from mpi4py import MPI

from hvdedge.flat_rows import flat_rows, squared_distances
from hvdedge.options import Count, Portion
from hvdedge.quotas import kept, quotas
from hvdedge.row_groups import reweighted
from hvdedge.splits import largest_remainder, splitmix64
from hvdedge.tensors import Features


def select(
    features: Features, comm: MPI.Intracomm, *, share: Portion = 0.3, group_rows: Count = 2048, seed: int = 0
) -> Features:
    """Collective. Keep the rows of each class that best represent it.

    The time grows as rows x group_rows x (columns + rows kept of a group). A rank holds 12 bytes for each pair of rows
    of a group.

    Args:
        share: of the rows of each class, largest remainder, but one of each group at least.
        group_rows: how many rows are looked at together.
        seed: of the groups; that of the pipeline by default.
    Raises:
        InputError: where x is no numbers.
    """
    rows = flat_rows(features, comm, "facility_location")
    wanted, told = quotas(rows.labels, share)
    parts = -(-rows.labels.sizes // group_rows)
    starts = np.cumsum(parts) - parts
    hashes = splitmix64(rows.numbers, seed)
    groups = starts[rows.classes] + (hashes % parts[rows.classes].astype(np.uint64)).astype(np.int64)
    sizes = np.bincount(groups, minlength=int(parts.sum()))
    comm.Allreduce(MPI.IN_PLACE, sizes, op=MPI.SUM)
    many: list[int] = []
    for most, start, count in zip(wanted.tolist(), starts.tolist(), parts.tolist(), strict=True):
        its = sizes[start : start + count].tolist()
        many += [max(part, 1) for part in largest_remainder(most, [Fraction(size, sum(its)) for size in its])]
    weights = reweighted(
        rows, rows.weights, groups, sizes, lambda group, steps, its: _represented(steps, its, many[group]), comm
    )
    return kept(features, rows.labels, rows.in_order(weights), comm, **told)


def _represented(steps: np.ndarray, weights: np.ndarray, many: int) -> np.ndarray:
    """Return the weights of the rows of a group when `many` of them stand for all."""
    distances = squared_distances(steps, steps)
    distances = np.sqrt(distances, out=distances).astype(np.float32)
    chosen = np.array(_greedy(distances, weights, many))
    nearest = distances[:, chosen].argmin(axis=1)
    nearest[chosen] = np.arange(many)
    found = np.zeros(len(weights))
    found[chosen] = np.bincount(nearest, weights, many)
    return found


def _greedy(distances: np.ndarray, weights: np.ndarray, many: int) -> list[int]:
    """Return the rows that the greedy choice takes, in its order; of equal gains the first row."""
    nearest = np.full(len(weights), distances.max(), np.float32)

    def gain(row: int) -> float:
        return float((np.maximum(nearest - distances[row], 0) * weights).sum())

    chosen: list[int] = []
    gains = [(-gain(row), row, 0) for row in range(len(weights))]
    heapq.heapify(gains)
    while len(chosen) < many:
        known, row, when = heapq.heappop(gains)
        if when < len(chosen):
            heapq.heappush(gains, (-gain(row), row, len(chosen)))
            continue
        chosen.append(row)
        np.minimum(nearest, distances[row], out=nearest)
    return chosen
