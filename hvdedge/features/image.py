"""Pixels in columns become image tensors, scaled by what the training rows hold.

    x = (pixel - min) / (max - min)   with min and max over all pixels of the training rows; an empty pixel is 0

One scale for all pixels, as in an image; what a validation or test row, or an uncleaned one, holds beyond the training
rows' ends stays beyond 0 and 1 and is not clipped: what was not cleaned shall hurt as it does.
"""

import math
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.columns import NUMBERS, kind, matching, natural, of_kind, plain, shown, to_floats, value_counts
from hvdedge.errors import InputError
from hvdedge.splits import LEFT_OUT, SPLITS
from hvdedge.tables import Table
from hvdedge.tensors import Features

SPLIT = "_split"
MOST_CLASSES = 10_000
LABEL_KINDS = ("boolean", "integer", "float", "category", "text")


def extract(
    table: Table,
    comm: MPI.Intracomm,
    *,
    label: str = "label",
    columns: str = "p*",
    shape: tuple[int, ...] = (8, 8, 1),
    scale: bool = True,
) -> Features:
    """Collective. Make float32 image tensors of pixel columns, and class numbers of a label column.

    Args:
        table: this rank's rows; its column `_split`, uint8, says which are for training (0), validation (1) and
            test (2). Others, and rows without a label, are left out and counted.
        label: the column that holds the class, of numbers, text or booleans.
        columns: a pattern for the columns that hold pixels; they are taken in natural order (p2 before p10).
        shape: height, width, channels; row by row, the channels of a pixel next to each other.
        scale: whether pixels are scaled to 0..1 over the training rows; otherwise they stay as they are.
    Returns:
        The examples: x float32 (rows, *shape), y int64 (rows,), the number of the label among the sorted classes.
    Raises:
        InputError: where the label or the pattern does not fit the table, the pixels do not fill the shape, there
            is no row for training, or all rows have the same label.
    """
    pixels = _pixels(table, label, columns, shape)
    classes = _classes(table, label, comm)
    low, high, rows_left_out = _look(table, label, pixels, comm)
    wide = high - low if high > low else 1.0
    base, width = (low, wide) if scale else (0.0, 1.0)

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for batch in table.batches():
            codes = _codes(batch, label)
            keep = codes != LEFT_OUT
            x = np.empty((int(keep.sum()), len(pixels)), np.float32)
            for number, name in enumerate(pixels):
                x[:, number] = (to_floats(batch.column(name))[keep] - base) / width
            x[np.isnan(x)] = 0
            y = pc.index_in(plain(batch.column(label)).filter(pa.array(keep)), value_set=classes)
            yield codes[keep], x.reshape(-1, *shape), np.asarray(y, np.int64)

    spec = {
        "task": "classification",
        "input_shape": list(shape),
        "classes": classes.to_pylist(),
        "columns": pixels,
        "scale": {"min": low, "max": high} if scale else None,
        "label": label,
    }
    others = [name for name in table.columns if name not in {*pixels, label, SPLIT}]
    left_out = dict.fromkeys(others, f"does not match {columns!r}")
    return Features(spec, batches, left_out=left_out, rows_left_out=rows_left_out)


def _pixels(table: Table, label: str, columns: str, shape: tuple[int, ...]) -> list[str]:
    if SPLIT not in table.columns:
        raise InputError(f"extract: received a table without {SPLIT!r}, allowed: one that is split; split it first")
    if label not in table.columns or label == SPLIT:
        raise InputError(
            f"extract.label: received {label!r}, which is no column, allowed: {shown(table.columns)}; name one"
        )
    if kind(table.schema.field(label).type) not in LABEL_KINDS:
        raise InputError(
            f"extract.label: received {label!r}, {kind(table.schema.field(label).type)}, "
            f"allowed: {', '.join(LABEL_KINDS)}; name another column"
        )
    found = [name for name in matching(table, (columns,), "extract.columns") if name not in (label, SPLIT)]
    pixels = sorted(of_kind(table, NUMBERS, found), key=natural)
    if len(pixels) < len(found):
        raise InputError(
            f"extract.columns: received {columns!r}, which matches "
            f"{shown([name for name in found if name not in pixels])}, allowed: columns of numbers; narrow the pattern"
        )
    if not shape or min(shape) < 1 or len(pixels) != math.prod(shape):
        raise InputError(
            f"extract.shape: received {list(shape)} for the {len(pixels)} columns that match {columns!r}, "
            f"allowed: numbers whose product is {len(pixels)}; change the shape or the pattern"
        )
    return pixels


def _classes(table: Table, label: str, comm: MPI.Intracomm) -> pa.Array:
    """Collective. Return the sorted labels of all rows."""
    counted = value_counts(table, [label], MOST_CLASSES, comm)[label]
    if counted is None or len(counted) < 2:
        raise InputError(
            f"extract.label: received {label!r} with {f'over {MOST_CLASSES}' if counted is None else len(counted)} "
            f"different labels, allowed: 2 to {MOST_CLASSES}; name another column"
        )
    classes = counted["value"].combine_chunks()
    return classes.take(pc.sort_indices(classes))


def _codes(batch: pa.RecordBatch, label: str) -> np.ndarray:
    """Return the split of each row, LEFT_OUT for one that has no label or is in no split."""
    codes = np.asarray(pc.fill_null(batch.column(SPLIT), LEFT_OUT), np.uint8)
    empty = np.asarray(batch.column(label).is_null(nan_is_null=pa.types.is_floating(batch.schema.field(label).type)))
    return np.where(empty | (codes >= len(SPLITS)), LEFT_OUT, codes).astype(np.uint8)


def _look(table: Table, label: str, pixels: list[str], comm: MPI.Intracomm) -> tuple[float, float, dict[str, int]]:
    """Collective. Return the smallest and largest pixel of the training rows, and how many rows are left out why."""
    ends = np.array([np.inf, np.inf])  # smallest, smallest negative
    counts = np.zeros(3, np.int64)  # training rows, rows without a label, others in no split
    for batch in table.batches():
        codes = _codes(batch, label)
        empty = np.asarray(batch.column(label).is_null(nan_is_null=True))
        counts += (codes == 0).sum(), empty.sum(), ((codes == LEFT_OUT) & ~empty).sum()
        for name in pixels:
            values = to_floats(batch.column(name))[codes == 0]
            ends = np.fmin(ends, [np.fmin.reduce(values, initial=np.inf), np.fmin.reduce(-values, initial=np.inf)])
    comm.Allreduce(MPI.IN_PLACE, ends, op=MPI.MIN)
    comm.Allreduce(MPI.IN_PLACE, counts, op=MPI.SUM)
    if not counts[0] or not np.isfinite(ends).all():
        raise InputError(
            f"extract: received {counts[0]} rows for training with no pixel, allowed: at least one that has some; "
            "clean less strictly or lower extract.validation and extract.test"
        )
    why = {"no label": int(counts[1]), "in no split": int(counts[2])}
    return float(ends[0]), float(-ends[1]), {reason: count for reason, count in why.items() if count}
