"""Numbers made to look drawn by chance, alike on every rank, machine and run."""

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: its multiples fill the numbers evenly


def mix(values: np.ndarray) -> np.ndarray:
    """Return uint64 hashes of uint64 values in which every bit depends on every bit.

    Source: Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators (its finaliser).
    """
    values = values.astype(np.uint64)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
