"""What each column holds: how many cells, which values, how they are spread.

One pass for counts and ends, one for the frequencies, eight at most for the quantiles (see `quantiles`), and one for
moments and histograms, which need the ends and the median first. With y = x - median,

    mean = median + mean(y),   M2 = sum (y - mean(y))^2,   std = sqrt(M2 / (n - 1))
    of two parts:  mean = mean_a + d n_b / n,   M2 = M2_a + M2_b + d^2 n_a n_b / n,   d = mean_b - mean_a

Counts, ends, quantiles, histograms and frequent values are exact and the same bit for bit on any number of ranks; mean
and std, sums of rounded numbers, to 1e-12 relative. A column of more than `MOST_VALUES` different values (fewer where
memory is short) has an estimated `distinct`, to about 1 % and the same on any number of ranks, and no `top`.

Source: Chan, Golub and LeVeque 1983, Algorithms for computing the sample variance (merging); Flajolet et al. 2007,
HyperLogLog.
"""

import decimal
import functools
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.columns import CLOCKS, NUMBERS, TEXTS, from_floats, kind, of_kind, plain, to_floats, value_counts
from hvdedge.options import Count
from hvdedge.parallel import allgather_bytes, allgather_json, allgather_rows
from hvdedge.quantiles import select
from hvdedge.tables import Table

PROBABILITIES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
MOST_VALUES = 100_000
VALUE_BYTES = 128  # what a value and its count take while they are counted
SKETCH_LOG2 = 14  # registers of a sketch: 16 KiB, a standard error of 0.8 %


