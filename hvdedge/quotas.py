"""Which training rows are of which class, how many of each a selection keeps, and what the record says of it."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from mpi4py import MPI

from hvdedge.columns import of_classes
from hvdedge.errors import InputError
from hvdedge.sampling import first_row
from hvdedge.splits import largest_remainder
from hvdedge.tensors import Features

KEY_BITS = 64


@dataclass(frozen=True)
class Labelled:
    """This rank's training rows without x: 20 bytes a row.

    Attributes:
        classes: the number of the class of each row, int64; all 0 where the labels are no classes.
        weights: how many rows each stands for by now, float32.
        numbers: the number of each row among the training rows of all ranks, int64.
        names: of the classes; one for all rows where the labels are no classes.
        sizes: how many rows of all ranks each class has, int64 (classes,).
    """

    classes: np.ndarray
    weights: np.ndarray
    numbers: np.ndarray
    names: list[str]
    sizes: np.ndarray

    def named(self, chosen: np.ndarray) -> list[str]:
        """Return the names of the classes where `chosen`, bool (classes,), is true."""
        return [self.names[place] for place in np.flatnonzero(chosen)]


def labelled(features: Features, comm: MPI.Intracomm) -> Labelled:
    """Collective. Return the class, weight and number of each training row here."""
    has_classes = _has_classes(features)
    parts = [(np.empty(0, np.int64), np.empty(0, np.float32))]
    for _, y, weights in features.training():
        parts.append((y.astype(np.int64) if has_classes else np.zeros(len(y), np.int64), weights))
    classes, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    names = [str(name) for name in features.spec["classes"]] if has_classes else ["any"]
    sizes = np.bincount(classes, minlength=len(names))
    comm.Allreduce(MPI.IN_PLACE, sizes, op=MPI.SUM)
    return Labelled(classes, weights, first_row(len(classes), comm) + np.arange(len(classes)), names, sizes)


def check_classes(features: Features, rows: Labelled, name: str) -> None:
    """Hold that a selection by what tells classes apart has some.

    Raises:
        InputError: where the labels are no classes, or all training rows are of one.
    """
    if not _has_classes(features) or (rows.sizes > 0).sum() < 2:
        found = "labels that are no classes" if not _has_classes(features) else "training rows of one class"
        raise InputError(f"extract.{name}: received {found}, allowed: at least 2 classes; leave [extract.{name}] out")


def quotas(rows: Labelled, share: float) -> tuple[np.ndarray, dict[str, str]]:
    """Return how many rows of each class make up a share of all, largest remainder, int64; and what there is to tell.

    A class of which none would be kept keeps one row.
    """
    total = int(rows.sizes.sum())
    wanted = round(total * Fraction(repr(float(share))))
    parts = np.array(largest_remainder(wanted, [Fraction(size, total) for size in rows.sizes.tolist()]), np.int64)
    few = (parts == 0) & (rows.sizes > 0)
    told = f"one row is kept of the {of_classes(rows.named(few))}, of which the share of {share:g} keeps none"
    return np.where(few, 1, parts), {"adapted": told} if few.any() else {}


def smallest(keys: np.ndarray, classes: np.ndarray, wanted: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return which rows here are among those of their class on all ranks with the smallest keys.

    The bound of each class is found bit by bit from counts, so no key travels.

    Args:
        keys: uint64 (rows,), each of another value.
        wanted: how many rows of each class, at most as many as it has.
    """
    bounds = np.zeros(len(wanted), np.uint64)  # the largest below which there are not too many
    for bit in reversed(range(KEY_BITS)):
        tried = bounds | np.uint64(1 << bit)
        below = np.bincount(classes[keys < tried[classes]], minlength=len(wanted))
        comm.Allreduce(MPI.IN_PLACE, below, op=MPI.SUM)
        bounds = np.where(below <= wanted, tried, bounds)
    return (keys < bounds[classes]) | (bounds == np.uint64(2**KEY_BITS - 1))[classes]


def kept(features: Features, rows: Labelled, weights: np.ndarray, comm: MPI.Intracomm, **facts: Any) -> Features:
    """Collective. Return the features with the weights that a selection gave its rows, and what it found.

    Args:
        weights: of the rows here, 0 for one that is left out.
    Raises:
        InputError: where a class would lose all its rows.
    """
    sizes = np.bincount(rows.classes[weights > 0], minlength=len(rows.names))
    comm.Allreduce(MPI.IN_PLACE, sizes, op=MPI.SUM)
    lost = rows.named((sizes == 0) & (rows.sizes > 0))
    if lost:
        raise InputError(
            f"extract: received a selection of {int(sizes.sum())} rows with none of the {of_classes(lost)}, "
            "allowed: at least one of each; keep more, or as large a share of each class by [extract.stratified]"
        )
    by_class = dict(zip(rows.names, sizes.tolist(), strict=True)) if _has_classes(features) else {}
    found = {"rows": int(rows.sizes.sum()), "kept": int(sizes.sum()), "by_class": by_class}
    return features.keep(weights.astype(np.float32), **found, **facts)


def _has_classes(features: Features) -> bool:
    return features.spec["task"] == "classification" and not features.y_shape
