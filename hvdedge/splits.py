"""Dealing the examples into training, validation and test, the same way on any number of ranks."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.errors import InputError
from hvdedge.parallel import allgather_rows, counts
from hvdedge.tables import gather_table

SPLITS = ("train", "validation", "test")
LEFT_OUT = 255


def stratified(
    labels: pa.Array | pa.ChunkedArray, comm: MPI.Intracomm, *, validation: float, test: float, seed: int
) -> np.ndarray:
    """Collective. Return which split each of this rank's rows belongs to, with the shares kept in every class.

    Each class has as many examples in each split as the shares ask for, to the nearest whole number (largest
    remainder). Which ones is decided by a hash of the seed and of the global row number, so neither the number of
    ranks nor the order of arrival changes it. Every rank holds 12 bytes for each row of all ranks.

    Args:
        labels: this rank's labels, of any type that sorts; a row without one is left out.
        validation, test: shares of the rows, at least 0 and together below 1; the rest is for training.
    Returns:
        uint8 (rows here,): 0 training, 1 validation, 2 test, 255 left out.
    Raises:
        InputError: where the shares leave nothing for training.
    """
    shares = [Fraction(repr(float(share))) for share in (validation, test)]
    if sum(shares) >= 1:
        raise InputError(
            f"extract: received validation = {validation} and test = {test}, allowed: together below 1; lower one"
        )
    codes, classes = _encode(labels, comm)
    everyone = allgather_rows(codes, comm)
    order = np.lexsort((splitmix64(np.arange(len(everyone), dtype=np.uint64), seed), everyone))
    sizes = np.bincount(everyone + 1, minlength=classes + 1)
    split = np.full(len(everyone), LEFT_OUT, np.uint8)
    start = int(sizes[0])  # the rows without a label sort first
    for number, size in enumerate(sizes[1:].tolist()):
        parts = largest_remainder(size, [Fraction(1) - sum(shares), *shares], number)
        split[order[start : start + size]] = np.repeat(np.arange(3, dtype=np.uint8), parts)
        start += size
    first = int(counts(len(codes), comm)[: comm.rank].sum())
    return split[first : first + len(codes)]


def largest_remainder(size: int, shares: Sequence[Fraction], turn: int = 0) -> list[int]:
    """Return whole numbers that sum to `size`, each its share of it but for less than one.

    What is left after rounding down goes to the largest remainders. Among equal ones the first is served, counted
    from share number `turn`, so that many small classes do not all favour the same split.

    Source: Hamilton 1792, Report on apportionment.
    """
    exact = [share * size for share in shares]
    parts = [int(part) for part in exact]
    order = sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], (i - turn) % len(parts)))
    for i in order[: size - sum(parts)]:
        parts[i] += 1
    return parts


def splitmix64(numbers: np.ndarray, seed: int) -> np.ndarray:
    """Return a well mixed uint64 for each number, another one for another seed; no two numbers share one.

    Source: Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators.
    """
    start = (seed * 0xD1342543DE82EF95 + 0x2545F4914F6CDD1D) % 2**64  # far apart for seeds that are near each other
    mixed = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _encode(labels: pa.Array | pa.ChunkedArray, comm: MPI.Intracomm) -> tuple[np.ndarray, int]:
    """Collective. Return this rank's labels as class numbers, int32 and -1 for none, and how many classes there are."""
    values = pc.cast(labels, labels.type.value_type) if pa.types.is_dictionary(labels.type) else labels
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    everyone = gather_table(pa.table({"label": values.unique().drop_null()}), comm)["label"].unique()
    classes = everyone.take(pc.sort_indices(everyone))
    codes = pc.fill_null(pc.index_in(values, value_set=classes), -1)
    return np.asarray(codes, np.int32), len(classes)