def profile(table: Table, comm: MPI.Intracomm, *, bins: Count = 20, top: Count = 10) -> dict:
    """Collective. Describe each column: counts, ends, mean, quantiles, histogram, most frequent values.

    Args:
        table: this rank's rows.
        bins: the bars of a histogram, equally wide from the smallest to the largest number.
        top: how many of the most frequent values are listed; of equally frequent ones the smaller.
    Returns:
        The same on every rank, for JSON: {rows, columns: name -> {type, count, missing, distinct, distinct_is_exact,
        min, max, mean, std, quantiles, histogram, top}}, text columns also with lengths: {min, max, mean}. Quantiles
        go by their probability ("0.5"), are numbers of the column (the lower one for the median of an even count);
        std is the sample's (n - 1); a histogram is {edges, counts}; top is a list of {value, count}. Times are ISO
        8601. What is unknown or makes no sense for a type is null; a number that is not finite counts as missing.
    """
    types = {name: table.schema.field(name).type for name in table.columns}
    limit = int(np.clip(table.workspace.table_bytes // (VALUE_BYTES * max(len(types), 1)), 1000, MOST_VALUES))
    ends = _ends(table, comm)
    counted = value_counts(table, [name for name in types if kind(types[name]) != "array"], limit, comm)
    ordered = of_kind(table, ("boolean", *NUMBERS, *CLOCKS))
    found = select(table, [[name] for name in ordered], (0, *PROBABILITIES, 1), comm)
    numbers = {name: row for name, row in zip(ordered, found, strict=True) if not np.isnan(row[0])}
    moments, bars = _spread(table, numbers, bins, comm)
    estimates = _estimate(table, [name for name, values in counted.items() if values is None], comm)

    columns: dict[str, dict[str, Any]] = {}
    for name, type in types.items():
        values = counted.get(name)
        is_number, is_clock = kind(type) in NUMBERS, kind(type) in CLOCKS
        columns[name] = {
            "type": kind(type),
            **ends[name],
            "distinct": estimates.get(name) if values is None else len(values),
            "distinct_is_exact": values is not None,
            "mean": None if is_clock else moments.get(name, (None, None))[0],
            "std": None if is_clock else moments.get(name, (None, None))[1],
            "quantiles": _quantiles(numbers.get(name), type) if is_number or is_clock else None,
            "histogram": _histogram(bars.get(name), type) if is_number or is_clock else None,
            "top": None if values is None else _top(values, top),
        }
    rows = np.array(table.num_rows)
    comm.Allreduce(MPI.IN_PLACE, rows, op=MPI.SUM)
    return {"rows": int(rows), "columns": columns}


def _cells(column: pa.Array) -> pa.Array:
    """Return the cells that hold something, categories as text, without what is no finite number."""
    column = plain(column)
    return (column.filter(pc.is_finite(column)) if pa.types.is_floating(column.type) else column).drop_null()


def _json(value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return float(value) if isinstance(value, decimal.Decimal) else value


def _ends(table: Table, comm: MPI.Intracomm) -> dict[str, dict[str, Any]]:
    """Collective. Return column -> count, missing, min and max over all rows, and lengths for text."""
    kinds = {name: kind(table.schema.field(name).type) for name in table.columns}
    mine: dict[str, dict[str, list]] = {name: {"sizes": [], "ends": [], "lengths": []} for name in kinds}
    for batch in table.batches():
        for name, its in mine.items():
            cells = _cells(batch.column(name))
            its["sizes"].append([len(cells), batch.num_rows])
            if len(cells) and kinds[name] != "array" and not pa.types.is_null(cells.type):
                ends = pc.min_max(cells)
                its["ends"] += [_json(ends["min"].as_py()), _json(ends["max"].as_py())]
                if kinds[name] in TEXTS:
                    lengths = pc.utf8_length(cells)
                    its["lengths"].append([*pc.min_max(lengths).as_py().values(), pc.sum(lengths).as_py()])
        mine = {name: _folded(its) for name, its in mine.items()}
    everyone = allgather_json(mine, comm)
    result: dict[str, dict[str, Any]] = {}
    for name in kinds:
        its = _folded({part: [row for rank in everyone for row in rank[name][part]] for part in mine[name]})
        count, rows = its["sizes"][0] if its["sizes"] else (0, 0)
        low, high = its["ends"] or (None, None)
        result[name] = {"count": count, "missing": rows - count, "min": low, "max": high}
        if kinds[name] in TEXTS:
            short, long, total = its["lengths"][0] if its["lengths"] else (None, None, 0)
            result[name]["lengths"] = {"min": short, "max": long, "mean": total / count if count else None}
    return result


def _folded(its: dict[str, list]) -> dict[str, list]:
    """Return the same with one entry in each list: summed sizes, outermost ends, outermost and summed lengths."""
    sizes, ends, lengths = its["sizes"], its["ends"], its["lengths"]
    return {
        "sizes": [[sum(column) for column in zip(*sizes, strict=True)]] if sizes else [],
        "ends": [min(ends), max(ends)] if ends else [],
        "lengths": [[min(x[0] for x in lengths), max(x[1] for x in lengths), sum(x[2] for x in lengths)]]
        if lengths
        else [],
    }


def _spread(
    table: Table, numbers: dict[str, np.ndarray], bins: int, comm: MPI.Intracomm
) -> tuple[dict[str, tuple[float | None, float | None]], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Collective. Return column -> mean and standard deviation, and column -> edges and counts of a histogram.

    Args:
        numbers: column -> its smallest number, its quantiles, its largest number.
    """
    names = list(numbers)
    sums = np.zeros((len(names), 3))  # n, mean of y, M2
    counts = np.zeros((len(names), bins), np.int64)
    median = 1 + PROBABILITIES.index(0.5)
    for batch in table.select(names).batches() if names else ():
        for row, name in enumerate(names):
            low, high = numbers[name][0], numbers[name][-1]
            values = to_floats(batch.column(name))
            values = values[~np.isnan(values)]
            if not len(values):
                continue
            with np.errstate(over="ignore", invalid="ignore"):
                y = values - numbers[name][median]
                sums[row] = _merged(sums[row], np.array([len(y), y.mean(), ((y - y.mean()) ** 2).sum()]))
            if _has_bars(low, high):
                counts[row] += np.histogram(values, _edges(low, high, bins))[0]
    comm.Allreduce(MPI.IN_PLACE, counts, op=MPI.SUM)
    moments: dict[str, tuple[float | None, float | None]] = {}
    bars: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    parts = allgather_rows(sums, comm).reshape(comm.size, len(names), 3)
    for row, name in enumerate(names):
        with np.errstate(over="ignore", invalid="ignore"):
            size, mean, squares = functools.reduce(_merged, parts[:, row])
            std = math.sqrt(squares / (size - 1)) if size > 1 and math.isfinite(squares) else None
            whole = float(numbers[name][median] + mean)
        moments[name] = whole if math.isfinite(whole) else None, std
        low, high = numbers[name][0], numbers[name][-1]
        if _has_bars(low, high):
            bars[name] = _edges(low, high, bins), counts[row]
    return moments, bars


def _has_bars(low: float, high: float) -> bool:
    return bool(high / 2 - low / 2 <= np.finfo(np.float64).max / 2)  # their distance is a number


def _edges(low: float, high: float, bins: int) -> np.ndarray:
    return np.linspace(low, high, bins + 1)


def _merged(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    size = a[0] + b[0]
    if not size:
        return a
    apart = b[1] - a[1]
    return np.array([size, a[1] + apart * b[0] / size, a[2] + b[2] + apart * apart * a[0] * b[0] / size])


def _estimate(table: Table, names: list[str], comm: MPI.Intracomm) -> dict[str, int]:
    """Collective. Return column -> about how many different values it has."""
    if not names:
        return {}
    import datasketches

    sketches = {name: datasketches.hll_sketch(SKETCH_LOG2, datasketches.HLL_8, True) for name in names}
    for batch in table.select(names).batches():
        for name in names:
            for value in _cells(batch.column(name)).unique().to_pylist():
                sketches[name].update(value if isinstance(value, int | float | str) else str(value))
    result = {}
    for name, sketch in sketches.items():
        union = datasketches.hll_union(SKETCH_LOG2)
        # a full sketch (True above) that was merged forgets the order in which it saw its values, and with it the
        # better estimate that one rank alone could give; merged twice, one rank's does so too: all estimate alike
        for part in 2 * allgather_bytes(bytes(sketch.serialize_compact()), comm):
            union.update(datasketches.hll_sketch.deserialize(part))
        result[name] = round(union.get_estimate())
    return result


def _quantiles(found: np.ndarray | None, type: pa.DataType) -> dict[str, Any] | None:
    if found is None:
        return None
    cells = from_floats(found[1:-1], type).to_pylist()
    return {str(share): _json(value) for share, value in zip(PROBABILITIES, cells, strict=True)}


def _histogram(bars: tuple[np.ndarray, np.ndarray] | None, type: pa.DataType) -> dict[str, list] | None:
    if bars is None:
        return None
    edges = from_floats(bars[0], type).to_pylist() if kind(type) in CLOCKS else bars[0].tolist()
    return {"edges": [_json(edge) for edge in edges], "counts": bars[1].tolist()}


def _top(values: pa.Table, top: int) -> list[dict[str, Any]]:
    return [{"value": _json(row["value"]), "count": row["count"]} for row in values.slice(0, top).to_pylist()]
