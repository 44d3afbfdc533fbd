"""Random choices that depend on the seed and the row's number in the whole table, not on the rank that holds it."""

import numpy as np
from mpi4py import MPI

from hvdedge.mixing import GOLDEN, mix
from hvdedge.parallel import counts, fetch_rows

RUN_ROWS = 32  # rows are chosen in runs of so many, so that a series stays one
SHIFTS = 8
LEAST_HELD = 200  # cells of a column that are held out if it has them: an error of 5 % in the error measured
MOST_HELD = 0.1  # and the share of the known cells that may be, from there on


def uniform(seed: int, numbers: np.ndarray) -> np.ndarray:
    """Return for each whole number one of 0 to below 1, spread evenly: the same number, the same result.

    Source: Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators (SplitMix64).
    """
    with np.errstate(over="ignore"):
        moved = np.asarray(numbers).astype(np.uint64) + np.uint64((seed * 0x632BE59BD9B4E019 + 1) % 2**64)
        return (mix(moved * GOLDEN) >> np.uint64(11)).astype(np.float64) / 2**53


def first_row(count: int, comm: MPI.Intracomm) -> int:
    """Collective. Return the number that this rank's first row has in the whole table."""
    return int(counts(count, comm)[: comm.rank].sum())


def runs(seed: int, rows: np.ndarray, total: int, share: float) -> np.ndarray:
    """Return which of the rows with the global numbers `rows` belong to a sample of about `share` of all `total`.

    Rows are taken in runs, of `RUN_ROWS` where that leaves some hundred runs to choose from.
    """
    length = max(1, min(RUN_ROWS, total // 400))
    return uniform(seed, rows // length) < share


def held_out(missing: np.ndarray, comm: MPI.Intracomm, seed: int) -> np.ndarray:
    """Collective. Return which known cells to hide, so that filling them tells how well the missing ones will be.

    The gaps of the table are moved down by some rows. So cells that are missing together are hidden together, and
    gaps in a series keep their length. A row that has gaps itself gets no more than the row that they are from has
    (but one at least), drawn at random; else the rest of a row would be poorer than it is where it counts. A column
    with few gaps has them moved several times, one with many has a part of them moved.

    Args:
        missing: bool (rows here, columns).
    Returns:
        bool of the same shape; never a cell that is missing.
    """
    sizes = counts(len(missing), comm)
    total, start = int(sizes.sum()), int(sizes[: comm.rank].sum())
    rows, columns = start + np.arange(len(missing)), missing.shape[1]
    held = np.zeros_like(missing)
    if total < 2 or not columns:
        return held
    gaps, found = _over_all(missing, comm), np.zeros(columns, np.int64)
    packed = np.packbits(missing, axis=1)
    draw = np.random.default_rng([seed, 1])
    chance = uniform(seed + 2, (rows[:, None] * columns + np.arange(columns)).ravel()).reshape(missing.shape)
    for _ in range(SHIFTS):
        step = int(draw.integers(1, total))
        moved = np.unpackbits(fetch_rows(packed, (rows + step) % total, comm), axis=1, count=columns).astype(bool)
        room = np.where(held.any(axis=1), 0, np.maximum(moved.sum(axis=1) - missing.sum(axis=1), 1))
        open_cells = moved & ~missing & ~held & (found < LEAST_HELD)
        place = np.argsort(np.argsort(np.where(open_cells, chance, 2.0), axis=1), axis=1)
        held |= open_cells & (place < room[:, None])
        found = _over_all(held, comm)
        if (found >= np.minimum(LEAST_HELD, total - gaps)).all():
            break
    share = np.maximum(MOST_HELD * (total - gaps), LEAST_HELD) / np.maximum(found, 1)
    length = max(1, min(RUN_ROWS, total // 400))
    return held & (uniform(seed + 3, rows // length)[:, None] < share)


def _over_all(cells: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return how many cells are true in each column, over all rows."""
    found = cells.sum(axis=0)
    comm.Allreduce(MPI.IN_PLACE, found, op=MPI.SUM)
    return found
