"""A rank's part of the training rows in lanes, read in windows that fit into its memory, one ahead of the training.

The training rows, in the order of `features.h5`, are laid out in lines of G, the global batch size; lane l is
column l, and a rank holds some lanes next to each other. Each epoch shuffles every lane by itself, from the seed,
the epoch and the lane's number; step s trains on line s:

              lane 0   1   2   3            rank 0 of 2 holds lanes 0 and 1,
    line 0        0    1   2   3            rank 1 lanes 2 and 3;
    line 1        4    5   6   7            step s of an epoch takes one row of each lane
    line 2        8    9

So the batches of a seed do not depend on which rank holds which lanes, only on the global batch size; every row is
used once an epoch; a rank reads no other's rows; and lanes can go from a faster rank to a slower one between any two
steps. Where lanes are of uneven length, the last step is smaller on some ranks, and may be empty there: such a rank
takes part with one row of weight zero.

Where a rank's lanes do not fit into its memory, an epoch goes through the lines in windows: PIECES pieces of lines
next to each other, drawn anew in each epoch, within which each lane is shuffled. While one window is trained on, one
thread reads the next.
"""

import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from hvdedge.errors import InputError
from hvdedge.shards import PIECES, Batch, Rows, batch_of, mean_weight, row_bytes


def fitting(row_bytes: int, lines: int, width: int, held_bytes: int) -> tuple[int, int]:
    """Return how many of the lines are in a window where a rank holds `width` lanes, and how many lanes then fit."""
    held_lines = held_bytes // (row_bytes * width)
    window_lines = lines if held_lines >= lines else max(held_lines // 2, 1)  # and one ahead
    return window_lines, max(held_bytes // (row_bytes * min(2 * window_lines, max(lines, 1))), width)


@dataclass
class _Window:
    """Rows of some lines, in lanes: x, y, weights (lines, lanes, ...); those after the last line's end are empty."""

    number: int
    lines: np.ndarray
    lanes: range
    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray


class Lanes:
    """This rank's lanes of the training rows; over all rows the mean of their weights is 1.

    Args:
        lanes: those that this rank holds at first.
        held_bytes: what its rows may take in memory; with as many lanes as each of the ranks holds at first, `width`,
            it decides how many lines are in a window, alike on all ranks.
    Raises:
        InputError: where not even a line and the one ahead fit.
    """

    def __init__(self, reader: Rows, global_batch_size: int, lanes: slice, width: int, seed: int, held_bytes: int):
        self._reader = reader
        self._global_batch_size = global_batch_size
        self._seed = seed
        self._rows = reader.rows("train")
        self._lines = math.ceil(self._rows / global_batch_size)
        self._mean = mean_weight(reader)
        self._whole: _Window | None = None
        self._ahead: Future[_Window] = Future()
        self._is_left = False
        self._width = width
        self._row_bytes, self._empty = row_bytes(reader), reader.read("train", slice(0, 0))
        _check(self._row_bytes, width, self._lines, held_bytes)
        self.hold(held_bytes)
        self.take(lanes)

    def hold(self, held_bytes: int) -> None:
        """Take so much memory from the next epoch on; alike on all ranks."""
        self._window_lines, _ = fitting(self._row_bytes, self._lines, self._width, held_bytes)

    def take(self, lanes: slice) -> None:
        """Hold these lanes from the next batch on."""
        self._lanes = range(self._global_batch_size)[lanes]

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield this rank's part of every step of an epoch, as many on every rank."""
        step = 0
        for window in self._windows(epoch):
            order = self._order(epoch, window)
            for place in range(len(window.lines)):
                if window.lanes != self._lanes:
                    window = self._moved(window)
                    order = self._order(epoch, window)
                    if self._whole is None:  # the window ahead is moved where it is read, and not when its turn comes
                        self._ahead = self._thread.submit(self._move, self._ahead)
                rows = order[place][order[place] >= 0], np.nonzero(order[place] >= 0)[0]
                together = min(self._global_batch_size, self._rows - step * self._global_batch_size)
                yield batch_of(window.x[rows], window.y[rows], window.weights[rows], together)
                step += 1
            if self._whole is not None:
                self._whole = window

    def _windows(self, epoch: int) -> Iterator[_Window]:
        """Yield the windows of an epoch; the only one there is stays in memory."""
        if self._window_lines >= self._lines:
            self._whole = self._whole or self._read(0, np.arange(self._lines), self._lanes)
            yield self._whole
            return
        self._whole, self._is_left = None, False
        parts = self._parts(epoch)
        self._thread = ThreadPoolExecutor(1)
        try:
            self._ahead = self._thread.submit(self._read, 0, parts[0], self._lanes)
            for number in range(len(parts)):
                window = self._ahead.result()
                if number + 1 < len(parts):
                    self._ahead = self._thread.submit(self._read, number + 1, parts[number + 1], self._lanes)
                yield window
        finally:
            self._is_left = True  # nobody waits for what is being read
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _parts(self, epoch: int) -> list[np.ndarray]:
        """Return the lines of each window, drawn for an epoch; the last line, which may be short, comes at the end."""
        size = max(self._window_lines // PIECES, 1)
        starts = np.arange(0, self._lines - 1, size)
        drawn = np.random.default_rng([self._seed, epoch]).permutation(starts)
        lines = [np.arange(start, min(start + size, self._lines - 1)) for start in drawn]
        order = np.concatenate([*lines, [self._lines - 1]])
        return np.split(order, range(self._window_lines, len(order), self._window_lines))

    def _read(self, number: int, lines: np.ndarray, lanes: range) -> _Window:
        """Return the rows of some lines, read line by line, as the rows of other lanes stand between them."""
        empty_x, empty_y = self._empty
        shape = len(lines), len(lanes)
        x = np.zeros((*shape, *empty_x.shape[1:]), empty_x.dtype)
        y = np.zeros((*shape, *empty_y.shape[1:]), empty_y.dtype)
        weights = np.zeros(shape, np.float32)
        for place, line in enumerate(lines):
            if self._is_left:
                break
            start = line * self._global_batch_size
            rows = range(self._rows)[start + lanes.start : start + lanes.stop]
            if len(rows):
                here = slice(rows.start, rows.stop)
                x[place, : len(rows)], y[place, : len(rows)] = self._reader.read("train", here)
                weights[place, : len(rows)] = self._reader.weights(here) / self._mean
        return _Window(number, lines, lanes, x, y, weights)

    def _move(self, read: Future[_Window]) -> _Window:
        return self._moved(read.result())

    def _moved(self, window: _Window) -> _Window:
        """Return a window with the lanes that this rank holds now; only those that are new are read."""
        old, new = window.lanes, self._lanes
        kept = range(max(old.start, new.start), min(old.stop, new.stop))
        kept = kept if len(kept) else range(new.start, new.start)
        before = self._read(window.number, window.lines, range(new.start, kept.start))
        after = self._read(window.number, window.lines, range(kept.stop, new.stop))
        inside = slice(kept.start - old.start, kept.stop - old.start) if len(kept) else slice(0)
        x, y, weights = (
            np.concatenate([getattr(before, name), getattr(window, name)[:, inside], getattr(after, name)], axis=1)
            for name in ("x", "y", "weights")
        )
        return _Window(window.number, window.lines, new, x, y, weights)

    def _order(self, epoch: int, window: _Window) -> np.ndarray:
        """Return for each step of a window, and each lane, the place of its row among the lines; -1 for none."""
        order = np.full((len(window.lines), len(window.lanes)), -1)
        for column, lane in enumerate(window.lanes):
            length = int(np.count_nonzero(window.lines * self._global_batch_size + lane < self._rows))
            drawn = np.random.default_rng([self._seed, epoch, lane, window.number])
            order[:length, column] = drawn.permutation(length)
        return order


def _check(row_bytes: int, width: int, lines: int, held_bytes: int) -> None:
    at_once = min(lines, 2)  # a line, and the one ahead
    if at_once * width * row_bytes <= held_bytes:
        return
    most = held_bytes // (at_once * row_bytes)
    raise InputError(
        f"train.batch_size: received {width} rows of {row_bytes} bytes, allowed: {f'up to {most}' if most else 'none'}"
        f", as {at_once} batches have to fit into half of the pipeline's memory, {held_bytes} bytes; "
        f"{'lower it or ' if most else ''}raise memory"
    )
