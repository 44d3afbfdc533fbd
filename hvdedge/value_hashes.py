"""How often each value of a column is where the values are too many to hold: counted by their hashes, on all ranks.

    reading the rows   values are counted while they are few (see `columns.Counter`), then their hashes go to scratch
    dealing            each hash belongs to one rank and to one round; in it the rank sorts what it gets and counts
    reading again      the cells that have one of the most frequent hashes are counted as what they are

Equal cells have equal hashes. Different numbers, days and times have different ones; among a million different texts
two have the same with a chance of 3e-8, and would be counted as one. All else is exact, and whole numbers, so it is the
same on any number of ranks. With N cells, of which m(c) values are there c times each,

    distinct = sum m(c),   entropy = log2(N) - sum m(c) c log2(c) / N
"""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.columns import CLOCKS, Counter, kind, text_size_bytes, to_text
from hvdedge.hashes import hash_text
from hvdedge.mixing import mix
from hvdedge.parallel import allgather_rows, counts, exchange_runs
from hvdedge.spool import Spool
from hvdedge.workspace import Workspace

VALUE_BYTES = 128  # what a value and its count take while they are counted
HELD_BYTES = 64  # of a hash, while a round sorts, deals and counts them
HASH = pa.schema([("hash", pa.uint64())])


@dataclass(frozen=True)
class Frequencies:
    """What the hashes of a column tell, alike on every rank.

    Attributes:
        distinct: how many different values there are.
        entropy: in bits.
        above: 0 where the most frequent values are all among `hashes`; else values that are there up to so often are
            left out, as more have that count than may be held.
        hashes: of the most frequent values, rising.
    """

    distinct: int
    entropy: float
    above: int
    hashes: np.ndarray


