"""What a window of a series is like as a whole, as features of each of its channels.

    mean, std, min, max, median     of its values
    first, last, change             its first and last value, and how far the last is above the first
    slope                           of the line of least squares through them, a row
    histogram                       8 columns: the share of them in each of the bars that EDGES part

All of values in standard deviations. Sums go from the first row of a window to its last, whichever windows stand
together: the same bits for any number of them.
"""

from collections.abc import Sequence

import numpy as np

EDGES = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5)  # in standard deviations; below the first and from the last on, too


def width(names: Sequence[str]) -> int:
    """Return how many columns these are of each channel."""
    return sum(len(EDGES) + 1 if name == "histogram" else 1 for name in names)


def aggregate(windows: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return float32 (windows, channels * columns), the columns of a channel together.

    Args:
        windows: float32 (windows, rows, channels), at least one row, nothing missing.
    """
    count, _, channels = windows.shape
    rows = windows.transpose(1, 0, 2).astype(np.float64)  # (rows, windows, channels)
    parts = [_told(rows, name).reshape(count, channels, -1) for name in names]
    return np.concatenate(parts, axis=2).reshape(count, -1).astype(np.float32)


def _told(rows: np.ndarray, name: str) -> np.ndarray:
    if name in ("min", "max", "median"):
        return getattr(np, name)(rows, axis=0)
    if name in ("first", "last"):
        return rows[0 if name == "first" else -1]
    if name == "change":
        return rows[-1] - rows[0]
    if name == "histogram":
        bars = np.searchsorted(EDGES, rows, side="right")
        return np.stack([(bars == bar).sum(axis=0) for bar in range(len(EDGES) + 1)], axis=-1) / len(rows)
    mean = _sum(rows) / len(rows)
    if name == "mean":
        return mean
    if name == "std":
        return np.sqrt(_sum((rows - mean) ** 2) / len(rows))
    away = np.arange(len(rows)) - (len(rows) - 1) / 2
    return _sum(rows * away[:, None, None]) / max((away**2).sum(), 1.0)


def _sum(rows: np.ndarray) -> np.ndarray:
    total = np.zeros(rows.shape[1:])
    for row in rows:
        total += row
    return total
