"""Series in a table: how often they are sampled, where times are missing, after how many rows they repeat.

    step              the most frequent difference of two times that follow each other
    gap               a difference of more than 1.5 steps; round(difference / step) - 1 steps are missing in it
    autocorrelation   r(k) = sum over t of (x(t) - m) (x(t + k) - m) / sum over t of (x(t) - m)**2, k rows apart
    period            the k of the largest r(k) that is above its neighbours, and stands out by 3.5 / sqrt(rows)

m is the mean of each series; several series add up above and below the line. A missing number counts as m. Numbers are
rounded to 2**-30 of half their column's range, and m to such a step, so sums are of whole numbers: the same bit for bit
on any number of ranks.

Source: Box, Jenkins and Reinsel 2008, Time series analysis.
"""

import math
from typing import Any

import numpy as np
from mpi4py import MPI

from hvdedge.columns import NUMBERS, kind, matching, of_kind, shown
from hvdedge.errors import InputError
from hvdedge.exact_sums import ends
from hvdedge.options import ColumnName, Count
from hvdedge.parallel import allgather_rows, counts, frequencies
from hvdedge.sequences import Sequences
from hvdedge.tables import Table

STEPS = 2.0**30  # in half of a column's range
LOW = 31  # bits of the lower half of a product of two centred numbers
MISSING = np.iinfo(np.int64).min
GAP = 1.5  # steps
APART = 3.5  # standard errors: one of some fifty lags of noise is beyond that once in a hundred times
SECONDS = {"date": 86_400.0, "timestamp": 1e-6, "time": 1e-6}  # of what `to_floats` counts in
ROWS = 1 << 15  # at a time, so that their products stay in the cache


def profile(
    table: Table,
    comm: MPI.Intracomm,
    *,
    time: ColumnName = "",
    by: ColumnName = "",
    columns: tuple[ColumnName, ...] = (),
    lags: Count = 48,
) -> dict:
    """Collective. Tell the sampling, gaps, autocorrelation and season of series.

    Args:
        table: this rank's rows.
        time: the column by which rows follow each other; the table's order for none, which tells no step.
        by: the column that names the series that a row is of; one series for none.
        columns: names or patterns (p*) of columns of numbers; all of them for none.
        lags: up to how many rows apart numbers are held against each other.
    Returns:
        The same on every rank: series, {rows, series, shortest, longest (rows of a series), left_out; sampling: {step,
        unit, share, gaps, longest_gap, missing_steps, equal_times}, null without a time; columns: column ->
        {autocorrelation, of 1 to `lags` rows, as far as there are so many, null where a column does not vary; period,
        strength: r of the period, null for none}; period, strength: those of the mean of all columns}.
    Raises:
        InputError: where a column is not there or of another kind.
    """
    names = _numbers(table, columns, {time, by})
    rows = Sequences(table, comm, time=time, series=by, where=("profile.series.time", "profile.series.by"))
    total = int(counts(len(rows.places), comm).sum())
    lengths = np.array([rows.lengths.max(initial=0), -rows.lengths.min(initial=total)])
    comm.Allreduce(MPI.IN_PLACE, lengths, op=MPI.MAX)
    found: dict[str, Any] = {
        **{"rows": total, "series": int(counts(len(rows.lengths), comm).sum())},
        **{"shortest": int(-lengths[1]), "longest": int(lengths[0]), "left_out": rows.left_out},
        "sampling": _sampling(rows, kind(table.schema.field(time).type), comm) if time else None,
    }
    most = min(lags + 1, max(int(lengths[0]) - 1, 0))  # one more than asked for, to see that the last is a peak
    correlations = _autocorrelations(table, rows, names, most, comm)
    found["columns"] = {
        name: {
            "autocorrelation": [None if math.isnan(one) else one for one in its[:lags].tolist()],
            **_period(its, total),
        }
        for name, its in zip(names, correlations, strict=True)
    }
    varying = correlations[~np.isnan(correlations).any(axis=1)]
    found |= _period(varying.mean(axis=0) if len(varying) else np.full(most, np.nan), total)
    return {"series": found}


def _numbers(table: Table, patterns: tuple[str, ...], taken: set[str]) -> list[str]:
    where = "profile.series.columns"
    found = matching(table, patterns, where) if patterns else of_kind(table, NUMBERS)
    wrong = [name for name in found if name not in of_kind(table, NUMBERS)]
    if wrong:
        raise InputError(
            f"{where}: received {shown(wrong)}, allowed: columns of numbers, {shown(of_kind(table, NUMBERS))}; leave "
            "it out"
        )
    return [name for name in found if name not in taken]


