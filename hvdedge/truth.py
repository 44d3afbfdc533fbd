"""Judging a repair against a known truth. Methods decide without it; what they did is judged afterwards."""

import math
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from mpi4py import MPI

from hvdedge.columns import shown
from hvdedge.errors import InputError, one_line
from hvdedge.parallel import agree, allgather_rows, counts

SEPARATORS = ",;\t|:"
SAMPLE_LINES = 20
TRUE, FALSE = ("true", "t", "yes", "y", "1", "on"), ("false", "f", "no", "n", "0", "off")
NOTHING = ("", "na", "n/a", "nan", "null", "none", "-", "?")
NUMBER = re.compile(r"[+-]?(?:\d[\d,']*)?\.?\d+(?:e[+-]?\d+)?|[+-]?\d[\d,']*\.?")


def rates(right: int, found: int, true: int) -> dict[str, float]:
    """Return the counts, precision, recall and f1 of `found` things of which `right` are among the `true` ones."""
    precision = right / found if found else float(not true)
    recall = right / true if true else 1.0
    f1 = 2 * right / (found + true) if found + true else 1.0
    return {"right": right, "found": found, "true": true, "precision": precision, "recall": recall, "f1": f1}


class Cells:
    """The cells that are known to be wrong in the raw files: which record, which column, what kind, the true value.

    Args:
        path: a file with the columns column, kind and value; its first column names the records and has the name of
            the table's column that does.
        kinds: the kinds of trouble to look at.
        columns: the table's columns.
    Raises:
        InputError: where the file cannot be read or has other columns, or cells of other kinds only.
    """

    def __init__(self, path: str, kinds: Sequence[str], columns: Sequence[str]):
        cells = read(path)
        missing = [name for name in ("column", "kind", "value") if name not in cells.column_names]
        if missing:
            raise InputError(
                f"{path}: received the columns {', '.join(cells.column_names)}, allowed: an id, column, kind, value; "
                f"add {', '.join(missing)}"
            )
        self.id = cells.column_names[0]
        if self.id not in columns:
            raise InputError(
                f"{path}: received records named by {self.id!r}, which the table lacks, allowed: "
                f"{', '.join(columns)}; name the first column like one of these"
            )
        found = pc.unique(cells["kind"]).to_pylist()
        if found and not set(found) & set(kinds):
            raise InputError(
                f"{path}: received the kinds {shown([kind or repr(kind) for kind in found])}, allowed: "
                f"{', '.join(kinds)}; name the kind of each cell so, or leave the truth out"
            )
        cells = cells.filter(pc.is_in(cells["kind"], value_set=pa.array(kinds)))
        self._of = {
            name: cells.filter(pc.equal(cells["column"], name)) for name in pc.unique(cells["column"]).to_pylist()
        }

    def find(self, ids: pa.Array, column: str) -> tuple[np.ndarray, pa.Array, pa.Array]:
        """Return for the records `ids`, text, whether their cell in `column` is known, its kind and its true value."""
        known = self._of.get(column)
        if known is None:
            nothing = pa.nulls(len(ids), pa.string())
            return np.zeros(len(ids), bool), nothing, nothing
        place = pc.index_in(ids, value_set=known[self.id])
        rows = known.take(place)
        return np.asarray(place.is_valid()), rows["kind"].combine_chunks(), rows["value"].combine_chunks()