class Values:
    """The values of one column so far: counted in `counter` until they are too many, from then on as hashes.

    Args:
        limit: how many may be counted; their texts may take `VALUE_BYTES` each, on average.
        spool_bytes: what may be held of the hashes; more are in scratch.
    """

    def __init__(self, limit: int, spool_bytes: int, workspace: Workspace):
        self.counter = Counter(limit, VALUE_BYTES * limit, self._take)
        self._limit = limit
        self._room_bytes = workspace.table_bytes
        self._counted = np.empty((0, 2), np.uint64)  # hashes of what had been counted, and how often
        self._spool = Spool(HASH, workspace.scratch, spool_bytes)
        self._text_bytes = 0

    def add(self, cells: pa.Array) -> None:
        """Take in cells, of which all are `columns.known`."""
        self._text_bytes += text_size_bytes(cells)
        if self.counter.is_over:
            self._spool.append(pa.record_batch([hash_values(cells)], schema=HASH))
        else:
            self.counter.add(cells)

    def frequencies(self, top: int, comm: MPI.Intracomm) -> Frequencies:
        """Collective. Tell of a column of too many values; the hashes are gone then.

        Args:
            top: how many of the most frequent values are wanted; those as frequent as the last one come along.
        """
        told = counts(np.array([self._spool.num_rows + len(self._counted), self._text_bytes]), comm)
        rounds = max(-(-int(told[:, 0].max()) * HELD_BYTES // max(self._room_bytes, 1)), 1)
        kept = np.empty((0, 2), np.int64)
        times = np.empty((0, 2), np.int64)  # a count, how many values have it
        for turn in range(rounds):
            hashes, held = self._owned(turn, rounds, comm)
            times = _summed(np.concatenate([times, _times(held)]))
            chosen = np.flatnonzero(held >= _least(times, top, self._limit)[0])
            kept = np.concatenate([kept, np.stack([hashes[chosen].view(np.int64), held[chosen]], axis=1)])
            if len(kept) > 2 * self._limit:
                kept = kept[kept[:, 1] >= _least(times, top, self._limit)[0]]
        self._spool.clear()
        times = _summed(allgather_rows(times, comm))
        least, wanted = _least(times, top, self._limit)
        least = max(least, int(told[:, 1].sum()) // (VALUE_BYTES * self._limit) + 1)  # so few bytes are that frequent
        chosen = np.sort(allgather_rows(kept[kept[:, 1] >= least, 0], comm).view(np.uint64))
        cells = int(times[:, 0] @ times[:, 1])
        spread = math.fsum(times[:, 1] * (times[:, 0] * np.log2(times[:, 0])))
        entropy = max(math.log2(cells) - spread / cells, 0.0)
        return Frequencies(int(times[:, 1].sum()), entropy, 0 if least == wanted else least - 1, chosen)

    def _take(self, counted: pa.Table) -> None:
        hashes = hash_values(counted["value"].combine_chunks())
        self._counted = np.stack([hashes, counted["count"].to_numpy().astype(np.uint64)], axis=1)

    def _owned(self, turn: int, rounds: int, comm: MPI.Intracomm) -> tuple[np.ndarray, np.ndarray]:
        """Collective. Return the hashes of this rank and round, rising, and how often each is on all ranks."""
        turns = np.uint64(rounds)
        early = self._counted if rounds == 1 else self._counted[self._counted[:, 0] % turns == turn]
        late = (batch.column(0).to_numpy() for batch in self._spool)
        if rounds > 1:
            late = (part[part % turns == turn] for part in late)
        hashes, held = _counted(np.concatenate([early[:0, 0], *late]))
        if len(early):
            hashes = np.concatenate([early[:, 0], hashes])
            hashes, held = _counted(hashes, np.concatenate([early[:, 1].astype(np.int64), held]))
        share = 2**64 // comm.size + 1  # hashes a rank, which are evenly spread
        starts = np.searchsorted(hashes, np.arange(comm.size, dtype=np.uint64) * np.uint64(share % 2**64))
        sizes = np.diff(starts, append=len(hashes))
        if comm.size == 1:
            return hashes, held
        return _counted(exchange_runs(hashes, sizes, comm)[0], exchange_runs(held, sizes, comm)[0])


def hash_values(cells: pa.Array) -> np.ndarray:
    """Return a uint64 for each cell, the same for equal ones, that looks drawn by chance; no cell is null."""
    if pa.types.is_integer(cells.type):
        return mix(cells.to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64))
    if pa.types.is_floating(cells.type):
        floats = cells.cast(pa.float64()).to_numpy(zero_copy_only=False) + 0.0  # -0 is 0
        return mix(floats.view(np.uint64))
    if kind(cells.type) in CLOCKS:
        whole = cells.view(pa.int32() if cells.type.bit_width == 32 else pa.int64())
        return mix(whole.to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64))
    return mix(hash_text(to_text(cells)))


def _counted(hashes: np.ndarray, held: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the different hashes, rising, and how often each is: the sum of what is `held`, if not once each."""
    if held is None or (held == 1).all():  # many times as fast as with places
        hashes, held = np.sort(hashes), None
    else:
        order = np.argsort(hashes, kind="stable")  # of runs that rise it is as fast as to merge them
        hashes, held = hashes[order], held[order]
    starts = np.flatnonzero(np.concatenate([np.ones(min(len(hashes), 1), bool), hashes[1:] != hashes[:-1]]))
    if held is not None and len(starts):
        return hashes[starts], np.add.reduceat(held, starts)
    return hashes[starts], np.diff(starts, append=len(hashes))


def _times(held: np.ndarray) -> np.ndarray:
    """Return (count, how many hashes have it), int64."""
    more = np.unique(held[held > 1], return_counts=True)  # most are there once
    return np.concatenate([[[1, len(held) - int(more[1].sum())]], np.stack(more, axis=1)]).astype(np.int64)


def _summed(times: np.ndarray) -> np.ndarray:
    """Return (count, how many values have it), int64, each count once, by falling count."""
    kinds, which = np.unique(times[:, 0], return_inverse=True)
    sums = np.zeros(len(kinds), np.int64)
    np.add.at(sums, which, times[:, 1])
    return np.stack([kinds, sums], axis=1)[::-1]


def _least(times: np.ndarray, top: int, limit: int) -> tuple[int, int]:
    """Return how frequent a value must be to be listed, and how frequent the `top` most frequent ones are at least."""
    running = np.cumsum(times[:, 1])
    wanted = int(times[np.searchsorted(running, top), 0]) if len(times) and running[-1] >= top else 1
    few = int(np.searchsorted(running, limit, "right"))
    return (wanted if few == len(times) else max(int(times[few, 0]) + 1, wanted)), wanted
