"""What each column holds: how many cells, which values, how they are spread.

One pass gives counts, ends, order and the frequencies of the values. A column of up to `MOST_VALUES` different values
(fewer where memory is short) is described from these alone. The values of any other are counted by their keys (see
`value_hashes`), and its numbers summed exactly (see `exact_sums`). With y = (x - median) / (the largest |x - median|)
and its means m1, m2, m3,

    mean = median + m1,   variance v = (m2 - m1^2) n / (n - 1),   skew = (m3 - 3 m1 m2 + 2 m1^3) / (m2 - m1^2)^(3/2)

All of it is the same bit for bit on any number of ranks. The keys of texts and decimals are hashes: their most frequent
values, masks and moments take one more reading.
"""

import decimal
import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.columns import (
    CLOCKS,
    NUMBERS,
    TEXTS,
    Counter,
    from_floats,
    kind,
    known,
    merged_counts,
    of_kind,
    to_floats,
    to_text,
)
from hvdedge.exact_sums import half_range, power_means
from hvdedge.hashes import look_up, text_bytes
from hvdedge.options import Count
from hvdedge.parallel import allgather_json
from hvdedge.quantiles import place_of, rising, select
from hvdedge.tables import Table
from hvdedge.value_hashes import VALUE_BYTES, Frequencies, Values, cells_of, tells_cells, value_keys

PROBABILITIES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
MOST_VALUES = 100_000
AT_ONCE = 4  # batches of a table that are taken as one
MOST_MASKS = 10_000  # and different lengths; beyond it they are not told


