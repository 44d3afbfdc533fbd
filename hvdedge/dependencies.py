"""Functional dependencies, given or found, and the cells that break them.

X -> Y says that rows with the same X have the same Y. In dirty data it only nearly holds, so a dependency is looked
for among pairs of columns as follows. In the groups of rows with one value of X, of three rows at least,

    agreement = rows that have their group's most frequent Y / rows

must reach 1 - tolerance. That alone is no news where one value of Y fills nearly all rows, so chance is taken out.
First the noise goes: a value of Y is established if most of its rows lie in groups where it leads; a misspelling never
leads. Of the rows with established values (n rows, k groups, the most frequent value in b of them)

    lambda = 1 - (n - rows that have their group's value) / (n - b) * (n - 1) / (n - k)

must reach 0.95: knowing X leaves a twentieth of the doubt about Y. The last factor takes out what many small groups
explain by chance alone.

A cell that differs from what its group says is a violation. Errors fall anywhere, so violations that gather where
another column has one value (all hospitals of Alaska break `measure -> state average`) are an exception to the rule,
not errors. Of a dependency that was given, they are one only where they are spread over groups: more than a tenth of
them lie outside of the largest one, else one customer's misspelt city would be right. And where a row breaks most of
what one X says, X is wrong, not the rest of the row.

All counts are whole numbers, so what is found is the same on any number of ranks. Pairs of values are counted where
they are and added up on the rank that the value of X belongs to.

Source: Kivinen and Mannila 1995, Approximate inference of functional dependencies from relations (agreement, as g3);
Goodman and Kruskal 1954, Measures of association for cross classifications (lambda); Piatetsky-Shapiro and Matheus
1993, Measuring data dependencies in large databases (the correction for chance).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.columns import plain, value_counts
from hvdedge.errors import InputError
from hvdedge.methods import unknown
from hvdedge.parallel import allgather_rows, counts, send_rows
from hvdedge.spool import Spool
from hvdedge.tables import Table

LEAST_GROUP = 3  # rows: in a group of two that differ, neither is the majority
LEAST_ROWS = 30  # in such groups: with fewer, agreement is chance
DOUBT_LEFT = Fraction(1, 20)
LEAST_EXCEPTION = 5  # violations under one value of another column, and half of its rows
SPREAD = 10  # one in so many of them, or more, must lie outside of their largest group, where the rule was given
SAMPLE_ROWS = 20_000  # pairs of columns are first tried on so many rows
CHUNK_ROWS = 65_536
GROUP_BYTES = 24  # of a value of the determinant
NO_VALUE = -1  # the code of an empty cell, and of one whose column has too many values
CODE = pa.schema([("code", pa.int32())])


@dataclass(frozen=True)
class Dependency:
    """Rows with the same values in `determinant` have the same value in `dependent`."""

    determinant: tuple[str, ...]
    dependent: str
    is_given: bool = True

    def __str__(self) -> str:
        return f"{', '.join(self.determinant)} -> {self.dependent}"


def parse(texts: Sequence[str], columns: Sequence[str], where: str) -> list[Dependency]:
    """Return the dependencies written as `A, B -> C, D`.

    Raises:
        InputError: where one is written otherwise or names no column; `where` names the option.
    """
    found = []
    for text in texts:
        sides = [[name.strip() for name in side.split(",")] for side in text.split("->")]
        if len(sides) != 2 or not all(name for side in sides for name in side):
            raise InputError(
                f"{where}: received {text!r}, allowed: columns -> columns, such as ZipCode -> City; write it so"
            )
        found += [_checked(tuple(sides[0]), name, columns, where) for name in sides[1] if name not in sides[0]]
    return list(dict.fromkeys(found))


def read_constraints(path: str, columns: Sequence[str]) -> list[Dependency]:
    """Return the dependencies in a file of denial constraints, `t1&t2&EQ(t1.A,t2.A)&IQ(t1.B,t2.B)` a line.

    Raises:
        InputError: where it cannot be read, names no column, or a constraint is no dependency.
    """
    found = []
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.strip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: received constraints that cannot be read ({error}); check the path") from None
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        where = f"{path}, line {number}"
        parts = re.fullmatch(r"t1&t2((?:&EQ\(t1\.[^,]+,t2\.[^,]+\))+)&IQ\(t1\.([^,]+),t2\.\2\)", line)
        same = re.findall(r"EQ\(t1\.([^,]+),t2\.([^,]+?)\)(?=&|$)", parts[1]) if parts else []
        if not parts or any(one != other for one, other in same):
            raise InputError(
                f"{where}: received {line!r}, allowed: t1&t2&EQ(t1.A,t2.A)&IQ(t1.B,t2.B); rewrite it or leave it out"
            )
        found.append(_checked(tuple(one for one, _ in same), parts[2], columns, where))
    return list(dict.fromkeys(found))


def _checked(determinant: tuple[str, ...], dependent: str, columns: Sequence[str], where: str) -> Dependency:
    for name in (*determinant, dependent):
        if name not in columns:
            raise InputError(unknown(where, name, columns))
    return Dependency(tuple(dict.fromkeys(determinant)), dependent)


class Codes:
    """Every cell of some columns as a whole number: the place of its value among the column's, NO_VALUE for none.

    A value's place is that by falling count, then rising value, over all rows: the same on every rank.

    Args:
        table: this rank's rows.
        names: the columns.
        limit: how many values a column may have; one with more is left out and named in `left_out`.
    Attributes:
        values, counts: column -> its values and how often each is there, in all rows.
    """

    def __init__(self, table: Table, names: Sequence[str], limit: int, comm: MPI.Intracomm):
        """Collective."""
        found = value_counts(table, names, limit, comm)
        self.left_out = [name for name in names if found[name] is None]
        self.values: dict[str, pa.Array] = {}
        self.counts: dict[str, np.ndarray] = {}
        for name, counted in found.items():
            if counted is not None:
                self.values[name] = counted["value"].combine_chunks()
                self.counts[name] = counted["count"].to_numpy()
        self.num_rows = table.num_rows
        self.total_rows = int(counts(table.num_rows, comm).sum())
        self.first_row = int(counts(table.num_rows, comm)[: comm.rank].sum())
        self._limit = limit
        self._workspace = table.workspace
        self._columns: dict[tuple[str, ...], Spool] = {(name,): self._spool(len(self.values)) for name in self.values}
        self._sizes: dict[tuple[str, ...], int] = {(name,): len(values) for name, values in self.values.items()}
        held: list[pa.RecordBatch] = []
        for batch in table.select(list(self.values)).batches() if self.values else ():
            held.append(batch)
            if sum(part.num_rows for part in held) >= CHUNK_ROWS:
                self._encode(held)
                held = []
        self._encode(held)

    @property
    def table_bytes(self) -> int:
        """What may be held of them, as of one table."""
        return self._workspace.table_bytes

    def of(self, names: tuple[str, ...]) -> Iterator[np.ndarray]:
        """Yield this rank's codes of a column, or of several taken together, in chunks, in order."""
        for batch in self._columns[names]:
            yield batch.column(0).to_numpy()

    def chunks(self) -> Iterator[dict[tuple[str, ...], np.ndarray]]:
        """Yield this rank's codes of everything, in chunks, in order."""
        for parts in zip(*(self.of(names) for names in self._columns), strict=True):
            yield dict(zip(self._columns, parts, strict=True))

    def size(self, names: tuple[str, ...]) -> int:
        """Return how many values there are."""
        return self._sizes[names]

    def __contains__(self, names: tuple[str, ...]) -> bool:
        return names in self._columns

    def join(self, names: tuple[str, ...], comm: MPI.Intracomm) -> bool:
        """Collective. Make codes of several columns taken together; say whether there are few enough values."""
        if names in self or len(names) == 1 or any((name,) not in self for name in names):
            return names in self
        whole = names[:1]
        for name in names[1:]:
            if (*whole, name) not in self and not self._join(whole, (name,), comm):
                return False
            whole = (*whole, name)
        return True

    def _join(self, one: tuple[str, ...], other: tuple[str, ...], comm: MPI.Intracomm) -> bool:
        width = self.size(other)

        def keys() -> Iterator[np.ndarray]:
            for a, b in zip(self.of(one), self.of(other), strict=True):
                yield np.where((a < 0) | (b < 0), NO_VALUE, a.astype(np.int64) * width + b)

        mine = np.empty(0, np.int64)
        for part in keys():
            if len(mine) <= self._limit:
                mine = np.union1d(mine, part)
        is_over = np.array(len(mine) > self._limit + 1)
        comm.Allreduce(MPI.IN_PLACE, is_over, op=MPI.LOR)
        everyone = np.empty(0, np.int64) if is_over else np.unique(allgather_rows(mine[mine >= 0], comm))
        if is_over or len(everyone) > self._limit:
            return False
        spool = self._spool(len(self._columns) + 1)
        for part in keys():
            codes = np.where(part < 0, NO_VALUE, np.searchsorted(everyone, part)).astype(np.int32)
            spool.append(pa.record_batch([codes], schema=CODE))
        self._columns[(*one, *other)] = spool
        self._sizes[(*one, *other)] = len(everyone)
        return True

    def _encode(self, held: list[pa.RecordBatch]) -> None:
        for name in self.values if held else ():
            parts = [
                pc.index_in(plain(batch.column(name)), value_set=self.values[name]).fill_null(NO_VALUE)
                for batch in held
            ]
            self._columns[(name,)].append(pa.record_batch([pa.concat_arrays(parts)], schema=CODE))

    def _spool(self, sharers: int) -> Spool:
        return Spool(CODE, self._workspace.scratch, self._workspace.table_bytes // max(sharers, 1))


@dataclass(frozen=True)
class Groups:
    """What the rows with one value of a determinant have in the dependent column, in all rows.

    Every array is int32 with an entry for each value of the determinant: the rows, their most frequent value (empty
    counts as one) and its count, the second most frequent value and its count.
    """

    rows: np.ndarray
    first: np.ndarray
    first_count: np.ndarray
    second: np.ndarray
    second_count: np.ndarray
    established: np.ndarray  # for each value of the dependent: whether it leads where most of its rows are

    @property
    def known(self) -> np.ndarray:
        """The most frequent value that is not empty, NO_VALUE where there is none."""
        return np.where(self.first >= 0, self.first, self.second)


def find(codes: Codes, names: Sequence[str], tolerance: float, comm: MPI.Intracomm) -> list[Dependency]:
    """Collective. Return the dependencies between single columns that hold but for a share `tolerance` of the rows.

    Where their groups would need more memory than a table may, those of each column that most rows agree with are kept.
    """
    allowed = Fraction(repr(float(tolerance)))
    names = [name for name in names if (name,) in codes and codes.size((name,)) >= 2]
    pairs = [(x, y) for x in names for y in names if x != y]
    agreeing: dict[Dependency, int] = {}
    for x, y in _worth_counting(codes, names, pairs, allowed, comm):
        counted = _count((x,), (y,), codes, comm)
        rows = _agreeing(counted, codes.size((x,)), codes.size((y,)), allowed, comm)
        if rows:
            agreeing[Dependency((x,), y, is_given=False)] = rows
    kept: set[Dependency] = set()
    voters: Counter[str] = Counter()
    place = {}
    for dependency in sorted(agreeing, key=lambda one: -agreeing[one]):
        place[dependency] = voters[dependency.dependent]
        voters[dependency.dependent] += 1
    left_bytes = codes.table_bytes
    for dependency in sorted(place, key=lambda one: (place[one], -agreeing[one])):
        left_bytes -= GROUP_BYTES * codes.size(dependency.determinant)
        if left_bytes >= 0:
            kept.add(dependency)
    return [dependency for dependency in agreeing if dependency in kept]


def group(dependency: Dependency, codes: Codes, comm: MPI.Intracomm) -> Groups:
    """Collective. Return what each value of the determinant says about the dependent."""
    x, y = dependency.determinant, (dependency.dependent,)
    counted = _count(x, y, codes, comm)
    summary = allgather_rows(_summarise(*counted), comm)
    table = np.full((codes.size(x), 5), NO_VALUE, np.int32)
    table[:, [0, 2, 4]] = 0
    table[summary[:, 0]] = summary[:, 1:]
    rows, first, first_count, second, second_count = (np.ascontiguousarray(column) for column in table.T)
    established = _established(counted, codes.size(x), codes.size(y), comm)
    return Groups(rows, first, first_count, second, second_count, established)


def spread(parts: Iterable[tuple[np.ndarray, np.ndarray]], values: int, groups: int, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return for each value whether its rows are spread over groups, as the module's docstring has it.

    Args:
        parts: codes of a value, NO_VALUE for rows that do not count, and of a group, of this rank's rows.
    """
    value, _, count = _count_pairs(parts, groups + 1, comm)
    rows, largest = np.zeros((2, values), np.int64)
    np.add.at(rows, value, count)
    np.maximum.at(largest, value, count)
    both = np.stack([rows, largest])  # a value belongs to one rank, the others hold 0
    comm.Allreduce(MPI.IN_PLACE, both, op=MPI.SUM)
    return SPREAD * (both[0] - both[1]) >= both[0]


def _worth_counting(
    codes: Codes, names: list[str], pairs: list[tuple[str, str]], tolerance: Fraction, comm: MPI.Intracomm
) -> list[tuple[str, str]]:
    """Collective. Return the pairs that may hold, going by every so-manieth row: a group's leading value has at least
    the share in a part of the group that it has in all of it, so that what fails twice as badly there fails."""
    step = -(-codes.total_rows // SAMPLE_ROWS)
    if not pairs or not step:
        return []
    taken = []
    for name in names:
        start, chosen = codes.first_row, [np.empty(0, np.int32)]
        for part in codes.of((name,)):
            chosen.append(part[-start % step :: step])
            start += len(part)
        taken.append(np.concatenate(chosen))
    sample = dict(zip(names, allgather_rows(np.stack(taken, axis=1), comm).T, strict=True))
    is_worth = np.zeros(len(pairs), bool)
    for number in range(comm.rank, len(pairs), comm.size):
        x, y = (sample[name] for name in pairs[number])
        keys, count = np.unique(x[x >= 0] * np.int64(2**32) + y[x >= 0] + 1, return_counts=True)
        summary = _summarise(keys >> 32, (keys & 0xFFFFFFFF) - 1, count)
        rows, first, first_count = summary[summary[:, 1] >= 2][:, [1, 2, 3]].T
        rows, agreeing = rows.sum(), first_count[first >= 0].sum()
        is_worth[number] = rows - agreeing <= 2 * tolerance * int(rows) or (step > 1 and rows < LEAST_ROWS)
    comm.Allreduce(MPI.IN_PLACE, is_worth, op=MPI.LOR)
    return [pair for pair, worth in zip(pairs, is_worth, strict=True) if worth]


def _count(
    x: tuple[str, ...], y: tuple[str, ...], codes: Codes, comm: MPI.Intracomm
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Collective. Return how often values occur together: values of x that belong to this rank, values of y, counts.

    They are sorted by x, then y, and belong to rank x % ranks; empty cells count as a value of y, not of x.
    """
    return _count_pairs(zip(codes.of(x), codes.of(y), strict=True), codes.size(y) + 1, comm)


def _count_pairs(
    parts: Iterable[tuple[np.ndarray, np.ndarray]], width: int, comm: MPI.Intracomm
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Collective. Return what `_count` does of these codes of x and y; those of y are below width - 1."""
    keys, count = np.empty(0, np.int64), np.empty(0, np.int64)
    for a, b in parts:
        known = a >= 0
        more, of_each = np.unique(a[known] * np.int64(width) + b[known] + 1, return_counts=True)
        keys, count = _added(np.concatenate([keys, more]), np.concatenate([count, of_each]))
    pairs = send_rows(np.stack([keys, count], axis=1), keys // width % comm.size, comm)
    keys, count = _added(pairs[:, 0], pairs[:, 1])
    return keys // width, keys % width - 1, count


def _added(keys: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each key once, sorted, with the sum of its counts."""
    order = np.argsort(keys, kind="stable")
    keys, count = keys[order], count[order]
    starts = np.flatnonzero(np.diff(keys, prepend=NO_VALUE))
    return keys[starts], np.add.reduceat(count, starts) if len(starts) else count


def _summarise(x: np.ndarray, y: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return for each x its code, rows, most frequent y and count, second y and count: int32 (values of x, 6).

    Of equally frequent values of y, the one that is more frequent in all rows goes first.
    """
    order = np.lexsort((y, -count, x))
    x, y, count = x[order], y[order], count[order]
    starts = np.flatnonzero(np.diff(x, prepend=NO_VALUE))
    if not len(starts):
        return np.empty((0, 6), np.int32)
    ends = np.append(starts[1:], len(x))
    second = np.minimum(starts + 1, len(x) - 1)
    has_second = ends - starts > 1
    columns = [
        *(x[starts], np.add.reduceat(count, starts), y[starts], count[starts]),
        *(np.where(has_second, y[second], NO_VALUE), np.where(has_second, count[second], 0)),
    ]
    return np.stack(columns, axis=1).astype(np.int32)


def _established(
    counted: tuple[np.ndarray, np.ndarray, np.ndarray], x_size: int, y_size: int, comm: MPI.Intracomm
) -> np.ndarray:
    """Collective. Return for each value of y whether it leads where most of its rows in groups are."""
    x, y, count = _in_groups(counted, x_size)
    leads, all_of = np.zeros((2, y_size), np.int64)
    summary = _summarise(x, y, count)
    known = summary[summary[:, 2] >= 0]
    np.add.at(leads, known[:, 2], known[:, 3])
    np.add.at(all_of, y[y >= 0], count[y >= 0])
    both = np.stack([leads, all_of])
    comm.Allreduce(MPI.IN_PLACE, both, op=MPI.SUM)
    return (2 * both[0] >= both[1]) & (both[1] > 0)


def _in_groups(
    counted: tuple[np.ndarray, np.ndarray, np.ndarray], x_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs of the groups that are large enough to say something."""
    x, y, count = counted
    rows = np.zeros(x_size, np.int64)
    np.add.at(rows, x, count)
    large = rows[x] >= LEAST_GROUP
    return x[large], y[large], count[large]


def _agreeing(
    counted: tuple[np.ndarray, np.ndarray, np.ndarray],
    x_size: int,
    y_size: int,
    tolerance: Fraction,
    comm: MPI.Intracomm,
) -> int:
    """Collective. Return how many rows agree that x tells y; 0 where it does not, as the module's docstring has it."""
    established = _established(counted, x_size, y_size, comm)
    x, y, count = _in_groups(counted, x_size)
    summary = _summarise(x, y, count)
    agreeing = summary[summary[:, 2] >= 0][:, 3].sum()
    kept = (y >= 0) & established[y]
    x, y, kept_count = x[kept], y[kept], count[kept]
    known = _summarise(x, y, kept_count)
    of_value = np.zeros(y_size, np.int64)
    np.add.at(of_value, y, kept_count)
    sums = np.array([count.sum(), agreeing, kept_count.sum(), known[:, 3].sum(), len(known)], np.int64)
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    comm.Allreduce(MPI.IN_PLACE, of_value, op=MPI.SUM)
    rows, agreeing, n, told, k = sums.tolist()
    b = int(of_value.max(initial=0))
    if rows < LEAST_ROWS or rows - agreeing > tolerance * rows or n in (b, k):
        return 0
    return agreeing if (n - told) * (n - 1) <= DOUBT_LEFT * (n - b) * (n - k) else 0
