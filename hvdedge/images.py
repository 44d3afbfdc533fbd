"""Pixels in columns as image tensors, by parameters that JSON can hold; images in another size; changed copies of them.

    x = (pixel - min) / (max - min), an empty pixel is 0; then resized

Pixels are in a column each, or all of an image in one column of arrays, of fixed length.

Smaller images are means over areas, larger ones bilinear between the centres of pixels. Every sum has a fixed order, so
that an image is the same bit for bit whichever images stand beside it.
"""

import math
from collections.abc import Container, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from hvdedge.columns import NUMBERS, kind, matching, natural, of_kind, shown, to_floats
from hvdedge.errors import InputError
from hvdedge.sampling import uniform
from hvdedge.tables import Table

SHIFT = 1 / 8  # of height and width, at most
DEGREES = 15.0
DRAWS = 4  # random numbers a copy
BATCH_BYTES = 1 << 23


def pixel_columns(
    table: Table, columns: str, shape: tuple[int, ...] | None, where: str, others: Container[str] = ()
) -> list[str]:
    """Return the columns that hold pixels, in natural order, or the one that holds arrays of them.

    Args:
        columns: a pattern for their names.
        shape: what they have to fill; None: anything.
        where: the section that names the options `columns` and `shape`.
        others: columns that hold something else.
    Raises:
        InputError: where the pattern matches none, or others than numbers, or they do not fill the shape.
    """
    found = [name for name in matching(table, (columns,), f"{where}.columns") if name not in others]
    if len(found) == 1 and array_size(table.schema.field(found[0]).type):
        count = array_size(table.schema.field(found[0]).type)
        if shape is not None and (not shape or min(shape) < 1 or count != math.prod(shape)):
            raise InputError(
                f"{where}.shape: received {list(shape)} for the arrays of {count} numbers in {found[0]!r}, allowed: "
                f"numbers whose product is {count}; change the shape or name another column"
            )
        return found
    pixels = sorted(of_kind(table, NUMBERS, found), key=natural)
    if len(pixels) < len(found):
        raise InputError(
            f"{where}.columns: received {columns!r}, which matches "
            f"{shown([name for name in found if name not in pixels])}, allowed: columns of numbers, or one of "
            "arrays of as many numbers in each row; narrow the pattern"
        )
    if not pixels:
        raise InputError(
            f"{where}.columns: received {columns!r}, which matches {shown(matching(table, (columns,), where))} alone, "
            "allowed: columns of pixels; name others"
        )
    if shape is not None and (not shape or min(shape) < 1 or len(pixels) != math.prod(shape)):
        raise InputError(
            f"{where}.shape: received {list(shape)} for the {len(pixels)} columns that match {columns!r}, "
            f"allowed: numbers whose product is {len(pixels)}; change the shape or the pattern"
        )
    return pixels


def array_size(type_: pa.DataType) -> int:
    """Return how many numbers each array of a column of this type holds; 0 where they are no such arrays."""
    is_array = pa.types.is_fixed_size_list(type_) and kind(type_.value_type) in NUMBERS
    return type_.list_size if is_array else 0


def pixels_of(batch: pa.RecordBatch, names: Sequence[str]) -> np.ndarray:
    """Return the pixels in these columns, float64 (rows, pixels), NaN where there is none."""
    first = batch.column(names[0])
    if size := array_size(first.type):
        values = first.values.slice(first.offset * size, len(first) * size)  # those of missing arrays, too
        pixels = to_floats(values).reshape(-1, size)
        if first.null_count:
            pixels[first.is_null().to_numpy(zero_copy_only=False)] = np.nan
        return pixels
    pixels = np.empty((batch.num_rows, len(names)), np.float64)
    for number, name in enumerate(names):
        pixels[:, number] = to_floats(batch.column(name))
    return pixels


