"""Which columns go with which others: Pearson, Spearman, Cramer's V, and mutual information with a label.

Pearson is of all rows in which both columns have a number. Each number is rounded to 2**-24 of half its column's range,
once; whole numbers are summed from then on, without rounding. Spearman is Pearson of the ranks (equal numbers share
their mean rank) among `SAMPLE_ROWS` rows at most, chosen by a hash of their place: exact for a table of no more rows,
else within about 0.02 (three standard errors). Cramer's V, corrected for its bias, is of text, categories and booleans
of 2 to `MOST_CLASSES` values. For mutual information, a number of more values goes by which of 20 bars of equal depth
it is in; a missing cell is a value of its own, a row without a label does not count.

Counts and sums are whole numbers, so all of it is the same bit for bit on any number of ranks. A rank holds the sample,
8 bytes a cell, and a table of counts for each pair of categories.

Source: Bergsma 2013, A bias-correction for Cramer's V.
"""

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.columns import CLOCKS, NUMBERS, TEXTS, kind, of_kind, plain, shown, to_floats, value_counts
from hvdedge.errors import InputError
from hvdedge.information import mutual_information
from hvdedge.mixing import mix
from hvdedge.options import ColumnName, Count
from hvdedge.parallel import allgather_rows, counts
from hvdedge.quantiles import select
from hvdedge.tables import Table
from hvdedge.whole_products import LOW, STEPS, halves, joined

SAMPLE_ROWS = 20_000
MOST_CLASSES = 50
MOST_COLUMNS = 50  # of a matrix; and of categories that are held against each other, the first in the table
BARS = 20


def profile(table: Table, comm: MPI.Intracomm, *, label: ColumnName = "", top: Count = 20) -> dict:
    """Collective. Tell how strongly columns go together.

    Args:
        table: this rank's rows.
        label: the column with which each other's mutual information is told; none for "".
        top: how many pairs are listed, for each measure.
    Returns:
        The same on every rank: correlations, {strongest: [{measure, left, right, value}], the largest absolute values
        of each measure first; pearson, spearman, cramers_v: {columns, values: a matrix}, null for over 50 columns, in
        it null where a column does not vary; spearman_rows; mutual_information: column -> bits, or null}.
    Raises:
        InputError: where `label` is no column, or has fewer than two values.
    """
    if label and label not in table.columns:
        raise InputError(
            f"profile.correlations.label: received {label!r}, which is no column, allowed: {shown(table.columns)}; "
            "name one"
        )
    numbers, texts = of_kind(table, NUMBERS), of_kind(table, ("boolean", *TEXTS))
    sample = _sample(table, numbers, comm)
    classes = _classes(table, comm)
    categories = [name for name in texts if name in classes and len(classes[name]) > 1][:MOST_COLUMNS]
    measures = {
        "pearson": (numbers, _pearson(table, numbers, comm)),
        "spearman": (numbers, _spearman(sample)),
        "cramers_v": (categories, _cramers(table, {name: classes[name] for name in categories}, comm)),
    }
    found: dict = {
        "strongest": [one for name, of in measures.items() for one in _strongest(name, *of, top)],
        "spearman_rows": len(sample),
        "mutual_information": _with_label(table, label, classes, comm) if label else None,
    }
    for measure, (names, values) in measures.items():
        cells = [[None if math.isnan(cell) else cell for cell in row] for row in values.tolist()]
        found[measure] = {"columns": names, "values": cells} if len(names) <= MOST_COLUMNS else None
    return {"correlations": found}


def _strongest(measure: str, names: list[str], values: np.ndarray, top: int) -> list[dict]:
    left, right = np.triu_indices(len(names), 1)
    strength = values[left, right]
    order = np.argsort(-np.abs(strength), kind="stable")[:top]  # what is not known comes last
    return [
        {"measure": measure, "left": names[left[at]], "right": names[right[at]], "value": float(strength[at])}
        for at in order
        if not math.isnan(strength[at])
    ]