def profile(table: Table, comm: MPI.Intracomm, *, bins: Count = 20, top: Count = 10) -> dict:
    """Collective. Describe each column: counts, ends, moments, quantiles, histograms, frequent values, order.

    Args:
        table: this rank's rows.
        bins: the bars of a histogram.
        top: how many of the most frequent values are listed, of equally frequent ones the smaller; fewer where more
            values are as frequent as may be held.
    Returns:
        The same on every rank, for JSON: {rows, columns: name -> {type, count, missing, distinct, distinct_is_exact,
        min, max, order, mean, std, skew, quantiles, histogram, equal_depth, entropy, top, top_above}}, text columns
        also with lengths: {min, max, mean} and masks. Quantiles go by their probability ("0.5"), are numbers of the
        column (the lower one for the median of an even count); std is the sample's (n - 1), skew that of the rows; a
        histogram is {edges, counts}, of equally wide bars; equal_depth are the edges of bars that hold equally many
        rows; entropy is in bits; top is a list of {value, count}, without the values that are there up to top_above
        times; order is "rising", "falling", "constant" or null, over all rows that are not missing; masks, a list of
        {value, count}, has A for a capital, a for another letter, 9 for a digit. Times are ISO 8601. What is unknown or
        makes no sense for a type is null; a number that is not finite counts as missing.
    """
    types = {name: table.schema.field(name).type for name in table.columns}
    limit = int(np.clip(table.workspace.table_bytes // (VALUE_BYTES * max(len(types), 1)), 1000, MOST_VALUES))
    ends, counted, many = _ends_and_values(table, limit, comm)
    told, spread, frequent = _by_keys(table, many, bins, top, comm)
    texts = _read_again(table, told, spread, frequent, bins, limit, comm)

    columns: dict[str, dict[str, Any]] = {}
    for name, type in types.items():
        values = counted.get(name)
        its = kind(type)
        if values is not None and its in ("boolean", *NUMBERS, *CLOCKS) and len(values):
            spread[name] = _spread(values, bins)
        if values is not None and its in TEXTS:
            texts[name] = _changed(values, _masks), _changed(values, pc.utf8_length)
        columns[name] = {
            "type": its,
            **ends[name],
            **_frequencies(values, told.get(name)),
            **_described(spread.get(name), type),
            "top": _top(frequent.get(name, values), top),
        }
        if its in TEXTS:
            masks, lengths = texts[name]
            columns[name] |= {"masks": _top(masks, top), "lengths": _lengths(lengths)}
    rows = np.array(table.num_rows)
    comm.Allreduce(MPI.IN_PLACE, rows, op=MPI.SUM)
    return {"rows": int(rows), "columns": columns}


def _larger(table: Table) -> Iterator[pa.RecordBatch]:
    """Yield the rows `AT_ONCE` batches together; most steps cost as much for a small one."""
    batches = table.batches()
    while some := [*itertools.islice(batches, AT_ONCE)]:
        yield from pa.Table.from_batches(some, table.schema).combine_chunks().to_batches()


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return float(value) if isinstance(value, decimal.Decimal) else value


def _comparable(cell: pa.Scalar) -> Any:
    """Return a cell as JSON holds it, without rounding, so that two compare as the cells do.

    Clocks and decimals are whole numbers of their type's unit: local times repeat where summer ends.
    """
    if kind(cell.type) in CLOCKS:
        return cell.value
    value = cell.as_py()
    if isinstance(value, decimal.Decimal):
        return int(f"{value:f}".replace(".", ""))
    return value + 0.0 if isinstance(value, float) else _json(value)  # + 0.0 turns -0.0 into 0.0


def _told(value: Any, type: pa.DataType) -> Any:
    """Return for JSON what `_comparable` made of a cell of `type`."""
    if value is None:
        return None
    type = type.value_type if pa.types.is_dictionary(type) else type
    if kind(type) in CLOCKS:
        return _json(pa.scalar(value, type).as_py())
    return value / 10 ** max(type.scale, 0) if pa.types.is_decimal(type) else value


class _Ends:
    """Count, rows, ends (as `_comparable`) of a column so far, and whether it rises or falls."""

    def __init__(self) -> None:
        self.count, self.rows = 0, 0
        self.ends: list = []  # smallest, largest, first, last
        self.rises = self.falls = True

    def add(self, cells: pa.Array, rows: int, is_ordered: bool) -> None:
        """Take in the known cells of so many rows."""
        count = len(cells)
        if not count or not is_ordered:
            self.join(count, rows, [], True, True)
            return
        rises = falls = False
        before, after = cells.slice(0, count - 1), cells.slice(1)
        if self.rises:
            rises = pc.all(pc.less_equal(before, after), min_count=0).as_py()
        if self.falls:
            falls = pc.all(pc.greater_equal(before, after), min_count=0).as_py()
        ends = pc.min_max(cells)
        told = [ends["min"], ends["max"], cells[0], cells[-1]]
        self.join(count, rows, [_comparable(cell) for cell in told], rises, falls)

    def join(self, count: int, rows: int, ends: list, rises: bool, falls: bool) -> None:
        """Take in what comes after."""
        self.count, self.rows = self.count + count, self.rows + rows
        if ends and self.ends:
            low, high, first, last = self.ends
            self.rises = self.rises and rises and last <= ends[2]
            self.falls = self.falls and falls and last >= ends[2]
            self.ends = [min(low, ends[0]), max(high, ends[1]), first, ends[3]]
        elif ends:
            self.rises, self.falls, self.ends = rises, falls, ends

    def order(self) -> str | None:
        if not self.ends or not (self.rises or self.falls):
            return None
        return "constant" if self.rises and self.falls else "rising" if self.rises else "falling"


def _ends_and_values(
    table: Table, limit: int, comm: MPI.Intracomm
) -> tuple[dict[str, dict[str, Any]], dict[str, pa.Table | None], dict[str, Values]]:
    """Collective. Return column -> count, missing, min, max and order over all rows, its `columns.value_counts`, and
    the values of a column that has too many."""
    ordered = {name: kind(table.schema.field(name).type) != "array" for name in table.columns}
    mine = {name: _Ends() for name in ordered}
    spool_bytes = table.workspace.table_bytes // max(len(ordered), 1)
    seen = {
        name: Values(table.schema.field(name).type, limit, spool_bytes, table.workspace)
        for name in ordered
        if ordered[name]
    }
    for batch in _larger(table.select(table.columns)):
        for name, its in mine.items():
            cells = known(batch.column(name))
            its.add(cells, batch.num_rows, ordered[name])
            if name in seen:
                seen[name].add(cells)
    everyone = allgather_json({name: vars(its) for name, its in mine.items()}, comm)
    result = {}
    for name in ordered:
        its = _Ends()
        for told in everyone:
            its.join(**told[name])
        low, high = its.ends[:2] or (None, None)
        type = table.schema.field(name).type
        result[name] = {
            "count": its.count,
            "missing": its.rows - its.count,
            "min": _told(low, type),
            "max": _told(high, type),
            "order": its.order(),
        }
    counted = merged_counts({name: values.counter for name, values in seen.items()}, table.schema, comm)
    return result, counted, {name: seen[name] for name, values in counted.items() if values is None}


class _Spread:
    """Quantiles, the means of y, y^2 and y^3, and the histogram of a column's `size` numbers."""

    def __init__(self, size: int, quantiles: np.ndarray, means: np.ndarray, bars: np.ndarray):
        self.size, self.quantiles, self.means, self.bars = size, quantiles, means, bars

    @property
    def moments(self) -> tuple[float | None, float | None, float | None]:
        """Mean, standard deviation, skew; None for what is no number."""
        centre, wide = _scale(self.quantiles)
        m1, m2, m3 = map(Fraction, self.means.tolist())
        variance, third = float(m2 - m1 * m1), float(m3 - 3 * m1 * m2 + 2 * m1**3)
        std = math.sqrt(variance * self.size / (self.size - 1)) * wide if self.size > 1 and variance >= 0 else math.inf
        mean = centre + wide * float(m1)
        skew = third / variance**1.5 if variance > 1e-200 else None  # so little is rounding
        return mean if math.isfinite(mean) else None, std if math.isfinite(std) else None, skew


def _wanted(bins: int) -> list[float]:
    """Return the probabilities to look for: ends, quantiles, and the edges of `bins` bars of equal depth."""
    return [0, *PROBABILITIES, 1, *(edge / bins for edge in range(bins + 1))]


def _scale(quantiles: np.ndarray) -> tuple[float, float]:
    """Return the median, and half of what the ends are apart (see `half_range`)."""
    low, high = quantiles[0], quantiles[1 + len(PROBABILITIES)]
    return float(quantiles[1 + PROBABILITIES.index(0.5)]), float(half_range(low, high))


def _edges(quantiles: np.ndarray, bins: int) -> np.ndarray | None:
    """Return the edges of equally wide bars, None where the ends are further apart than a number can tell."""
    low, high = quantiles[0], quantiles[1 + len(PROBABILITIES)]
    return np.linspace(low, high, bins + 1) if high / 2 - low / 2 <= np.finfo(np.float64).max / 2 else None


def _spread(values: pa.Table, bins: int) -> _Spread:
    """Return the spread of values that were counted."""
    numbers, counts = to_floats(values["value"].combine_chunks()), values["count"].to_numpy()
    order = np.argsort(numbers)
    numbers, counts = numbers[order], counts[order]
    running = counts.cumsum()
    size = int(running[-1])
    places = [place_of(share, size) for share in _wanted(bins)]
    quantiles = numbers[np.searchsorted(running, places, side="right")]
    centre, wide = _scale(quantiles)
    y = numbers / wide - centre / wide
    means = np.array([math.fsum(y**power * counts) / size for power in (1, 2, 3)])
    edges = _edges(quantiles, bins)
    found = np.zeros(bins) if edges is None else np.histogram(numbers, edges, weights=counts)[0]
    return _Spread(size, quantiles, means, found.astype(np.int64))


def _by_keys(
    table: Table, many: dict[str, Values], bins: int, top: int, comm: MPI.Intracomm
) -> tuple[dict[str, Frequencies], dict[str, _Spread], dict[str, pa.Table | None]]:
    """Collective. Tell of columns that have too many values to count what their keys do, which are gone then.

    Returns:
        What the keys of each tell; the spread and the most frequent values of those whose keys tell their cells.
    """
    told: dict[str, Frequencies] = {}
    spread: dict[str, _Spread] = {}
    frequent: dict[str, pa.Table | None] = {}
    for name, values in many.items():
        its = told[name] = values.frequencies(top, _wanted(bins), comm)
        type = table.schema.field(name).type
        if tells_cells(type):
            spread[name] = _spread_of_many(values.numbers(), bins, its.quantiles, comm)[0]
            order = np.lexsort([its.keys, -its.held])
            frequent[name] = pa.table({"value": cells_of(its.keys[order], type), "count": its.held[order]})
        values.clear()
    return told, spread, frequent


def _read_again(
    table: Table,
    told: dict[str, Frequencies],
    spread: dict[str, _Spread],
    frequent: dict[str, pa.Table | None],
    bins: int,
    limit: int,
    comm: MPI.Intracomm,
) -> dict[str, tuple[pa.Table | None, pa.Table | None]]:
    """Collective. Add to `spread` and `frequent` the columns of `told` that are missing there, in one more pass over
    them, and return how often each mask and each length of their texts is."""
    names = [name for name in told if name not in spread]
    numeric = of_kind(table, NUMBERS, names)
    texts = of_kind(table, TEXTS, names)
    found = {name: Counter(limit, VALUE_BYTES * limit) for name in names}
    masks, lengths = ({name: Counter(MOST_MASKS, VALUE_BYTES * limit) for name in texts} for _ in range(2))
    schema = pa.schema([(name, pa.float64()) for name in numeric])

    def numbers() -> Iterator[pa.RecordBatch]:
        for batch in _larger(table.select(names)) if names else ():
            for name in names:
                cells, keys = known(batch.column(name)), told[name].keys
                if len(keys):
                    is_frequent = look_up(value_keys(cells), keys, np.ones(len(keys), bool), False)
                    found[name].add(cells.filter(pa.array(is_frequent)))
                if name in masks:
                    cells = to_text(cells)
                    masks[name].add(_masks(cells))
                    lengths[name].add(pc.utf8_length(cells))
            yield pa.RecordBatch.from_arrays(
                [pa.array(to_floats(batch.column(name))) for name in numeric], schema=schema
            )

    numbers_again = Table.from_batches(schema, numbers(), table.workspace)
    spread |= zip(numeric, _spread_of_many(numbers_again, bins, None, comm), strict=True)
    frequent |= merged_counts(found, table.schema, comm)
    counted_masks = merged_counts(masks, pa.schema([(name, pa.string()) for name in texts]), comm)
    counted_lengths = merged_counts(lengths, pa.schema([(name, pa.int32()) for name in texts]), comm)
    return {name: (counted_masks[name], counted_lengths[name]) for name in texts}


def _spread_of_many(table: Table, bins: int, quantiles: np.ndarray | None, comm: MPI.Intracomm) -> list[_Spread]:
    """Collective. Return the spread of each column of floats; `quantiles` are those that are `_wanted`, if known."""
    names = table.schema.names
    found = select(table, [[name] for name in names], _wanted(bins), comm) if quantiles is None else quantiles
    scales = np.array([_scale(quantiles) for quantiles in found]).reshape(-1, 2)
    means = power_means(table, names, scales[:, 0], scales[:, 1], comm)
    bars = np.zeros((len(names), bins + 1), np.int64)  # and the number of all
    edges = [_edges(quantiles, bins) for quantiles in found]
    for batch in table.batches():
        for row, name in enumerate(names):
            values = batch.column(name).to_numpy()
            values = values[~np.isnan(values)]
            bars[row, -1] += len(values)
            its = edges[row]
            if its is not None:
                values = rising(values)
                starts = np.searchsorted(values, its[:-1])
                bars[row, :-1] += np.diff(starts, append=np.searchsorted(values, its[-1], "right"))
    comm.Allreduce(MPI.IN_PLACE, bars, op=MPI.SUM)
    return [_Spread(int(bars[row, -1]), found[row], means[row], bars[row, :-1]) for row in range(len(names))]


def _described(spread: _Spread | None, type: pa.DataType) -> dict[str, Any]:
    is_clock, is_number = kind(type) in CLOCKS, kind(type) in NUMBERS
    mean, std, skew = (None, None, None) if spread is None or is_clock else spread.moments
    described: dict[str, Any] = {"mean": mean, "std": std, "skew": skew}
    if spread is None or not (is_clock or is_number):
        return described | {"quantiles": None, "histogram": None, "equal_depth": None}
    cells = [_json(cell) for cell in from_floats(spread.quantiles, type).to_pylist()]
    quantiles = {str(share): cell for share, cell in zip(PROBABILITIES, cells[1:], strict=False)}
    edges, histogram = _edges(spread.quantiles, len(spread.bars)), None
    if edges is not None:
        shown = from_floats(edges, type).to_pylist() if is_clock else edges.tolist()
        histogram = {"edges": [_json(edge) for edge in shown], "counts": spread.bars.tolist()}
    return described | {"quantiles": quantiles, "histogram": histogram, "equal_depth": cells[2 + len(PROBABILITIES) :]}


def _masks(texts: pa.Array) -> pa.Array:
    """Return the texts with A for each capital, a for any other letter, 9 for each digit; null for null."""
    data, _, lengths = text_bytes(texts)
    if data.size and data.max() >= 128:
        for pattern, sign in ((r"\p{Lu}", "A"), (r"[\p{Ll}\p{Lt}\p{Lm}\p{Lo}]", "a"), (r"\p{N}", "9")):
            texts = pc.replace_substring_regex(texts, pattern, sign)
        return texts
    signs = np.arange(128, dtype=np.uint8)
    for first, last in ("AZ", "az", "09"):
        signs[ord(first) : ord(last) + 1] = ord("9" if first == "0" else first)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    masks = pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(signs[data]))
    return pc.if_else(texts.is_valid(), masks, pa.scalar(None, pa.string()))


def _changed(values: pa.Table, change: Any) -> pa.Table:
    """Return how often each `change(text)` is, given how often each text is."""
    texts = to_text(values["value"].combine_chunks())
    table = pa.table({"value": change(texts), "count": values["count"]})
    summed = table.group_by("value").aggregate([("count", "sum")]).rename_columns(["value", "count"])
    return summed.sort_by([("count", "descending"), ("value", "ascending")])


def _lengths(lengths: pa.Table | None) -> dict[str, Any]:
    if lengths is None or not len(lengths):
        return {"min": None, "max": None, "mean": None}
    values, counts = lengths["value"].to_numpy().astype(np.int64), lengths["count"].to_numpy()
    mean = int(values @ counts) / int(counts.sum())
    return {"min": int(values.min()), "max": int(values.max()), "mean": mean}


def _frequencies(values: pa.Table | None, told: Frequencies | None) -> dict[str, Any]:
    """Return what is told of a column by its counted values, or by their hashes; by nothing for one of lists."""
    found: dict[str, Any]
    if told is not None:
        found = {"distinct": told.distinct, "entropy": told.entropy, "top_above": told.above}
    elif values is not None:
        found = {"distinct": len(values), "entropy": _entropy(values), "top_above": 0}
    else:
        found = {"distinct": None, "entropy": None, "top_above": None}
    return found | {"distinct_is_exact": found["distinct"] is not None}


def _entropy(values: pa.Table) -> float | None:
    counts = values["count"].to_numpy()
    if not len(counts):
        return None
    shares = counts / counts.sum()
    return abs(math.fsum(shares * np.log2(shares)))


def _top(values: pa.Table | None, top: int) -> list[dict[str, Any]] | None:
    if values is None:
        return None
    return [{"value": _json(row["value"]), "count": row["count"]} for row in values.slice(0, top).to_pylist()]
