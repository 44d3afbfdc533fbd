"""Series of a delimited file, with faults put into the later rows; `anomaly` tells which rows have one.

    fault     of what is out of the ordinary
    spike     a value, by 4 standard deviations of its column
    shift     values of hours, by 1.5
    mirror    values of hours, mirrored at the column's mean
    swap      values of two columns, exchanged, in their own units

The same faults on any number of ranks. So what finds anomalies can be judged, as the truth is known.

Source: Schmidl, Wenig and Papenbrock 2022, Anomaly detection in time series (kinds of anomalies).
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.columns import NUMBERS, of_kind, shown, to_floats
from hvdedge.datasets import csv as csv_reader
from hvdedge.errors import InputError
from hvdedge.exact_sums import ends, moments
from hvdedge.options import Count, Fraction
from hvdedge.sampling import first_row
from hvdedge.sources import columns_as_read
from hvdedge.tables import Table
from hvdedge.workspace import Source

LABEL = "anomaly"
SPIKE, SHIFT, MIRROR, SWAP = range(4)
KINDS = 4
SPIKED, SHIFTED = 4.0, 1.5  # standard deviations


def read(
    source: Source,
    comm: MPI.Intracomm,
    *,
    begin: Fraction = 0.7,
    share: Fraction = 0.05,
    longest: Count = 12,
    seed: int = 0,
) -> Table:
    """Collective. Read delimited text files as one table, as `csv` does, and put faults into its columns of numbers.

    Args:
        begin: the share of the rows, in the order of the files, that have none.
        share: of the rows behind them that have one, about.
        longest: rows of a fault.
        seed: decides where they are; that of the pipeline by default.
    Returns:
        This rank's rows, and whether each has a fault, `anomaly`, 0 or 1.
    Raises:
        InputError: where there are no two columns of numbers.
    """
    table = csv_reader.read(source, comm)
    names = of_kind(table, NUMBERS)
    names = [name for name in names if not name.startswith("_")]
    if len(names) < 2:
        raise InputError(f"prepare.source: received columns of numbers {shown(names)}, allowed: two or more")
    low, high = ends(table.select(names), comm)
    mean, deviation = moments(table.select(names), names, low, high, comm)
    total = np.array(table.num_rows)
    comm.Allreduce(MPI.IN_PLACE, total)
    faults = _faults(int(total), len(names), begin, share, longest, seed)
    first = first_row(table.num_rows, comm)
    floats = [pa.field(field.name, pa.float64()) if field.name in names else field for field in table.schema]
    schema = pa.schema([*floats, (LABEL, pa.int64())])

    def batches() -> Iterator[pa.RecordBatch]:
        start = first
        for batch in table.batches():
            values = np.stack(
                [(to_floats(batch.column(name)) - m) / d for name, m, d in zip(names, mean, deviation, strict=True)]
            )
            rows = np.arange(start, start + batch.num_rows)
            values, is_fault = _faulty(values, faults, rows)
            start += batch.num_rows
            made = dict(zip(names, values * deviation[:, None] + mean[:, None], strict=True))
            columns = [
                pa.array(made[name], from_pandas=True) if name in made else batch.column(name)
                for name in table.schema.names
            ]
            yield pa.record_batch([*columns, pa.array(is_fault.astype(np.int64))], schema=schema)

    source.workspace.metrics["columns"] |= columns_as_read({LABEL: "integer"})
    source.workspace.metrics["faults"] = len(faults)
    return Table(schema, table.num_rows, source.workspace, batches)


def _faults(rows: int, columns: int, begin: float, share: float, longest: int, seed: int) -> np.ndarray:
    """Return the faults: first row, one behind the last, kind, column, another column, sign: int64 (faults, 6)."""
    rng = np.random.default_rng(seed)
    found: list[tuple[int, ...]] = []
    start, gap = int(begin * rows), longest / 2 * (1 / max(share, 1e-9) - 1)
    while True:
        start += 1 + int(rng.exponential(gap))
        kind, length = int(rng.integers(KINDS)), int(rng.integers(1, longest + 1))
        stop = start + (1 if kind == SPIKE else length)
        if stop > rows:
            return np.array(found, np.int64).reshape(-1, 6)
        one, other = rng.choice(columns, 2, replace=False)
        found.append((start, stop, kind, one, other, rng.choice([-1, 1])))
        start = stop


def _faulty(values: np.ndarray, faults: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return standardised columns of some rows with the faults there, and which rows have one."""
    is_fault = np.zeros(len(rows), bool)
    for start, stop, kind, one, other, sign in faults:
        here = (rows >= start) & (rows < stop)
        if not here.any():
            continue
        is_fault |= here
        if kind == SWAP:
            values[np.ix_([one, other], here)] = values[np.ix_([other, one], here)]
        elif kind == MIRROR:
            values[one, here] *= -1
        else:
            values[one, here] += sign * (SPIKED if kind == SPIKE else SHIFTED)
    return values, is_fault
