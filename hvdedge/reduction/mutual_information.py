"""The columns that tell most about the label, each by itself.

    I(x; y) = sum of p(bar, class) log2(p(bar, class) / (p(bar) p(class)))

A column's bars are of equal width between its ends in the training rows; so are those of a label that is a number. The
counts are whole numbers: the same columns are kept on any number of ranks.

Source: Battiti 1994, Using mutual information for selecting features in supervised neural net learning.
"""

import numpy as np
from mpi4py import MPI

from hvdedge.errors import InputError
from hvdedge.information import mutual_information
from hvdedge.options import Count
from hvdedge.projections import ends, flat_width, projected
from hvdedge.tensors import Features

BARS = 32
COUNT_BYTES = 1 << 26  # what the counts of the columns take that are looked at together


def reduce(features: Features, comm: MPI.Intracomm, *, columns: Count = 32) -> Features:
    """Collective. Keep the columns that tell most about the label.

    Args:
        columns: how many, in the order in which they stand; of equal ones the first.
    Returns:
        x float32 (rows, columns).
    Raises:
        InputError: where x is no numbers or has fewer columns, or y is more than one number.
    """
    width = flat_width(features, "mutual_information")
    if columns > width:
        raise InputError(
            f"extract.mutual_information.columns: received {columns}, allowed: up to {width} columns; lower it"
        )
    if features.y_shape:
        raise InputError(
            f"extract.mutual_information: received a y of shape {features.y_shape}, allowed: one label a row; leave "
            "[extract.mutual_information] out"
        )
    low, high, _ = ends(features, comm)
    labels = _Labels(features, comm)
    told = np.empty(width)
    at_once = max(COUNT_BYTES // (8 * BARS * labels.classes), 1)
    for start in range(0, width, at_once):
        here = slice(start, min(start + at_once, width))
        told[here] = _told(features, here, low[here], high[here], labels, comm)
    places = np.sort(np.argsort(-told, kind="stable")[:columns]).tolist()
    return projected(features, {"as": "columns", "places": places}, columns, bits=told[places].tolist())


class _Labels:
    """Which class a row is of; for a label that is a number, which of the bars."""

    def __init__(self, features: Features, comm: MPI.Intracomm):
        self._is_class = np.dtype(features.y_type).kind in "iu"
        found = np.array([np.inf, np.inf])  # smallest, smallest negative
        for _, y, _ in features.training():
            found = np.minimum(found, [side.min(initial=np.inf) for side in (y.astype(float), -y.astype(float))])
        comm.Allreduce(MPI.IN_PLACE, found, op=MPI.MIN)
        self._low, self._high = found[0], -found[1]
        self.classes = int(self._high) + 1 if self._is_class else BARS

    def of(self, y: np.ndarray) -> np.ndarray:
        return y.astype(np.int64) if self._is_class else _bars(y, self._low, self._high)


def _bars(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return which of `BARS` bars of equal width, from `low` to `high`, each value is in: int64."""
    wide = np.where(high > low, high - low, 1.0)
    return np.clip((values.astype(np.float64) - low) / wide * BARS, 0, BARS - 1).astype(np.int64)


def _told(
    features: Features, here: slice, low: np.ndarray, high: np.ndarray, labels: _Labels, comm: MPI.Intracomm
) -> list[float]:
    """Collective. Return the bits that each of some columns tells about the label."""
    counted = np.zeros((len(low), BARS * labels.classes), np.int64)
    for x, y, _ in features.training():
        places = _bars(x.reshape(len(x), -1)[:, here], low, high) * labels.classes + labels.of(y)[:, None]
        for its, place in zip(counted, places.T, strict=True):
            its += np.bincount(place, minlength=len(its))
    comm.Allreduce(MPI.IN_PLACE, counted, op=MPI.SUM)
    return [mutual_information(its.reshape(BARS, labels.classes)) for its in counted]
