"""Pixels in columns, or in a column of arrays, become image tensors, scaled by what the training rows hold.

    x = (pixel - min) / (max - min)   with min and max over all pixels of the training rows; an empty pixel is 0

One scale for all pixels, as in an image; what a validation or test row, or an uncleaned one, holds beyond the training
rows' ends stays beyond 0 and 1 and is not clipped: what was not cleaned shall hurt as it does. How rows are encoded and
copies made is in `hvdedge/images.py`.
"""

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.class_labels import find_classes, split_codes
from hvdedge.columns import plain, to_floats
from hvdedge.errors import InputError
from hvdedge.images import array_blocks, array_size, changed, encode, pixel_columns
from hvdedge.options import ColumnName, Count
from hvdedge.sampling import first_row
from hvdedge.splits import LEFT_OUT
from hvdedge.tables import SPLIT, Table
from hvdedge.tensors import Features

EXAMPLES = ("images",)
BATCH_BYTES = 1 << 23


def extract(
    table: Table,
    comm: MPI.Intracomm,
    *,
    label: ColumnName = "label",
    columns: ColumnName = "p*",
    shape: tuple[int, ...] = (8, 8, 1),
    scale: Literal["channel", "image"] | bool = True,
    resize: tuple[Count, ...] = (),
    augment: tuple[Literal["shift", "flip", "rotate"], ...] = (),
    copies: Count = 1,
    seed: int = 0,
    clusters: bool = False,
) -> Features:
    """Collective. Make float32 image tensors of columns of pixels, or arrays, and class numbers of a label column.

    Args:
        table: this rank's rows; its column `_split`, uint8, says which are for training (0), validation (1) and
            test (2). Others, and rows without a label, are left out and counted.
        label: the column that holds the class, of numbers, text or booleans.
        columns: a pattern for the columns that hold pixels; they are taken in natural order (p2 before p10). Or the
            name of one column of arrays, each of all pixels of an image.
        shape: height, width, channels; row by row, the channels of a pixel next to each other.
        scale: whether pixels are scaled to 0..1 over the training rows; "channel": each channel by its own ends;
            "image": each image by its own; false: they stay as they are.
        resize: height and width that x shall have; nothing: as it is.
        augment: how copies of the training rows are changed: shift by up to an eighth of the size, flip left to right,
            rotate by up to 15 degrees; nothing: there are none.
        copies: of each training row, behind it.
        seed: decides with the number of a row how it is changed; that of the pipeline by default.
        clusters: whether the classes are not to be learnt, but what a model finds without labels is compared with them.
    Returns:
        The examples: x float32 (rows, height, width, channels), y int64 (rows,), the number of the label among the
        sorted classes. `images.encode` takes the spec.
    Raises:
        InputError: where the label or the pattern does not fit the table, the pixels do not fill the shape, there
            is no row for training, or all rows have the same label.
    """
    classes = find_classes(table, label, comm)
    pixels = pixel_columns(table, columns, shape, "extract", {label, SPLIT})
    size = _size(shape, resize, augment)
    channels = shape[-1] if scale == "channel" and len(shape) == 3 else 1
    low, high, rows_left_out = _look(table, label, pixels, channels, comm)
    first = first_row(table.num_rows, comm)
    ends = {"min": low, "max": high} if scale == "channel" else {"min": low[0], "max": high[0]}
    spec: dict[str, Any] = {
        "task": "clusters" if clusters else "classification",
        "input_shape": size,
        "classes": classes.to_pylist(),
        "columns": pixels,
        "shape": list(shape),
        "scale": "image" if scale == "image" else ends if scale else None,
        "label": label,
    }
    more = copies if augment else 0

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        row, at_once = first, max(BATCH_BYTES // (4 * (1 + more) * max(math.prod(size), math.prod(shape))), 1)
        for whole in table.batches():
            for batch in (whole.slice(start, at_once) for start in range(0, whole.num_rows, at_once)):
                codes, _ = split_codes(batch, label)
                rows = row + np.flatnonzero(codes != LEFT_OUT)
                row += batch.num_rows
                codes, batch = codes[codes != LEFT_OUT], batch.filter(pa.array(codes != LEFT_OUT))
                x = encode(batch, spec)
                y = np.asarray(pc.index_in(plain(batch.column(label)), value_set=classes), np.int64)
                if more:
                    times = np.where(codes == 0, 1 + more, 1)
                    made = changed(x[codes == 0], rows[codes == 0], augment, more, seed)
                    is_copy = np.ones(times.sum(), bool)
                    is_copy[np.cumsum(times) - times] = False
                    codes, x, y = (np.repeat(of, times, axis=0) for of in (codes, x, y))
                    x[is_copy] = made.reshape(-1, *x.shape[1:])
                yield codes, x, y

    others = [name for name in table.columns if name not in {*pixels, label, SPLIT}]
    left_out = dict.fromkeys(others, f"does not match {columns!r}")
    decisions = {columns: _told(shape, size, augment, more)}
    return Features(spec, batches, left_out=left_out, decisions=decisions, rows_left_out=rows_left_out)


def _size(shape: tuple[int, ...], resize: tuple[int, ...], augment: tuple[str, ...]) -> list[int]:
    """Return the shape of x."""
    if (resize or augment) and len(shape) != 3:
        raise InputError(
            f"extract.{'resize' if resize else 'augment'}: received images of shape {list(shape)}, allowed: height, "
            "width, channels; change extract.shape"
        )
    if resize and len(resize) != 2:
        raise InputError(f"extract.resize: received {list(resize)}, allowed: height and width; give two numbers")
    return [*resize, shape[2]] if resize else [*shape]


def _look(
    table: Table, label: str, pixels: list[str], channels: int, comm: MPI.Intracomm
) -> tuple[list[float], list[float], dict[str, int]]:
    """Collective. Return each channel's smallest and largest pixel of the training rows, and the rows left out why."""
    ends = np.full((2, channels), np.inf)  # smallest, smallest negative
    sums = np.zeros(3, np.int64)  # training rows, rows without a label, others in no split
    for batch in table.batches():
        codes, empty = split_codes(batch, label)
        sums += (codes == 0).sum(), empty.sum(), ((codes == LEFT_OUT) & ~empty).sum()
        if array_size(batch.column(pixels[0]).type):
            for block in array_blocks(batch.filter(pa.array(codes == 0)).select(pixels), pixels[0]):
                values = block.reshape(-1, channels)
                least = [np.fmin.reduce(side, axis=0, initial=np.inf) for side in (values, -values)]
                ends = np.fmin(ends, least)
            continue
        for number, name in enumerate(pixels):
            values, its = to_floats(batch.column(name))[codes == 0], ends[:, number % channels]
            its[:] = np.fmin(its, [np.fmin.reduce(side, initial=np.inf) for side in (values, -values)])
    comm.Allreduce(MPI.IN_PLACE, ends, op=MPI.MIN)
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    if not sums[0] or not np.isfinite(ends).any():
        raise InputError(
            f"extract: received {sums[0]} rows for training with no pixel, allowed: at least one that has some; "
            "clean less strictly or lower extract.validation and extract.test"
        )
    why = {"no label": int(sums[1]), "in no split": int(sums[2])}
    ends = np.where(np.isfinite(ends), ends, 0.0)  # a channel without a pixel
    return ends[0].tolist(), (-ends[1] + 0.0).tolist(), {reason: count for reason, count in why.items() if count}


def _told(shape: tuple[int, ...], size: list[int], augment: tuple[str, ...], copies: int) -> str:
    told = [f"images of {' x '.join(map(str, shape))}"]
    told += [f"resized to {' x '.join(map(str, size[:2]))}"] if size != [*shape] else []
    told += [f"{copies} changed copies of each training row ({', '.join(augment)})"] if copies else []
    return ", ".join(told)
