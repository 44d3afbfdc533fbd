"""Batches in parts that fit into memory one at a time; their gradients add up to the batch's.

What a step takes for a row, beyond what stays resident, is estimated from the layers' outputs before the first step,
and read off the process's peak when a step raises it. Where the next step would leave less than MARGIN of what the
rank has, the parts become half as large, before the system ends the rank; they grow again when twice as much is left.

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
LOOK_SECONDS = 0.2  # between two looks, each of which reads some files of the kernel


class MicroBatches:
    """The parts of a rank's batches.

    Args:
        local_ranks: with how many this rank shares its host's memory.

    Attributes:
        rows: of a part at most.
    """

    def __init__(self, model: keras.Model, batch_size: int, local_ranks: int):
        self.rows = self._batch_size = batch_size
        self._events: list[dict] = []
        self._local_ranks = local_ranks
        self._row_bytes = PASSES * 4 * sum(_numbers(layer) for layer in model.layers)
        self._resident, self._peak = resident_bytes(), peak_rss_bytes()
        self._looked = time.monotonic()
        self._is_short = False
        self._shrink(available_bytes() // local_ranks)

    def parts(self, batch: Batch) -> list[Batch]:
        """Return a batch in parts, whose rows keep the weights that they have in it."""
        if len(batch.y) <= self.rows:
            return [batch]
        cuts = [slice(start, start + self.rows) for start in range(0, len(batch.y), self.rows)]
        return [Batch(batch.x[cut], batch.y[cut], batch.weights[cut], batch.together) for cut in cuts]

    def look(self) -> None:
        """Look between two steps whether the next one fits."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        peak = peak_rss_bytes()
        if peak > self._peak:
            self._row_bytes = (peak - self._resident) / self.rows
        self._resident, self._peak = resident_bytes(), peak
        left_bytes = available_bytes() // self._local_ranks
        self._shrink(left_bytes)
        if self.rows < self._batch_size and 4 * self.rows * self._row_bytes < self._room(left_bytes):
            self.rows = min(2 * self.rows, self._batch_size)

    def take_events(self) -> list[dict]:
        """Return what was done since the last call, for the record."""
        events, self._events = self._events, []
        return events

    def _shrink(self, left_bytes: int) -> None:
        before, room = self.rows, self._room(left_bytes)
        while self.rows > 1 and self.rows * self._row_bytes > room:
            self.rows = -(-self.rows // 2)
        is_short = self.rows * self._row_bytes > room
        if self.rows < before or (is_short and not self._is_short):
            action = f"steps in parts of {self.rows} rows" if not is_short else "none: a part of one row does not fit"
            self._events.append({"left_bytes": left_bytes, "row_bytes": round(self._row_bytes), "action": action})
        self._is_short = is_short

    def _room(self, left_bytes: int) -> float:
        """Return what a step may take."""
        return left_bytes - MARGIN * (left_bytes + self._resident)


def _numbers(layer: keras.layers.Layer) -> int:
    """Return how many numbers a layer makes of a row; 0 where it does not say."""
    shape = getattr(getattr(layer, "output", None), "shape", ())
    return int(np.prod([size or 1 for size in shape[1:]])) if shape else 0
