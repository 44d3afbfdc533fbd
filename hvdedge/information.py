"""What one thing tells about another, from how often their values come together.

Source: Cover and Thomas 2006, Elements of information theory.
"""

import math

import numpy as np


def mutual_information(held: np.ndarray) -> float:
    """Return the bits that rows tell about columns, from counts (rows, columns), not all of them 0."""
    n = held.sum()
    alone = np.outer(held.sum(axis=1), held.sum(axis=0))
    seen = held > 0
    return max(math.fsum(held[seen] / n * np.log2(held[seen] * n / alone[seen])), 0.0)
