"""What kind of column a column is, and its cells as numbers, as text, or counted.

The kinds are those of the records: boolean, integer, float, date, time, timestamp, category, text, array. A column of
categories is text with a dictionary; everything here takes it apart first, because each batch may have another one.
"""

import fnmatch
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.errors import InputError
from hvdedge.parallel import allgather_bytes
from hvdedge.tables import SPLIT, Table, from_bytes, to_bytes

NUMBERS = ("integer", "float")
CLOCKS = ("date", "time", "timestamp")
TEXTS = ("category", "text")
LAST = np.nextafter(253_402_300_800e6, 0)  # microseconds from 1970 to the last float64 before the year 10000
ARRAY_COLUMNS = 8  # from so many on, columns that differ by a number are taken as the cells of one array


def kind(type: pa.DataType) -> str:
    """Return which of the records' kinds of column an Arrow type is."""
    tests = {
        "boolean": pa.types.is_boolean,
        "integer": pa.types.is_integer,
        "float": lambda type: pa.types.is_floating(type) or pa.types.is_decimal(type),
        "date": pa.types.is_date,
        "time": pa.types.is_time,
        "timestamp": pa.types.is_timestamp,
        "category": pa.types.is_dictionary,
        "array": lambda type: pa.types.is_nested(type),
    }
    return next((name for name, holds in tests.items() if holds(type)), "text")


def of_kind(table: Table, kinds: Iterable[str], names: Sequence[str] | None = None) -> list[str]:
    """Return those of `names` (default: all columns that hold data) whose kind is one of `kinds`."""
    names = table.columns if names is None else names
    return [name for name in names if kind(table.schema.field(name).type) in set(kinds)]


def natural(name: str) -> tuple:
    """Return a key that sorts p2 before p10."""
    return tuple((int(part), part) if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part)


