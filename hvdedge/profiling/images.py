"""Images in columns of pixels, or arrays: what their channels hold, which pixels never change, how even classes are.

Sums are exact: the same bit for bit on any number of ranks.
"""

import math

import numpy as np
from mpi4py import MPI

from hvdedge.class_labels import MOST_CLASSES
from hvdedge.columns import plain, shown, to_floats, value_counts
from hvdedge.errors import InputError
from hvdedge.exact_sums import ends, moments
from hvdedge.images import array_size, pixel_columns, unfolded
from hvdedge.options import ColumnName
from hvdedge.tables import Table


def profile(
    table: Table,
    comm: MPI.Intracomm,
    *,
    columns: ColumnName = "p*",
    shape: tuple[int, ...] = (),
    label: ColumnName = "",
) -> dict:
    """Collective. Tell mean, deviation and ends of the pixels of each channel, and how many images a class has.

    Args:
        columns: a pattern for the columns that hold pixels; they are taken in natural order (p2 before p10). Or the
            name of one column of arrays, each of all pixels of an image.
        shape: height, width, channels; the channels of a pixel next to each other; nothing: one channel.
        label: the column of the class; nothing: none.
    Returns:
        `images`: rows, shape, `channels` (pixels, missing, mean, std over n, min, max; null where there is none),
        `constant_pixels`: the share of the pixels that have one value in all images, or none, and `classes`.
    Raises:
        InputError: where the pattern, the shape or the label does not fit the table.
    """
    if label and label not in table.columns:
        raise InputError(
            f"profile.images.label: received {label!r}, which is no column, allowed: {shown(table.columns)}; name one"
        )
    names = pixel_columns(table, columns, shape or None, "profile.images", {label})
    is_array = array_size(table.schema.field(names[0]).type) > 0
    pixels = unfolded(table, names[0]) if is_array else table.select(names)
    names = pixels.columns
    low, high = ends(pixels, comm)
    mean, deviation = moments(pixels, names, low, high, comm)
    counts = np.zeros(len(names) + 1, np.int64)  # cells with a number; the last one: the rows
    for batch in pixels.batches():
        counts += [*(np.isfinite(to_floats(cells)).sum() for cells in batch.columns), batch.num_rows]
    comm.Allreduce(MPI.IN_PLACE, counts, op=MPI.SUM)
    known, rows = counts[:-1], int(counts[-1])
    channels = shape[2] if len(shape) == 3 else 1
    parts = [slice(channel, None, channels) for channel in range(channels)]
    described = [_channel(known[its], low[its], high[its], mean[its], deviation[its], rows) for its in parts]
    found = {
        "rows": rows,
        "shape": [*shape] or [len(names)],
        "channels": described,
        "constant_pixels": float(np.mean(~(low < high))) if rows else None,
        "classes": _classes(table, label, comm) if label else None,
    }
    return {"images": found}


def _channel(
    known: np.ndarray, low: np.ndarray, high: np.ndarray, mean: np.ndarray, deviation: np.ndarray, rows: int
) -> dict:
    """Return what all pixels of a channel together hold, from what each of them does."""
    held, is_known = int(known.sum()), known > 0
    told: dict = {"pixels": held, "missing": rows * len(known) - held}
    if not held:
        return told | dict.fromkeys(("mean", "std", "min", "max"))
    parts, means, deviations = known[is_known].tolist(), mean[is_known].tolist(), deviation[is_known].tolist()
    centre = math.fsum(count * its for count, its in zip(parts, means, strict=True)) / held
    squares = [
        count * (spread**2 + (its - centre) ** 2) for count, its, spread in zip(parts, means, deviations, strict=True)
    ]
    return told | {
        "mean": centre,
        "std": math.sqrt(math.fsum(squares) / held),
        "min": float(low[is_known].min()),
        "max": float(high[is_known].max()),
    }


def _classes(table: Table, label: str, comm: MPI.Intracomm) -> dict:
    """Collective. Return how many rows each class has, the most first, and how uneven that is."""
    empty = np.zeros(1, np.int64)
    for batch in table.select([label]).batches():
        empty += plain(batch.column(0)).is_null(nan_is_null=True).to_numpy(zero_copy_only=False).sum()
    comm.Allreduce(MPI.IN_PLACE, empty, op=MPI.SUM)
    counted = value_counts(table, [label], MOST_CLASSES, comm)[label]
    if counted is None:
        raise InputError(
            f"profile.images.label: received {label!r} with over {MOST_CLASSES:,} different labels, allowed: fewer; "
            "name another column"
        )
    counts = counted["count"].to_pylist()
    return {
        "counts": [
            {"value": str(value), "count": count} for value, count in zip(*counted.to_pydict().values(), strict=True)
        ],
        "imbalance": counts[0] / counts[-1] if counts else None,
        "without_label": int(empty[0]),
    }