def _sample(table: Table, names: list[str], comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return about `SAMPLE_ROWS` rows of numbers, all of no more; float64 (rows, columns), NaN missing."""
    held = counts(table.num_rows, comm)
    total, row = int(held.sum()), int(held[: comm.rank].sum())
    chosen = [np.empty((0, len(names)))]
    for batch in table.select(names).batches() if names else ():
        places = mix(np.arange(row, row + batch.num_rows, dtype=np.uint64)) >> np.uint64(11)
        keep = places.astype(np.float64) * total < SAMPLE_ROWS * 2.0**53
        chosen.append(np.stack([to_floats(column.filter(pa.array(keep))) for column in batch.columns], axis=1))
        row += batch.num_rows
    return allgather_rows(np.concatenate(chosen), comm)


def _classes(table: Table, comm: MPI.Intracomm) -> dict[str, pa.Array]:
    """Collective. Return column -> its values, for columns of up to `MOST_CLASSES`."""
    names = of_kind(table, ("boolean", *NUMBERS, *CLOCKS, *TEXTS))
    found = value_counts(table, names, MOST_CLASSES, comm)
    return {name: its["value"].combine_chunks() for name, its in found.items() if its is not None}


def _pearson(table: Table, names: list[str], comm: MPI.Intracomm) -> np.ndarray:
    """Collective."""
    low, middle, high = select(table, [[name] for name in names], (0, 0.5, 1), comm).reshape(-1, 3).T
    wide = high / 2 - low / 2
    wide[~(wide > 0)] = 1
    size = len(names)
    products, sums = np.zeros((2 * size, 2 * size), np.int64), np.zeros((5 * size, size), np.int64)
    for batch in table.select(names).batches() if names else ():
        x = np.stack([to_floats(column) for column in batch.columns], axis=1)  # (rows, columns)
        known = ~np.isnan(x)
        steps = np.where(known, np.rint((x / wide - middle / wide) * STEPS), 0).astype(np.int64)
        cut = halves(steps)
        squares = steps * steps  # below 2**51, in halves so that the sums of a batch are exact
        parts = np.hstack([cut, squares >> 26, squares & ((1 << 26) - 1), known]).astype(np.float64)
        products += (cut.T @ cut).astype(np.int64)
        sums += (parts.T @ known.astype(np.float64)).astype(np.int64)
    comm.Allreduce(MPI.IN_PLACE, products, op=MPI.SUM)
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    upper, lower, over, under, n = sums.astype(object).reshape(5, size, size)  # [a, b]: of a, where b is known
    first, second = upper * 2**LOW + lower, over * 2**26 + under
    return _correlation(n, first, second, joined(products.astype(object)))


def _spearman(sample: np.ndarray) -> np.ndarray:
    known = ~np.isnan(sample)
    ranks = np.zeros(sample.shape)
    for column, its in enumerate(known.T):
        _, place, count = np.unique(sample[its, column], return_inverse=True, return_counts=True)
        ranks[its, column] = (2 * np.cumsum(count) - count + 1)[place]  # twice the mean rank: a whole number
    present = known.astype(np.float64)
    matrices = present.T @ present, ranks.T @ present, (ranks * ranks).T @ present, ranks.T @ ranks  # all below 2**53
    return _correlation(*(matrix.astype(np.int64).astype(object) for matrix in matrices))


def _correlation(n: np.ndarray, first: np.ndarray, second: np.ndarray, crossed: np.ndarray) -> np.ndarray:
    """Return the correlations of columns from whole numbers of any size, each (columns, columns).

    Args:
        n, first, second: [a, b] is the count, sum and sum of squares of a where b is known.
        crossed: [a, b] is the sum of a times b.
    """
    found = np.full(n.shape, np.nan)
    for a, b in np.ndindex(n.shape):
        spread = [n[i, j] * second[i, j] - first[i, j] ** 2 for i, j in ((a, b), (b, a))]
        if min(spread) > 0:
            above = n[a, b] * crossed[a, b] - first[a, b] * first[b, a]
            found[a, b] = above / math.isqrt(spread[0] * spread[1]) if a != b else 1.0
    return np.clip(found, -1, 1)


def _codes(column: pa.Array, values: pa.Array) -> np.ndarray:
    """Return the place of each cell in `values`, their number for a missing one."""
    column = plain(column)
    if pa.types.is_floating(column.type):
        column = pc.add(column, pa.scalar(0, column.type))  # -0 is 0
    return pc.fill_null(pc.index_in(column, values), len(values)).to_numpy(zero_copy_only=False)


def _cramers(table: Table, classes: dict[str, pa.Array], comm: MPI.Intracomm) -> np.ndarray:
    """Collective."""
    names = list(classes)
    sizes = [len(classes[name]) + 1 for name in names]
    pairs = [(a, b) for a in range(len(names)) for b in range(a)]
    counted = [np.zeros(sizes[a] * sizes[b], np.int64) for a, b in pairs]
    for batch in table.select(names).batches() if pairs else ():
        codes = [_codes(batch.column(name), classes[name]).astype(np.int64) for name in names]
        for (a, b), its in zip(pairs, counted, strict=True):
            its += np.bincount(codes[a] * sizes[b] + codes[b], minlength=len(its))
    found = np.eye(len(names))
    for (a, b), its in zip(pairs, counted, strict=True):
        comm.Allreduce(MPI.IN_PLACE, its, op=MPI.SUM)
        found[a, b] = found[b, a] = _cramers_v(its.reshape(sizes[a], sizes[b])[:-1, :-1])
    return found


def _cramers_v(held: np.ndarray) -> float:
    """Return V of a table of counts, corrected for its bias; NaN where one side does not vary."""
    held = held[held.any(axis=1)][:, held.any(axis=0)]
    n, (rows, columns) = int(held.sum()), held.shape
    if min(rows, columns) < 2 or n < 3:
        return math.nan
    expected = np.outer(held.sum(axis=1), held.sum(axis=0)) / n
    square = math.fsum(((held - expected) ** 2 / expected).ravel()) / n - (rows - 1) * (columns - 1) / (n - 1)
    least = min(size - (size - 1) ** 2 / (n - 1) for size in (rows, columns)) - 1
    return min(math.sqrt(max(square, 0.0) / least), 1.0) if least > 0 else math.nan


def _with_label(table: Table, label: str, classes: dict[str, pa.Array], comm: MPI.Intracomm) -> dict[str, float | None]:
    """Collective. Return column -> its mutual information with the label, in bits; None for text of many values."""
    many = [name for name in of_kind(table, (*NUMBERS, *CLOCKS)) if name not in classes]
    found = select(table, [[name] for name in many], [bar / BARS for bar in range(1, BARS)], comm)
    edges = {name: np.unique(its) for name, its in zip(many, found, strict=True)}
    held = {name: len(classes[name]) for name in classes} | {name: len(its) + 1 for name, its in edges.items()}
    if held.get(label, 0) < 2:
        had = f"{held[label]} different values" if label in held else f"{kind(table.schema.field(label).type)} of many"
        raise InputError(
            f"profile.correlations.label: received {label!r} with {had}, allowed: a column of numbers, or of 2 to "
            f"{MOST_CLASSES} different values; name another column"
        )

    def codes(batch: pa.RecordBatch, name: str) -> np.ndarray:
        if name in classes:
            return _codes(batch.column(name), classes[name]).astype(np.int64)
        values = to_floats(batch.column(name))
        return np.where(np.isnan(values), held[name], np.searchsorted(edges[name], values, side="left"))

    names = [name for name in held if name != label]
    counted = {name: np.zeros((held[name] + 1, held[label] + 1), np.int64) for name in names}
    for batch in table.batches():
        right = codes(batch, label)
        for name, its in counted.items():
            its += np.bincount(codes(batch, name) * its.shape[1] + right, minlength=its.size).reshape(its.shape)
    for its in counted.values():
        comm.Allreduce(MPI.IN_PLACE, its, op=MPI.SUM)
    return {
        name: mutual_information(counted[name][:, :-1]) if name in counted else None
        for name in table.columns
        if name != label
    }
