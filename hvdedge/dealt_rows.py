"""A rank's lanes of the training rows on its own disk, copied there once, so that epochs need no shared folder."""

import os
import pathlib
from typing import BinaryIO

import numpy as np

from hvdedge.tensors import FeatureReader


class DealtRows:
    """Training rows as a FeatureReader offers them: some lanes of each line read here, all others where they are.

    Args:
        lanes: those to be copied.
        folder: on this host's disk, where two files are made that hold x as it is stored, and y.
    Raises:
        OSError: where they do not fit there.
    """

    def __init__(self, reader: FeatureReader, global_batch_size: int, lanes: slice, folder: pathlib.Path):
        self._reader, self._global_batch_size, self._lanes = reader, global_batch_size, lanes
        self._files = [open(folder / name, "w+b") for name in ("x", "y")]  # noqa: SIM115 - as long as the task
        self._empty = reader.stored("train", slice(0, 0))
        for start in range(0, reader.rows("train"), global_batch_size):
            part = reader.stored("train", slice(start + lanes.start, min(start + lanes.stop, reader.rows("train"))))
            for file, values in zip(self._files, part, strict=True):
                file.write(np.ascontiguousarray(values).data)
        for file in self._files:
            file.flush()

    def rows(self, split: str) -> int:
        """Return how many examples a split has."""
        return self._reader.rows(split)

    def weights(self, rows: slice) -> np.ndarray:
        """Return how many rows each of these training examples stands for."""
        return self._reader.weights(rows)

    def read(self, split: str, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y of training examples of one line."""
        line, first = divmod(rows.start, self._global_batch_size)
        count = rows.stop - rows.start
        if not self._lanes.start <= first <= first + count <= self._lanes.stop:
            return self._reader.read(split, rows)
        place = line * (self._lanes.stop - self._lanes.start) + first - self._lanes.start
        x, y = (_read(file, like, place, count) for file, like in zip(self._files, self._empty, strict=True))
        return self._reader.unpack(x), y


def _read(file: BinaryIO, like: np.ndarray, place: int, count: int) -> np.ndarray:
    """Return so many rows, each as those of `like`, from the row `place` of a file on."""
    row_bytes = like.dtype.itemsize * int(np.prod(like.shape[1:]))
    found = os.pread(file.fileno(), count * row_bytes, place * row_bytes)
    return np.frombuffer(found, like.dtype).reshape(count, *like.shape[1:])