class Same:
    """Which records are known to be the same: a file of id and cluster, or of two ids and, perhaps, a verdict.

    Args:
        path: the file; in a link its first id is of one file and its second of the other, and ids may be alike in both.
        where: the option that names it, for errors.
        ids: this rank's ids, text; None where the table has none.
        files: a number for the file of each of this rank's rows.
    Attributes:
        unnamed: records of the table that a list of clusters does not name.
    Raises:
        RankError: of an InputError, where it cannot be read, has no rows, or names hardly any record of the table.
    """

    def __init__(
        self, path: str, where: str, ids: pa.ChunkedArray | None, files: np.ndarray, link: bool, comm: MPI.Intracomm
    ):
        read_here: list[pa.Table] = []
        with agree(comm):
            if ids is None:
                raise InputError(f"{where}: received {path!r} without id, allowed: with; set id as well")
            read_here.append(read(path))
            if not read_here[0].num_rows:
                raise InputError(
                    f"{path}: received no rows, allowed: ids of {where.rpartition('.')[0]}.id; give the truth of this "
                    "table, or leave it out"
                )
        assert ids is not None
        known, ids = read_here[0], ids.combine_chunks()
        self._here = len(ids)
        self._start = int(counts(self._here, comm)[: comm.rank].sum())
        one, other = known.column(0), known.column(1)
        is_named_so = known.column_names[1] == "cluster"
        if link and not is_named_so:
            ways = [
                (self._rows(one, ids, files == 0, comm), self._rows(other, ids, files != 0, comm)),
                (self._rows(one, ids, files != 0, comm), self._rows(other, ids, files == 0, comm)),
            ]
            self._one, self._other = max(ways, key=lambda way: int(((way[0] >= 0) & (way[1] >= 0)).sum()))
            self.are_pairs = True
        else:
            everywhere = np.ones(len(ids), bool)
            self._one = self._rows(one, ids, everywhere, comm)
            self.are_pairs = False
            if not is_named_so:
                self._other = self._rows(other, ids, everywhere, comm)
                known_ids = np.unique(self._other)
                self.are_pairs = 2 * int((known_ids >= 0).sum()) > pc.count_distinct(other).as_py()
            if not self.are_pairs:
                self._other = pc.index_in(other, pc.unique(other)).to_numpy(zero_copy_only=False).astype(np.int64)
        there = (self._one >= 0) & (self._other >= 0)
        total = int(counts(self._here, comm).sum())
        if total >= len(there) and 2 * int(there.sum()) < len(there):
            raise InputError(
                f"{path}: received {len(there)} rows of which {len(there) - int(there.sum())} name no record of the "
                f"table, allowed: ids of {where.rpartition('.')[0]}.id; give the truth of this table"
            )
        named = len(np.unique(self._one[self._one >= 0]))
        self.unnamed = 0 if self.are_pairs else total - named
        self._verdict = known.column(2) if known.num_columns > 2 else None
        if not self.are_pairs:  # who is alone in a cluster is in no pair
            there &= np.bincount(self._other)[self._other] > 1
        self._one, self._other = self._one[there], self._other[there]
        self._there = there
        del known, one, other, ids
        pa.default_memory_pool().release_unused()

    def _rows(self, names: pa.ChunkedArray, ids: pa.Array, here: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
        """Collective. Return the global number of the record of each name, -1 where there is none."""
        of = np.flatnonzero(here)
        place = pc.fill_null(pc.index_in(names.combine_chunks(), ids.take(pa.array(of))), -1).to_numpy(
            zero_copy_only=False
        )
        rows = np.where(place >= 0, self._start + (of[place] if len(of) else 0), -1).astype(np.int64)
        comm.Allreduce(MPI.IN_PLACE, rows, op=MPI.MAX)
        return rows

    def pairs(self, comm: MPI.Intracomm) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return pairs of records, global numbers, and whether they are the same; of clusters, those inside."""
        one, other = self._one, self._other
        if self.are_pairs:
            if self._verdict is None:
                return one, other, np.ones(len(one), bool)
            words = pc.utf8_lower(pc.utf8_trim_whitespace(self._verdict))
            same = np.asarray(pc.is_in(words, value_set=pa.array(["1", "true", "yes", "y", "match", "same", "1.0"])))
            return one, other, same[self._there]
        order = np.argsort(other, kind="stable")
        one, other = one[order], other[order]
        inside = other[1:] == other[:-1]
        return one[:-1][inside], one[1:][inside], np.ones(int(inside.sum()), bool)

    def judge(self, first: np.ndarray, comm: MPI.Intracomm) -> dict[str, float | None]:
        """Collective. Return the `rates` of all pairs of records that are in one cluster; None where the truth names no
        such pair.

        Args:
            first: for each of this rank's rows the first row of its cluster.
        """
        one, other = self._one, self._other
        if self.are_pairs:
            ties = np.stack([one, other], axis=1)
            if self._verdict is not None:
                ties = ties[self.pairs(comm)[2]]
            members, of = _closed(ties)
        else:
            members, places = np.unique(one, return_index=True)
            of = other[places]
        mine = slice(*np.searchsorted(members, [self._start, self._start + self._here]))
        true = np.full(self._here, -1, np.int64)
        true[members[mine] - self._start] = of[mine]
        rows = np.arange(self._start, self._start + self._here)
        tied = np.unique(allgather_rows(first[first != rows], comm))
        found = np.where((first != rows) | np.isin(rows, tied), first, -1)
        both = allgather_rows(np.stack([true, found], axis=1)[(true >= 0) | (found >= 0)], comm)

        def pairs_in(labels: np.ndarray) -> int:
            sizes = np.unique(labels[(labels >= 0).all(axis=1)], axis=0, return_counts=True)[1]
            return int((sizes * (sizes - 1) // 2).sum())

        wanted = pairs_in(both[:, :1])
        found_rates: dict[str, float | None] = {**rates(pairs_in(both), pairs_in(both[:, 1:]), wanted)}
        return found_rates if wanted else dict.fromkeys(found_rates)


def _closed(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all records in `pairs`, rising, and for each the first record of those it is tied to, also by others."""
    rows, ends = np.unique(pairs, return_inverse=True)
    a, b = ends.reshape(-1, 2).T
    first = np.arange(len(rows))
    while (first[a] != first[b]).any():
        low = np.minimum(first[a], first[b])
        np.minimum.at(first, first[a], low)
        np.minimum.at(first, first[b], low)
        while (first[first] != first).any():
            first = first[first]
    return rows, rows[first]


class CleanTable:
    """The true value of every cell: a clean table of the same rows in the same order.

    It may be written as it is, with the table's column names, or as one line a cell: the row's number from 0, its
    column, its value.

    Args:
        path: the file.
        columns: the table's columns.
        num_rows: the table's rows on all ranks.
    Raises:
        InputError: where it cannot be read, shares no column with the table or has another number of rows.
    """

    def __init__(self, path: str, columns: Sequence[str], num_rows: int):
        cells = read(path)
        names = cells.column_names
        is_list = len(names) == 3 and not set(names) <= set(columns)
        self._of = _of_list(cells, columns) if is_list else {name: cells[name] for name in names if name in columns}
        if not self._of:
            raise InputError(
                f"{path}: received the columns {', '.join(names)}, allowed: those of the table, {', '.join(columns)}, "
                "or a row's number, a column and a value; name them so"
            )
        lengths = {len(column) for column in self._of.values()}
        if lengths != {num_rows}:
            raise InputError(
                f"{path}: received {', '.join(map(str, sorted(lengths)))} rows, allowed: {num_rows}, those of the "
                "table; give a truth of the same shape, and judge before rows are merged or dropped"
            )

    @property
    def columns(self) -> list[str]:
        """The columns that are known."""
        return list(self._of)

    def cells(self, name: str, start: int, length: int) -> pa.Array:
        """Return what the rows from `start` on truly hold in a column, as text; null where nothing, or not known."""
        if name not in self._of:
            return pa.nulls(length, pa.string())
        true = self._of[name].slice(start, length).combine_chunks()
        return pc.if_else(
            pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(true)), value_set=pa.array(NOTHING)), None, true
        )

    def ends(self, name: str) -> tuple[float, float]:
        """Return the smallest and the largest number that a column truly holds, NaN where it holds none."""
        numbers = to_numbers(self._of[name].combine_chunks()) if name in self._of else np.empty(0)
        numbers = numbers[~np.isnan(numbers)]
        return (float(numbers.min()), float(numbers.max())) if len(numbers) else (math.nan, math.nan)

    def right(self, name: str, cells: pa.Array, kind: str, start: int) -> np.ndarray:
        """Return whether cells, text, are what the rows from `start` on truly hold in column `name`.

        They are compared as what they mean in a column of this kind: 100% and 100 are one number, yes and true one
        truth value, and blanks, case and the order of a date's parts make no difference.
        """
        pairs = pa.table({"cell": cells, "true": self._of[name].slice(start, len(cells)).combine_chunks()})
        pairs = pairs.append_column("row", pa.array(np.arange(len(cells))))
        right = np.zeros(len(cells), bool)
        for group in pairs.group_by(["cell", "true"]).aggregate([("row", "list")]).to_pylist():
            right[group["row_list"]] = _means(group["cell"], group["true"], kind)
        return right


