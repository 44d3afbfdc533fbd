"""A rank's lanes of the training rows on its own disk, copied there once.

Epochs then read the shared folder for lanes alone that came from another rank, and for validation.
"""

import os
import pathlib
import shutil
import socket

import numpy as np

from hvdedge.errors import InputError
from hvdedge.tensors import FeatureReader


class DealtRows:
    """Training rows as a FeatureReader offers them: some lanes of each line read here, all others where they are.

    Args:
        lanes: those to be copied.
        folder: on this host's disk, where files are made that hold x as it is stored, y and weights.
    Raises:
        InputError: where they do not fit there.
    """

    def __init__(self, reader: FeatureReader, global_batch_size: int, lanes: slice, folder: pathlib.Path):
        self._reader, self._global_batch_size, self._lanes = reader, global_batch_size, lanes
        self._files = [open(folder / name, "w+b") for name in ("x", "y", "weights")]  # noqa: SIM115 - as long as the task
        nothing = slice(0, 0)
        self._empty = *reader.stored("train", nothing), reader.weights(nothing)
        count = reader.rows("train")
        needed_bytes = sum(map(_row_bytes, self._empty)) * -(-count * (lanes.stop - lanes.start) // global_batch_size)
        free_bytes = shutil.disk_usage(folder).free
        if needed_bytes > free_bytes:
            raise InputError(
                f'train.rows: received "dealt" for {needed_bytes} bytes on {socket.gethostname()}, allowed: no more '
                f'than the {free_bytes} that are free in {folder}; set TMPDIR to a larger disk, or take "shared"'
            )
        for start in range(0, count, global_batch_size):
            here = slice(start + lanes.start, min(start + lanes.stop, count))
            part = *reader.stored("train", here), reader.weights(here)
            for file, values in zip(self._files, part, strict=True):
                file.write(np.ascontiguousarray(values).data)
        for file in self._files:
            file.flush()

    def rows(self, split: str) -> int:
        """Return how many examples a split has."""
        return self._reader.rows(split)

    def weights(self, rows: slice) -> np.ndarray:
        """Return how many rows each of these training examples stands for."""
        place = self._place(rows)
        return self._reader.weights(rows) if place is None else self._read(2, place, rows)

    def read(self, split: str, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y of training examples of one line."""
        place = self._place(rows)
        if place is None:
            return self._reader.read(split, rows)
        return self._reader.unpack(self._read(0, place, rows)), self._read(1, place, rows)

    def _place(self, rows: slice) -> int | None:
        """Return where in the files some rows of a line begin; None for those that are not there."""
        line, first = divmod(rows.start, self._global_batch_size)
        last = first + rows.stop - rows.start
        if rows.start == rows.stop:
            return 0
        is_here = self._lanes.start <= first <= last <= self._lanes.stop
        return line * (self._lanes.stop - self._lanes.start) + first - self._lanes.start if is_here else None

    def _read(self, number: int, place: int, rows: slice) -> np.ndarray:
        """Return as many rows as `rows` has from the row `place` of a file on."""
        like, count = self._empty[number], rows.stop - rows.start
        size = _row_bytes(like)
        found = os.pread(self._files[number].fileno(), count * size, place * size)
        return np.frombuffer(found, like.dtype).reshape(count, *like.shape[1:])


def _row_bytes(like: np.ndarray) -> int:
    return like.dtype.itemsize * int(np.prod(like.shape[1:]))
