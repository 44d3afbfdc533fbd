"""The numbers of a column that stand apart from all others, in tables of any size.

By the spacings of the largest distances d from the median, on each side:  d1 >= d2 >= ... >= dn

    i * log(d_i / d_i+1) are independent and exponential with one mean g, where the column's tail is a power law,

and fall towards the end of a lighter tail (normal, exponential, uniform), so that they are small there. The mean g is
that of the next spacings inwards, of K rows. The outermost i numbers stand apart if

    i * log(d_i / d_i+1) > g * K * ((m / RISK) ** (1 / K) - 1)

which a power law does with a chance of RISK at any i up to m, the share `tail` of the numbers; and if the gap is as
wide as the column's middle half. So one number may be judged by 30 others, while the tail of a log-normal, Pareto
or Student column stays. Equal numbers count as what they are, as many: a spacing goes from one value to the next.

Source: Renyi 1953, On the theory of order statistics; Hill 1975, A simple general approach to inference about the tail
of a distribution.
"""

from collections.abc import Sequence

import numpy as np
from mpi4py import MPI

from hvdedge.columns import kind, to_floats
from hvdedge.parallel import allgather_rows, counts, frequencies
from hvdedge.quantiles import select
from hvdedge.tables import Table

RISK = 0.003
LEAST_ROWS = 30
MOST_APART = 100  # numbers on a side
LEAST_NEXT, NEXT_SHARE = 10, 0.02  # rows inwards that g is the mean of: at least, and as a share
LEAST_VALUES = 5  # different ones among them
ONCE = 0.9  # share of different whole numbers from which on they name rows
VALUES = 512  # different values on a side that are looked at
STEP = np.dtype([("distance", np.float64), ("rows", np.int64)])


def apart(table: Table, names: Sequence[str], tail: float, comm: MPI.Intracomm) -> dict[str, tuple[float, float]]:
    """Collective. Return column -> the numbers between which all are that do not stand apart; infinite for no bound.

    Args:
        names: columns of numbers.
        tail: the share of the numbers that may stand apart on a side, rounded up to one.
    """
    quartiles = select(table, [[name] for name in names], (0.25, 0.5, 0.75), comm)
    names = [name for name, (first, _, third) in zip(names, quartiles, strict=True) if third > first]
    quartiles = quartiles[quartiles[:, 2] > quartiles[:, 0]]
    sides = [[np.empty(0, STEP), np.empty(0, STEP)] for _ in names]
    totals = np.zeros(len(names), np.int64)
    for batch in table.select(names).batches() if names else ():
        for place, name in enumerate(names):
            away = to_floats(batch.column(name)) - quartiles[place, 1]
            away = away[np.isfinite(away)]
            totals[place] += len(away)
            for side, sign in enumerate((-1, 1)):
                sides[place][side] = _outermost(sides[place][side], sign * away)
    comm.Allreduce(MPI.IN_PLACE, totals, op=MPI.SUM)
    found = {}
    for place, name in enumerate(names):
        first, median, third = quartiles[place].tolist()
        total = int(totals[place])
        below, above = (_merged(allgather_rows(side, comm)) for side in sides[place])
        if total >= LEAST_ROWS:
            low, high = (_edge(side, total, tail, third - first) for side in (below, above))
            found[name] = (median - low, median + high)
    found = {name: limits for name, limits in found.items() if np.isfinite(limits).any()}
    return {name: limits for name, limits in found.items() if not _is_number_of_a_row(table, name, comm)}


def _is_number_of_a_row(table: Table, name: str, comm: MPI.Intracomm) -> bool:
    """Collective. Tell whether a column holds whole numbers, nearly each once: they are given in blocks as it suits."""
    if kind(table.schema.field(name).type) != "integer":
        return False
    parts = [to_floats(batch.column(name)) for batch in table.select([name]).batches()]
    values = np.concatenate([np.empty(0), *parts])
    values = values[~np.isnan(values)]
    return frequencies(values.view(np.uint64), comm)[1] > ONCE * counts(len(values), comm).sum()


def _outermost(held: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Return the `VALUES` largest different distances of both, falling, with their rows."""
    least = held["distance"][-1] if len(held) == VALUES else np.finfo(float).tiny
    values, rows = np.unique(distances[distances >= least], return_counts=True)
    more = np.empty(len(values), STEP)
    more["distance"], more["rows"] = values, rows
    return _merged(np.concatenate([held, more]))


def _merged(steps: np.ndarray) -> np.ndarray:
    values, which = np.unique(-steps["distance"], return_inverse=True)
    found = np.zeros(len(values), STEP)
    found["distance"] = -values
    np.add.at(found["rows"], which, steps["rows"])
    return found[:VALUES]


def _edge(steps: np.ndarray, total: int, tail: float, least_gap: float) -> float:
    """Return the distance beyond which numbers stand apart, infinite where none do."""
    distance, rows = steps["distance"], np.cumsum(steps["rows"])
    most = min(int(np.ceil(tail * total)), MOST_APART)
    wanted = max(LEAST_NEXT, int(NEXT_SHARE * total))
    spacing = rows[:-1] * np.log(distance[:-1] / distance[1:])  # of the outermost rows up to each value
    edge = np.inf
    for place in range(int(np.searchsorted(rows[:-1], most, side="right"))):
        stop = max(int(np.searchsorted(rows, rows[place] + wanted)), place + LEAST_VALUES) + 1
        if stop > len(spacing):
            break
        count = int(rows[stop - 1] - rows[place])
        mean = spacing[place + 1 : stop].sum() / count
        gap = distance[place] - distance[place + 1]
        if gap >= least_gap and spacing[place] > mean * count * ((most / RISK) ** (1 / count) - 1):
            edge = (distance[place] + distance[place + 1]) / 2
    return float(edge)