def _sampling(rows: Sequences, holds: str, comm: MPI.Intracomm) -> dict:
    """Collective. Return what the differences of times tell. A rank holds 40 bytes more a row for it."""
    keys = rows.before(rows.keys, 1)
    later = np.flatnonzero(rows.places > 0) + len(keys) - len(rows.places)
    apart = keys[later] - keys[later - 1]
    positive = apart[apart > 0]
    often, _ = frequencies(positive.view(np.uint64), comm)
    most = often.max(initial=0)
    told = [[most, positive[often == most].min(initial=np.inf)]]
    votes = allgather_rows(np.array(told), comm)
    most = votes[:, 0].max()
    step = votes[votes[:, 0] == most, 1].min()
    unit = SECONDS.get(holds, 1.0)
    wide = apart[apart > GAP * step]
    sums = np.array([len(apart), (apart == 0).sum(), len(wide), np.rint(wide / step).sum() - len(wide)])
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    longest = np.array(wide.max(initial=0.0))
    comm.Allreduce(MPI.IN_PLACE, longest, op=MPI.MAX)
    differences, equal, gaps, missing = map(int, sums)
    return {
        "step": float(step * unit) if most else None,
        "unit": "seconds" if holds in SECONDS else "as in the column",
        "share": int(most) / differences if differences else None,
        **{"gaps": gaps, "longest_gap": float(longest * unit) if gaps else None, "missing_steps": missing},
        "equal_times": equal,
    }


def _autocorrelations(table: Table, rows: Sequences, names: list[str], lags: int, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return r(1) to r(lags) of each column, NaN where it does not vary: float64 (columns, lags)."""
    low, high = ends(table.select(names), comm)
    low, high = (np.where(high >= low, end, 0.0) for end in (low, high))  # 0 for a column without numbers
    half = dict(zip(names, np.where(high > low, high / 2 - low / 2, 1.0), strict=True))
    middle = dict(zip(names, high / 2 + low / 2, strict=True))

    def steps(name: str, numbers: np.ndarray) -> np.ndarray:
        whole = np.rint((numbers / half[name] - middle[name] / half[name]) * STEPS)
        return np.where(np.isnan(whole), MISSING, np.nan_to_num(whole)).astype(np.int64)

    values = rows.place(names, steps, lags, "int64")
    sums = np.zeros((len(names), lags + 1, 2), np.int64)
    for number in range(len(names)):
        its = np.array(values[:, number])
        _centre(its, rows, comm)
        for start in range(0, len(rows.places), ROWS):
            _add_products(its, rows.places, slice(start, start + ROWS), sums[number])
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    found = np.full((len(names), lags), np.nan)
    for number, halves in enumerate(sums.tolist()):
        whole = [(upper << LOW) + lower for upper, lower in halves]
        if whole[0]:
            found[number] = [above / whole[0] for above in whole[1:]]
    return found


def _centre(values: np.ndarray, rows: Sequences, comm: MPI.Intracomm) -> None:
    """Collective. Take from the numbers of each series their mean, to a whole step; what is missing becomes 0.

    Args:
        values: of the rows before and here; those before are taken for the series of the first row here.
    """
    places = rows.places
    before = len(values) - len(places)
    known = values != MISSING
    values[~known] = 0
    begins = np.flatnonzero(np.r_[np.ones(min(len(places), 1), bool), places[1:] == 0])
    started = counts(int((places == 0).sum()), comm)[: comm.rank].sum()
    first = started - (len(places) > 0 and places[0] > 0)  # the number that the first series here has among all
    sums = np.stack([np.add.reduceat(one[before:].astype(np.int64), begins) for one in (values, known)], axis=1)
    ended = [[first + at, *sums[at]] for at in sorted({0, len(begins) - 1})] if len(begins) else []
    everyone = allgather_rows(np.array(ended, np.int64).reshape(-1, 3), comm)
    for number, *_ in ended:  # series that other ranks may have a part of
        sums[number - first] = everyone[everyone[:, 0] == number, 1:].sum(axis=0)
    total, count = sums[:, 0], np.maximum(sums[:, 1], 1)
    mean = (2 * total + count) // (2 * count)
    series = np.repeat(np.arange(len(begins)), np.diff(np.r_[begins, len(places)])) if len(begins) else begins
    values[before:] -= mean[series]
    values[:before] -= mean[:1].sum()
    values[~known] = 0


def _add_products(values: np.ndarray, places: np.ndarray, here: slice, sums: np.ndarray) -> None:
    """Add to `sums`, (lags + 1, 2), the upper and lower halves of the products of the rows here with those before."""
    before = len(values) - len(places)
    mine = values[before:][here]
    for lag in range(len(sums)):
        skipped = max(lag - before - here.start, 0)  # rows that have none so far before them
        end = before + here.start + len(mine) - lag
        products = mine[skipped:] * values[max(end - len(mine[skipped:]), 0) : max(end, 0)]
        products[places[here][skipped:] < lag] = 0
        sums[lag] += (products >> LOW).sum(), (products & ((1 << LOW) - 1)).sum()


def _period(correlation: np.ndarray, rows: int) -> dict[str, Any]:
    """Return the lag of the strongest peak of r(1), r(2), ..., the last of which can be none, and r of it."""
    apart = APART / math.sqrt(max(rows, 1))
    peaks = [
        lag
        for lag in range(2, len(correlation))
        if correlation[lag - 1] > correlation[lag - 2]
        and correlation[lag - 1] >= correlation[lag]
        and correlation[lag - 1] > apart
        and correlation[lag - 1] - correlation[: lag - 1].min() > apart
    ]
    period = max(peaks, key=lambda lag: (correlation[lag - 1], -lag), default=None)
    return {"period": period, "strength": None if period is None else float(correlation[period - 1])}
