"""A core-set that covers: the largest distance of a row from the nearest one that is kept is nearly as small as can be.

    the next centre of a class = the row of it that is farthest from all its centres;   at most twice the best radius

Each class has as many centres as its share of the rows; all classes go on together. The first centre is the row nearest
to the mean. Each rank keeps its rows' distances to their nearest centre; distances are exact, and of equally far rows
the first is taken, so the centres are the same on any number of ranks.

    weight = rows that are nearer to this centre than to the others of the class

Source: Gonzalez 1985, Clustering to minimize the maximum intercluster distance; Sener and Savarese 2018, Active
learning for convolutional neural networks: a core-set approach.
"""

import numpy as np
from mpi4py import MPI

from hvdedge.flat_rows import FlatRows, best_of_classes, blocks, central_rows, flat_rows, squared_distances
from hvdedge.options import Portion
from hvdedge.parallel import allgather_rows
from hvdedge.quotas import kept, quotas
from hvdedge.tensors import Features

AHEAD_BYTES, MOST_AHEAD = 1 << 24, 64  # of the distances that are known ahead; rows of a class
WEIGHT_STEPS = 2.0**20  # weights are summed in these, so that sums are exact


def select(features: Features, comm: MPI.Intracomm, *, share: Portion = 0.3) -> Features:
    """Collective. Keep the rows of each class that best cover it.

    The time grows as rows x kept rows of a class x columns: reduce columns first where there are hundreds.

    Args:
        share: of the rows of each class, largest remainder, but one of each at least.
    Raises:
        InputError: where x is no numbers.
    """
    rows = flat_rows(features, comm, "k_center")
    wanted, told = quotas(rows.labels, share)
    search = _Search(rows, comm)
    classes = np.flatnonzero(wanted)
    search.add(classes, central_rows(rows, classes, comm))
    for turn in range(1, int(wanted.max())):
        classes = np.flatnonzero(wanted > turn)
        search.add(classes, best_of_classes(rows, search.nearest, classes, comm))
    return kept(features, rows.labels, rows.in_order(search.weights()), comm, radius=search.radius(), **told)


class _Search:
    """The centres so far, and what this rank's rows are from the nearest of their class."""

    def __init__(self, rows: FlatRows, comm: MPI.Intracomm):
        self._rows = rows
        self._comm = comm
        self._centres = np.empty(0, np.int64)  # their numbers, in the order in which they came
        self._mine = np.zeros(len(rows.order), np.int64)  # which centre is nearest
        self.nearest = np.full(len(rows.order), np.inf)  # squared, in steps; -1 for a centre
        self._ahead: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # class -> candidates, distances of its rows here
        most = np.array(len(rows.order))
        comm.Allreduce(MPI.IN_PLACE, most, op=MPI.MAX)
        self._candidates = int(np.clip(AHEAD_BYTES // (8 * max(int(most), 1)), 1, MOST_AHEAD))

    def add(self, classes: np.ndarray, numbers: np.ndarray) -> None:
        """Collective. Make the row with the number `numbers[i]` a centre of class `classes[i]`."""
        rows, first = self._rows, len(self._centres)
        self._look_ahead([(its, row) for its, row in zip(classes.tolist(), numbers.tolist(), strict=True)])
        for place, (its, row) in enumerate(zip(classes.tolist(), numbers.tolist(), strict=True)):
            candidates, distances = self._ahead[its]
            found, here = distances[np.searchsorted(candidates, row)], rows.of_class(its)
            nearer = found < self.nearest[here]
            self._mine[here][nearer] = first + place
            self.nearest[here][nearer] = found[nearer]
        at, centres = rows.held(numbers)
        self._mine[centres], self.nearest[centres] = first + at, -1
        self._centres = np.concatenate([self._centres, numbers])

    def _look_ahead(self, centres: list[tuple[int, int]]) -> None:
        """Collective. See to it that the distances from the new centre, (class, number), of each class are known.

        Where they are not, those from the rows that are farthest now come with them: most of these are the next
        centres, and one product of matrices is much quicker than as many passes over the rows.
        """
        rows, each = self._rows, max(self._candidates // self._comm.size, 1)
        for its, row in centres:
            if its in self._ahead and row in self._ahead[its][0]:
                continue
            here = rows.of_class(its)
            far = here.start + np.argsort(-self.nearest[here], kind="stable")[:each]
            candidates = np.unique(np.append(allgather_rows(rows.numbers[far], self._comm), row))
            points = rows.fetch(candidates, self._comm)
            distances = np.empty((len(candidates), here.stop - here.start))
            for block in blocks(here, points.shape[1] + len(points)):
                distances[:, block.start - here.start : block.stop - here.start] = squared_distances(
                    points, rows.steps[block]
                )
            self._ahead[its] = candidates, distances

    def weights(self) -> np.ndarray:
        """Collective. Return for each centre here how many rows it stands for, 0 for other rows: float64 (rows,)."""
        sums = np.zeros(len(self._centres), np.int64)
        np.add.at(sums, self._mine, np.rint(self._rows.weights * WEIGHT_STEPS).astype(np.int64))
        self._comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
        found = np.zeros(len(self._mine))
        at, centres = self._rows.held(self._centres)
        found[centres] = sums[at] / WEIGHT_STEPS
        return found

    def radius(self) -> float:
        """Collective. Return how far the farthest row is from its centre, in the unit of the features."""
        farthest = np.array(self.nearest.max(initial=0.0))
        self._comm.Allreduce(MPI.IN_PLACE, farthest, op=MPI.MAX)
        return float(np.sqrt(farthest) * self._rows.step)
