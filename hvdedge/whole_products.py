"""Sums of products of numbers, as if summed without rounding: the same bit for bit on any number of ranks.

Each number is rounded once, to 2**-24 of half its column's range. From then on there are whole numbers, cut into halves
of 13 bits so that a matrix product of floats, which the fast libraries have, is exact.
"""

import numpy as np

STEPS = 2.0**24  # in half of a column's range
LOW = 13  # bits of the lower half of a number in steps


def halves(steps: np.ndarray) -> np.ndarray:
    """Return the upper and the lower halves of int64 `steps`, (rows, columns), as float64 (rows, 2 columns)."""
    return np.hstack([steps >> LOW, steps & ((1 << LOW) - 1)]).astype(np.float64)


def joined(products: np.ndarray) -> np.ndarray:
    """Return the products of columns, (columns, columns), from those of their halves, (2 columns, 2 columns)."""
    size = len(products) // 2
    whole = products.reshape(2, size, 2, size)
    return (whole[0, :, 0] * 2**LOW + whole[0, :, 1] + whole[1, :, 0]) * 2**LOW + whole[1, :, 1]