def arrays(names: Iterable[str]) -> list[list[str]]:
    """Return groups of at least `ARRAY_COLUMNS` names that differ by their numbers only, each in natural order."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(re.sub(r"\d+", "#", name), []).append(name)
    return [sorted(group, key=natural) for group in groups.values() if len(group) >= ARRAY_COLUMNS]


def matching(table: Table, patterns: Sequence[str], where: str) -> list[str]:
    """Return the columns that match one of `patterns` (such as p*), in the table's order; all for no pattern.

    Raises:
        InputError: where a pattern matches no column; `where` names the option.
    """
    for pattern in patterns:
        if not fnmatch.filter(table.columns, pattern):
            raise InputError(
                f"{where}: received {pattern!r}, which matches no column, allowed: {shown(offered(table))}; "
                "name columns of the table"
            )
    return [name for name in table.columns if not patterns or any(fnmatch.fnmatchcase(name, p) for p in patterns)]


def offered(table: Table) -> list[str]:
    """Return the columns that a user can name: those that hold data, without the split that extract adds."""
    return [name for name in table.columns if name != SPLIT]


def of_classes(names: Sequence[str]) -> str:
    """Return `class a` or `classes a, b` for a message."""
    return f"class{'es' * (len(names) != 1)} {shown(names)}"


def shown(names: Sequence[str]) -> str:
    """Return the names for a message, the middle left out where there are many."""
    short = [*names] if len(names) <= 12 else [*names[:9], "...", *names[-2:]]
    return ", ".join(short) or "nothing"


def plain(column: pa.Array) -> pa.Array:
    """Return a column of categories as text, any other as it is."""
    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def known(column: pa.Array) -> pa.Array:
    """Return the cells that hold something, categories as text, without what is no finite number."""
    column = plain(column)
    return (column.filter(pc.is_finite(column)) if pa.types.is_floating(column.type) else column).drop_null()


def to_floats(column: pa.Array) -> np.ndarray:
    """Return the cells as float64, NaN where there is no finite number; times as days, or as microseconds.

    A whole number beyond 2**53 is rounded to the nearest float64.
    """
    type = column.type
    if pa.types.is_date(type):
        column = column.cast(pa.date32()).cast(pa.int32())
    elif pa.types.is_timestamp(type):
        column = column.cast(pa.timestamp("us", type.tz), safe=False).cast(pa.int64())
    elif pa.types.is_time(type):
        column = column.cast(pa.time64("us"), safe=False).cast(pa.int64())
    values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values), values, np.nan) + 0.0  # + 0.0 turns -0.0 into 0.0


def from_floats(values: np.ndarray, type: pa.DataType) -> pa.Array:
    """Return what `to_floats` made, or the mean of such, as cells of `type`: NaN is null, the rest is rounded.

    What lies beyond the ends of a whole type becomes its end: the float64 of 2**63 - 1 is 2**63.
    """
    if kind(type) == "float":
        return pa.array(values, pa.float64(), from_pandas=True).cast(type)
    if pa.types.is_timestamp(type):
        values = np.minimum(values, LAST)  # else 9999-12-31T23:59:59.999999 comes back as a year that Python lacks
    ends = np.iinfo(type.to_pandas_dtype() if pa.types.is_integer(type) else np.int64)
    missing, rounded = np.isnan(values), np.rint(values)
    is_high = rounded >= float(ends.max)
    whole = np.where(missing | is_high, 0, np.maximum(rounded, float(ends.min))).astype(ends.dtype)
    cells = pa.array(np.where(is_high, ends.max, whole), mask=missing)
    if pa.types.is_date(type):
        return cells.cast(pa.int32()).cast(pa.date32()).cast(type)
    if pa.types.is_timestamp(type):
        return cells.cast(pa.timestamp("us", type.tz)).cast(type, safe=False)
    return cells.cast(pa.time64("us")).cast(type, safe=False) if pa.types.is_time(type) else cells.cast(type)


def to_text(column: pa.Array) -> pa.Array:
    """Return the cells as they stand in logs and truth files; lists as JSON, bytes in hexadecimal."""
    if pa.types.is_nested(column.type):
        cells = (None if cell is None else json.dumps(cell, default=str) for cell in column.to_pylist())
        return pa.array(cells, pa.string())
    if pa.types.is_binary(column.type) or pa.types.is_fixed_size_binary(column.type):
        return pa.array((None if cell is None else cell.hex() for cell in column.to_pylist()), pa.string())
    return plain(column).cast(pa.string())


def value_counts(table: Table, names: Sequence[str], limit: int, comm: MPI.Intracomm) -> dict[str, pa.Table | None]:
    """Collective. Return how often each value is in all rows: (value, count) by falling count, then rising value.

    None for a column that has more than `limit` values. A rank holds up to 2 * `limit` values of each column.
    """
    held = {name: Counter(limit) for name in names}
    for batch in table.select(list(names)).batches() if names else ():
        for name in names:
            held[name].add(known(batch.column(name)))
    return merged_counts(held, table.schema, comm)


def merged_counts(counters: Mapping[str, "Counter"], schema: pa.Schema, comm: MPI.Intracomm) -> dict:
    """Collective. Return what `value_counts` does, of columns that were counted on the way."""
    over = np.array([counter.is_over for counter in counters.values()], np.int64)
    comm.Allreduce(MPI.IN_PLACE, over, op=MPI.MAX)
    found: dict[str, pa.Table | None] = {}
    for (name, counter), its_over in zip(counters.items(), over, strict=True):
        found[name] = None if its_over else counter.merge(schema.field(name).type, comm)
        if found[name] is None:
            counter.give_up()
    return found


class Counter:
    """The values of one column so far, with their counts; it gives up where they are too many.

    Args:
        limit: how many different values are held.
        limit_bytes: what their texts may take together.
        heir: takes the values and counts that were held when it gave up.
    """

    def __init__(self, limit: int, limit_bytes: float = math.inf, heir: Callable[[pa.Table], None] | None = None):
        self.limit, self.limit_bytes = limit, limit_bytes
        self.is_over = False
        self._heir = heir
        self._parts: list[pa.Table] = []
        self._values = self._bytes = 0
        self._room, self._room_bytes = limit, limit_bytes

    def add(self, cells: pa.Array) -> None:
        """Count cells, of which all are `known`."""
        if self.is_over or not len(cells):
            return
        if pa.types.is_floating(cells.type):
            cells = pc.add(cells, pa.scalar(0, cells.type))  # -0 is 0
        found = cells.value_counts()
        self._parts.append(pa.table({"value": found.field(0), "count": found.field(1)}))
        self._values += len(found)
        self._bytes += text_size_bytes(found.field(0))
        if self._values > self._room or self._bytes > self._room_bytes:
            self._parts = [summed(self._parts)]
            self._values, self._bytes = self._size(self._parts[0])
            self._room = max(2 * self._values, self.limit)  # else each batch would sum them all again
            self._room_bytes = max(2 * self._bytes, self.limit_bytes)
            if self._values > self.limit or self._bytes > self.limit_bytes:
                self.give_up()

    def give_up(self) -> None:
        """Hold nothing from now on."""
        parts, self._parts = self._parts, []
        self.is_over = True
        if self._heir is not None and parts:
            self._heir(parts[0] if len(parts) == 1 else summed(parts))

    def merge(self, type: pa.DataType, comm: MPI.Intracomm) -> pa.Table | None:
        """Collective. Return the counts of all ranks, None where they are too many."""
        schema = pa.schema({"value": type.value_type if pa.types.is_dictionary(type) else type, "count": pa.int64()})
        mine = summed(self._parts) if self._parts else schema.empty_table()
        sent = allgather_bytes(to_bytes(mine.to_batches(), schema), comm)
        everyone = summed([pa.Table.from_batches(from_bytes(part), schema) for part in sent])
        values, size_bytes = self._size(everyone)
        if values > self.limit or size_bytes > self.limit_bytes:
            return None
        return everyone.sort_by([("count", "descending"), ("value", "ascending")])

    @staticmethod
    def _size(counted: pa.Table) -> tuple[int, int]:
        return len(counted), text_size_bytes(counted["value"])


def text_size_bytes(cells: pa.Array | pa.ChunkedArray) -> int:
    """Return the bytes of texts, without what their places take; 0 for cells that are no texts."""
    is_text = pa.types.is_string(cells.type) or pa.types.is_binary(cells.type) or pa.types.is_large_string(cells.type)
    return pc.sum(pc.binary_length(cells)).as_py() or 0 if is_text else 0


def summed(parts: list[pa.Table]) -> pa.Table:
    """Return (value, count) with each value once; no null among them."""
    whole = pa.concat_tables(parts).combine_chunks()
    if not len(whole):
        return whole
    coded = whole["value"].combine_chunks().dictionary_encode()  # several times as fast as group_by
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    sums = np.bincount(coded.indices, whole["count"])  # float64: exact below 2**53
    return pa.table({"value": coded.dictionary, "count": sums.astype(np.int64)})
