"""What the training rows of a group have in common, as features of each row of that group.

    count by client              log(1 + the training rows of the row's client)
    mean(amount) by client       their mean; also std, min and max
    shares(kind) by client       one column a value of `kind`: the share of them that have it, a histogram

Numbers are rounded to 2**-24 of half their column's range before they are summed, so the sums are of whole numbers: the
same bit for bit on any number of ranks. A group that no training row has is 0 later, as what is missing is.
"""

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.columns import NUMBERS, TEXTS, kind, offered, shown, to_floats, to_text, value_counts
from hvdedge.encodings import Encoding, level_places
from hvdedge.errors import InputError
from hvdedge.tables import Table
from hvdedge.whole_products import STEPS

FORM = re.compile(r"(?:(count)|(mean|std|min|max|shares)\((.+)\)) by (.+)")
MOST_GROUPS = 10_000
MOST_SHARES = 64  # values of a column
HIGH = 26  # squares of steps are summed in halves of so many bits


@dataclass(frozen=True)
class Aggregate:
    """One of them: what is told of the column `of` (nothing for a count) in the groups of the column `by`."""

    text: str
    what: str
    of: str
    by: str


def parse(texts: tuple[str, ...], table: Table) -> list[Aggregate]:
    """Return the aggregates that were asked for.

    Raises:
        InputError: where one has not the form, or names columns that are not there or hold something else.
    """
    found = []
    for text in texts:
        form = FORM.fullmatch(text.strip())
        if not form:
            raise InputError(
                f"extract.aggregates: received {text!r}, allowed: 'count by COLUMN', 'mean(COLUMN) by COLUMN', also "
                "std, min, max, shares; write it so"
            )
        one = Aggregate(text.strip(), form[1] or form[2], form[3] or "", form[4])
        allowed = (*TEXTS, "boolean") if one.what == "shares" else NUMBERS
        for name, kinds in ((one.of, allowed), (one.by, None)):
            if name and name not in table.columns:
                raise InputError(
                    f"extract.aggregates: received {text!r}, in which {name!r} is no column of the features, allowed: "
                    f"{shown(offered(table))}, not the label, which a feature must not tell; name one of these"
                )
            holds = kind(table.schema.field(name).type) if name else ""
            if holds == "array" or (name and kinds and holds not in kinds):
                raise InputError(
                    f"extract.aggregates: received {text!r}, but {name!r} holds {holds}, allowed: "
                    f"{', '.join(kinds or ('all but arrays',))}; name another column"
                )
        found.append(one)
    return found


def fit(train: Table, aggregates: list[Aggregate], comm: MPI.Intracomm) -> list[Encoding]:
    """Collective. Return encodings of the columns that make the groups; their scale is still open.

    A rank holds up to 10,000 groups of a column, times 64 for shares.

    Raises:
        InputError: where there are more groups, or more values to tell the shares of.
    """
    levels = _levels(train, {one.by: MOST_GROUPS for one in aggregates}, "groups", comm)
    parts = _levels(train, {one.of: MOST_SHARES for one in aggregates if one.what == "shares"}, "values", comm)
    found: list[Encoding] = []
    for one in aggregates:
        made = (
            _shares(train, one, levels[one.by], parts[one.of], comm)
            if one.what == "shares"
            else {one.text: _told(train, one, levels[one.by], comm)}
        )
        found += [
            {"column": one.by, "as": "aggregate", "of": text, "levels": levels[one.by], "values": values.tolist()}
            for text, values in made.items()
        ]
    return found


def _levels(train: Table, limits: dict[str, int], what: str, comm: MPI.Intracomm) -> dict[str, list[str]]:
    """Collective. Return column -> its values in the training rows, as text."""
    result = {}
    for name, most in limits.items():
        counted = value_counts(train, [name], most, comm)[name]
        if counted is None:
            raise InputError(
                f"extract.aggregates: received {name!r}, which has over {most:,} {what}, allowed: fewer; name another "
                "column"
            )
        result[name] = sorted({*to_text(counted["value"].combine_chunks()).to_pylist()})
    return result


def _told(train: Table, one: Aggregate, levels: list[str], comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return the number of each group: float64 (groups,), NaN where no row of it has one."""
    names = [one.by, one.of] if one.of and one.of != one.by else [one.by]
    low, high = np.full(len(levels), np.inf), np.full(len(levels), -np.inf)
    counts = np.zeros(len(levels), np.int64)
    for batch in train.select(names).batches():
        places, values = level_places(batch.column(one.by), levels), _numbers(batch, one)
        known = (places >= 0) & ~np.isnan(values)
        np.minimum.at(low, places[known], values[known])
        np.maximum.at(high, places[known], values[known])
        counts += np.bincount(places[known], minlength=len(levels))
    for ends, op in ((low, MPI.MIN), (high, MPI.MAX), (counts, MPI.SUM)):
        comm.Allreduce(MPI.IN_PLACE, ends, op=op)
    if one.what == "count":
        return np.log1p(counts.astype(np.float64))
    if one.what in ("min", "max"):
        return np.where(counts > 0, low if one.what == "min" else high, np.nan)
    middle, half = _scale(low[counts > 0], high[counts > 0])
    sums = np.zeros((3, len(levels)), np.int64)  # of steps, of their squares' halves
    for batch in train.select(names).batches():
        places, values = level_places(batch.column(one.by), levels), _numbers(batch, one)
        known = (places >= 0) & ~np.isnan(values)
        steps = np.rint((values[known] / half - middle / half) * STEPS).astype(np.int64)
        squares = steps * steps
        for row, whole in enumerate((steps, squares >> HIGH, squares & ((1 << HIGH) - 1))):
            np.add.at(sums[row], places[known], whole)
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums[0] / counts
        variance = (sums[1] * 2.0**HIGH + sums[2]) / counts - mean**2
    return mean / STEPS * half + middle if one.what == "mean" else np.sqrt(np.maximum(variance, 0)) / STEPS * half


def _numbers(batch: pa.RecordBatch, one: Aggregate) -> np.ndarray:
    return to_floats(batch.column(one.of)) if one.of else np.zeros(batch.num_rows)


def _scale(low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    """Return middle and half of the range; 0 and 1 where there is none."""
    least, most = low.min(initial=np.inf), high.max(initial=-np.inf)
    return (least / 2 + most / 2, most / 2 - least / 2) if least < most else (least if least == most else 0.0, 1.0)


def _shares(
    train: Table, one: Aggregate, levels: list[str], parts: list[str], comm: MPI.Intracomm
) -> dict[str, np.ndarray]:
    """Collective. Return for each value of the column the share of each group's rows that have it."""
    counts = np.zeros((len(levels), len(parts)), np.int64)
    for batch in train.batches():
        group, part = level_places(batch.column(one.by), levels), level_places(batch.column(one.of), parts)
        known = (group >= 0) & (part >= 0)
        counts += np.bincount(group[known] * len(parts) + part[known], minlength=counts.size).reshape(counts.shape)
    comm.Allreduce(MPI.IN_PLACE, counts, op=MPI.SUM)
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)
    return {f"{one.text}: {part}": column for part, column in zip(parts, shares.T, strict=True)}