def _of_list(cells: pa.Table, columns: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    """Return column -> its cells, from one line a cell; nothing where the lines are something else."""
    row, attribute, value = (cells.column(number) for number in range(3))
    numbers = pc.if_else(pc.match_substring_regex(row, r"^\d{1,12}$"), row, None).cast(pa.int64())
    if numbers.null_count or not pc.all(pc.is_in(attribute, value_set=pa.array(columns, pa.string()))).as_py():
        return {}
    length = (pc.max(numbers).as_py() or 0) + 1
    found = {}
    for name in pc.unique(attribute).to_pylist():
        is_of = pc.equal(attribute, name)
        place = pc.index_in(pa.array(np.arange(length)), value_set=numbers.filter(is_of).combine_chunks())
        found[name] = pa.chunked_array([value.filter(is_of).combine_chunks().take(place)])
    return found


def _means(cell: str | None, true: str | None, kind: str) -> bool:
    """Return whether a cell of a column of this kind, as text, is what the truth says, as it was written."""
    one, other = (
        re.sub(r"\s+", " ", unicodedata.normalize("NFC", text or "")).strip().casefold() for text in (cell, true)
    )
    if one == other or not one:
        return one == other or other in NOTHING
    if kind == "boolean":
        return other in (TRUE if one == "true" else FALSE)
    if kind in ("integer", "float"):
        numbers = [float(re.sub("[,']", "", found)) for found in NUMBER.findall(other)]
        readings = [*numbers, numbers[0] / 100] if len(numbers) == 1 and "%" in other else numbers[:1]
        return len(numbers) == 1 and any(abs(float(one) - true) <= 1e-9 * max(abs(true), 1.0) for true in readings)
    if kind in ("date", "time", "timestamp"):
        parts = [sorted(int(part) for part in re.findall(r"\d+", text) if int(part)) for text in (one, other)]
        return parts[0] == parts[1]
    return False


def to_numbers(cells: pa.Array) -> np.ndarray:
    """Return cells of text as float64, NaN for what is no plain number."""
    readable = pc.match_substring_regex(cells, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
    return pc.if_else(readable, cells, None).cast(pa.float64()).to_numpy(zero_copy_only=False)


def read_cells(path: str, kinds: Sequence[str], columns: Sequence[str], num_rows: int) -> Cells | CleanTable:
    """Return the truth in a file: the cells of some kinds that are known to be wrong, or a clean table.

    Raises:
        InputError: where it is neither; see there.
    """
    is_of_cells = "kind" in read(path).column_names and "kind" not in columns
    return Cells(path, kinds, columns) if is_of_cells else CleanTable(path, columns, num_rows)


def read(path: str) -> pa.Table:
    """Return a truth file, a CSV with a header, as text; empty cells are empty text.

    Raises:
        InputError: where it cannot be read or has less than two columns.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            header, *lines = [line for _, line in zip(range(SAMPLE_LINES), file, strict=False)] or [""]
        alike = {mark: sum(line.count(mark) == header.count(mark) for line in lines) for mark in SEPARATORS}
        separator = max(SEPARATORS, key=lambda mark: (header.count(mark) > 0, alike[mark], header.count(mark)))
        names = [name.strip().strip('"') for name in header.strip().split(separator)]
        table = pa.csv.read_csv(
            path,
            read_options=pa.csv.ReadOptions(column_names=names, skip_rows=1),
            parse_options=pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise InputError(
            f"{path}: received a truth file that cannot be read ({one_line(error)}); check the path"
        ) from None
    if len(names) < 2:
        raise InputError(f"{path}: received the one column {header.strip()!r}, allowed: a CSV of two or more; see docs")
    return table
