"""Examples of which a rank takes in its part of each image alone."""

from typing import Any

import numpy as np

from hvdedge.layouts import Box


class BoxRows:
    """A reader of images, of which it gives a box.

    Args:
        rows: reads whole ones.
        box: the rows, or rows and columns, that are taken.
    """

    def __init__(self, rows: Any, box: Box):
        self._rows, self._box = rows, box

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)

    def read(self, split: str, rows: slice | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return a box of x, and y, of some examples."""
        x, y = self._rows.read(split, rows)
        return x[(slice(None), *self._box)].copy(), y
