"""Rows of a table become vectors; how each column is encoded is decided by the training rows alone.

    left out    named by `drop`; no value; one value (or none) in 99.9 % of the rows; keys; arrays; by `dependencies`
    number      integers, floats, booleans: (v - mean) / deviation, of log(1 + v) where that takes a skew above 1 away
    one_hot     text and categories of up to `one_hot_levels` values
    embed       ... of more than that, up to `embed_levels`: the value's number, for an embedding
    hash        ... of up to `hash_levels` values
    frequency   ... of more: how often the value is
    year, month, weekday, hour      the parts of dates and times that differ
    missing     one more column where over 1 % of the rows have no value

The ways themselves are in `hvdedge/encodings.py`. Text is a key where no value comes twice. So are whole numbers of
which none does though, drawn at random between their ends, `CHANCE` pairs would be expected to be equal (birthday
problem): numbers 1 to n are, 300 prices in cents are not.

Sums, counts and ends are exact: the parameters are the same bit for bit on any number of ranks.
"""

import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.aggregates import Aggregate, fit, parse
from hvdedge.class_labels import split_codes, training_rows
from hvdedge.columns import (
    CLOCKS,
    TEXTS,
    kind,
    matching,
    shown,
    to_floats,
    to_text,
    value_counts,
)
from hvdedge.determined import determined
from hvdedge.encodings import CIRCLES, SCALED, Encoding, embedded, encode, hash_places, is_missing, unscaled, width
from hvdedge.errors import InputError
from hvdedge.exact_sums import ends, means, moments
from hvdedge.hashes import hash_text
from hvdedge.label_values import fit as fit_label
from hvdedge.options import ColumnName, Count, Natural, Path
from hvdedge.parallel import frequencies
from hvdedge.splits import LEFT_OUT
from hvdedge.tables import SPLIT, Table
from hvdedge.tensors import Features

EXAMPLES = ("vectors",)
NEAR_CONSTANT = 0.999  # share of the training rows
MISSING = 0.01
SKEWED = 1.0
LESS_SKEWED = 0.1  # at least; the logarithm of two values is as skewed as they are
CHANCE = 10  # pairs; none at all has then a chance of e**-10
MOST_VALUES = 10_000  # of a column, whose counts a rank holds
BINS = 4096  # of the hashes whose frequency is counted
BATCH_BYTES = 1 << 23
PARTS = {"date": ("year", "month", "weekday"), "timestamp": ("year", "month", "weekday", "hour"), "time": ("hour",)}


