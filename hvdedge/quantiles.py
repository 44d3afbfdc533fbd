"""Exact order statistics of numbers that are dealt over the ranks, in memory that does not grow with the rows.

Distributed radix selection: the 64 bits of a float64, with the sign bit flipped (all bits for negative numbers), sort
as unsigned integers the way the numbers do. Eight passes fix them byte by byte, from the top: a pass counts the next
byte of the numbers whose higher bytes are right, an all-reduce adds the counts of all ranks, and the byte where the
running count passes the wanted position is the next byte of the result:

    pass 1   40 1f ...   counts of byte 1     -> position 7 of 10 lies in byte 0x40
    pass 2   40 24 ...   counts of 0x40 **    -> 0x4024, and so on: 0x4024000000000000 is 10.0

Counts are whole numbers, so the result is the same bit for bit on any number of ranks. A rank holds one batch and
256 counts for each wanted number; where its numbers fit into memory, it sorts them once and counts by bisection.

Source: Alabi et al. 2012, Fast k-selection algorithms for graphics processing units (radix selection); Saukas and
Song 1999, A note on parallel selection on coarse-grained multicomputers (counting over processors).
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from mpi4py import MPI

from hvdedge.columns import to_floats
from hvdedge.tables import Table

BYTES = 8
SIGN = np.uint64(1 << 63)


def select(
    table: Table, groups: Sequence[Sequence[str]], probabilities: Sequence[float], comm: MPI.Intracomm
) -> np.ndarray:
    """Collective. Return quantiles of the numbers in groups of columns, over all rows.

    The p-quantile is the smallest number x of the group such that at least a share p of the numbers is <= x: one of
    the numbers themselves (no interpolation), the lower one for the median of an even count. Missing cells and what
    is no finite number do not count. Dates and times are days and microseconds, as `columns.to_floats` has them.

    Args:
        table: this rank's rows.
        groups: columns whose cells are taken together as one set of numbers; a column may be in several groups.
        probabilities: 0 to 1; 0 gives the minimum, 1 the maximum.
    Returns:
        float64 (groups, probabilities), the same on every rank; NaN for a group without numbers.
    """
    shape = len(groups), len(probabilities)
    chosen = table.select(sorted({name for group in groups for name in group}))
    prefix = np.zeros(shape, np.uint64)
    place = np.zeros(shape, np.int64)
    empty = np.zeros(len(groups), bool)
    fits = chosen.num_rows * len(chosen.schema.names) * BYTES <= table.workspace.table_bytes
    held = _sorted(chosen) if fits and prefix.size else {}
    for step in range(BYTES if prefix.size else 0):
        shift = np.uint64(8 * (BYTES - 1 - step))
        counts = np.zeros((*shape, 256), np.int64)
        for number, group in enumerate(groups if held else ()):
            _bisect([held[name] for name in group], prefix[number], shift, counts[number])
        for batch in () if held else chosen.batches():
            cells = {name: patterns(to_floats(batch.column(name))) >> shift for name in chosen.schema.names}
            for number, group in enumerate(groups):
                _count([cells[name] for name in group], prefix[number], step == 0, counts[number])
        comm.Allreduce(MPI.IN_PLACE, counts, op=MPI.SUM)
        if step == 0:
            sizes = counts[:, 0].sum(axis=1)
            empty = sizes == 0
            place = np.array([[place_of(p, int(size)) for p in probabilities] for size in sizes])
        running = counts.cumsum(axis=2)
        byte = np.minimum((running <= place[..., None]).sum(axis=2), 255)
        here = byte[..., None]
        place -= np.take_along_axis(running - counts, here, 2)[..., 0]
        prefix = prefix << np.uint64(8) | byte.astype(np.uint64)
    return np.where(empty[:, None], np.nan, numbers_of(prefix))


def place_of(probability: float, size: int) -> int:
    """Return where among `size` sorted numbers, from 0, the quantile of `probability` stands."""
    # as a fraction of the decimal that was written: in floating point 0.07 * 100 is a little more than 7
    return max(math.ceil(Fraction(repr(float(probability))) * size) - 1, 0)


def patterns(values: np.ndarray) -> np.ndarray:
    """Return a uint64 for each float64 that is no NaN; they sort as the numbers do."""
    bits = values[~np.isnan(values)].view(np.uint64)
    return np.where(bits & SIGN, ~bits, bits | SIGN)


def numbers_of(patterns: np.ndarray) -> np.ndarray:
    """Return the float64 numbers that `patterns` were made of."""
    return np.where(patterns & SIGN, patterns ^ SIGN, ~patterns).view(np.float64)


def rising(values: np.ndarray) -> np.ndarray:
    """Return the values in order: sorted, if they are not."""
    return values if (values[:-1] <= values[1:]).all() else np.sort(values)


def _sorted(table: Table) -> dict[str, np.ndarray]:
    parts: dict[str, list[np.ndarray]] = {name: [np.empty(0, np.uint64)] for name in table.schema.names}
    for batch in table.batches():
        for name, its in parts.items():
            its.append(patterns(to_floats(batch.column(name))))
    return {name: np.sort(np.concatenate(its)) for name, its in parts.items()}


def _bisect(cells: list[np.ndarray], prefix: np.ndarray, shift: np.uint64, counts: np.ndarray) -> None:
    """Do what `_count` does with sorted numbers, in full, of which the lowest bytes are those above `shift`."""
    lows = (prefix[:, None] << np.uint64(8) | np.arange(256, dtype=np.uint64)) << shift  # (wanted, 256)
    for values in cells:
        starts = np.searchsorted(values, lows)
        ends = np.searchsorted(values, lows[:, -1:] | ((np.uint64(1) << shift) - np.uint64(1)), side="right")
        counts += np.diff(np.hstack([starts, ends]), axis=1)


def _count(cells: list[np.ndarray], prefix: np.ndarray, is_first: bool, counts: np.ndarray) -> None:
    """Add to counts[wanted, byte] the lowest bytes of those cells whose higher bytes are prefix[wanted]."""
    known, wanted = np.unique(prefix, return_inverse=True)
    found = np.zeros((len(known), 256), np.int64)
    for values in cells:
        higher, lowest = values >> np.uint64(8), values.astype(np.uint8)  # the cast keeps the lowest byte
        for row, sought in enumerate(known):
            found[row] += np.bincount(lowest if is_first else lowest[higher == sought], minlength=256)
    counts += found[wanted]
