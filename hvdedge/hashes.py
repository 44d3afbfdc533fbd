"""Hashes of cells and of whole rows, alike on every rank, machine and run."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvdedge.columns import to_text
from hvdedge.mixing import mix
from hvdedge.tables import Table

HASHED = 4096  # bytes of a text that its hash depends on by their place
PIECE_BYTES = 1 << 18  # of the texts at once, as each byte takes 40 meanwhile


def look_up(asked: np.ndarray, hashes: np.ndarray, values: np.ndarray, otherwise: int | np.ndarray) -> np.ndarray:
    """Return the value of each hash that is asked for, or what `otherwise` is for one that is not among `hashes`.

    Args:
        hashes, values: a value for each hash; the hashes rise, of equal ones the first counts.
    """
    if not len(hashes):
        return np.full(len(asked), otherwise, values.dtype)
    place = np.minimum(np.searchsorted(hashes, asked), len(hashes) - 1)
    return np.where(hashes[place] == asked, values[place], otherwise)


def hash_text(column: pa.Array) -> np.ndarray:
    """Return a uint64 hash of each text, never 0; 0 for null.

    Multilinear: each byte times a random number of its place. Source: Lemire and Kaser 2014, Strongly universal string
    hashing is fast.
    """
    data, starts, lengths = text_bytes(column)
    odd = np.random.default_rng(0).integers(1, 2**63, HASHED, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    sums, ends = lengths.astype(np.uint64), starts + lengths
    for at in range(0, len(data), PIECE_BYTES):
        piece = data[at : at + PIECE_BYTES]
        texts = slice(np.searchsorted(ends, at, "right"), np.searchsorted(starts, at + len(piece)))
        here = np.minimum(ends[texts], at + len(piece)) - np.maximum(starts[texts], at)
        place = np.arange(at, at + len(piece)) - np.repeat(starts[texts], here)
        if place.max() >= HASHED:  # the remainder costs as much as all the rest
            place %= HASHED
        sums[texts] += _sums((piece.astype(np.uint64) + np.uint64(1)) * odd[place], here)
    return np.where(np.asarray(column.is_valid()), np.maximum(mix(sums), np.uint64(1)), np.uint64(0))


def row_keys(table: Table, names: Sequence[str]) -> np.ndarray:
    """Return a hash of each of this rank's rows, of the text of its cells in the columns `names`: uint64 (rows,).

    An empty cell is a value like any other. Among a million rows, two that differ have the same one with a chance of
    3e-8.
    """
    keys, row = np.zeros(table.num_rows, np.uint64), 0
    for batch in table.select(list(names)).batches():
        here = keys[row : row + batch.num_rows]
        for number, column in enumerate(batch.columns):
            here += mix(hash_text(to_text(column)) + np.uint64(number))
        row += batch.num_rows
    return mix(keys)


def text_bytes(column: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the bytes of all texts, one after the other, and where each begins and how long it is."""
    column = pc.fill_null(column, "")
    offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
    if not len(column):
        return np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(0, np.int64)
    buffer = column.buffers()[2]
    data = np.empty(0, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)[offsets[0] : offsets[-1]]
    offsets = offsets.astype(np.int64) - offsets[0]
    return data, offsets[:-1], np.diff(offsets)


def _sums(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the sum of each run of `values`, uint64 and modulo 2**64."""
    running = np.concatenate([[np.uint64(0)], np.cumsum(values, dtype=np.uint64)])
    ends = np.cumsum(lengths)
    return running[ends] - running[ends - lengths]
