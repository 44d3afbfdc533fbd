"""Empty the numbers that cannot be, and mend misspelt words and cells that break a dependency between columns.

1. Numbers far outside of what their column else holds are emptied, for a later method to fill (`outliers.py`, or
   `isolation.py`, which looks at whole rows).
2. Cells that break a functional dependency get the most probable value given the rest of their row (`dependencies.py`
   says which dependencies hold, `votes.py` what the value is). So do empty cells that one tells. Where no dependency
   is given, those that nearly hold between single columns are found.
3. Rare words a few letters away from a frequent word of their column are spelt like it (`spelling.py`), where no
   dependency says that they are right.

A repair is done where it is sure enough, `confidence`; the others, down to 0.1, are only listed, in the quarantine of
this stage.

Source: Chu, Ilyas and Papotti 2013, Holistic data cleaning; Rekatsinas et al. 2017, HoloClean.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge import outliers as fences
from hvdedge.columns import NUMBERS, TEXTS, arrays, kind, matching, of_kind, plain, to_floats, to_text
from hvdedge.dependencies import Codes, Dependency, find, parse, read_constraints
from hvdedge.errors import InputError
from hvdedge.isolation import Forest
from hvdedge.options import ColumnName, ColumnRule, Count, Fraction, Natural, Path, Positive, Share
from hvdedge.parallel import agree, counts
from hvdedge.spelling import misspellings
from hvdedge.tables import Table
from hvdedge.truth import Cells, CleanTable, rates, read_cells
from hvdedge.votes import Court, Verdict

TELLING = ("boolean", "integer", "date", *TEXTS)  # the kinds of column between which dependencies are looked for
MOST_COLUMNS = 64  # so many of them; pairs of columns grow with the square
LEAST_LISTED = 0.1  # what is less sure is not even a doubt
LEAST_VALUES, MOST_VALUES, BYTES_PER_VALUE = 1000, 100_000, 100  # different values of a column, known to every rank
RULES = ("out_of_range", "dependency", "spelling")


def clean(
    table: Table,
    comm: MPI.Intracomm,
    *,
    columns: tuple[ColumnName, ...] = (),
    outliers: Literal["gap", "robust_z", "isolation", "none"] = "gap",
    pool: bool = True,
    slack: Positive = 0.5,
    tail: Fraction = 0.01,
    z: Positive = 6.0,
    trees: Count = 100,
    score: Share = 0.7,
    dependencies: tuple[ColumnRule, ...] = (),
    constraints: Path = "",
    discover: bool = True,
    tolerance: Fraction = 0.1,
    exceptions: bool = True,
    spelling: bool = True,
    confidence: Share = 0.6,
    truth: Path = "",
    seed: Natural = 0,
) -> Table:
    """Collective. Empty numbers that cannot be; mend misspelt words and cells that break a dependency.

    Args:
        table: this rank's rows.
        columns: names or patterns (p*) of the columns that may be changed; all for none.
        outliers: how numbers that cannot be are told: by the gap between them and the rest, by their robust z, or by
            how few random splits isolate their row; or not at all.
        pool: whether columns whose names differ only by a number are judged as one distribution (gap).
        slack: how far beyond its quantiles a column may reach, in widths between them (gap).
        tail: the share of the numbers that may lie beyond each quantile, or stand apart; below 0.5 (gap).
        z: how many robust standard deviations a number may be away from the median (robust_z).
        trees: how many to grow (isolation).
        score: the score above which a row is an outlier; its number that sets it apart most is emptied (isolation).
        dependencies: rules such as "ZipCode -> City", "State, Measure -> Average"; these and no others hold.
        constraints: a file of rules written as denial constraints, t1&t2&EQ(t1.A,t2.A)&IQ(t1.B,t2.B) a line.
        discover: whether to find dependencies where none are given.
        tolerance: the share of the rows that may break a dependency that is found.
        exceptions: whether cells that break a dependency and gather where another column has one value are left; false
            takes them for errors like others.
        spelling: whether to mend misspelt words.
        confidence: how sure a repair must be to be done; others are listed in the quarantine (rule doubtful).
        truth: a clean table of the same shape, or a file that tells the true values of wrong cells (id, column, kind,
            value), of which those of the kinds out_of_range, dependency and spelling are looked at. It judges the
            result and changes nothing. A wrong number is found where it is emptied; a cell that was empty is to be
            found only in a column that depends on others, as it is for a later method to fill.
        seed: of the trees.
    Returns:
        The same rows, some cells empty or with another value. Each is in the change log: rule out_of_range,
        dependency or spelling.
    Raises:
        InputError: where a pattern or rule names no column, or rules or truth cannot be used.
    """
    names = matching(table, columns, "clean.errors.columns")
    if tail >= 0.5:
        raise InputError(f"clean.errors.tail: received {tail}, allowed: 0 to below 0.5; lower it")
    rules = parse(dependencies, table.columns, "clean.errors.dependencies")
    total = int(counts(table.num_rows, comm).sum())
    known: Cells | CleanTable | None = None
    with agree(comm):
        rules += read_constraints(constraints, table.columns) if constraints else []
        known = read_cells(truth, RULES, table.columns, total) if truth else None
    for name in of_kind(table, ("array",), _named(rules)):
        raise InputError(
            f"clean.errors.dependencies: received {name!r}, a column of arrays, allowed: others; leave it out"
        )
    first_row = int(counts(table.num_rows, comm)[: comm.rank].sum())
    log = _Log(table)
    numbers = of_kind(table, NUMBERS, names)
    spot: Spot | None = None
    left: dict[str, str] = {}
    if outliers == "isolation" and numbers:
        spot = _by_isolation(Forest(table, numbers, trees, seed, comm), score)
    elif outliers == "gap":
        spot = _by_limits(fences.by_gap(table, numbers, arrays(numbers) if pool else [], slack, tail, comm))
    elif outliers == "robust_z":
        limits, left = fences.by_robust_z(table, numbers, z, comm)
        spot = _by_limits(limits)
    result = _emptied(table, spot, log) if spot else table
    eligible = _eligible(table, rules, discover)
    texts = of_kind(table, TEXTS, names) if spelling else []
    coded = list(dict.fromkeys([*eligible, *texts]))
    limit = table.workspace.table_bytes // (BYTES_PER_VALUE * max(len(coded), 1))
    limit = min(max(limit, LEAST_VALUES), MOST_VALUES)
    codes = Codes(result, coded, limit, comm)
    left_out = dict.fromkeys(codes.left_out, f"more than {limit} values")
    rules = _usable(rules, codes, left_out, table, comm) if rules else find(codes, eligible, tolerance, comm)
    court = Court(codes, rules, comm, excepts=exceptions)
    repairs: dict[str, list[_Repairs]] = {name: [] for name in names}
    for verdict in court.verdicts(names):
        repairs[verdict.column].append(_of_verdict(verdict, codes))
    for name in texts:
        if name in codes.values:
            repairs[name] += _spelt(name, codes, court, repairs[name], confidence, comm)
    mended = {name: _rows_mended(parts, confidence) for name, parts in repairs.items()}
    repairs = {
        name: [part.without_doubts(mended[name], confidence) for part in parts] for name, parts in repairs.items()
    }
    some = np.array(sum(map(len, repairs.values())))
    comm.Allreduce(MPI.IN_PLACE, some, op=MPI.MAX)
    if some:
        result = _mended(result, repairs, confidence, log)
    _tell(court, mended, table, comm)
    table.workspace.metrics["errors"] = {
        **log.total(comm),
        **court.told(comm),
        "left_out": left_out | left,
        **(_judged(table, result, known, {rule.dependent for rule in rules}, first_row, comm) if known else {}),
    }
    return result


@dataclass(frozen=True)
class _Repairs:
    """What should stand in some cells of one column.

    Attributes:
        rows: numbers of this rank's rows, rising.
        values: of the column's type, categories as text.
        confidence: 0 to 1, for each.
        is_enough: whether what says so is enough to do it.
    """

    rule: str
    rows: np.ndarray
    values: pa.Array
    confidence: np.ndarray
    is_enough: np.ndarray

    def is_sure(self, least: float) -> np.ndarray:
        """Return which are to be done."""
        return self.is_enough & (self.confidence >= least)

    def without_doubts(self, rows: np.ndarray, least: float) -> "_Repairs":
        """Return the same without those that are not done, in rows where another one is."""
        kept = self.is_sure(least) | ~np.isin(self.rows, rows)
        values = self.values.filter(pa.array(kept))
        return _Repairs(self.rule, self.rows[kept], values, self.confidence[kept], self.is_enough[kept])


class _Log:
    """Writes down what is changed, and counts it."""

    def __init__(self, table: Table):
        self._workspace = table.workspace
        self._cells = {(name, rule): 0 for name in table.columns for rule in RULES}
        self._doubtful = 0
        self._tenths = np.zeros(11, np.int64)

    def changed(self, batch: pa.RecordBatch, name: str, rows: np.ndarray, after: pa.Array, rule: str) -> None:
        """Tell of cells that are about to become `after`, text."""
        places = pa.array(rows)
        self._workspace.log_changes(
            _file=batch.column("_file").take(places),
            _line=batch.column("_line").take(places),
            column=[name] * len(rows),
            before=to_text(batch.column(name).take(places)),
            after=after,
            rule=[rule] * len(rows),
        )
        self._cells[name, rule] += len(rows)

    def sure(self, confidence: np.ndarray) -> None:
        """Tell how sure the repairs are."""
        self._tenths += np.bincount((10 * confidence + 1e-9).astype(int), minlength=11)

    def doubtful(
        self, batch: pa.RecordBatch, name: str, rows: np.ndarray, then: pa.Array, confidence: np.ndarray
    ) -> None:
        """Tell of cells that are left as they are."""
        places = pa.array(rows)
        cells = zip(to_text(batch.column(name).take(places)).to_pylist(), then.to_pylist(), confidence, strict=True)
        self._workspace.set_aside(
            _file=batch.column("_file").take(places),
            _line=batch.column("_line").take(places),
            column=[name] * len(rows),
            text=[f"{now} -> {value}, confidence {sure:.2f}" for now, value, sure in cells],
            rule=["doubtful"] * len(rows),
        )
        self._doubtful += len(rows)

    def total(self, comm: MPI.Intracomm) -> dict[str, Any]:
        """Collective. Return the counts of all ranks, as metrics."""
        totals = np.array([*self._cells.values(), *self._tenths, self._doubtful], np.int64)
        comm.Allreduce(MPI.IN_PLACE, totals, op=MPI.SUM)
        *_, doubtful = counted = totals.tolist()
        cells = dict(zip(self._cells, counted, strict=False))
        columns = {name: sum(cells[name, rule] for rule in RULES) for name, _ in cells}
        rules = {rule: sum(count for (_, other), count in cells.items() if other == rule) for rule in RULES}
        return {
            "changed": sum(columns.values()),
            "columns": {name: count for name, count in columns.items() if count},
            "rules": {rule: count for rule, count in rules.items() if count},
            "confidence": {f"{t / 10}": count for t, count in enumerate(counted[len(cells) : -1]) if count},
            "doubtful": doubtful,
        }


Spot = Callable[[pa.RecordBatch], dict[str, np.ndarray]]  # which cells of a batch cannot be, by column


def _by_limits(limits: fences.Limits) -> Spot | None:
    def spot(batch: pa.RecordBatch) -> dict[str, np.ndarray]:
        cells = {name: to_floats(batch.column(name)) for name in limits}
        return {name: (cells[name] < low) | (cells[name] > high) for name, (low, high) in limits.items()}

    return spot if limits else None


def _by_isolation(forest: Forest, score: float) -> Spot:
    def spot(batch: pa.RecordBatch) -> dict[str, np.ndarray]:
        rows, column = forest.outlying(batch, score)
        wrong = {name: np.zeros(batch.num_rows, bool) for name in forest.names}
        for number, name in enumerate(forest.names):
            wrong[name][rows[column == number]] = True
            wrong[name] &= np.asarray(batch.column(name).is_valid())
        return wrong

    return spot


def _emptied(table: Table, spot: Spot, log: _Log) -> Table:
    def empty(batch: pa.RecordBatch) -> pa.RecordBatch:
        for name, wrong in spot(batch).items():
            rows = np.flatnonzero(wrong)
            if len(rows):
                log.changed(batch, name, rows, pa.nulls(len(rows), pa.string()), "out_of_range")
                column = batch.column(name)
                emptied = pc.if_else(pa.array(wrong), pa.scalar(None, column.type), column)
                batch = batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), emptied)
        return batch

    return table.map(empty)


def _eligible(table: Table, rules: list[Dependency], discover: bool) -> list[str]:
    """Return the columns whose pairs of values are counted: those of the rules, or those that may tell each other."""
    if rules or not discover:
        return _named(rules)
    numbers = {*of_kind(table, NUMBERS)}
    cells = {name for group in arrays(table.columns) if numbers.issuperset(group) for name in group}
    return [name for name in of_kind(table, TELLING) if name not in cells][:MOST_COLUMNS]


def _named(rules: list[Dependency]) -> list[str]:
    return list(dict.fromkeys(name for rule in rules for name in (*rule.determinant, rule.dependent)))


def _usable(
    rules: list[Dependency], codes: Codes, left_out: dict[str, str], table: Table, comm: MPI.Intracomm
) -> list[Dependency]:
    """Collective. Return the rules whose columns have values, and few enough; the others are named and told."""
    usable = []
    for rule in dict.fromkeys(rules):
        sides = (rule.determinant, (rule.dependent,))
        if all(codes.join(side, comm) for side in sides) and all(codes.size(side) for side in sides):
            usable.append(rule)
        else:
            left_out[str(rule)] = "too many values, or none"
            action = (
                f"did not look at {rule}: too many values for the memory, or none; give more memory, or leave it out"
            )
            table.workspace.events.append({"what": "dependency_left_out", "action": action})
    return usable


def _tell(court: Court, mended: dict[str, np.ndarray], table: Table, comm: MPI.Intracomm) -> None:
    """Collective. Add an event for each given dependency that does not hold afterwards."""
    for rule, rows, example in court.unsettled(mended, comm):
        action = f"left {rows} rows that break {rule}, as nothing is sure enough; they are listed, rule doubtful"
        if example:
            action += f"; some gather where {example[0]} = {example[1]}: if these are wrong, set exceptions = false"
        table.workspace.events.append({"what": "dependency_broken", "action": action})


def _of_verdict(verdict: Verdict, codes: Codes) -> _Repairs:
    values = codes.values[verdict.column].take(pa.array(verdict.then))
    return _Repairs("dependency", verdict.rows, values, verdict.confidence, verdict.is_enough)


def _rows_mended(parts: list[_Repairs], least: float) -> np.ndarray:
    return np.concatenate([np.empty(0, np.int64), *(part.rows[part.is_sure(least)] for part in parts)])


def _spelt(
    name: str, codes: Codes, court: Court, done: list[_Repairs], least: float, comm: MPI.Intracomm
) -> list[_Repairs]:
    """Collective. Return the cells of a column with a misspelt word, but for those that a dependency is sure of."""
    places, right, sure = misspellings(codes.values[name], codes.counts[name], comm)
    if not len(places):
        return []
    place = np.full(codes.size((name,)) + 1, -1, np.int64)  # the last one is that of an empty cell
    place[places] = np.arange(len(places))
    mended = {*_rows_mended(done, least).tolist()}
    found, start = [], 0
    for chunk, supported in zip(codes.of((name,)), court.supports(name), strict=True):
        rows = np.flatnonzero((place[chunk] >= 0) & ~supported)
        rows = rows[[start + row not in mended for row in rows.tolist()]] if len(rows) else rows
        chosen = place[chunk[rows]]
        values = pa.array(right, pa.string()).take(pa.array(chosen))
        found.append(_Repairs("spelling", start + rows, values, sure[chosen], np.ones(len(rows), bool)))
        start += len(chunk)
    return [part for part in found if len(part.rows)]


def _mended(table: Table, repairs: dict[str, list[_Repairs]], least: float, log: _Log) -> Table:
    position = 0

    def mend(batch: pa.RecordBatch) -> pa.RecordBatch:
        nonlocal position
        start, position = position, position + batch.num_rows
        whole = batch
        for name, parts in repairs.items():
            column, is_changed = plain(batch.column(name)), False
            for part in parts:
                low, high = np.searchsorted(part.rows, (start, position))
                if low == high:
                    continue
                rows, values = part.rows[low:high] - start, part.values.slice(low, high - low)
                sure = part.confidence[low:high]
                do = part.is_sure(least)[low:high]
                doubt = ~do & (sure >= LEAST_LISTED)
                if doubt.any():
                    log.doubtful(whole, name, rows[doubt], to_text(values.filter(pa.array(doubt))), sure[doubt])
                if do.any():
                    rows, values = rows[do], values.filter(pa.array(do))
                    log.changed(whole, name, rows, to_text(values), part.rule)
                    log.sure(sure[do])
                    mask = np.zeros(len(column), bool)
                    mask[rows] = True
                    column, is_changed = pc.replace_with_mask(column, pa.array(mask), values), True
            if is_changed:
                field = batch.schema.field(name)
                batch = batch.set_column(batch.schema.get_field_index(name), field, column.cast(field.type))
        return batch

    return table.map(mend)


def _judged(
    before: Table, after: Table, known: Cells | CleanTable, told: set[str], first_row: int, comm: MPI.Intracomm
) -> dict[str, float]:
    """Collective. Return the `rates` of the cells that differ between two tables of the same rows.

    Args:
        told: the columns that depend on others, in which an empty cell is to be found, too.
    """
    tally = np.zeros(3, np.int64)  # right, found, true
    for old, new in zip(before.batches(), after.batches(), strict=True):
        for name in before.columns if isinstance(known, Cells) else known.columns:
            was, now = to_text(old.column(name)), to_text(new.column(name))
            changed = ~np.asarray(pc.fill_null(pc.equal(was, now), False))
            changed &= np.asarray(was.is_valid()) | np.asarray(now.is_valid())
            if isinstance(known, Cells):
                true, kinds, values = known.find(to_text(old.column(known.id)), name)
                right = np.asarray(pc.fill_null(pc.or_kleene(pc.equal(kinds, RULES[0]), pc.equal(values, now)), False))
                right &= true
            else:
                of_kind = kind(before.schema.field(name).type)
                wrong = ~known.right(name, was, of_kind, first_row)
                true = wrong & (np.asarray(was.is_valid()) | changed | (name in told))
                right = known.right(name, now, of_kind, first_row) | (wrong & np.asarray(now.is_null()))
            tally += (changed & right).sum(), changed.sum(), true.sum()
        first_row += old.num_rows
    comm.Allreduce(MPI.IN_PLACE, tally, op=MPI.SUM)
    return rates(*tally.tolist())