def extract(
    table: Table,
    comm: MPI.Intracomm,
    *,
    label: ColumnName = "label",
    task: Literal["auto", "classification", "regression"] = "auto",
    drop: tuple[ColumnName, ...] = (),
    keep: tuple[ColumnName, ...] = (),
    numbers: tuple[ColumnName, ...] = (),
    one_hot: tuple[ColumnName, ...] = (),
    hash: tuple[ColumnName, ...] = (),
    embed: tuple[ColumnName, ...] = (),
    one_hot_levels: Count = 64,
    embed_levels: Natural = 0,
    hash_levels: Count = 1000,
    buckets: Count = 64,
    dependencies: Path = "",
    aggregates: tuple[str, ...] = (),
) -> Features:
    """Collective. Make float32 vectors of the columns, each by what it holds, and classes or numbers of a label column.

    Args:
        table: this rank's rows; its column `_split`, uint8, says which are for training (0), validation (1) and
            test (2). Others, and rows without a label, are left out and counted.
        label: the column that holds the class, of numbers, text or booleans, or the number to be told.
        task: regression takes the label for a number, classification for a class; auto tells them apart by what it
            holds, see `hvdedge/label_values.py`.
        drop, keep, numbers, one_hot, hash, embed: names or patterns (p*) of columns that are left out, not left out
            as keys or near-constant, or encoded in that way whatever they hold; each column in one of them at most.
        one_hot_levels: the most values of a text column that get a column each.
        embed_levels: the most values of a text column, of more than `one_hot_levels`, that get a number each, for
            models that embed, such as dense.
        hash_levels: the most values of a text column that are hashed.
        buckets: the columns that a hashed one becomes.
        dependencies: a data_profile.json, "{run}/data_profile.json" for the run's own: columns that follow from another
            one by its functional dependencies are left out.
        aggregates: features of groups, such as "mean(amount) by client"; see `hvdedge/aggregates.py`.
    Returns:
        The examples: x float32 (rows, features), y int64 (rows,), the number of the label among the sorted classes,
        or float32 (rows,), the label in standard deviations. `encodings` in the spec is what `encodings.encode` takes;
        `embedded` are its columns of level numbers.
    Raises:
        InputError: where the label or a pattern does not fit the table, a column is named twice or cannot be encoded
            as asked, there is no row for training, or no column is left.
    """
    answer = fit_label(table, label, task, comm)
    names = [name for name in table.columns if name not in (label, SPLIT)]
    asked = {"drop": drop, "keep": keep, "numbers": numbers, "one_hot": one_hot, "hash": hash, "embed": embed}
    overruled = _overruled(table, names, asked)
    grouped = parse(aggregates, table.select(names))
    train, rows_left_out = training_rows(table, names, label, comm)
    plan = _Plan(one_hot_levels, embed_levels, hash_levels, buckets, overruled, dependencies)
    encodings = _fit(train, names, plan, comm)
    encodings += _aggregated(train, grouped, plan, comm)
    if not encodings:
        raise InputError(
            f"extract: received no column that tells rows apart ({_why(plan.left_out)}), allowed: at least one; "
            "name one in extract.keep"
        )

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        rows = max(BATCH_BYTES // (4 * width(encodings)), 1)
        for whole in table.batches():
            for batch in (whole.slice(start, rows) for start in range(0, whole.num_rows, rows)):
                codes, _ = split_codes(batch, label)
                codes, batch = codes[codes != LEFT_OUT], batch.filter(pa.array(codes != LEFT_OUT))
                yield codes, encode(batch, encodings), answer.encode(batch.column(label))

    spec = {
        **answer.facts,
        "input_shape": [width(encodings)],
        "encodings": encodings,
        "label": label,
    }
    levels = embedded(encodings)
    spec |= {"embedded": levels} if levels else {}
    return Features(
        spec,
        batches,
        y_type=answer.y_type,
        left_out=plan.left_out,
        rows_left_out=rows_left_out,
        decisions=plan.decisions | answer.decisions,
    )


def _overruled(table: Table, names: list[str], asked: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Return column -> the option that names it."""
    found: dict[str, str] = {}
    chosen = table.select(names)
    for option, patterns in asked.items():
        where = f"extract.{option}"
        for name in matching(chosen, patterns, where) if patterns else ():
            holds = kind(table.schema.field(name).type)
            if name in found:
                raise InputError(f"{where}: received {name!r}, which {found[name]} names, too, allowed: one; choose")
            able = holds not in (*TEXTS, "array") if option == "numbers" else holds != "array" or option == "drop"
            if not able:
                allowed = "numbers, booleans and times" if option == "numbers" else "columns without arrays"
                raise InputError(f"{where}: received {name!r}, {holds}, allowed: {allowed}; leave it out")
            found[name] = option
    return found


@dataclass
class _Seen:
    """What the training rows hold in a column: cells with a value, different ones, share of the most frequent."""

    kind: str
    known: int
    distinct: int
    top: float
    levels: list[str] | None
    span: float


@dataclass
class _Spread:
    """Ends, mean, standard deviation and skew of the numbers that an encoding makes of the training rows."""

    low: float
    high: float
    mean: float
    deviation: float
    skew: float


class _Plan:
    """What is decided about each column, and why."""

    def __init__(
        self,
        one_hot_levels: int,
        embed_levels: int,
        hash_levels: int,
        buckets: int,
        overruled: dict[str, str],
        dependencies: str,
    ):
        self.one_hot_levels = one_hot_levels
        self.embed_levels = embed_levels
        self.hash_levels = hash_levels
        self.buckets = buckets
        self.overruled = overruled
        self.dependencies = dependencies
        self.left_out: dict[str, str] = {}
        self.decisions: dict[str, str] = {}

    def why_not(self, name: str, seen: _Seen, rows: int) -> str:
        """Return why a column is left out; nothing where it is not."""
        if self.overruled.get(name) == "drop":
            return "drop names it"
        if seen.kind == "array":
            return "arrays cannot be encoded"
        if not seen.known:
            return "no value in the training rows"
        if name in self.overruled:
            return ""
        for share, what in ((seen.top, "have one value"), (1 - seen.known / rows, "have no value")):
            if share >= NEAR_CONSTANT:
                return f"near-constant: {share:.2%} of the training rows {what}"
        is_unlikely = seen.kind in TEXTS or (seen.kind == "integer" and seen.known**2 >= 2 * CHANCE * seen.span)
        if seen.distinct == seen.known and is_unlikely:
            return f"a key: {seen.known:,} training rows, none with the value of another"
        return ""

    def decide(self, seen: dict[str, _Seen], rows: int) -> None:
        """Put into `left_out` the columns that are, and why."""
        reasons = {name: self.why_not(name, its, rows) for name, its in seen.items()}
        if self.dependencies:
            telling = [  # a column whose values hardly come twice determines all others
                name for name, its in seen.items() if not reasons[name] and 2 * its.distinct <= its.known
            ]
            for name, other in determined(pathlib.Path(self.dependencies), telling).items():
                if name not in self.overruled:
                    reasons[name] = f"follows from {other} by a functional dependency"
        self.left_out = {name: reason for name, reason in reasons.items() if reason}

    def way(self, name: str, seen: _Seen) -> tuple[str, str]:
        """Return how a column is encoded, and why: number, one_hot, embed, hash, frequency or parts."""
        option = self.overruled.get(name, "keep")
        if option != "keep":
            return option.removesuffix("s"), f"{option} names it"
        if seen.kind in TEXTS:
            values = f"{seen.distinct:,} values in the training rows"
            if seen.distinct <= self.one_hot_levels:
                return "one_hot", f"{values}, up to {self.one_hot_levels:,}"
            if seen.distinct <= self.embed_levels:
                return "embed", f"{values}, over {self.one_hot_levels:,}, up to {self.embed_levels:,}"
            if seen.distinct <= self.hash_levels:
                return "hash", f"{values}, over {self.one_hot_levels:,}"
            return "frequency", f"{values}, over {self.hash_levels:,}"
        return ("parts" if seen.kind in CLOCKS else "number"), f"it holds {seen.kind}"


def _fit(train: Table, names: list[str], plan: _Plan, comm: MPI.Intracomm) -> list[Encoding]:
    """Collective. Return how the columns are encoded; what is left out or decided, and why, is put into the plan."""
    seen, rows = _look(train, names, comm)
    drafts: dict[str, list[Encoding]] = {}
    plan.decide(seen, rows)
    for name in (name for name in names if name not in plan.left_out):
        way, reason = plan.way(name, seen[name])
        drafts[name] = _draft(name, way, seen[name], plan.buckets)
        plan.decisions[name] = f"{way}: {reason}"
    _count_bins(train, [one for draft in drafts.values() for one in draft if one["as"] == "frequency"], comm)
    measured = [one for draft in drafts.values() for one in draft if one["as"] in (*SCALED, *CIRCLES)]
    spreads = dict(zip(map(id, measured), _spreads(train, measured, comm), strict=True))
    encodings: list[Encoding] = []
    for name, draft in drafts.items():
        settled, note = _settle(draft, [spreads[id(one)] for one in draft if id(one) in spreads])
        missing = rows - seen[name].known
        if missing > MISSING * rows:
            settled.append({"column": name, "as": "missing"})
            note += f"; a column says where it is missing: {missing / rows:.1%} of the training rows"
        if settled:
            plan.decisions[name] += note
        else:
            del plan.decisions[name]
            plan.left_out[name] = "the same year, month, weekday and hour in all training rows"
        encodings += settled
    return encodings


def _aggregated(train: Table, grouped: list[Aggregate], plan: _Plan, comm: MPI.Intracomm) -> list[Encoding]:
    """Collective. Return the features of groups that were asked for, scaled, but for those that never change."""
    encodings = []
    drafts = fit(train, grouped, comm)
    for draft, spread in zip(drafts, _spreads(train, drafts, comm), strict=True):
        if spread.low < spread.high:
            encodings.append(draft | {"mean": spread.mean, "deviation": spread.deviation})
            plan.decisions[draft["of"]] = f"aggregate: of {len(draft['levels']):,} groups in the training rows"
        else:
            plan.left_out[draft["of"]] = "the same in all groups"
    return encodings


def _look(train: Table, names: list[str], comm: MPI.Intracomm) -> tuple[dict[str, _Seen], int]:
    """Collective. Return what the training rows hold in each column, and how many they are."""
    kinds = {name: kind(train.schema.field(name).type) for name in names}
    known = np.zeros(len(names) + 1, np.int64)  # the last one: the rows
    for batch in train.batches():
        known += [*(batch.num_rows - is_missing(batch.column(name)).sum() for name in names), batch.num_rows]
    comm.Allreduce(MPI.IN_PLACE, known, op=MPI.SUM)
    filled = [name for name, cells in zip(names, known, strict=False) if cells and kinds[name] != "array"]
    counted = value_counts(train, filled, MOST_VALUES, comm)
    integers = [name for name in filled if kinds[name] == "integer"]
    spans = dict(zip(integers, zip(*ends(train.select(integers), comm), strict=True), strict=True))
    rows = int(known[-1])
    seen = {}
    for name, cells in zip(names, known.tolist(), strict=False):
        values = counted.get(name)
        low, high = spans.get(name, (0.0, 0.0))
        seen[name] = _Seen(
            kind=kinds[name],
            known=cells,
            distinct=_distinct(train, name, comm) if name in filled and values is None else len(values or ()),
            top=values["count"][0].as_py() / rows if values else 0.0,
            levels=to_text(values["value"].combine_chunks()).to_pylist() if values else None,
            span=high - low + 1,
        )
    return seen, rows


def _distinct(train: Table, name: str, comm: MPI.Intracomm) -> int:
    """Collective. Return how many different values a column has, by their hashes; a rank holds 8 bytes a row."""
    hashes = [hash_text(to_text(batch.column(name))) for batch in train.select([name]).batches()]
    every = np.concatenate([np.empty(0, np.uint64), *hashes])
    return frequencies(every[every != 0], comm)[1]


def _draft(name: str, way: str, seen: _Seen, buckets: int) -> list[Encoding]:
    """Return the encodings that come into question, what is fitted still open."""
    if way == "number":
        return [{"column": name, "as": way, "log": log} for log in (False, True)]
    if way in ("one_hot", "embed"):
        if seen.levels is None:
            raise InputError(
                f"extract.{way}: received {name!r}, which has over {MOST_VALUES:,} values, allowed: fewer; hash it"
            )
        return [{"column": name, "as": way, "levels": seen.levels}]
    if way == "hash":
        return [{"column": name, "as": way, "buckets": buckets}]
    if way == "frequency":
        return [{"column": name, "as": way, "counts": [0] * BINS}]
    return [{"column": name, "as": part} for part in PARTS[seen.kind]]


def _count_bins(train: Table, drafts: list[Encoding], comm: MPI.Intracomm) -> None:
    """Collective. Put into each how many training rows have a value in each bin."""
    for one in drafts:
        counts = np.zeros(BINS, np.int64)
        for batch in train.select([one["column"]]).batches():
            places, _ = hash_places(batch.column(0), BINS)
            counts += np.bincount(places[places >= 0], minlength=BINS)
        comm.Allreduce(MPI.IN_PLACE, counts, op=MPI.SUM)
        one["counts"] = counts.tolist()


def _spreads(train: Table, drafts: list[Encoding], comm: MPI.Intracomm) -> list[_Spread]:
    """Collective. Return how the numbers spread that each encoding makes of the training rows."""
    if not drafts:
        return []
    schema = pa.schema([(str(number), pa.float64()) for number in range(len(drafts))])
    names = schema.names

    def numbers(batch: pa.RecordBatch) -> pa.RecordBatch:
        made = [pa.array(unscaled(batch.column(one["column"]), one), pa.float64()) for one in drafts]
        return pa.RecordBatch.from_arrays(made, schema=schema)

    made = train.map(numbers, schema)
    low, high = ends(made, comm)
    mean, deviation = moments(made, names, low, high, comm)
    deviation = np.where(deviation > 0, deviation, 1.0)

    def cubes(batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = [((to_floats(cells) - mean[i]) / deviation[i]) ** 3 for i, cells in enumerate(batch.columns)]
        return pa.RecordBatch.from_arrays([pa.array(column, pa.float64()) for column in columns], schema=schema)

    cubed = Table(schema, made.num_rows, made.workspace, lambda: map(cubes, made.batches()))
    skew = means(cubed, names, comm)
    return [_Spread(*map(float, found)) for found in zip(low, high, mean, deviation, skew, strict=True)]


def _settle(draft: list[Encoding], spreads: list[_Spread]) -> tuple[list[Encoding], str]:
    """Return a column's encodings with what was fitted, and what was decided about them."""
    note = ""
    if draft[0]["as"] == "number":
        before, after = (abs(spread.skew) for spread in spreads)
        is_better = before > SKEWED and before - after >= LESS_SKEWED
        draft, spreads = draft[is_better:][:1], spreads[is_better:][:1]
        note = f", by its logarithm as the skew is {after:.1f} and not {before:.1f}" if is_better else ""
    elif spreads and draft[0]["as"] != "frequency":
        constant = [one["as"] for one, spread in zip(draft, spreads, strict=True) if spread.low == spread.high]
        spreads = [spread for spread in spreads if spread.low < spread.high]
        draft = [one for one in draft if one["as"] not in constant]
        note = f", without what never changes: {', '.join(constant)}" if constant else ""
    for one, spread in zip(draft, spreads, strict=False):
        if one["as"] in SCALED:
            one |= {"mean": spread.mean, "deviation": spread.deviation}
    return draft, note


def _why(left_out: dict[str, str]) -> str:
    return shown([f"{name}: {reason}" for name, reason in left_out.items()])