def array_blocks(batch: pa.RecordBatch, name: str) -> Iterator[np.ndarray]:
    """Yield the pixels of a column of arrays as `pixels_of` does, some megabytes at once."""
    at_once = max(BATCH_BYTES // (8 * array_size(batch.column(name).type)), 1)
    for start in range(0, batch.num_rows, at_once):
        yield pixels_of(batch.slice(start, at_once), [name])


def unfolded(table: Table, name: str) -> Table:
    """Return the pixels in a column of arrays as a table of columns p0, p1, ..., float64, reading nothing yet."""
    names = [f"p{number}" for number in range(array_size(table.schema.field(name).type))]
    schema = pa.schema([(pixel, pa.float64()) for pixel in names])

    def chosen(wanted: list[str]) -> Iterator[pa.RecordBatch]:
        places = [int(pixel[1:]) for pixel in wanted]
        for batch in table.select([name]).batches():
            for block in array_blocks(batch, name):
                columns = np.ascontiguousarray(block[:, places].T)
                yield pa.record_batch([pa.array(column, from_pandas=True) for column in columns], names=wanted)

    return Table(schema, table.num_rows, table.workspace, lambda: chosen(names), chosen)


def encode(batch: pa.RecordBatch, spec: dict[str, Any]) -> np.ndarray:
    """Return the rows as x, float32 (rows, *input_shape).

    Args:
        spec: `columns` (of the pixels, or of arrays of them), `shape` (of the image that they are), `scale` ("image":
            each by its own ends; `min` and `max`, numbers or one a channel; None: as they are), `input_shape` (of x).
    """
    shape, scale = tuple(spec["shape"]), spec["scale"]
    pixels = pixels_of(batch, spec["columns"])
    if scale == "image":
        low = np.fmin.reduce(pixels, axis=1, initial=np.inf)[:, None]
        high = np.fmax.reduce(pixels, axis=1, initial=-np.inf)[:, None]
    elif scale is not None:
        low, high = (np.resize(scale[end], pixels.shape[1]) for end in ("min", "max"))  # the channels in turn
    if scale is not None:
        pixels = (pixels - low) / np.where(high > low, high - low, 1.0)
    x = np.where(np.isnan(pixels), 0, pixels).astype(np.float32).reshape(-1, *shape)
    size = tuple(spec["input_shape"])
    return x if size == shape else resize(x, size[0], size[1])


def resize(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return images in another size: float32 (images, height, width, channels)."""
    tall = _blend(np.moveaxis(x, 1, 0).astype(np.float64), height)
    wide = _blend(np.moveaxis(tall, 2, 0), width)  # (width, height, images, channels)
    return np.ascontiguousarray(wide.transpose(2, 1, 0, 3), np.float32)


def changed(x: np.ndarray, rows: np.ndarray, ways: Sequence[str], copies: int, seed: int) -> np.ndarray:
    """Return changed copies of images, float32 (images, copies, height, width, channels); what comes in is 0.

    Args:
        x: float32 (images, height, width, channels).
        rows: a number for each image, which, with the seed, decides how it is changed.
        ways: shift (whole pixels, up to an eighth of the height and width), flip (left to right, every other one),
            rotate (up to 15 degrees, bilinear).
    """
    places = (rows[:, None] * copies + np.arange(copies)).reshape(-1) * DRAWS
    drawn = [uniform(seed, places + number) for number in range(DRAWS)]
    height, width = x.shape[1:3]
    angle = np.where("rotate" in ways, np.radians((2 * drawn[0] - 1) * DEGREES), 0.0)
    down, right = (
        np.rint((2 * its - 1) * max(SHIFT * size, 1)) if "shift" in ways else np.zeros(len(places))
        for its, size in ((drawn[1], height), (drawn[2], width))
    )
    flips = (drawn[3] < 0.5) & ("flip" in ways)
    y, z = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    y, z = y - down[:, None, None], z - right[:, None, None]  # (copies of images, height, width)
    z = np.where(flips[:, None, None], -z, z)
    cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    source_y = cosine * y - sine * z + (height - 1) / 2
    source_z = sine * y + cosine * z + (width - 1) / 2
    made = _between(np.repeat(x, copies, axis=0), source_y, source_z)
    return made.reshape(len(x), copies, *x.shape[1:])


def _blend(x: np.ndarray, size: int) -> np.ndarray:
    """Return x, (before, ...), with its first axis in another size."""
    made = np.zeros((size, *x.shape[1:]))
    for to, weights in enumerate(_weights(len(x), size)):
        for place in np.flatnonzero(weights):
            made[to] += weights[place] * x[place]
    return made


def _weights(before: int, after: int) -> np.ndarray:
    """Return what each pixel of an axis is made of: float64 (after, before), rows that add up to 1."""
    step = before / after
    if step > 1:
        edges = np.arange(after + 1) * step
        inside = np.minimum(edges[1:, None], np.arange(1, before + 1)) - np.maximum(edges[:-1, None], np.arange(before))
        return np.maximum(inside, 0) / step
    centres = np.clip((np.arange(after) + 0.5) * step - 0.5, 0, before - 1)
    return np.maximum(1 - np.abs(centres[:, None] - np.arange(before)), 0)


def _between(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return each image at the places (y, z), bilinear; 0 outside: float32 (images, height, width, channels)."""
    height, width = x.shape[1:3]
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]).astype(np.float64)
    image = np.arange(len(x))[:, None, None]
    low_y, low_z = np.floor(y), np.floor(z)
    made = np.zeros((*y.shape, x.shape[3]))
    for at_y, part_y in ((low_y, 1 - (y - low_y)), (low_y + 1, y - low_y)):
        for at_z, part_z in ((low_z, 1 - (z - low_z)), (low_z + 1, z - low_z)):
            row = np.clip(at_y + 1, 0, height + 1).astype(np.int64)
            column = np.clip(at_z + 1, 0, width + 1).astype(np.int64)
            made += (part_y * part_z)[..., None] * padded[image, row, column]
    return made.astype(np.float32)
