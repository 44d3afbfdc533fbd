"""Batches in parts that fit into memory one at a time; their gradients add up to the batch's.

What a step takes for a row, beyond what stays resident, is estimated from the layers' outputs before the first step,
and read off the process's peak when a later step raises it. Where the next step would leave less than MARGIN of what
the rank has, the parts become half as large, before the system ends the rank; they grow again when twice as much is
left.

Source: Huang et al. 2019, GPipe: efficient training of giant neural networks (micro-batches).
"""

import time

import keras
import numpy as np

from hvdedge.memory import available_bytes, resident_bytes
from hvdedge.meter import peak_rss_bytes
from hvdedge.shards import Batch

MARGIN = 1 / 16
PASSES = 2.5  # how often a layer's output is held in a step: forward, backward, and a library's own copies
FORWARD = 4  # so many more rows than are learnt from can be judged at once
LOOK_SECONDS = 0.2  # between two looks, each of which reads some files of the kernel


class MicroBatches:
    """The parts of a rank's batches.

    Args:
        local_ranks: with how many this rank shares its host's memory, and its own control group, if any.
        is_on: whether batches are cut at all.

    Attributes:
        rows: of a part at most; while it is the batch size, batches of any size are whole.
    """

    def __init__(self, model: keras.Model, batch_size: int, local_ranks: int, is_on: bool = True):
        self.rows = self._batch_size = self._largest = self._whole = batch_size
        self._is_on, self._local_ranks = is_on, local_ranks
        self._events: list[dict] = []
        self._row_bytes = self._least_row_bytes = PASSES * 4 * sum(_numbers(layer) for layer in model.layers)
        self._is_short = False
        self.settle()
        if is_on:
            self._shrink(available_bytes() // local_ranks)

    def settle(self) -> None:
        """Take what happened so far for no step: TensorFlow's graph was built, or rows were read or judged."""
        self._peak, self._looked = peak_rss_bytes(), time.monotonic()

    def parts(self, batch: Batch) -> list[Batch]:
        """Return a batch in parts, whose rows keep the weights that they have in it."""
        if self.rows == self._batch_size or len(batch.y) <= self.rows:
            self._largest = max(self._largest, len(batch.y))
            self._whole = max(self._whole, self._largest)
            return [batch]
        cuts = [slice(start, start + self.rows) for start in range(0, len(batch.y), self.rows)]
        return [Batch(batch.x[cut], batch.y[cut], batch.weights[cut], batch.together) for cut in cuts]

    def at_once(self, rows: int) -> int:
        """Return how many rows to judge at once, where so many are wished for."""
        return min(rows, FORWARD * self.rows) if self._is_on else rows

    def look(self) -> None:
        """Look between two steps whether the next one fits."""
        if not self._is_on or time.monotonic() - self._looked < LOOK_SECONDS:
            return
        peak, resident = peak_rss_bytes(), resident_bytes()
        if peak > self._peak:
            self._row_bytes = max((peak - resident) / self._largest, self._least_row_bytes)
        self.settle()
        left_bytes = available_bytes() // self._local_ranks
        self._shrink(left_bytes)
        more = min(2 * self.rows, self._batch_size)
        largest = self._whole if more == self._batch_size else more
        if self.rows < more and 2 * largest * self._row_bytes < _room(left_bytes):
            self.rows, self._largest = more, largest
            self._tell(left_bytes, f"steps in parts of {self.rows} rows again", is_short=False)

    def take_events(self) -> list[dict]:
        """Return what was done since the last call, for the record, and whether memory was short (`is_short`)."""
        events, self._events = self._events, []
        return events

    def _shrink(self, left_bytes: int) -> None:
        before, room = self.rows, _room(left_bytes)
        while self.rows > 1 and self._largest * self._row_bytes > room:
            self.rows = self._largest = -(-self.rows // 2)
        is_short = self._largest * self._row_bytes > room
        if is_short and not self._is_short:
            self._tell(left_bytes, "none: a part of one row does not fit")
        elif self.rows < before and not is_short:
            self._tell(left_bytes, f"steps in parts of {self.rows} rows")
        self._is_short = is_short

    def _tell(self, left_bytes: int, action: str, is_short: bool = True) -> None:
        event = {"left_bytes": left_bytes, "row_bytes": round(self._row_bytes), "action": action}
        self._events.append({**event, "is_short": is_short})


def _room(left_bytes: int) -> float:
    """Return what a step may take of what is left, and of what the process has already."""
    return left_bytes - MARGIN * (left_bytes + resident_bytes())


def _numbers(layer: keras.layers.Layer) -> int:
    """Return how many numbers a layer makes of a row; 0 where it does not say."""
    shape = getattr(getattr(layer, "output", None), "shape", ())
    return int(np.prod([size or 1 for size in shape[1:]])) if shape else 0
